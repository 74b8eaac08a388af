//! What a trip refuses. Refusals are expected; each has a stable code.

use remuda_eventsourcing::Refusal;

/// Why a wish was not granted, or a report not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TripRefusal {
    /// Nobody has asked for it.
    #[error("there is no such trip; request it first")]
    NoSuchTrip,
    /// Somebody has asked for something else under this id.
    #[error("another trip has this id; use a new id")]
    TripExists,
    /// It is over.
    #[error("the trip has ended and does not change any more")]
    TripEnded,
    /// It is over, and was called off.
    #[error("the trip was called off; request a new one")]
    TripCancelled,
    /// A value that cannot be.
    #[error("{0}")]
    BadValue(&'static str),
    /// No vehicle has it.
    #[error("no vehicle is assigned to the trip")]
    NotAssigned,
    /// Another vehicle has it.
    #[error("the trip is assigned to vehicle {0}")]
    OtherVehicle(String),
    /// The rider is at the vehicle's door, or on board.
    #[error("the vehicle is at the pick-up already, or beyond; the trip keeps it")]
    AlreadyBoarding,
    /// The ride is on.
    #[error("the trip is under way: it ends at its drop-off; an operator may end it by hand")]
    UnderWay,
    /// The ride is not on.
    #[error("the trip is not under way; cancel it instead")]
    NotUnderWay,
    /// The trip has fewer.
    #[error("the trip has {0} stops; stop 0 is the pick-up")]
    NoSuchStop(usize),
    /// The vehicle has been there.
    #[error("stop {0} was reached already; only later stops can change")]
    StopPassed(usize),
    /// The rider changed their mind meanwhile.
    #[error("stop {0} is elsewhere now than the vehicle knew when it noticed that")]
    StopMoved(u16),
    /// A vehicle's clock is wrong.
    #[error("the report's time lies ahead of now; check the vehicle's clock")]
    MarkInTheFuture,
    /// It has not been driven.
    #[error("only a completed trip can be rated")]
    NotCompleted,
    /// Somebody else.
    #[error("only the trip's rider can rate it")]
    NotTheRider,
    /// Once is enough, and a day to think about it.
    #[error("the trip was rated already, and its rating can be changed for a day only")]
    AlreadyRated,
    /// Too late.
    #[error("the time for rating this trip is over")]
    RatingClosed,
    /// Too many links.
    #[error("a trip has at most {0} share links; take one back first")]
    TooManyShares(usize),
}

impl Refusal for TripRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NoSuchTrip => "no-such-trip",
            Self::TripExists => "trip-exists",
            Self::TripEnded => "trip-ended",
            Self::TripCancelled => "trip-cancelled",
            Self::BadValue(_) => "bad-value",
            Self::NotAssigned => "not-assigned",
            Self::OtherVehicle(_) => "other-vehicle",
            Self::AlreadyBoarding => "already-boarding",
            Self::UnderWay => "under-way",
            Self::NotUnderWay => "not-under-way",
            Self::NoSuchStop(_) => "no-such-stop",
            Self::StopPassed(_) => "stop-passed",
            Self::StopMoved(_) => "stop-moved",
            Self::MarkInTheFuture => "mark-in-the-future",
            Self::NotCompleted => "not-completed",
            Self::NotTheRider => "not-the-rider",
            Self::AlreadyRated => "already-rated",
            Self::RatingClosed => "rating-closed",
            Self::TooManyShares(_) => "too-many-shares",
        }
    }
}
