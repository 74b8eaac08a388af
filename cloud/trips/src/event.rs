//! Facts about a trip, and their bytes.

use remuda_contracts::sealed::Sealed;
use remuda_contracts::trips::{Mark, TripCancelled, TripCompleted, TripParties};
use remuda_eventsourcing::event_codec;
use serde::{Deserialize, Serialize};

use crate::state::{Plan, Stop};

/// Somebody wants to ride.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    /// The trip.
    pub id: String,
    /// Whose; without a vehicle.
    pub parties: TripParties,
    /// What was asked for.
    pub plan: Plan,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// A vehicle has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// Which.
    pub vehicle: String,
    /// Who drives.
    pub driver: Option<String>,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// It waits for another vehicle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unassigned {
    /// Which does not come.
    pub vehicle: String,
    /// Why.
    pub reason: String,
}

/// The vehicle is on its way to the pick-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetOff {
    /// What it said then.
    pub mark: Mark,
    /// Concluded from a later report.
    pub inferred: bool,
}

/// The vehicle is at a stop, or has left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtStop {
    /// Which; 0 = the pick-up.
    pub stop: u16,
    /// What it said then.
    pub mark: Mark,
    /// Concluded from a later report.
    pub inferred: bool,
}

/// A report that had been concluded has come after all: this is what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VisitCorrected {
    /// Which stop.
    pub stop: u16,
    /// Into its fence, or out of it.
    pub entered: bool,
    /// What the vehicle said then.
    pub mark: Mark,
}

/// Other stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopsChanged {
    /// The first that changed.
    pub from: u16,
    /// What comes instead.
    pub stops: Vec<Stop>,
    /// Length of the whole route as planned now, m.
    pub planned_distance_m: Option<u64>,
}

/// An operator ended it by hand; the completion follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concluded {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// How it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rated {
    /// 1 to 5.
    pub stars: u8,
    /// In the rider's words, sealed.
    pub comment: Option<Sealed>,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// Others may follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// Ms since 1970 UTC.
    pub expires_ms: i64,
}

/// They may no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unshared {
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TripEvent {
    /// See [`Requested`].
    Requested(Requested),
    /// See [`Assigned`].
    Assigned(Assigned),
    /// See [`Unassigned`].
    Unassigned(Unassigned),
    /// See [`SetOff`].
    SetOff(SetOff),
    /// Into the fence of a stop; of the pick-up: boarding begins.
    StopReached(AtStop),
    /// Out of the fence of a stop; of the pick-up: the ride begins.
    StopLeft(AtStop),
    /// See [`VisitCorrected`].
    VisitCorrected(VisitCorrected),
    /// See [`StopsChanged`].
    StopsChanged(StopsChanged),
    /// See [`Concluded`].
    Concluded(Concluded),
    /// Said once per trip; billing, analytics and odometers read it.
    Completed(TripCompleted),
    /// It was called off.
    Cancelled(TripCancelled),
    /// Nobody came.
    NoShow(TripCancelled),
    /// See [`Rated`].
    Rated(Rated),
    /// See [`Shared`].
    Shared(Shared),
    /// See [`Unshared`].
    Unshared(Unshared),
}

event_codec!(TripEvent {
    Requested = "trip.requested" 1,
    Assigned = "trip.assigned" 1,
    Unassigned = "trip.unassigned" 1,
    SetOff = "trip.set-off" 1,
    StopReached = "trip.stop-reached" 1,
    StopLeft = "trip.stop-left" 1,
    VisitCorrected = "trip.visit-corrected" 1,
    StopsChanged = "trip.stops-changed" 1,
    Concluded = "trip.concluded" 1,
    Completed = "trip.completed" 1,
    Cancelled = "trip.cancelled" 1,
    NoShow = "trip.no-show" 1,
    Rated = "trip.rated" 1,
    Shared = "trip.shared" 1,
    Unshared = "trip.unshared" 1,
});
