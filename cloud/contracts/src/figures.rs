//! What is said about rides and energy beside the trip itself: prices, corrections, charging. For analytics
//! and whoever counts.

use serde::{Deserialize, Serialize};

use crate::money::Money;

/// Type of the event in the journal whose payload is a [`RidePriced`]; the aggregate's id is the trip's.
/// Never renamed.
pub const RIDE_PRICED: &str = "payment.priced";
/// Type of the event in the journal whose payload is a [`TripCorrected`]; the aggregate's id is the trip's.
/// Never renamed.
pub const TRIP_CORRECTED: &str = "trip.corrected";
/// Type of the event in the journal whose payload is a [`ChargingSession`]. Never renamed.
pub const CHARGING_COMPLETED: &str = "charging.completed";
/// Version of the payloads that this code writes.
pub const FIGURES_SCHEMA_VERSION: u16 = 1;

/// What a ride costs, once it is charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RidePriced {
    /// Without tax.
    pub net: Money,
    /// With tax.
    pub gross: Money,
    /// Code of the tariff.
    pub tariff: String,
}

/// The telemetry of a ride has come in and says something else than the marks did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TripCorrected {
    /// From start to end, m.
    pub distance_m: u64,
    /// Used from start to end, Wh.
    pub energy_wh: Option<i64>,
}

/// A vehicle has taken energy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargingSession {
    /// Which: unique in the organisation.
    pub session: String,
    /// Vehicle.
    pub vehicle: String,
    /// Fleet.
    pub fleet: Option<String>,
    /// Depot.
    pub depot: Option<String>,
    /// When it ended, ms since 1970 UTC.
    pub end_ms: i64,
    /// Taken, Wh.
    pub energy_wh: i64,
}
