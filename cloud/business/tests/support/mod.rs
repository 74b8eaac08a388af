//! A business over a real journal, with vehicles whose positions the test moves.

#![allow(dead_code, missing_docs)] // Each test file uses a part of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_billing::invoices::Seller;
use remuda_business::{Business, BusinessMetrics, BusinessSettings};
use remuda_contracts::business::{Asker, BookTrip, BusinessDesk, Place, TripView};
use remuda_contracts::fleet::{
    FleetChange, FleetView, Position, Presence, SamplesSeen, TwinValue, TwinView, VehicleDetail,
    VehicleSummary,
};
use remuda_contracts::money::{Currency, Money};
use remuda_eventsourcing::{JournalMetrics, SledJournal};
use remuda_model::{Incarnation, OrganizationId, VehicleId, signal};
use remuda_saga::{ActionSpec, Service, StepContext, StepError};
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// Longer than anything here takes; only a fault reaches it.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// 100 m of latitude, 1e-7 degrees.
pub const HUNDRED_M: i32 = 8_993;

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// A fleet that stands where it is put.
pub struct Fleet {
    vehicles: Mutex<BTreeMap<VehicleId, (Position, f64, i64)>>,
    changes: broadcast::Sender<FleetChange>,
    /// Last sample frame that came, and the last that is durable.
    pub samples: Mutex<(u64, u64)>,
}

impl Fleet {
    pub fn new(vehicles: &[&str]) -> Arc<Self> {
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
        Arc::new(Self {
            vehicles: Mutex::new(vehicles),
            changes: broadcast::channel(16).0,
            samples: Mutex::default(),
        })
    }

    pub fn put(&self, vehicle: &str, latitude_e7: i32, speed_kmh: f32) {
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
        let (received, durable) = *self.samples.lock();
        let samples = vec![SamplesSeen { incarnation: Incarnation(1), received, durable }];
        // 150 Wh a kilometre.
        let consumed_kwh = state.1 / 1e3 * 0.15;
        Some(TwinView {
            summary: Self::line(*vehicle, state),
            values: vec![
                value(signal::LATITUDE, latitude),
                value(signal::ODOMETER, state.1),
                value(signal::CONSUMED_ENERGY, consumed_kwh),
            ],
            alerts: vec![],
            frames_durable: 0,
            frames_in_gaps: 0,
            frames_quarantined: 0,
            refusals: vec![],
            detail: VehicleDetail { samples, ..VehicleDetail::default() },
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
pub struct Herald(pub Arc<AtomicBool>);

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

pub async fn start(folder: &Path, fleet: &Arc<Fleet>, mute: Option<&Arc<AtomicBool>>) -> Business {
    let heralds = mute.iter().map(|mute| Arc::new(Herald(Arc::clone(mute))) as Arc<dyn Service>).collect();
    start_with(folder, fleet, |settings| settings.services = heralds).await
}

/// With other settings.
pub async fn start_with(
    folder: &Path,
    fleet: &Arc<Fleet>,
    set: impl FnOnce(&mut BusinessSettings),
) -> Business {
    let journal = SledJournal::open(&folder.join("journal"), JournalMetrics::default()).unwrap();
    let mut settings = BusinessSettings {
        folder: folder.join("business"),
        organization: OrganizationId::default(),
        roads: None,
        marks: None,
        mailer: None,
        on_call: None,
        services: Vec::new(),
        wrap_provider: None,
        seller: Seller { name: "Remuda".into(), address: vec![], tax_id: "DE1".into() },
        clock: Arc::new(now_ms),
    };
    set(&mut settings);
    let metrics = BusinessMetrics::default();
    Business::start(settings, Arc::new(journal), Arc::clone(fleet) as _, metrics).await.unwrap()
}

pub fn asker(request_id: &str) -> Asker {
    Asker { who: "ada".into(), request_id: request_id.into() }
}

pub const ORGANIZATION: fn() -> OrganizationId = OrganizationId::default;

pub async fn riders_and_vehicles(desk: &Arc<dyn BusinessDesk>, riders: &[&str], vehicles: &[&str]) {
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
pub fn ride(rider: &str) -> BookTrip {
    let stop =
        |hundreds: i32| Place { latitude_e7: 481_000_000 + HUNDRED_M * hundreds, longitude_e7: 115_000_000 };
    BookTrip { rider: rider.into(), stops: vec![stop(3), stop(23)], vehicles: vec![] }
}

pub async fn until(desk: &Arc<dyn BusinessDesk>, id: &str, state: &str) -> TripView {
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
