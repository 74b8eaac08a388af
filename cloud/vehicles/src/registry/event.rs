//! Facts about a vehicle as a thing, and their bytes.

use remuda_eventsourcing::event_codec;
use serde::{Deserialize, Serialize};

use super::state::{Sensor, ServicePlan, VehicleDetails};

/// It is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// What it is.
    pub details: VehicleDetails,
    /// Its odometer, m.
    pub odometer_m: u64,
    /// When, ms since 1970 UTC; service counts from here.
    pub time_ms: i64,
}

/// It is something else, or belongs elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// What it is now.
    pub details: VehicleDetails,
}

/// It is no longer ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// Why.
    pub reason: String,
}

/// A sensor is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SensorFitted {
    /// Its name.
    pub name: String,
    /// What it is.
    pub sensor: Sensor,
}

/// A sensor is out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SensorRemoved {
    /// Its name.
    pub name: String,
}

/// An ECU runs something else than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareReported {
    /// Which.
    pub ecu: String,
    /// What.
    pub version: String,
    /// When, ms since 1970 UTC.
    pub at_ms: i64,
}

/// It has driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OdometerAdvanced {
    /// Where the odometer stands, m.
    pub odometer_m: u64,
}

/// A trip was completed with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TripCounted {
    /// Which.
    pub trip: String,
    /// How far, m.
    pub distance_m: u64,
    /// Where the odometer stands after it, m.
    pub odometer_m: u64,
}

/// It must be serviced so often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePlanned {
    /// How often.
    pub plan: ServicePlan,
}

/// It must be serviced now. Said once until it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceFellDue {
    /// Where the odometer stood, m.
    pub odometer_m: u64,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// It was serviced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serviced {
    /// Where the odometer stood, m.
    pub odometer_m: u64,
    /// When, ms since 1970 UTC.
    pub at_ms: i64,
    /// What was done.
    pub note: String,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryEvent {
    /// See [`Registered`].
    Registered(Registered),
    /// See [`Changed`].
    Changed(Changed),
    /// See [`Retired`].
    Retired(Retired),
    /// See [`SensorFitted`].
    SensorFitted(SensorFitted),
    /// See [`SensorRemoved`].
    SensorRemoved(SensorRemoved),
    /// See [`FirmwareReported`].
    FirmwareReported(FirmwareReported),
    /// See [`OdometerAdvanced`].
    OdometerAdvanced(OdometerAdvanced),
    /// See [`TripCounted`].
    TripCounted(TripCounted),
    /// See [`ServicePlanned`].
    ServicePlanned(ServicePlanned),
    /// See [`ServiceFellDue`].
    ServiceFellDue(ServiceFellDue),
    /// See [`Serviced`].
    Serviced(Serviced),
}

event_codec!(RegistryEvent {
    Registered = "vehicle-registry.registered" 1,
    Changed = "vehicle-registry.changed" 1,
    Retired = "vehicle-registry.retired" 1,
    SensorFitted = "vehicle-registry.sensor-fitted" 1,
    SensorRemoved = "vehicle-registry.sensor-removed" 1,
    FirmwareReported = "vehicle-registry.firmware-reported" 1,
    OdometerAdvanced = "vehicle-registry.odometer-advanced" 1,
    TripCounted = "vehicle-registry.trip-counted" 1,
    ServicePlanned = "vehicle-registry.service-planned" 1,
    ServiceFellDue = "vehicle-registry.service-fell-due" 1,
    Serviced = "vehicle-registry.serviced" 1,
});
