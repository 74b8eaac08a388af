//! What is known of a group command.

use std::collections::BTreeMap;

use remuda_model::VehicleId;
use serde::{Deserialize, Serialize};

use super::event::Spec;

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// There is none.
    #[default]
    New,
    /// It waits for a second person.
    AwaitingApproval,
    /// It gives commands.
    Running,
    /// It gives no more for now.
    Paused,
    /// It gives no more at all; what is under way still ends.
    Aborting,
    /// Every vehicle's command has ended.
    Completed,
    /// Called off, and everything under way has ended.
    Aborted,
    /// No second person agreed.
    Denied,
}

impl Phase {
    /// Whether nothing changes any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Aborted | Self::Denied)
    }
}

/// What became of one vehicle's command. The order is that of the bytes: new ones go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// Not its turn yet.
    Waiting,
    /// Its turn has come; not ended.
    Given,
    /// The vehicle did it.
    Done,
    /// The vehicle tried in vain.
    Failed,
    /// Its time ran out.
    Expired,
    /// The vehicle did not obey.
    Refused,
    /// Nobody will know.
    Unknown,
    /// Taken back before it was sent.
    Cancelled,
    /// It could not be given.
    Rejected,
}

impl Outcome {
    /// Number of outcomes.
    pub const COUNT: usize = 9;

    /// Whether it changes no more.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Waiting | Self::Given)
    }

    /// Something went wrong at the vehicle: what a failure threshold counts.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Refused | Self::Unknown | Self::Rejected)
    }

    /// The vehicle answered, or never can: what a failure threshold counts against. One that was away too long, or was
    /// not wanted any more, says nothing about the command.
    pub const fn is_answer(self) -> bool {
        self.is_failure() || matches!(self, Self::Done)
    }

    /// A metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Given => "given",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
        }
    }
}

/// A vehicle of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which.
    pub vehicle: VehicleId,
    /// What became of its command.
    pub outcome: Outcome,
    /// Events of the group up to the one that said so.
    pub at: u32,
}

/// A group command without its vehicles: also a line of the list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What it says; none before it is created.
    pub spec: Option<Spec>,
    /// How many vehicles it has.
    pub vehicles: u32,
    /// SHA-256 of all of it.
    pub digest: [u8; 32],
    /// How far it is.
    pub phase: Phase,
    /// Who brought it there.
    pub phase_by: String,
    /// Why.
    pub phase_reason: String,
    /// Vehicles whose turn has come.
    pub dispatched: u32,
    /// How many vehicles ended how, by [`Outcome`].
    pub ended: [u32; Outcome::COUNT],
    /// Answers and failures when it was last let go on: the threshold counts from there.
    pub base: (u32, u32),
    /// When it was created, ms since 1970 UTC.
    pub created_ms: i64,
    /// When it last changed, ms since 1970 UTC.
    pub changed_ms: i64,
    /// Events so far.
    pub events: u32,
}

impl Line {
    /// Commands that were given and have not ended.
    pub fn open(&self) -> u32 {
        self.dispatched.saturating_sub(self.ended.iter().sum())
    }

    /// How many of these vehicles there are.
    pub fn count(&self, outcome: Outcome) -> u32 {
        match outcome {
            Outcome::Waiting => self.vehicles.saturating_sub(self.dispatched),
            Outcome::Given => self.open(),
            ended => self.ended[ended as usize],
        }
    }

    /// Vehicles that answered, and those of them that failed.
    pub fn answers(&self) -> (u32, u32) {
        let sum = |wanted: fn(Outcome) -> bool| {
            let all = super::OUTCOMES.iter().filter(|outcome| wanted(**outcome));
            all.map(|outcome| self.ended[*outcome as usize]).sum()
        };
        (sum(Outcome::is_answer), sum(Outcome::is_failure))
    }
}

/// A group command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// All but its vehicles.
    pub line: Line,
    /// Its vehicles, ascending.
    pub members: Vec<Member>,
    /// What vehicles said, by place. Bounded by [`crate::limits::DETAILS_MAX`].
    pub details: BTreeMap<u32, String>,
}
