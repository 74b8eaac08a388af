//! What is known of a trip.

use remuda_contracts::sealed::Sealed;
use remuda_contracts::trips::{Mark, QuoteReference, TripParties};
use serde::{Deserialize, Serialize};

use crate::limits;

/// How far a trip is. The first final phase stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TripPhase {
    /// Nobody has asked for it.
    #[default]
    Unknown,
    /// It waits for a vehicle.
    Requested,
    /// A vehicle has it.
    Assigned,
    /// The vehicle is on its way to the pick-up.
    Arriving,
    /// The vehicle stands at the pick-up.
    Boarding,
    /// The rider is on board.
    UnderWay,
    /// Final: at the drop-off.
    Completed,
    /// Final: somebody called it off.
    Cancelled,
    /// Final: nobody came to the pick-up.
    NoShow,
}

impl TripPhase {
    /// Nothing moves it any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::NoShow)
    }

    /// How much longer time waits for a vehicle that is out of reach, ms: perhaps it came, or the rider did, and nobody has heard.
    pub const fn away_ms(self) -> i64 {
        match self {
            Self::Assigned | Self::Arriving => limits::ARRIVE_AWAY_MS,
            Self::Boarding => limits::SILENT_MS,
            Self::Unknown
            | Self::Requested
            | Self::UnderWay
            | Self::Completed
            | Self::Cancelled
            | Self::NoShow => 0,
        }
    }

    /// As it is written for people and filters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Requested => "requested",
            Self::Assigned => "assigned",
            Self::Arriving => "arriving",
            Self::Boarding => "boarding",
            Self::UnderWay => "under-way",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::NoShow => "no-show",
        }
    }
}

/// A place to halt at, and the fence around it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// 1e-7 degrees, north positive.
    pub latitude_e7: i32,
    /// 1e-7 degrees, east positive.
    pub longitude_e7: i32,
    /// Radius of the fence, m.
    pub radius_m: u16,
    /// What the rider calls it: an address is personal, so it is sealed under the rider's key.
    pub label: Option<Sealed>,
}

/// What was agreed on for a trip. Times in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// A trip that no vehicle has after this is called off.
    pub assign_within_ms: i64,
    /// How long the vehicle waits at the pick-up before it is a no-show.
    pub no_show_after_ms: i64,
    /// From the assignment on, how long the rider may call it off for nothing.
    pub free_cancellation_ms: i64,
    /// Waiting that costs nothing, at each stop.
    pub free_waiting_ms: i64,
    /// How long after its end a trip may be rated.
    pub rating_ms: i64,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            assign_within_ms: 10 * 60_000,
            no_show_after_ms: 5 * 60_000,
            free_cancellation_ms: 2 * 60_000,
            free_waiting_ms: 2 * 60_000,
            rating_ms: 7 * 24 * 3_600_000,
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Pick-up first, drop-off last.
    pub stops: Vec<Stop>,
    /// Length of the route as planned, m, when somebody planned it.
    pub planned_distance_m: Option<u64>,
    /// What was agreed on.
    pub terms: Terms,
    /// What was promised.
    pub quote: Option<QuoteReference>,
    /// The key under which the rider's credits are held.
    pub hold_key: Option<String>,
}

/// The vehicle was here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What it said then.
    pub mark: Mark,
    /// Concluded from a later report, because the report itself has not come.
    pub inferred: bool,
}

/// What is known of one stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// Into the fence.
    pub entered: Option<Seen>,
    /// Out of it.
    pub left: Option<Seen>,
}

/// What the rider says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rating {
    /// Stars, 1 to 5.
    pub stars: u8,
    /// In their words, sealed under their key.
    pub comment: Option<Sealed>,
    /// When they first said it, ms since 1970 UTC.
    pub rated_ms: i64,
    /// When they last said it, ms since 1970 UTC.
    pub changed_ms: i64,
}

/// A link with which others may follow a trip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// SHA-256 of its token; the token itself is never kept.
    pub token_hash: [u8; 32],
    /// Ms since 1970 UTC.
    pub expires_ms: i64,
}

/// A trip.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trip {
    /// Its id, in its events from the first on.
    pub id: String,
    /// How far it is.
    pub phase: TripPhase,
    /// Whose it is.
    pub parties: TripParties,
    /// What was asked for.
    pub plan: Option<Plan>,
    /// When, ms since 1970 UTC.
    pub requested_ms: i64,
    /// When the present vehicle got it, ms since 1970 UTC.
    pub assigned_ms: Option<i64>,
    /// When it ended, ms since 1970 UTC.
    pub ended_ms: Option<i64>,
    /// One per stop.
    pub visits: Vec<Visit>,
    /// The last that the vehicle said about it.
    pub last_mark: Option<Mark>,
    /// What the rider says of it.
    pub rating: Option<Rating>,
    /// Who may follow it. Bounded by [`crate::limits::SHARES_MAX`].
    pub shares: Vec<Share>,
}

impl Trip {
    /// Stops, pick-up first.
    pub fn stops(&self) -> &[Stop] {
        self.plan.as_ref().map_or(&[], |plan| &plan.stops)
    }

    /// What was agreed on.
    pub fn terms(&self) -> Terms {
        self.plan.as_ref().map_or_else(Terms::default, |plan| plan.terms)
    }

    /// The stop at which the vehicle stands.
    pub fn standing_at(&self) -> Option<usize> {
        self.visits
            .iter()
            .rposition(|visit| visit.entered.is_some())
            .filter(|&at| self.visits[at].left.is_none())
    }

    /// The stop that comes next; none at and after the last.
    pub fn next_stop(&self) -> Option<usize> {
        let seen = self.visits.iter().rposition(|visit| visit.entered.is_some() || visit.left.is_some());
        let next = seen.map_or(0, |at| at + 1);
        (next < self.stops().len()).then_some(next)
    }

    /// When time itself moves it, ms since 1970 UTC: too long without a vehicle, a rider or a word. None once it has ended.
    pub fn due_ms(&self) -> Option<i64> {
        let terms = self.terms();
        match self.phase {
            TripPhase::Requested => Some(self.requested_ms + terms.assign_within_ms),
            TripPhase::Assigned | TripPhase::Arriving => {
                self.assigned_ms.map(|ms| ms + limits::ARRIVE_WITHIN_MS)
            }
            TripPhase::Boarding => {
                let arrived = self.visits.first().and_then(|visit| visit.entered);
                arrived.map(|seen| seen.mark.time_ms + terms.no_show_after_ms)
            }
            TripPhase::UnderWay => self.last_mark.map(|mark| mark.time_ms + limits::SILENT_MS),
            TripPhase::Unknown | TripPhase::Completed | TripPhase::Cancelled | TripPhase::NoShow => None,
        }
    }

    /// Standing at pick-up and stops beyond the time that is free, ms.
    pub fn waiting_ms(&self) -> i64 {
        let free_ms = self.terms().free_waiting_ms;
        // What was only concluded from a later report says nothing about how long it stood.
        let told = |seen: Option<Seen>| seen.filter(|seen| !seen.inferred).map(|seen| seen.mark.time_ms);
        let stood = |visit: &Visit| Some(told(visit.left)? - told(visit.entered)?);
        self.visits.iter().filter_map(stood).map(|ms| (ms - free_ms).max(0)).sum()
    }
}
