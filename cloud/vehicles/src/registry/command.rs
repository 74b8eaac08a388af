//! What is asked of a vehicle's record, and what is reported to it.

use super::state::{Sensor, ServicePlan, VehicleDetails};

/// A wish or a report; [`super::decide()`] may refuse it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryCommand {
    /// It is ours.
    Register {
        /// What it is.
        details: VehicleDetails,
        /// Its odometer, m.
        odometer_m: u64,
    },
    /// It is something else, or belongs elsewhere.
    Change(VehicleDetails),
    /// It is no longer ours.
    Retire {
        /// Why.
        reason: String,
    },
    /// A sensor is in it; one of the same name is replaced.
    FitSensor {
        /// Its name.
        name: String,
        /// What it is.
        sensor: Sensor,
    },
    /// A sensor is out of it.
    RemoveSensor {
        /// Its name.
        name: String,
    },
    /// An ECU says what it runs.
    ReportFirmware {
        /// Which.
        ecu: String,
        /// What.
        version: String,
        /// When, ms since 1970 UTC.
        at_ms: i64,
    },
    /// The odometer stands here.
    ReportOdometer {
        /// M.
        odometer_m: u64,
    },
    /// A trip was completed with it. The same trip again counts once.
    CountTrip {
        /// Which.
        trip: String,
        /// How far, m.
        distance_m: u64,
        /// Where the odometer stood then, m.
        odometer_m: Option<u64>,
    },
    /// It must be serviced so often.
    PlanService(ServicePlan),
    /// It was serviced.
    RecordService {
        /// Where the odometer stood, m.
        odometer_m: u64,
        /// When, ms since 1970 UTC.
        at_ms: i64,
        /// What was done.
        note: String,
    },
    /// Time has passed.
    CheckService,
}
