//! What is known of a request for assistance.

use remuda_wire::Decided as Why;
use remuda_wire::frame::CommandOutcome;
use serde::{Deserialize, Serialize};

use super::event::{Answered, Asked, Decided, Taken};

/// How far people are with it. What the vehicle says stands beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Nobody asked.
    #[default]
    New,
    /// Nobody looks at it.
    Waiting,
    /// Somebody does.
    Taken,
    /// Somebody answered.
    Answered,
    /// Its time is over.
    Expired,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// The vehicle acted.
    Acted(CommandOutcome),
    /// The vehicle never said.
    Forgotten,
}

/// A request for assistance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assistance {
    /// What was asked; none before.
    pub asked: Option<Asked>,
    /// How far people are.
    pub phase: Phase,
    /// Who took it last.
    pub taken: Option<Taken>,
    /// Who answered; none again when the answer does not reach the vehicle.
    pub answered: Option<Answered>,
    /// The command that brings the answer; none before it is known.
    pub given: Option<String>,
    /// How many answers did not reach the vehicle.
    pub returns: u32,
    /// Why the last did not; empty once there is another.
    pub not_given: String,
    /// What the vehicle decided.
    pub decided: Option<Decided>,
    /// How it ended.
    pub ending: Option<Ending>,
    /// When it last changed, ms since 1970 UTC.
    pub changed_ms: i64,
}

impl Assistance {
    /// Something is still to come: an answer, or the vehicle's word.
    pub fn is_open(&self) -> bool {
        self.asked.is_some() && self.ending.is_none()
    }

    /// It was answered, and the vehicle has not said what it made of that.
    pub fn awaits_decision(&self) -> bool {
        self.is_open() && self.decided.is_none() && self.answered.is_some()
    }

    /// It was answered, and which command brings that is to be found out: perhaps after the vehicle has obeyed it.
    pub fn owes_command(&self) -> bool {
        let obeyed = self.decided.is_none_or(|decided| decided.why == Why::Answered);
        self.is_open() && self.answered.is_some() && self.given.is_none() && obeyed
    }

    /// The vehicle may still take an answer, as far as is known.
    pub fn waits(&self) -> bool {
        self.is_open() && self.decided.is_none() && matches!(self.phase, Phase::Waiting | Phase::Taken)
    }
}
