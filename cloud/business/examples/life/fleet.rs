//! Vehicles that are where their rides want them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_contracts::business::Place;
use remuda_contracts::fleet::{
    FleetChange, FleetView, Position, Presence, TwinValue, TwinView, VehicleDetail, VehicleSummary,
};
use remuda_model::{OrganizationId, VehicleId, signal};
use tokio::sync::broadcast;

use crate::faults::mix;

/// 100 m of latitude, 1e-7 degrees.
const HUNDRED_M: i32 = 8_993;

type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

#[derive(Clone, Copy)]
struct Standing {
    position: Position,
    time_ms: i64,
}

/// The fleet.
pub struct Fleet {
    vehicles: Mutex<BTreeMap<VehicleId, Standing>>,
    changes: broadcast::Sender<FleetChange>,
    clock: Clock,
}

impl Fleet {
    pub fn new(count: usize, seed: u64, clock: Clock) -> Arc<Self> {
        let now = clock();
        let vehicle = |n: usize| {
            let drawn = mix(seed ^ n as u64);
            let position = Position {
                latitude_e7: 480_000_000 + (drawn % 900_000) as i32,
                longitude_e7: 115_000_000 + (drawn / 900_000 % 900_000) as i32,
                heading_deg: 0.0,
                speed_kmh: 0.0,
            };
            let id = VehicleId::new(&format!("CAR{n:03}")).ok()?;
            Some((id, Standing { position, time_ms: now }))
        };
        let vehicles = (0..count).filter_map(vehicle).collect();
        Arc::new(Self { vehicles: Mutex::new(vehicles), changes: broadcast::channel(16).0, clock })
    }

    pub fn ids(&self) -> Vec<VehicleId> {
        self.vehicles.lock().keys().copied().collect()
    }

    /// Puts a vehicle where the state of its ride wants it next.
    pub fn drive(&self, vehicle: &str, state: &str, stops: &[Place]) {
        let Ok(id) = VehicleId::new(vehicle) else { return };
        let mut vehicles = self.vehicles.lock();
        let Some(standing) = vehicles.get_mut(&id) else { return };
        let (pick_up, drop_off) = (stops[0], stops[stops.len() - 1]);
        let (at, metres_off, speed_kmh) = match state {
            "assigned" => (pick_up, 3, 30.0),
            "arriving" => (pick_up, 0, 0.0),
            "boarding" => (pick_up, 3, 40.0),
            _ => (drop_off, 0, 0.0),
        };
        let place = (at.latitude_e7 + HUNDRED_M * metres_off, at.longitude_e7);
        (standing.position.latitude_e7, standing.position.longitude_e7) = place;
        standing.position.speed_kmh = speed_kmh;
        standing.time_ms = (self.clock)().max(standing.time_ms + 1);
    }

    fn line(vehicle: VehicleId, standing: &Standing) -> VehicleSummary {
        VehicleSummary {
            organization: OrganizationId::default(),
            vehicle,
            presence: Presence::Online,
            last_seen_ms: standing.time_ms,
            position: Some(standing.position),
            charge_percent: None,
            open_alerts: 0,
            revision: 1,
        }
    }
}

#[async_trait]
impl FleetView for Fleet {
    async fn twin(&self, _: &OrganizationId, vehicle: &VehicleId) -> Option<TwinView> {
        let standing = *self.vehicles.lock().get(vehicle)?;
        let value = |wanted, physical: f64| {
            let raw = signal::by_id(wanted)?.to_raw(physical);
            Some(TwinValue { signal: wanted, raw, sampled_ms: standing.time_ms })
        };
        let latitude = f64::from(standing.position.latitude_e7) * 1e-7;
        // An odometer that only ever grows, in every life: a metre for each tenth of a second since 2025.
        let odometer_m = (standing.time_ms - 1_735_689_600_000) / 100;
        let values = [value(signal::LATITUDE, latitude), value(signal::ODOMETER, odometer_m as f64)];
        Some(TwinView {
            summary: Self::line(*vehicle, &standing),
            values: values.into_iter().flatten().collect(),
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
        let lines = all.iter().filter(|(id, _)| after.is_none_or(|after| *id > after));
        lines
            .map(|(id, standing)| Self::line(*id, standing))
            .filter(|line| matches(line))
            .take(limit)
            .collect()
    }

    fn count(&self, _: &OrganizationId) -> usize {
        self.vehicles.lock().len()
    }

    fn changes(&self) -> broadcast::Receiver<FleetChange> {
        self.changes.subscribe()
    }
}
