//! Trips as running entities: the saga's service, sweeping, lists.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use remuda_contracts::booking::{Booking, BookingStop, TRIP_SERVICE};
use remuda_contracts::money::{Currency, Money};
use remuda_entities::projection::{Place, project};
use remuda_entities::{Entities, EntityMetrics, Settings, Shards};
use remuda_eventsourcing::testing::context;
use remuda_eventsourcing::{Context, MemoryJournal};
use remuda_model::OrganizationId;
use remuda_saga::testing::{World, stock};
use remuda_saga::{ActionSpec, Definition, Service, Services, StepBuilder, StepContext, StepError};
use remuda_trips::command::Observation::*;
use remuda_trips::state::TripPhase;
use remuda_trips::{TripCommand as C, TripDirectory, TripLists, TripService, Trips};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::support::*;

fn home() -> OrganizationId {
    OrganizationId::default()
}

async fn service(clock: Arc<AtomicI64>) -> TripService {
    let journal = Arc::new(MemoryJournal::new());
    let shards = Shards::take_all(journal, EntityMetrics::default()).await.unwrap();
    let trips = Entities::<Trips>::start(&shards, Settings::default()).await.unwrap();
    TripService::new(trips, Arc::new(move || clock.load(Ordering::Relaxed)))
}

/// A world without trips, made when it is first asked.
#[derive(Clone, Default)]
struct Town {
    service: Arc<OnceCell<TripService>>,
}

impl Town {
    async fn service(&self) -> &TripService {
        self.service.get_or_init(|| service(Arc::new(AtomicI64::new(now())))).await
    }
}

#[async_trait]
impl Service for Town {
    fn name(&self) -> &'static str {
        TRIP_SERVICE
    }

    fn actions(&self) -> &'static [ActionSpec] {
        const { &[ActionSpec::undone_by("create-trip", "cancel-trip"), ActionSpec::plain("cancel-trip")] }
    }

    async fn call(&self, action: &str, key: &str, context: &StepContext) -> Result<Value, StepError> {
        self.service().await.call(action, key, context).await
    }
}

fn booking() -> Value {
    let stop = |east_m| {
        let stop = stop(east_m);
        let (latitude_e7, longitude_e7) = (stop.latitude_e7, stop.longitude_e7);
        BookingStop { latitude_e7, longitude_e7, radius_m: 50, label: None }
    };
    let booking = Booking {
        rider: "ada".into(),
        price: Money { minor_units: 1_250, currency: Currency::EUR },
        vehicles: vec!["V1".into()],
        stops: vec![stop(0), stop(1_000)],
        planned_distance_m: Some(1_000),
        quote_id: Some("q1".into()),
        driver: None,
        fleet: Some("vienna".into()),
        depot: None,
    };
    let mut input = serde_json::to_value(booking).unwrap();
    // As the step before leaves it.
    input["reserve-vehicle"] = serde_json::json!({ "vehicle": "V1" });
    input
}

#[async_trait]
impl World for Town {
    fn services(&self) -> Services {
        Services::new([Arc::new(self.clone()) as Arc<dyn Service>])
    }

    fn input(&self, _: u32) -> Value {
        booking()
    }

    async fn held(&self) -> String {
        let mut standing = Vec::new();
        for n in 0..4 {
            let id = format!("saga-{n}");
            let trip = self.service().await.entities().read(&home(), &id).await.unwrap().state;
            if !trip.phase.is_final() && trip.phase != TripPhase::Unknown {
                standing.push(format!("{id} {} {}", trip.phase.name(), trip.parties.vehicle));
            }
        }
        standing.join(", ")
    }
}

#[tokio::test]
async fn trips_are_made_and_called_off_as_sagas_need_it() {
    let step = StepBuilder::call(TRIP_SERVICE, "create-trip").undone_by("cancel-trip");
    let definition = Definition::named("Trips").step(step).build().unwrap();
    let report = stock::all(&definition, &Town::default).await.unwrap();
    assert!(report.sagas > 10 && report.crashes > 2, "{report:?}");
}

#[tokio::test]
async fn a_booking_that_cannot_be_says_why() {
    let service = service(Arc::new(AtomicI64::new(now()))).await;
    let call = |data: Value| {
        let service = service.clone();
        async move {
            let step = StepContext {
                organization: home(),
                saga_id: "b1".into(),
                saga: "s".into(),
                step: "create-trip".into(),
                attempt: 1,
                deadline_ms: i64::MAX,
                data,
            };
            service.call("create-trip", &format!("b1/{}", step.data), &step).await
        }
    };
    let code = |answer: Result<Value, StepError>| match answer {
        Err(StepError::Refused { code, .. }) => code,
        other => panic!("{other:?}"),
    };
    let mut wrong = booking();
    wrong["price"]["currency"] = "euro".into();
    assert_eq!(code(call(wrong).await), "bad-booking");
    let mut wrong = booking();
    wrong["reserve-vehicle"] = Value::Null;
    assert_eq!(code(call(wrong).await), "bad-booking");
    let mut wrong = booking();
    wrong["stops"].as_array_mut().unwrap().pop();
    assert_eq!(code(call(wrong).await), "bad-value");
}

#[tokio::test]
async fn lists_follow_and_a_sweep_ends_what_waits_too_long() {
    let clock = Arc::new(AtomicI64::new(now()));
    let service = service(Arc::clone(&clock)).await;
    let trips = service.entities();
    let lists = TripDirectory::new(project(trips.shards(), &Place::memory(), TripLists).await.unwrap());
    let with = |command_id: String, now_ms| Context { now_ms, command_id, ..context() };
    let of = |id: &str, vehicle: &str| match request(vehicle) {
        C::Request { parties, plan, .. } => C::Request { id: id.into(), parties, plan },
        _ => unreachable!("it is a request"),
    };
    for (id, vehicle) in [("t1", ""), ("t2", "V1"), ("t3", "V1")] {
        trips.ask(&home(), id, of(id, vehicle), with(format!("r-{id}"), now())).await.unwrap();
    }
    for (n, observation) in [Entered(0), Left(0), Entered(1), AtRest].into_iter().enumerate() {
        let second = 60 * (n as i64 + 1);
        let report = report(observation, second, second as i32);
        trips.ask(&home(), "t2", report, with(format!("v-{n}"), now() + 400_000)).await.unwrap();
    }
    trips.ask(&home(), "t3", report(Entered(0), 500, 0), with("v-9".into(), now() + 500_000)).await.unwrap();
    lists.projected().caught_up().await.unwrap();
    let names = |lines: Vec<remuda_trips::lists::TripLine>| -> Vec<String> {
        lines.into_iter().map(|line| line.trip).collect()
    };
    assert_eq!(names(lists.all(&home(), None, 10).unwrap()), ["t1", "t2", "t3"]);
    assert_eq!(names(lists.all(&home(), Some("t1"), 1).unwrap()), ["t2"]);
    assert_eq!(names(lists.of_vehicle(&home(), "V1", None, 10).unwrap()), ["t2", "t3"]);
    assert_eq!(names(lists.in_state(&home(), TripPhase::Completed, None, 10).unwrap()), ["t2"]);
    assert_eq!(names(lists.of_fleet(&home(), "vienna", None, 10).unwrap()), ["t1", "t3"], "what runs");
    assert_eq!(lists.running_of_rider(&home(), "ada", 10).unwrap(), ["t1", "t3"]);
    assert_eq!(lists.running_of_rider(&home(), "ada", 1).unwrap(), ["t1"]);
    let done = lists.trip(&home(), "t2").unwrap().unwrap();
    assert_eq!((done.phase, done.distance_m), (TripPhase::Completed, Some(120)));

    let rate = |stars| C::Rate { rider: "ada".into(), stars, comment: None };
    trips.ask(&home(), "t2", rate(2), with("s-1".into(), now() + 600_000)).await.unwrap();
    lists.projected().caught_up().await.unwrap();
    let rated = |stars| -> Vec<String> {
        let lines = lists.rated(&home(), stars, None, 10).unwrap();
        lines.into_iter().map(|(_, line)| line.trip).collect()
    };
    assert_eq!((rated(None), rated(Some(2)), rated(Some(5))), (vec!["t2".into()], vec!["t2".into()], vec![]));
    trips.ask(&home(), "t2", rate(5), with("s-2".into(), now() + 600_001)).await.unwrap();
    lists.projected().caught_up().await.unwrap();
    assert_eq!((rated(None), rated(Some(2)), rated(Some(5))), (vec!["t2".into()], vec![], vec!["t2".into()]));
    let (nobody, reached) = (HashSet::new(), HashSet::from([("t3".to_owned(), TripPhase::Boarding)]));
    assert_eq!(service.sweep(&home(), &lists, &reached).await.unwrap(), 0, "not yet");
    clock.store(now() + 600_000, Ordering::Relaxed);
    assert_eq!(service.sweep(&home(), &lists, &nobody).await.unwrap(), 1, "no vehicle for t1 in ten minutes");
    clock.store(now() + 800_000, Ordering::Relaxed);
    assert_eq!(service.sweep(&home(), &lists, &nobody).await.unwrap(), 0, "t3 may be under way in a tunnel");
    assert_eq!(service.sweep(&home(), &lists, &reached).await.unwrap(), 1, "nobody came to t3 in five");
    lists.projected().caught_up().await.unwrap();
    assert_eq!(names(lists.in_state(&home(), TripPhase::NoShow, None, 10).unwrap()), ["t3"]);
    assert_eq!(names(lists.in_state(&home(), TripPhase::Cancelled, None, 10).unwrap()), ["t1"]);
    assert!(lists.running_of_rider(&home(), "ada", 10).unwrap().is_empty());
}

#[tokio::test]
async fn a_sweep_reaches_all_however_many_and_frees_riders_of_vehicles_that_vanished() {
    let clock = Arc::new(AtomicI64::new(now()));
    let service = service(Arc::clone(&clock)).await;
    let trips = service.entities();
    let lists = TripDirectory::new(project(trips.shards(), &Place::memory(), TripLists).await.unwrap());
    let with = |command_id: String, now_ms| Context { now_ms, command_id, ..context() };
    let of = |id: &str, vehicle: &str| match request(vehicle) {
        C::Request { parties, plan, .. } => C::Request { id: id.into(), parties, plan },
        _ => unreachable!("it is a request"),
    };
    // More than a page of them.
    for n in 0..600 {
        let id = format!("w{n}");
        trips.ask(&home(), &id, of(&id, ""), with(format!("r-{id}"), now())).await.unwrap();
    }
    for (id, vehicle) in [("lost", "V1"), ("away", "V3"), ("gone", "V2")] {
        trips.ask(&home(), id, of(id, vehicle), with(format!("r-{id}"), now())).await.unwrap();
    }
    for (n, observation) in [Entered(0), Left(0)].into_iter().enumerate() {
        let second = 60 * (n as i64 + 1);
        let report = match report(observation, second, second as i32) {
            C::Report { observation, mark, stop, .. } => {
                C::Report { vehicle: "V2".into(), observation, mark, stop }
            }
            other => other,
        };
        trips.ask(&home(), "gone", report, with(format!("v-{n}"), now() + 400_000)).await.unwrap();
    }
    let nobody = HashSet::new();
    let heard = |phase| HashSet::from([("lost".to_owned(), phase)]);
    let moved = async |to_ms: i64, in_reach: &HashSet<(String, TripPhase)>| {
        lists.projected().caught_up().await.unwrap();
        clock.store(to_ms, Ordering::Relaxed);
        service.sweep(&home(), &lists, in_reach).await.unwrap()
    };
    let hour = 3_600_000;
    assert_eq!(moved(now() + 600_000, &nobody).await, 600, "nobody drives any of them");
    assert_eq!(moved(now() + hour - 1, &heard(TripPhase::Assigned)).await, 0);
    assert_eq!(moved(now() + hour, &nobody).await, 0, "both may have come, where nobody hears them");
    assert_eq!(
        moved(now() + hour, &heard(TripPhase::Boarding)).await,
        0,
        "it changed since it was looked at"
    );
    assert_eq!(moved(now() + hour, &heard(TripPhase::Assigned)).await, 1, "V1 never came");
    assert_eq!(
        service.sweep(&home(), &lists, &heard(TripPhase::Assigned)).await.unwrap(),
        0,
        "the list may be behind; the wish is the same"
    );
    assert_eq!(moved(now() + 3 * hour - 1, &nobody).await, 0);
    assert_eq!(moved(now() + 3 * hour, &nobody).await, 1, "whoever booked V3 is not held for ever");
    assert_eq!(moved(now() + 120_000 + 12 * hour, &nobody).await, 1, "V2 was silent for half a day");
    lists.projected().caught_up().await.unwrap();
    let phase = |id: &str| lists.trip(&home(), id).unwrap().unwrap().phase;
    assert_eq!((phase("lost"), phase("away")), (TripPhase::Cancelled, TripPhase::Cancelled));
    assert_eq!(phase("gone"), TripPhase::Completed);
    assert!(lists.due(&home(), i64::MAX, None, 10).unwrap().is_empty());
}
