//! A ride from the booking to the bill, over a real journal, with a vehicle whose positions the test moves.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_billing::invoices::Seller;
use remuda_business::{Business, BusinessMetrics, BusinessSettings};
use remuda_contracts::business::{Asker, BookTrip, BusinessDesk, BusinessError, Place, Resolution, TripView};
use remuda_contracts::fleet::{
    FleetChange, FleetView, Position, Presence, TwinValue, TwinView, VehicleDetail, VehicleSummary,
};
use remuda_contracts::money::{Currency, Money};
use remuda_eventsourcing::{JournalMetrics, SledJournal};
use remuda_model::{OrganizationId, VehicleId, signal};
use remuda_saga::{ActionSpec, Service, StepContext, StepError};
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// Longer than anything here takes; only a fault reaches it.
const PATIENCE: Duration = Duration::from_secs(60);
/// 100 m of latitude, 1e-7 degrees.
const HUNDRED_M: i32 = 8_993;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// A fleet that stands where it is put.
struct Fleet {
    vehicles: Mutex<BTreeMap<VehicleId, (Position, f64, i64)>>,
    changes: broadcast::Sender<FleetChange>,
}

impl Fleet {
    fn new(vehicles: &[&str]) -> Arc<Self> {
        let vehicles = vehicles
            .iter()
            .enumerate()
            .map(|(n, id)| {
                let latitude_e7 = 481_000_000 + HUNDRED_M * 10 * n as i32;
                let at =
                    Position { latitude_e7, longitude_e7: 115_000_000, heading_deg: 0.0, speed_kmh: 0.0 };
                (VehicleId::new(id).unwrap(), (at, 1_000.0, now_ms()))
            })
            .collect();
        Arc::new(Self { vehicles: Mutex::new(vehicles), changes: broadcast::channel(16).0 })
    }

    fn put(&self, vehicle: &str, latitude_e7: i32, speed_kmh: f32) {
        let mut vehicles = self.vehicles.lock();
        let (at, odometer, time_ms) = vehicles.get_mut(&VehicleId::new(vehicle).unwrap()).unwrap();
        *odometer += f64::from((latitude_e7 - at.latitude_e7).abs()) / f64::from(HUNDRED_M) * 100.0;
        (at.latitude_e7, at.speed_kmh) = (latitude_e7, speed_kmh);
        *time_ms = now_ms().max(*time_ms + 1);
    }

    fn line(vehicle: VehicleId, (position, _, time_ms): (Position, f64, i64)) -> VehicleSummary {
        VehicleSummary {
            organization: OrganizationId::default(),
            vehicle,
            presence: Presence::Online,
            last_seen_ms: time_ms,
            position: Some(position),
            charge_percent: None,
            open_alerts: 0,
            revision: 1,
        }
    }
}

#[async_trait]
impl FleetView for Fleet {
    async fn twin(&self, _: &OrganizationId, vehicle: &VehicleId) -> Option<TwinView> {
        let state = *self.vehicles.lock().get(vehicle)?;
        let value = |wanted, physical: f64| TwinValue {
            signal: wanted,
            raw: signal::by_id(wanted).unwrap().to_raw(physical),
            sampled_ms: state.2,
        };
        let latitude = f64::from(state.0.latitude_e7) * 1e-7;
        Some(TwinView {
            summary: Self::line(*vehicle, state),
            values: vec![value(signal::LATITUDE, latitude), value(signal::ODOMETER, state.1)],
            alerts: vec![],
            frames_durable: 0,
            frames_in_gaps: 0,
            frames_quarantined: 0,
            refusals: vec![],
            detail: VehicleDetail::default(),
        })
    }

    fn list(
        &self,
        _: &OrganizationId,
        after: Option<&VehicleId>,
        limit: usize,
        matches: &(dyn Fn(&VehicleSummary) -> bool + Sync),
    ) -> Vec<VehicleSummary> {
        let all = self.vehicles.lock().clone();
        let lines = all.into_iter().filter(|(id, _)| after.is_none_or(|after| id > after));
        lines.map(|(id, state)| Self::line(id, state)).filter(|line| matches(line)).take(limit).collect()
    }

    fn count(&self, _: &OrganizationId) -> usize {
        self.vehicles.lock().len()
    }

    fn changes(&self) -> broadcast::Receiver<FleetChange> {
        self.changes.subscribe()
    }
}

/// Says that it told the rider, or refuses to.
struct Herald(Arc<AtomicBool>);

#[async_trait]
impl Service for Herald {
    fn name(&self) -> &'static str {
        "notification-service"
    }

    fn actions(&self) -> &'static [ActionSpec] {
        const {
            &[
                ActionSpec::undone_by("send-confirmation", "send-cancellation"),
                ActionSpec::plain("send-cancellation"),
            ]
        }
    }

    async fn call(&self, action: &str, _: &str, _: &StepContext) -> Result<Value, StepError> {
        if action == "send-confirmation" && self.0.load(Ordering::Relaxed) {
            return Err(StepError::refused("no-address", "nobody knows where to"));
        }
        Ok(json!({}))
    }
}

async fn start(folder: &Path, fleet: &Arc<Fleet>, mute: Option<&Arc<AtomicBool>>) -> Business {
    let journal = SledJournal::open(&folder.join("journal"), JournalMetrics::default()).unwrap();
    let settings = BusinessSettings {
        folder: folder.join("business"),
        organization: OrganizationId::default(),
        roads: None,
        mailer: None,
        services: mute.iter().map(|mute| Arc::new(Herald(Arc::clone(mute))) as Arc<dyn Service>).collect(),
        seller: Seller { name: "Remuda".into(), address: vec![], tax_id: "DE1".into() },
        clock: Arc::new(now_ms),
    };
    let metrics = BusinessMetrics::default();
    Business::start(settings, Arc::new(journal), Arc::clone(fleet) as _, metrics).await.unwrap()
}

fn asker(request_id: &str) -> Asker {
    Asker { who: "ada".into(), request_id: request_id.into() }
}

const ORGANIZATION: fn() -> OrganizationId = OrganizationId::default;

async fn riders_and_vehicles(desk: &Arc<dyn BusinessDesk>, riders: &[&str], vehicles: &[&str]) {
    for rider in riders {
        let request = format!("register-{rider}");
        desk.register_rider(
            &ORGANIZATION(),
            rider,
            rider.to_uppercase(),
            Some("a@example.com".into()),
            asker(&request),
        )
        .await
        .unwrap();
        let amount = Money { minor_units: 10_000, currency: Currency::EUR };
        let user = desk.top_up(&ORGANIZATION(), rider, amount, asker(&format!("pay-{rider}"))).await.unwrap();
        assert_eq!((user.available, user.held, user.state), (10_000, 0, "active"));
    }
    for vehicle in vehicles {
        let request = format!("serve-{vehicle}");
        desk.set_in_service(&ORGANIZATION(), vehicle, true, "", asker(&request)).await.unwrap();
    }
}

/// From 100 m beside the first vehicle to a kilometre further on.
fn ride(rider: &str) -> BookTrip {
    let stop =
        |hundreds: i32| Place { latitude_e7: 481_000_000 + HUNDRED_M * hundreds, longitude_e7: 115_000_000 };
    BookTrip { rider: rider.into(), stops: vec![stop(3), stop(23)], vehicles: vec![] }
}

async fn until(desk: &Arc<dyn BusinessDesk>, id: &str, state: &str) -> TripView {
    let begun = Instant::now();
    loop {
        let trip = desk.trip(&ORGANIZATION(), id).await.unwrap();
        if trip.state == state {
            return trip;
        }
        assert!(begun.elapsed() < PATIENCE, "{id} should be {state}: {trip:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ride_is_booked_driven_and_paid_through_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(&["CAR0", "CAR1"]);
    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    riders_and_vehicles(&desk, &["rita"], &["CAR0", "CAR1"]).await;
    business.settle().await;
    let booked = desk.book(&ORGANIZATION(), ride("rita"), asker("b-1")).await.unwrap();
    assert_eq!((booked.saga, booked.state, booked.vehicle.as_str()), ("completed", "assigned", "CAR0"));
    let again = desk.book(&ORGANIZATION(), ride("rita"), asker("b-1")).await.unwrap();
    assert_eq!(
        (again.id, again.vehicle),
        (booked.id, booked.vehicle),
        "the same request is the same booking"
    );
    let held = desk.user(&ORGANIZATION(), "rita").await.unwrap().held;
    assert!(held > 0);

    let at = |hundreds: i32| 481_000_000 + HUNDRED_M * hundreds;
    fleet.put("CAR0", at(1), 30.0);
    until(&desk, "b-1", "arriving").await;
    fleet.put("CAR0", at(3), 0.0);
    until(&desk, "b-1", "boarding").await;
    fleet.put("CAR0", at(8), 50.0);
    until(&desk, "b-1", "under-way").await;
    // The node stops in the middle of the ride and starts again.
    business.stop().await;
    drop((desk, business));
    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    assert_eq!(desk.trip(&ORGANIZATION(), "b-1").await.unwrap().state, "under-way");
    fleet.put("CAR0", at(15), 50.0);
    fleet.put("CAR0", at(23), 0.0);
    let done = until(&desk, "b-1", "completed").await;
    assert_eq!(done.vehicle, "CAR0");
    business.settle().await;
    let done = desk.trip(&ORGANIZATION(), "b-1").await.unwrap();
    let driven = done.distance_m.unwrap();
    assert!((1_400..=2_100).contains(&driven), "{driven} m by the odometer");
    let paid = desk.user(&ORGANIZATION(), "rita").await.unwrap();
    assert_eq!(paid.held, 0);
    assert!(paid.available < 10_000 && 10_000 - paid.available <= held, "{paid:?}, {held} were held");
    let figures = business.figures();
    assert_eq!((figures.sagas_running, figures.sagas_stuck, figures.ledger_sum_minor_units), (0, 0, 0));
    assert_eq!(figures.reactors_stopped, 0);
    // The vehicle is free again, and the nearest.
    let next = desk.book(&ORGANIZATION(), ride("rita"), asker("b-2")).await.unwrap();
    assert_eq!((next.state, next.vehicle.as_str()), ("assigned", "CAR1"), "it stands at the pick-up now");
    let cancelled = desk.cancel(&ORGANIZATION(), "b-2", "a change of plan", asker("c-2")).await.unwrap();
    assert_eq!(cancelled.state, "cancelled");
    business.settle().await;
    assert_eq!(desk.user(&ORGANIZATION(), "rita").await.unwrap().held, 0);
    business.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ride_that_is_called_off_on_the_way_is_paid_as_far_as_it_went() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(&["CAR0"]);
    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    riders_and_vehicles(&desk, &["rita"], &["CAR0"]).await;
    business.settle().await;
    desk.book(&ORGANIZATION(), ride("rita"), asker("b-1")).await.unwrap();
    let at = |hundreds: i32| 481_000_000 + HUNDRED_M * hundreds;
    for (hundreds, kmh, state) in [(1, 30.0, "arriving"), (3, 0.0, "boarding"), (8, 50.0, "under-way")] {
        fleet.put("CAR0", at(hundreds), kmh);
        until(&desk, "b-1", state).await;
    }
    let ended = desk.cancel(&ORGANIZATION(), "b-1", "the rider feels ill", asker("c-1")).await.unwrap();
    assert_eq!(ended.state, "completed");
    business.settle().await;
    let rita = desk.user(&ORGANIZATION(), "rita").await.unwrap();
    assert!(rita.held == 0 && rita.available < 10_000, "{rita:?}");
    let figures = business.figures();
    assert_eq!((figures.reactors_stopped, figures.ledger_sum_minor_units), (0, 0));
    business.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_bookings_for_the_last_vehicle_one_wins_and_one_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(&["CAR0"]);
    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    riders_and_vehicles(&desk, &["rita", "rob"], &["CAR0"]).await;
    business.settle().await;
    let named = |rider: &str| BookTrip { vehicles: vec!["CAR0".into()], ..ride(rider) };
    let organization = ORGANIZATION();
    let (one, other) = tokio::join!(
        desk.book(&organization, named("rita"), asker("b-1")),
        desk.book(&organization, named("rob"), asker("b-2")),
    );
    let mut states = [one.unwrap().state, other.unwrap().state];
    states.sort_unstable();
    assert_eq!(states, ["assigned", "not-booked"]);
    business.settle().await;
    let held =
        [desk.user(&ORGANIZATION(), "rita").await.unwrap(), desk.user(&ORGANIZATION(), "rob").await.unwrap()];
    assert_eq!(held.iter().filter(|user| user.held > 0).count(), 1, "{held:?}");
    business.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_booking_that_cannot_be_confirmed_is_undone_and_its_timeline_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (fleet, mute) = (Fleet::new(&["CAR0"]), Arc::new(AtomicBool::new(true)));
    let business = start(folder.path(), &fleet, Some(&mute)).await;
    let desk = business.desk();
    riders_and_vehicles(&desk, &["rita"], &["CAR0"]).await;
    business.settle().await;
    let trip = desk.book(&ORGANIZATION(), ride("rita"), asker("b-1")).await.unwrap();
    assert_eq!(trip.saga, "compensated", "{trip:?}");
    let (saga, lines) = desk.saga(&ORGANIZATION(), "b-1").await.unwrap();
    assert_eq!(saga.definition, "TripBookingSaga");
    assert!(lines.iter().any(|line| line.what.contains("no-address")), "{lines:#?}");
    business.settle().await;
    let user = desk.user(&ORGANIZATION(), "rita").await.unwrap();
    assert_eq!((user.available, user.held), (10_000, 0));
    // Nothing is stuck, so there is nothing to resolve.
    let refused = desk.resolve(&ORGANIZATION(), "b-1", Resolution::Retry, "why not", asker("r-1")).await;
    assert!(matches!(refused, Err(BusinessError::Refused { .. })), "{refused:?}");
    mute.store(false, Ordering::Relaxed);
    let second = desk.book(&ORGANIZATION(), ride("rita"), asker("b-2")).await.unwrap();
    assert_eq!(second.state, "assigned", "the vehicle was given back: {second:?}");
    business.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_with_a_stable_code() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(&["CAR0"]);
    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    let code = |error: BusinessError| match error {
        BusinessError::Refused { code, .. } => code,
        BusinessError::NotFound { what, .. } => format!("no {what}"),
        BusinessError::Unavailable(text) => panic!("{text}"),
    };
    let booked = |trip: BookTrip, id: &'static str| {
        let desk = Arc::clone(&desk);
        async move { desk.book(&ORGANIZATION(), trip, asker(id)).await }
    };
    assert_eq!(code(booked(ride("rita"), "b-1").await.unwrap_err()), "no-vehicle-free");
    // Nothing was promised under that name: it may be used for another ride.
    let mut longer = ride("rita");
    longer.stops[1].latitude_e7 += HUNDRED_M * 50;
    assert_eq!(code(booked(longer, "b-1").await.unwrap_err()), "no-vehicle-free");
    riders_and_vehicles(&desk, &["rita"], &["CAR0"]).await;
    business.settle().await;
    let one_stop = BookTrip { stops: ride("rita").stops[..1].to_vec(), ..ride("rita") };
    assert_eq!(code(booked(one_stop, "b-2").await.unwrap_err()), "bad-stops");
    let stranger = booked(ride("nobody"), "b-3").await.unwrap();
    assert_eq!((stranger.state, stranger.saga), ("not-booked", "compensated"));
    assert_eq!(code(desk.trip(&ORGANIZATION(), "b-9").await.unwrap_err()), "no trip");
    assert_eq!(code(desk.user(&ORGANIZATION(), "nobody").await.unwrap_err()), "no user");
    assert_eq!(code(desk.saga(&ORGANIZATION(), "b-9").await.unwrap_err()), "no saga");
    assert_eq!(code(desk.trips(&ORGANIZATION(), Some("flying"), None, 5).await.unwrap_err()), "bad-state");
    let elsewhere = OrganizationId::new("another").unwrap();
    assert_eq!(code(desk.user(&elsewhere, "rita").await.unwrap_err()), "no organization");
    business.stop().await;
}
