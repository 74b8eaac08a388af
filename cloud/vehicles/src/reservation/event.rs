//! Facts about who has a vehicle, and their bytes.

use remuda_eventsourcing::event_codec;
use serde::{Deserialize, Serialize};

/// It can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutInService {}

/// It cannot be had, from now on or as soon as it is free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOutOfService {
    /// Why.
    pub reason: String,
}

/// Somebody has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// Whose reservation it is.
    pub key: String,
    /// What for.
    pub holder: String,
    /// Since when, ms since 1970 UTC.
    pub time_ms: i64,
    /// When it ends by itself, ms since 1970 UTC.
    pub expires_ms: i64,
}

/// Somebody has it for longer, or for less long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extended {
    /// Which.
    pub key: String,
    /// When it ends by itself, ms since 1970 UTC.
    pub expires_ms: i64,
}

/// Somebody is done with it, by wish or by time; or has called it off before having it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which.
    pub key: String,
    /// They had it.
    pub held: bool,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReservationEvent {
    /// See [`PutInService`].
    PutInService(PutInService),
    /// It is out of service now.
    TakenOutOfService(TakenOutOfService),
    /// It goes out of service when it is free.
    WithdrawalOrdered(TakenOutOfService),
    /// See [`Reserved`].
    Reserved(Reserved),
    /// See [`Extended`].
    Extended(Extended),
    /// By wish.
    Released(Ended),
    /// By time.
    Expired(Ended),
}

event_codec!(ReservationEvent {
    PutInService = "vehicle-reservation.put-in-service" 1,
    TakenOutOfService = "vehicle-reservation.taken-out-of-service" 1,
    WithdrawalOrdered = "vehicle-reservation.withdrawal-ordered" 1,
    Reserved = "vehicle-reservation.reserved" 1,
    Extended = "vehicle-reservation.extended" 1,
    Released = "vehicle-reservation.released" 1,
    Expired = "vehicle-reservation.expired" 1,
});
