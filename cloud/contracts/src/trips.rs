//! What the trips domain tells the others: that a ride ended, and what it amounted to.
//!
//! `trip.completed` carries every figure that money needs, taken from the vehicle's own marks: billing never waits for
//! telemetry. [`Mark::samples`] says up to where the telemetry must have come before analytics are more than provisional.

use serde::{Deserialize, Serialize};

use crate::money::Money;

/// Type of the event in the journal whose payload is a [`TripCompleted`]. Never renamed.
pub const TRIP_COMPLETED: &str = "trip.completed";
/// Type of the event in the journal whose payload is a [`TripCancelled`]: a ride that ended without being driven.
pub const TRIP_CANCELLED: &str = "trip.cancelled";
/// Type of the event in the journal whose payload is a [`TripCancelled`] too: nobody came to the pick-up.
pub const TRIP_NO_SHOW: &str = "trip.no-show";
/// Version of the payloads that this code writes.
pub const TRIP_SCHEMA_VERSION: u16 = 1;

/// A place in the vehicle's `samples` lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplesAt {
    /// The start of the agent that numbers them.
    pub incarnation: u64,
    /// The last sample frame made before the mark.
    pub seq: u64,
}

/// What a vehicle said of itself at one moment of a trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The vehicle's time, ms since 1970 UTC.
    pub time_ms: i64,
    /// 1e-7 degrees, north positive.
    pub latitude_e7: i32,
    /// 1e-7 degrees, east positive.
    pub longitude_e7: i32,
    /// Odometer, m; absent when the vehicle does not tell.
    pub odometer_m: Option<u64>,
    /// Energy left in battery or tank, Wh, from any zero that stays: only differences mean something. Absent when the vehicle
    /// does not tell.
    pub energy_wh: Option<i64>,
    /// Where the telemetry stood.
    pub samples: Option<SamplesAt>,
}

/// Where the distance of a trip comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DistanceSource {
    /// The difference of two odometer readings.
    Odometer,
    /// The route as planned: the vehicle does not tell its odometer.
    Planned,
    /// A straight line between the stops: nothing better is known.
    StraightLine,
}

/// What was promised to the rider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuoteReference {
    /// The quote's id in billing.
    pub quote_id: String,
    /// Its amount.
    pub price: Money,
}

/// Who and what a trip belongs to. The organisation stands in the envelope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TripParties {
    /// Who rides: a user's id.
    pub rider: String,
    /// Which vehicle; empty while none is assigned.
    pub vehicle: String,
    /// Who drives, when somebody does.
    pub driver: Option<String>,
    /// Fleet.
    pub fleet: Option<String>,
    /// Depot.
    pub depot: Option<String>,
}

/// A ride ended at its drop-off. Said once per trip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TripCompleted {
    /// Which.
    pub trip: String,
    /// Whose.
    pub parties: TripParties,
    /// When it was asked for, ms since 1970 UTC.
    pub requested_ms: i64,
    /// Leaving the pick-up.
    pub start: Mark,
    /// At rest at the drop-off, or leaving it.
    pub end: Mark,
    /// From start to end, m.
    pub distance_m: u64,
    /// Where that comes from.
    pub distance_source: DistanceSource,
    /// From start to end, ms.
    pub duration_ms: i64,
    /// Used from start to end, Wh; negative when more was charged than used. Absent when unknown.
    pub energy_wh: Option<i64>,
    /// Standing at pick-up and stops beyond the time that is free, ms.
    pub waiting_ms: i64,
    /// Stops between pick-up and drop-off.
    pub stops: u16,
    /// What was promised.
    pub quote: Option<QuoteReference>,
    /// The key under which the rider's credits are held (the booking), when they are.
    pub hold_key: Option<String>,
}

/// Who ended a ride that was not driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CancelledBy {
    /// The rider.
    Rider,
    /// The driver.
    Driver,
    /// An operator or dispatcher.
    Operator,
    /// The platform: a saga that unwinds.
    System,
}

/// What a fee may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CancellationFee {
    /// Nothing.
    None,
    /// The rider went away after the free time.
    LateCancellation,
    /// The rider did not come.
    NoShow,
}

/// A ride ended without being driven, or before its drop-off; what a rule about fees needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TripCancelled {
    /// Which.
    pub trip: String,
    /// Whose.
    pub parties: TripParties,
    /// Who ended it.
    pub by: CancelledBy,
    /// Why, in their words or a code.
    pub reason: String,
    /// What fee the terms of the trip allow for.
    pub fee: CancellationFee,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
    /// Since a vehicle was assigned, ms; absent when none was.
    pub since_assigned_ms: Option<i64>,
    /// How long the vehicle waited at the pick-up, ms.
    pub waited_ms: i64,
    /// Driven with the rider on board, m: not zero only when an operator ended a ride under way.
    pub driven_m: u64,
    /// What was promised.
    pub quote: Option<QuoteReference>,
    /// The key under which the rider's credits are held, when they are.
    pub hold_key: Option<String>,
}
