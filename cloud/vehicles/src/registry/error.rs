//! What a vehicle's record refuses. Refusals are expected; each has a stable code.

use remuda_eventsourcing::Refusal;

/// Why a wish was not granted, or a report not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryRefusal {
    /// Nobody has registered it.
    #[error("the vehicle is not registered; register it first")]
    NotRegistered,
    /// It is registered as something else.
    #[error("the vehicle is registered as something else; change it instead")]
    AlreadyRegistered,
    /// It is no longer ours.
    #[error("the vehicle was retired; register it under a new id")]
    Retired,
    /// A value that cannot be.
    #[error("{0}")]
    BadValue(&'static str),
    /// It has no such sensor.
    #[error("the vehicle has no sensor of this name; list its sensors to see which there are")]
    NoSuchSensor,
    /// Too many of something.
    #[error("at most {max} {what} are kept of a vehicle")]
    TooMany {
        /// What.
        what: &'static str,
        /// How many may be.
        max: usize,
    },
    /// An odometer that jumps.
    #[error("the odometer stands at {known} m; {told} m cannot be: check the vehicle")]
    OdometerJumps {
        /// Where it stands.
        known: u64,
        /// What was told.
        told: u64,
    },
    /// A time before what is known, or ahead of now.
    #[error("this time lies before the last service, or ahead of now")]
    TimeOutOfOrder,
}

impl Refusal for RegistryRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NotRegistered => "vehicle-not-registered",
            Self::AlreadyRegistered => "vehicle-already-registered",
            Self::Retired => "vehicle-retired",
            Self::BadValue(_) => "bad-value",
            Self::NoSuchSensor => "no-such-sensor",
            Self::TooMany { .. } => "too-many",
            Self::OdometerJumps { .. } => "odometer-jumps",
            Self::TimeOutOfOrder => "time-out-of-order",
        }
    }
}
