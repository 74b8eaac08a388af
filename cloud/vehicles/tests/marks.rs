//! Trip marks over a whole vehicle domain: what a vehicle is to watch goes down until it says that it does, what it notices comes
//! up once it is durable, and both outlive a restart of the cloud.

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use common::{Scripted, eventually, header, now_ms, settings, start};
use remuda_contracts::marks::{Fence, Observation, TripMarked, TripPlace, WatchedTrip, Watcher};
use remuda_eventsourcing::{Journal, MemoryJournal};
use remuda_model::{Incarnation, Lane, OrganizationId, VehicleId};
use remuda_vehicles::VehicleSystem;
use remuda_wire::{Body, Channel, Down, Event, TripWatch, Up, Watching, frame};

fn trip(id: &str, version: u64) -> Arc<WatchedTrip> {
    let stop = |latitude_e7| Fence { latitude_e7, longitude_e7: 115_000_000, radius_m: 50 };
    let stops = vec![stop(481_000_000), stop(482_000_000)];
    Arc::new(WatchedTrip { trip: id.into(), version, stops, place: TripPlace::default() })
}

fn want(system: &VehicleSystem, all: &[(VehicleId, Arc<WatchedTrip>)]) {
    let all: HashMap<_, _> = all.iter().map(|(vehicle, trip)| (*vehicle, Some(Arc::clone(trip)))).collect();
    system.marks.want(&OrganizationId::default(), all);
}

async fn watch(car: &mut Scripted) -> TripWatch {
    loop {
        if let Down::Watch(watch) = car.hear().await {
            return watch;
        }
    }
}

async fn watches(car: &Scripted, trip: Option<(&str, u64)>) {
    let trip = trip.map(|(id, version)| (id.to_owned(), version));
    let watching = Watching { connection: car.connection(), trip };
    car.payload(car.generation, Channel::Session, Up::Watching(watching).encode()).await;
}

fn marked(number: u32, observation: Observation) -> TripMarked {
    TripMarked {
        trip: "ride-1".into(),
        noticed_by: Incarnation(7),
        number,
        observation,
        stop: observation.stop().map(|stop| trip("ride-1", 1).stops[usize::from(stop)]),
        time_ms: Some(now_ms()),
        latitude_e7: 481_000_000,
        longitude_e7: 115_000_000,
        speed_e2: 0,
        odometer_m: Some(1_234),
        energy_wh: Some(-5),
        incarnation: Incarnation(7),
        samples: 3,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vehicle_watches_its_trip_and_its_marks_are_read_once_they_are_durable() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, metrics, _) = start(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR1", 7).await;
    let (vehicle, first) = (car.vehicle, trip("ride-1", 1));
    want(&system, &[(vehicle, Arc::clone(&first))]);
    car.greet(vec![]).await;
    assert_eq!(watch(&mut car).await.trip.as_ref(), Some(&*first), "with the greeting");
    assert_eq!(system.marks.watcher(&vehicle, "ride-1"), Watcher::Open);
    watches(&car, Some(("ride-1", 1))).await;
    let by_vehicle = async || system.marks.watcher(&vehicle, "ride-1") == Watcher::Vehicle;
    eventually("the vehicle watches", by_vehicle).await;
    let other = trip("ride-1", 4);
    want(&system, &[(vehicle, Arc::clone(&other))]);
    assert_eq!(watch(&mut car).await.trip.as_ref(), Some(&*other), "other stops, at once");
    watches(&car, Some(("ride-1", 4))).await;

    let mut changes = system.marks.changes();
    let marks = [marked(1, Observation::Entered(0)), marked(2, Observation::AtRest)];
    let frames = marks
        .iter()
        .zip(1..)
        .map(|(mark, seq)| frame::encode(&header(seq), &Body::Event(Event::TripMarked(mark.clone()))));
    car.frames(Lane::Events, 1, frames.collect()).await;
    car.durable(Lane::Events, 2).await;
    tokio::time::timeout(common::PATIENCE, changes.changed()).await.unwrap().unwrap();
    let page = system.marks.marks(&vec![]).await.unwrap();
    let read: Vec<_> = page.marks.iter().map(|report| (report.vehicle, report.mark.clone())).collect();
    assert_eq!(read, marks.map(|mark| (vehicle, mark)));
    assert!(page.marks[0].received_ms > 0 && !page.more);
    assert_eq!(system.marks.marks(&page.offsets).await.unwrap().marks, []);

    want(&system, &[]);
    assert_eq!(watch(&mut car).await.trip, None, "it ended");
    watches(&car, None).await;
    assert_eq!(metrics.watches_sent.get(), 3);
    system.handle.stop().await.unwrap();

    // A cloud that starts anew remembers the marks, and hears what the vehicle still watches.
    let (system, ..) = start(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR1", 8).await;
    car.greet(vec![]).await;
    watches(&car, Some(("ride-1", 4))).await;
    assert_eq!(system.marks.marks(&vec![]).await.unwrap().marks.len(), 2);
    want(&system, &[(vehicle, trip("ride-2", 2))]);
    assert_eq!(watch(&mut car).await.trip.map(|trip| trip.trip).as_deref(), Some("ride-2"));
    car.disconnect(car.generation).await;
    eventually("it is away", async || system.marks.watcher(&vehicle, "ride-2") == Watcher::Open).await;
    system.handle.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restore_a_vehicle_forgets_stops_that_the_cloud_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, ..) = start(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR1", 7).await;
    let vehicle = car.vehicle;
    want(&system, &[(vehicle, trip("ride-1", 2))]);
    car.greet(vec![]).await;
    let version = async |car: &mut Scripted| watch(car).await.trip.map(|trip| trip.version);
    assert_eq!(version(&mut car).await, Some(2));
    // It got these after the backup, and takes no older ones in their place.
    watches(&car, Some(("ride-1", 4))).await;
    assert_eq!(version(&mut car).await, None);
    watches(&car, None).await;
    assert_eq!(version(&mut car).await, Some(2));
    watches(&car, Some(("ride-1", 2))).await;
    let by_vehicle = async || system.marks.watcher(&vehicle, "ride-1") == Watcher::Vehicle;
    eventually("the vehicle watches", by_vehicle).await;
    // Of a trip that is not in the backup at all there is nothing to watch.
    want(&system, &[]);
    assert_eq!(version(&mut car).await, None);
    system.handle.stop().await.unwrap();
}
