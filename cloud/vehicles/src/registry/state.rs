//! What is known of a vehicle as a thing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What moves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Powertrain {
    /// A battery.
    Electric,
    /// Fuel.
    Combustion,
    /// Both.
    Hybrid,
    /// Hydrogen.
    FuelCell,
}

/// What it is, and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VehicleDetails {
    /// Who made it.
    pub manufacturer: String,
    /// What they call it.
    pub model: String,
    /// Model year.
    pub year: u16,
    /// What moves it.
    pub powertrain: Powertrain,
    /// Seats for riders.
    pub seats: u16,
    /// What it can do besides, such as `wheelchair`, `child-seat`, `ccs-2`. Kebab-case.
    pub capabilities: BTreeSet<String>,
    /// Class of licence that a driver needs.
    pub licence_class: String,
    /// Number plate.
    pub plate: Option<String>,
    /// Fleet.
    pub fleet: Option<String>,
    /// Depot.
    pub depot: Option<String>,
}

/// A sensor in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sensor {
    /// What it measures: a VSS path.
    pub signal: String,
    /// Its part, for who replaces it.
    pub part: String,
    /// When it was fitted, ms since 1970 UTC.
    pub fitted_ms: i64,
}

/// What an ECU runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firmware {
    /// Version, as the ECU says it.
    pub version: String,
    /// When it said so, ms since 1970 UTC.
    pub at_ms: i64,
}

/// When it must be serviced: whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePlan {
    /// After so many metres.
    pub every_m: Option<u64>,
    /// After so much time, ms.
    pub every_ms: Option<i64>,
}

/// Where a vehicle stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RegistryPhase {
    /// Nobody has registered it.
    #[default]
    Unknown,
    /// It is ours.
    Registered,
    /// It was.
    Retired,
}

/// A vehicle as a thing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VehicleRecord {
    /// Where it stands.
    pub phase: RegistryPhase,
    /// What it is.
    pub details: Option<VehicleDetails>,
    /// By name. Bounded by [`super::limits::SENSORS_MAX`].
    pub sensors: BTreeMap<String, Sensor>,
    /// By ECU. Bounded by [`super::limits::ECUS_MAX`].
    pub firmware: BTreeMap<String, Firmware>,
    /// Odometer, m.
    pub odometer_m: u64,
    /// Driven in completed trips, m.
    pub trips_m: u64,
    /// Completed trips.
    pub trips: u64,
    /// Trips that were counted, oldest first. Bounded by [`super::limits::TRIPS_MAX`].
    pub counted: Vec<String>,
    /// When it must be serviced.
    pub service: Option<ServicePlan>,
    /// Odometer at the last service, m.
    pub serviced_m: u64,
    /// When that was, ms since 1970 UTC.
    pub serviced_ms: i64,
    /// It was told that service is due.
    pub service_due: bool,
}

impl VehicleRecord {
    /// Must it be serviced, at this odometer and time?
    pub fn is_service_due(&self, odometer_m: u64, now_ms: i64) -> bool {
        self.service.is_some_and(|plan| {
            plan.every_m.is_some_and(|every_m| odometer_m >= self.serviced_m.saturating_add(every_m))
                || plan.every_ms.is_some_and(|every_ms| now_ms >= self.serviced_ms.saturating_add(every_ms))
        })
    }
}
