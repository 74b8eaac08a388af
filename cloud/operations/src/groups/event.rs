//! Facts about group commands, and their bytes.

use remuda_eventsourcing::event_codec;
use remuda_model::VehicleId;
use remuda_wire::CommandKind;
use serde::{Deserialize, Serialize};

use super::state::Outcome;

/// When it pauses by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threshold {
    /// Of the vehicles that have answered, so many percent failed.
    pub percent: u8,
    /// Not before so many have answered.
    pub after_vehicles: u32,
}

/// What a group command says, but for its vehicles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// What to do.
    pub kind: CommandKind,
    /// Why.
    pub reason: String,
    /// The filter that found the vehicles.
    pub filter: String,
    /// Who wants it.
    pub requested_by: String,
    /// What stays the same of them.
    pub identity: String,
    /// The request's own name for itself.
    pub request_id: String,
    /// How many vehicles of the filter's were left out.
    pub excluded: u32,
    /// Vehicles begun in 1,000 seconds.
    pub vehicles_per_1000_s: u32,
    /// Vehicles whose command is under way at once.
    pub under_way_max: u32,
    /// How long each command may wait for its vehicle, ms.
    pub ttl_ms: i64,
    /// When it pauses by itself.
    pub threshold: Option<Threshold>,
}

/// There is a group command; its vehicles follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// What it says.
    pub spec: Spec,
    /// How many vehicles it has.
    pub vehicles: u32,
    /// SHA-256 of all of it.
    pub digest: [u8; 32],
    /// Why it waits for a second person; none when it begins at once.
    pub because: Option<String>,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// Some of its vehicles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VehiclesNamed {
    /// In order.
    pub vehicles: Vec<VehicleId>,
}

/// Somebody steered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steered {
    /// Who: a person, or `threshold`.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// The turn of some vehicles has come. Written before any of them is told anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispatched {
    /// The place of the first.
    pub from: u32,
    /// How many.
    pub count: u32,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// Vehicles' commands have ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Place, how, and the vehicle's words.
    pub endings: Vec<(u32, Outcome, String)>,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// Everything has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completed {
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupEvent {
    /// See [`Created`].
    Created(Created),
    /// See [`VehiclesNamed`].
    VehiclesNamed(VehiclesNamed),
    /// A second person agreed.
    Approved(Steered),
    /// No second person agreed.
    Denied(Steered),
    /// See [`Dispatched`].
    Dispatched(Dispatched),
    /// See [`Settled`].
    Settled(Settled),
    /// It gives no more for now.
    Paused(Steered),
    /// It goes on.
    Resumed(Steered),
    /// It gives no more at all.
    Aborted(Steered),
    /// See [`Completed`].
    Completed(Completed),
}

event_codec!(GroupEvent {
    Created = "command-group.created" 1,
    VehiclesNamed = "command-group.vehicles-named" 1,
    Approved = "command-group.approved" 1,
    Denied = "command-group.denied" 1,
    Dispatched = "command-group.dispatched" 1,
    Settled = "command-group.settled" 1,
    Paused = "command-group.paused" 1,
    Resumed = "command-group.resumed" 1,
    Aborted = "command-group.aborted" 1,
    Completed = "command-group.completed" 1,
});
