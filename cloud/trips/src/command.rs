//! What is asked of a trip, and what its vehicle reports. A report is a command too: a trip may refuse to believe it.

use remuda_contracts::sealed::Sealed;
use remuda_contracts::trips::{CancelledBy, Mark, TripParties};
pub use remuda_fences::Observation;

use crate::fences::Fence;
use crate::state::{Plan, Stop};

/// A wish or a report; [`crate::decide()`] may refuse it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TripCommand {
    /// Somebody wants to ride.
    Request {
        /// The trip's id, as the stream's.
        id: String,
        /// Whose; the vehicle too when one is reserved already.
        parties: TripParties,
        /// What is asked for.
        plan: Plan,
    },
    /// A vehicle takes it; another one than before, as long as nobody has boarded.
    Assign {
        /// Which.
        vehicle: String,
        /// Who drives, when somebody does.
        driver: Option<String>,
    },
    /// The vehicle is out of the question: the trip waits for another.
    Unassign {
        /// Why.
        reason: String,
    },
    /// The vehicle noticed something.
    Report {
        /// Which vehicle.
        vehicle: String,
        /// What.
        observation: Observation,
        /// The stop that it is about as the vehicle knew it; none when whoever watched knows the trip's own.
        stop: Option<Fence>,
        /// What it said of itself then.
        mark: Mark,
    },
    /// Other stops from one on: the rider changed their mind.
    ChangeStops {
        /// The first that changes; those before stay.
        from: u16,
        /// What comes instead, the drop-off last.
        stops: Vec<Stop>,
        /// Length of the whole route as planned now, m.
        planned_distance_m: Option<u64>,
    },
    /// Somebody calls it off. A saga that unwinds may call off what was never asked for: a late request is refused.
    Cancel {
        /// The trip's id, as the stream's.
        id: String,
        /// Who.
        by: CancelledBy,
        /// Why.
        reason: String,
    },
    /// An operator ends a trip under way by hand: its vehicle has vanished.
    Conclude {
        /// Why.
        reason: String,
        /// Where it ended, when that is known; else the last that the vehicle said counts.
        mark: Option<Mark>,
    },
    /// Time has passed.
    Sweep,
    /// The rider says how it was.
    Rate {
        /// Who says so.
        rider: String,
        /// 1 to 5.
        stars: u8,
        /// In their words, sealed under their key.
        comment: Option<Sealed>,
    },
    /// Let others follow it.
    Share {
        /// SHA-256 of a random token.
        token_hash: [u8; 32],
        /// Ms since 1970 UTC.
        expires_ms: i64,
    },
    /// No longer.
    Unshare {
        /// SHA-256 of the token.
        token_hash: [u8; 32],
    },
}
