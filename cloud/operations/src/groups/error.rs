//! What a group command refuses. Refusals are expected; each has a stable code.

use remuda_eventsourcing::Refusal;

use crate::limits;

/// Why a wish was not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupRefusal {
    /// Nobody created it.
    #[error("there is no such group command")]
    NoSuchGroup,
    /// Another one has this request id.
    #[error("another group command with this request id says something else; use a new request id")]
    RequestIdReused,
    /// No vehicle.
    #[error("no vehicle matches; preview the filter to see which are left out, and why")]
    NoVehicles,
    /// Too many vehicles.
    #[error("{0} vehicles match, at most {max} can be commanded at once; narrow the filter", max = limits::VEHICLES_MAX)]
    TooManyVehicles(usize),
    /// A value that cannot be.
    #[error("{0}")]
    BadValue(&'static str),
    /// It is where this cannot be done.
    #[error("the group command is {0}, so this cannot be done")]
    WrongPhase(&'static str),
    /// What was agreed to is not what this says.
    #[error("what was approved is not what this group command says; nothing is given")]
    OtherContent,
}

impl Refusal for GroupRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NoSuchGroup => "no-such-command-group",
            Self::RequestIdReused => "request-id-reused",
            Self::NoVehicles => "no-vehicles",
            Self::TooManyVehicles(_) => "too-many-vehicles",
            Self::BadValue(_) => "bad-value",
            Self::WrongPhase(_) => "command-group-phase",
            Self::OtherContent => "content-changed",
        }
    }
}
