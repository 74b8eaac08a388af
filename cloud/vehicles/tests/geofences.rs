//! Geofences through the actors: kept, crossed once whatever crashes, let go of.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{Scripted, eventually, settings, start, start_with_rounds};
use parking_lot::Mutex;
use remuda_contracts::alerts::{AlertRecord, AlertSeverity, AlertState};
use remuda_contracts::business::vehicles::Home;
use remuda_contracts::geofences::{
    Geofence, GeofenceChange, GeofenceId, GeofenceKind, GeofencePart, GeofencePatch, GeofenceRefusal,
    GeofenceRequest, GeofenceShape, GeofenceSpec, GeofenceVisit, Place,
};
use remuda_eventsourcing::{Journal, MemoryJournal};
use remuda_model::{Incarnation, Lane, OrganizationId, SignalId, VehicleId, signal};
use remuda_vehicles::event::{VehicleEvent, stream_of};
use remuda_vehicles::geofences::Step;
use remuda_vehicles::metrics::{CrossingLabel, GeofenceLabel};
use remuda_vehicles::{HomeOf, VehicleMetrics, VehicleSettings, VehicleSystem};

const IN: f64 = 60.0;
const OUT: f64 = 60.02;

fn organization() -> OrganizationId {
    OrganizationId::default()
}

fn id(name: &str) -> GeofenceId {
    GeofenceId::new(name).unwrap()
}

/// A kilometre around the yard.
fn spec(kind: GeofenceKind) -> GeofenceSpec {
    let centre = Place { latitude_e7: 600_000_000, longitude_e7: 250_000_000 };
    GeofenceSpec {
        display_name: "Yard".into(),
        part: GeofencePart::Organization,
        kind,
        shape: GeofenceShape::Circle { centre, radius_m: 1_000 },
        dwell_s: 0,
        hysteresis_m: 50,
        enabled: true,
    }
}

async fn change(
    system: &VehicleSystem,
    name: &str,
    change: GeofenceChange,
) -> Result<Arc<Geofence>, GeofenceRefusal> {
    let (by, request_id) = ("user/ada".to_owned(), String::new());
    let request =
        GeofenceRequest { id: id(name), change, by, request_id, expected: None, validate_only: false };
    system.geofences.change(&organization(), request, &|_| true).await
}

async fn create(system: &VehicleSystem, name: &str, spec: GeofenceSpec) {
    change(system, name, GeofenceChange::Create(spec)).await.unwrap();
}

async fn drive(car: &mut Scripted, seq: u64, latitude: f64) {
    car.samples(seq, &[&[(signal::LATITUDE, latitude), (signal::LONGITUDE, 25.0)]]).await;
    car.durable(Lane::Samples, seq).await;
}

fn alerts(system: &VehicleSystem) -> Vec<Arc<AlertRecord>> {
    system.alerts.list(&organization(), None, 100, &|_| true)
}

fn states(system: &VehicleSystem) -> Vec<(String, AlertState)> {
    alerts(system).iter().map(|alert| (alert.rule.clone(), alert.state)).collect()
}

fn visits(system: &VehicleSystem, name: &str) -> Vec<GeofenceVisit> {
    system.geofences.vehicles(&organization(), &id(name), None, 10, &|_| true).unwrap()
}

fn crossings(metrics: &VehicleMetrics, kind: &'static str, step: &'static str) -> u64 {
    metrics.geofence_crossings.get_or_create(&CrossingLabel { kind, step }).get()
}

/// What a vehicle's stream says of geofences and their alerts, in order.
async fn told(journal: &Arc<dyn Journal>, vehicle: &VehicleId) -> Vec<String> {
    let events = journal.read_stream(&stream_of(organization(), vehicle), 1, 1_000).await.unwrap();
    let words = events.iter().filter_map(|event| match VehicleEvent::open(&event.event)? {
        VehicleEvent::Crossed(event) => {
            let step = match event.step {
                Step::Entered => "entered",
                Step::Left => "left",
                Step::Released => "released",
            };
            Some(format!("{step} {}", event.fence))
        }
        VehicleEvent::AlertRaised(fact) => Some(format!("raised {}", fact.cause.rule)),
        VehicleEvent::AlertCleared(fact) => Some(format!("cleared {}", fact.cause.rule)),
        _ => None,
    });
    words.collect()
}

async fn started(folder: &Path, journal: &Arc<dyn Journal>) -> (VehicleSystem, VehicleMetrics) {
    let (system, metrics, _) = start(folder, journal, settings()).await;
    (system, metrics)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_a_yard_raises_an_alert_that_ends_when_the_vehicle_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, metrics) = started(folder.path(), &journal).await;
    create(&system, "yard", spec(GeofenceKind::KeepIn)).await;
    assert_eq!(metrics.geofences.get_or_create(&GeofenceLabel { kind: "keep-in" }).get(), 1);
    let mut car = Scripted::connect(&system.intake, "CAR1", 7).await;
    car.greet(vec![]).await;
    drive(&mut car, 1, IN).await;
    eventually("it is in", async || visits(&system, "yard").first().is_some_and(|v| v.since_ms.is_some()))
        .await;
    assert_eq!(alerts(&system), []);
    drive(&mut car, 2, OUT).await;
    eventually("the alert is listed", async || !alerts(&system).is_empty()).await;
    let alert = alerts(&system).remove(0);
    assert_eq!(
        (alert.rule.as_str(), alert.geofence, alert.severity, alert.state),
        ("keep-in", Some(id("yard")), AlertSeverity::Warning, AlertState::Open)
    );
    assert_eq!(alert.id, "keep-in-yard-0000000000000007-2-0");
    assert!((1_220.0..1_230.0).contains(&alert.value) && alert.threshold == 50.0, "{alert:?}");
    assert_eq!((visits(&system, "yard"), alert.clears_by_hand), (vec![], false));
    car.disconnect(car.generation).await;
    // A crash: nothing but what is durable is there.
    drop(system);

    let (system, metrics) = started(folder.path(), &journal).await;
    assert_eq!(alerts(&system), [alert]);
    car.intake = Arc::clone(&system.intake);
    car.reconnect().await;
    car.greet(vec![]).await;
    drive(&mut car, 3, OUT).await;
    drive(&mut car, 4, IN).await;
    let over = [("keep-in".to_owned(), AlertState::Cleared)];
    eventually("it is over", async || states(&system) == over).await;
    assert_eq!((crossings(&metrics, "keep-in", "entered"), crossings(&metrics, "keep-in", "left")), (1, 0));

    // Its agent starts anew where it stands, and a zone is drawn around it.
    create(&system, "zone", spec(GeofenceKind::KeepOut)).await;
    car.incarnation = Incarnation(8);
    car.reconnect().await;
    car.greet(vec![]).await;
    drive(&mut car, 1, IN).await;
    eventually("it shall not be there", async || states(&system).len() == 2).await;
    system.handle.stop().await.unwrap();

    let (system, metrics) = started(folder.path(), &journal).await;
    assert_eq!(visits(&system, "zone").len(), 1);
    // It says nothing more; the zone is lifted.
    change(&system, "zone", GeofenceChange::Delete).await.unwrap();
    let open = async || states(&system).iter().any(|(_, state)| *state == AlertState::Open);
    eventually("it is let go", async || !open().await).await;
    assert_eq!(crossings(&metrics, "keep-out", "released"), 1);
    let disable = GeofencePatch { enabled: Some(false), ..GeofencePatch::default() };
    change(&system, "yard", GeofenceChange::Update(disable)).await.unwrap();
    eventually("the yard lets it go", async || crossings(&metrics, "keep-in", "released") == 1).await;
    assert_eq!(visits(&system, "yard"), [GeofenceVisit { vehicle: car.vehicle, since_ms: None }]);
    system.handle.stop().await.unwrap();
    let expected = [
        "entered yard",
        "left yard",
        "raised keep-in-yard",
        "entered yard",
        "cleared keep-in-yard",
        "entered zone",
        "raised keep-out-zone",
        "released zone",
        "cleared keep-out-zone",
        "released yard",
    ];
    assert_eq!(told(&journal, &car.vehicle).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_durable_is_decided_again_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    // A round that never comes: what is evaluated is lost with the process.
    let (system, ..) = start_with_rounds(folder.path(), &journal, settings(), 3_600_000).await;
    create(&system, "zone", GeofenceSpec { dwell_s: 2, ..spec(GeofenceKind::KeepOut) }).await;
    // A second between two of them.
    let row: &[(SignalId, f64)] = &[(signal::LATITUDE, IN), (signal::LONGITUDE, 25.0)];
    let rows = [row; 4];
    let mut car = Scripted::connect(&system.intake, "CAR1", 7).await;
    car.greet(vec![]).await;
    car.samples(1, &rows).await;
    eventually("it was looked at", async || !visits(&system, "zone").is_empty()).await;
    drop(system);
    assert_eq!(told(&journal, &car.vehicle).await, Vec::<String>::new());

    let (system, metrics) = started(folder.path(), &journal).await;
    car.intake = Arc::clone(&system.intake);
    car.reconnect().await;
    car.greet(vec![]).await;
    car.samples(1, &rows[..2]).await;
    car.durable(Lane::Samples, 2).await;
    assert_eq!(crossings(&metrics, "keep-out", "entered"), 0, "not long enough");
    car.samples(1, &rows).await;
    car.durable(Lane::Samples, 4).await;
    eventually("it counts", async || crossings(&metrics, "keep-out", "entered") == 1).await;
    system.handle.stop().await.unwrap();
    assert_eq!(told(&journal, &car.vehicle).await, ["entered zone", "raised keep-out-zone"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleets_geofence_is_for_its_vehicles_as_long_as_they_are_its() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, metrics) = started(folder.path(), &journal).await;
    let fleet = Arc::new(Mutex::new("north"));
    let of = Arc::clone(&fleet);
    system.homing.know(Arc::new(move |vehicle| {
        let fleet = if vehicle.as_str() == "CAR1" { *of.lock() } else { "south" };
        Some(Home { fleet: Some(fleet.into()), depot: None })
    }));
    let part = GeofencePart::Fleet("north".into());
    create(&system, "zone", GeofenceSpec { part, ..spec(GeofenceKind::KeepOut) }).await;
    let mut cars = Vec::new();
    for name in ["CAR1", "CAR2"] {
        let mut car = Scripted::connect(&system.intake, name, 7).await;
        car.greet(vec![]).await;
        drive(&mut car, 1, IN).await;
        cars.push(car);
    }
    eventually("the alert is listed", async || alerts(&system).len() == 1).await;
    assert_eq!(visits(&system, "zone").iter().map(|v| v.vehicle).collect::<Vec<_>>(), [cars[0].vehicle]);
    *fleet.lock() = "south";
    let mut seq = 1;
    eventually("it is let go", async || {
        seq += 1;
        drive(&mut cars[0], seq, IN).await;
        crossings(&metrics, "keep-out", "released") == 1
    })
    .await;
    eventually("the alert is over", async || states(&system)[0].1 == AlertState::Cleared).await;
    assert_eq!(visits(&system, "zone"), []);
    system.handle.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_a_fleets_vehicles_leave_none_out() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, _) = started(folder.path(), &journal).await;
    let north = ["CAR3", "CAR4", "CAR7", "CAR8"];
    system.homing.know(Arc::new(move |vehicle| {
        let fleet = if north.contains(&vehicle.as_str()) { "north" } else { "south" };
        Some(Home { fleet: Some(fleet.into()), depot: None })
    }));
    let part = GeofencePart::Fleet("north".into());
    create(&system, "zone", GeofenceSpec { part, ..spec(GeofenceKind::Notify) }).await;
    for n in 1..=9 {
        let mut car = Scripted::connect(&system.intake, &format!("CAR{n}"), 7).await;
        car.greet(vec![]).await;
        // One of them drives elsewhere.
        drive(&mut car, 1, if n == 4 { OUT } else { IN }).await;
    }
    let page = |after: Option<VehicleId>, limit| {
        let sees = |vehicle: &VehicleId| vehicle.as_str() != "CAR9";
        let visits =
            system.geofences.vehicles(&organization(), &id("zone"), after.as_ref(), limit, &sees).unwrap();
        visits.iter().map(|visit| visit.vehicle.to_string()).collect::<Vec<_>>()
    };
    eventually("all are looked at", async || page(None, 10).len() == 3).await;
    for limit in 1..=4 {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let found = page(after, limit);
            after = found.last().map(|vehicle| VehicleId::new(vehicle).unwrap());
            let is_more = found.len() == limit;
            listed.extend(found);
            if !is_more {
                break;
            }
        }
        assert_eq!(listed, ["CAR3", "CAR7", "CAR8"], "by {limit}");
    }
    system.handle.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stands_outside_is_let_go_with_its_fleet_also_when_that_changed_while_nobody_looked() {
    let home = |fleet: &Arc<Mutex<&'static str>>| -> HomeOf {
        let fleet = Arc::clone(fleet);
        Arc::new(move |_: &VehicleId| Some(Home { fleet: Some((*fleet.lock()).to_owned()), depot: None }))
    };
    for restarts in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
        let often = VehicleSettings { homes_interval: Duration::from_millis(50), ..settings() };
        let (system, ..) = start(folder.path(), &journal, often).await;
        let fleet = Arc::new(Mutex::new("north"));
        system.homing.know(home(&fleet));
        let part = GeofencePart::Fleet("north".into());
        create(&system, "yard", GeofenceSpec { part, ..spec(GeofenceKind::KeepIn) }).await;
        let mut car = Scripted::connect(&system.intake, "CAR1", 7).await;
        car.greet(vec![]).await;
        drive(&mut car, 1, IN).await;
        drive(&mut car, 2, OUT).await;
        eventually("the alert is listed", async || !alerts(&system).is_empty()).await;
        assert_eq!(states(&system), [("keep-in".to_owned(), AlertState::Open)]);
        // It says nothing more, and nobody changes a geofence.
        let system = if restarts {
            car.disconnect(car.generation).await;
            drop(system);
            let (system, _) = started(folder.path(), &journal).await;
            *fleet.lock() = "south";
            system.homing.know(home(&fleet));
            system
        } else {
            *fleet.lock() = "south";
            system
        };
        let over = [("keep-in".to_owned(), AlertState::Cleared)];
        eventually("the alert is over", async || states(&system) == over).await;
        system.handle.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn geofences_come_back_after_a_crash_however_often_they_were_changed() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, _) = started(folder.path(), &journal).await;
    create(&system, "yard", spec(GeofenceKind::KeepIn)).await;
    create(&system, "zone", spec(GeofenceKind::KeepOut)).await;
    // More than a snapshot's worth.
    for n in 0..70 {
        let patch = GeofencePatch { dwell_s: Some(n + 1), ..GeofencePatch::default() };
        change(&system, "yard", GeofenceChange::Update(patch)).await.unwrap();
    }
    change(&system, "zone", GeofenceChange::Delete).await.unwrap();
    let gone = change(&system, "zone", GeofenceChange::Delete).await;
    assert_eq!(gone, Err(GeofenceRefusal::NoSuchGeofence(id("zone"))));
    let before = system.geofences.list(&organization(), None, 10, &|_| true);
    drop(system);
    let (system, _) = started(folder.path(), &journal).await;
    assert_eq!(system.geofences.list(&organization(), None, 10, &|_| true), before);
    assert_eq!((before.len(), before[0].spec.dwell_s, before[0].revision), (1, 70, 71));
    let shown = system.geofences.get(&organization(), &id("yard")).unwrap();
    assert_eq!((shown.changed_by.as_str(), shown.id), ("user/ada", id("yard")));
    system.handle.stop().await.unwrap();
}
