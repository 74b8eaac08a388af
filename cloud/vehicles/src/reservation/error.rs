//! What a vehicle's reservation refuses. Refusals are expected; each has a stable code.

use remuda_eventsourcing::Refusal;

/// Why a wish was not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReservationRefusal {
    /// Somebody else has it.
    #[error("the vehicle is reserved for {holder}; take another, or wait until it is released")]
    VehicleReserved {
        /// For what.
        holder: String,
    },
    /// It is not to be had.
    #[error("the vehicle is not in service: {0}")]
    NotInService(String),
    /// It is over.
    #[error("the reservation with this key has ended; use a new key")]
    ReservationEnded,
    /// The key stands for something else.
    #[error("this key reserved the vehicle for something else; use a new key")]
    KeyReused,
    /// Nobody has it under this key.
    #[error("there is no reservation with this key")]
    NoSuchReservation,
    /// A value that cannot be.
    #[error("{0}")]
    BadValue(&'static str),
}

impl Refusal for ReservationRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::VehicleReserved { .. } => "vehicle-reserved",
            Self::NotInService(_) => "vehicle-not-in-service",
            Self::ReservationEnded => "reservation-ended",
            Self::KeyReused => "reservation-key-reused",
            Self::NoSuchReservation => "no-such-reservation",
            Self::BadValue(_) => "bad-value",
        }
    }
}
