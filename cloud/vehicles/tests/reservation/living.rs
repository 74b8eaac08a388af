//! Reservations as running entities: the saga's service, many bookings at once, the list, the end of a trip.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use remuda_contracts::booking::{Booking, VEHICLE_SERVICE};
use remuda_contracts::money::{Currency, Money};
use remuda_contracts::trips::{DistanceSource, Mark, TripCompleted, TripParties};
use remuda_entities::projection::{Place, project};
use remuda_entities::reactor::Reactor;
use remuda_entities::{Entities, EntityMetrics, Settings, Shards};
use remuda_eventsourcing::testing::context;
use remuda_eventsourcing::{Context, Event, MemoryJournal, NewEvent, StreamId, codec};
use remuda_model::{OrganizationId, ShardId};
use remuda_saga::testing::{World, stock};
use remuda_saga::{ActionSpec, Definition, Service, Services, StepBuilder, StepContext, StepError};
use remuda_vehicles::reservation::{
    AvailabilityDirectory, AvailabilityLists, ReleaseVehicles, ReservationCommand as C, Reservations,
    VehicleService,
};
use serde_json::Value;
use tokio::sync::OnceCell;

fn wall_clock_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the year 292 million")
}

fn home() -> OrganizationId {
    OrganizationId::default()
}

fn with_id(command_id: &str) -> Context {
    Context { now_ms: wall_clock_ms(), command_id: command_id.into(), ..context() }
}

/// These vehicles, in service.
async fn service(vehicles: &[&str]) -> VehicleService {
    let journal = Arc::new(MemoryJournal::new());
    let shards = Shards::take_all(journal, EntityMetrics::default()).await.unwrap();
    let entities = Entities::<Reservations>::start(&shards, Settings::default()).await.unwrap();
    for vehicle in vehicles {
        entities.ask(&home(), vehicle, C::PutInService, with_id("begin")).await.unwrap();
    }
    VehicleService::new(entities, Arc::new(wall_clock_ms))
}

fn booking(vehicles: &[&str]) -> Value {
    let booking = Booking {
        rider: "ada".into(),
        price: Money { minor_units: 1, currency: Currency::EUR },
        vehicles: vehicles.iter().map(|&vehicle| vehicle.to_owned()).collect(),
        stops: vec![],
        planned_distance_m: None,
        quote_id: None,
        driver: None,
        fleet: None,
        depot: None,
    };
    serde_json::to_value(booking).unwrap()
}

fn step(saga_id: &str, data: Value) -> StepContext {
    StepContext {
        organization: home(),
        saga_id: saga_id.into(),
        saga: "s".into(),
        step: "reserve-vehicle".into(),
        attempt: 1,
        deadline_ms: i64::MAX,
        data,
    }
}

/// Vehicles of which only V2 and V3 are in service; V3 is another booking's once only one shall be left.
#[derive(Clone, Default)]
struct Yard {
    service: Arc<OnceCell<VehicleService>>,
    one_left: Arc<AtomicUsize>,
}

impl Yard {
    async fn service(&self) -> &VehicleService {
        self.service
            .get_or_init(|| async {
                let service = service(&["V2", "V3"]).await;
                if self.one_left.load(Ordering::Relaxed) > 0 {
                    let step = step("another", booking(&["V3"]));
                    service.call("reserve-vehicle", "another/reserve-vehicle/do", &step).await.unwrap();
                }
                service
            })
            .await
    }
}

#[async_trait]
impl Service for Yard {
    fn name(&self) -> &'static str {
        VEHICLE_SERVICE
    }

    fn actions(&self) -> &'static [ActionSpec] {
        const {
            &[
                ActionSpec::undone_by("reserve-vehicle", "release-vehicle"),
                ActionSpec::plain("release-vehicle"),
            ]
        }
    }

    async fn call(&self, action: &str, key: &str, context: &StepContext) -> Result<Value, StepError> {
        self.service().await.call(action, key, context).await
    }
}

#[async_trait]
impl World for Yard {
    fn services(&self) -> Services {
        Services::new([Arc::new(self.clone()) as Arc<dyn Service>])
    }

    fn input(&self, _: u32) -> Value {
        booking(&["V1", "V2", "V3"])
    }

    async fn held(&self) -> String {
        let mut held = Vec::new();
        for vehicle in ["V1", "V2", "V3"] {
            let state = self.service().await.entities().read(&home(), vehicle).await.unwrap().state;
            held.extend(state.current.map(|current| format!("{vehicle}: {}", current.key)));
        }
        held.join(", ")
    }

    fn only_one_left(&self) -> bool {
        self.one_left.store(1, Ordering::Relaxed);
        true
    }
}

#[tokio::test]
async fn vehicles_are_reserved_and_released_as_sagas_need_it() {
    let step = StepBuilder::call(VEHICLE_SERVICE, "reserve-vehicle").undone_by("release-vehicle");
    let definition = Definition::named("Vehicles").step(step).build().unwrap();
    let report = stock::all(&definition, &Yard::default).await.unwrap();
    assert!(report.sagas > 10 && report.crashes > 2, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_bookings_at_once_as_many_win_as_there_are_vehicles() {
    let service = service(&["V1", "V2", "V3"]).await;
    let bookings: Vec<_> = (0..40)
        .map(|n| {
            let service = service.clone();
            tokio::spawn(async move {
                let step = step(&format!("b{n}"), booking(&["V1", "V2", "V3"]));
                let key = format!("b{n}/reserve-vehicle/do");
                let first = service.call("reserve-vehicle", &key, &step).await;
                // As after a lost answer.
                let second = service.call("reserve-vehicle", &key, &step).await;
                assert_eq!(first, second);
                first
            })
        })
        .collect();
    let mut won = Vec::new();
    for booking in bookings {
        match booking.await.unwrap() {
            Ok(answer) => won.push(answer["vehicle"].as_str().unwrap().to_owned()),
            Err(StepError::Refused { code, .. }) => assert_eq!(code, "vehicle-reserved"),
            Err(other) => panic!("{other}"),
        }
    }
    won.sort();
    assert_eq!(won, ["V1", "V2", "V3"]);
}

#[tokio::test]
async fn a_better_vehicle_that_became_free_does_not_make_a_booking_have_two() {
    let service = service(&["V1", "V2"]).await;
    let other = step("other", booking(&["V1"]));
    service.call("reserve-vehicle", "other/do", &other).await.unwrap();
    let mine = step("mine", booking(&["V1", "V2"]));
    let lost = service.call("reserve-vehicle", "mine/do", &mine).await.unwrap();
    assert_eq!(lost["vehicle"], "V2");
    service.call("release-vehicle", "other/undo", &other).await.unwrap();
    let again = service.call("reserve-vehicle", "mine/do", &mine).await.unwrap();
    assert_eq!(again["vehicle"], "V2");
    let free = service.entities().read(&home(), "V1").await.unwrap().state;
    assert!(free.is_free(wall_clock_ms()));
    let nobody = service.call("reserve-vehicle", "x/do", &step("x", booking(&[]))).await;
    assert!(matches!(nobody, Err(StepError::Refused { code, .. }) if code == "no-vehicle"));
    let many = vec!["V1"; 17];
    let refused = service.call("reserve-vehicle", "y/do", &step("y", booking(&many))).await;
    assert!(matches!(refused, Err(StepError::Refused { code, .. }) if code == "bad-booking"));
}

#[tokio::test]
async fn a_vehicle_is_free_again_when_its_trip_has_ended() {
    let service = service(&["V1", "V2"]).await;
    let lists = project(service.entities().shards(), &Place::memory(), AvailabilityLists).await.unwrap();
    let lists = AvailabilityDirectory::new(lists);
    let free = |lists: &AvailabilityDirectory| -> Vec<String> {
        lists.free(&home(), None, 10).unwrap().into_iter().map(|line| line.vehicle).collect()
    };
    lists.projected().caught_up().await.unwrap();
    assert_eq!(free(&lists), ["V1", "V2"]);
    let step = step("b1", booking(&["V1"]));
    service.call("reserve-vehicle", "b1/do", &step).await.unwrap();
    lists.projected().caught_up().await.unwrap();
    assert_eq!(free(&lists), ["V2"]);
    let line = lists.vehicle(&home(), "V1").unwrap().unwrap();
    assert_eq!(line.key.as_deref(), Some("b1"));

    let mark = Mark {
        time_ms: 1,
        latitude_e7: 0,
        longitude_e7: 0,
        odometer_m: None,
        energy_wh: None,
        samples: None,
    };
    let done = TripCompleted {
        trip: "b1".into(),
        parties: TripParties { rider: "ada".into(), vehicle: "V1".into(), ..TripParties::default() },
        requested_ms: 1,
        start: mark,
        end: mark,
        distance_m: 0,
        distance_source: DistanceSource::Planned,
        duration_ms: 0,
        energy_wh: None,
        waiting_ms: 0,
        stops: 0,
        quote: None,
        hold_key: Some("b1".into()),
    };
    let event = Event {
        shard: ShardId::new(1).unwrap(),
        position: 1,
        event: NewEvent {
            event_id: [1; 16],
            stream: StreamId {
                organization: home(),
                aggregate_type: "trip".into(),
                aggregate_id: "b1".into(),
            },
            version: 9,
            event_type: "trip.completed".into(),
            schema_version: 1,
            time_ms: 1,
            causation_id: "c".into(),
            correlation_id: "b1".into(),
            actor: "a".into(),
            payload: codec::encode("trip.completed", 1, &done).payload,
        },
    };
    let reactor = ReleaseVehicles(service.clone());
    for _ in 0..2 {
        reactor.react(&event).await.unwrap();
    }
    lists.projected().caught_up().await.unwrap();
    assert_eq!(free(&lists), ["V1", "V2"]);
}
