//! What an agent must remember over a restart beside its frames: small, saved as one JSON document.

use remuda_fences::Watch;
use remuda_model::{Epoch, Seq};
use remuda_wire::{Decided, Policy, Question, TripMarked, WatchedTrip};
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::meter::Spent;

/// A command this agent has decided on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownCommand {
    /// Its id.
    pub id: [u8; 16],
    /// False from the moment before it is begun until its final result was said.
    pub finished: bool,
}

/// What was chosen for a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Number of the option, from 0.
    pub option: u8,
    /// Why.
    pub why: Decided,
    /// The command that answered, when one did.
    pub command: Option<[u8; 16]>,
}

/// A question that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenQuestion {
    /// As it was asked.
    pub question: Question,
    /// When, ns of the monotonic clock of this machine's start.
    pub asked_ns: u64,
    /// Which start of the machine that clock belongs to; 0: none that another start of the agent could know.
    pub machine: u64,
    /// What was chosen; none while it waits.
    pub choice: Option<Choice>,
}

impl OpenQuestion {
    pub(crate) fn id(&self) -> [u8; 16] {
        self.question.id
    }

    pub(crate) fn deadline_ns(&self) -> u64 {
        self.asked_ns.saturating_add(u64::from(self.question.timeout_ms) * 1_000_000)
    }

    /// Whether the clock of this start of the machine can say how long it has waited.
    pub(crate) fn is_timed_by(&self, machine: u64, now: u64) -> bool {
        machine != 0 && self.machine == machine && self.asked_ns <= now
    }
}

/// A trip whose stops are watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TripOnWatch {
    /// As the cloud gave it.
    pub given: WatchedTrip,
    /// How far it has come.
    pub watch: Watch,
    /// That it set off was noticed.
    pub has_set_off: bool,
    /// The start of the machine whose clock the watch keeps to; 0: none that another start of the agent could know.
    pub machine: u64,
}

/// A trip mark that is not in the outbox yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingMark {
    /// What was noticed; its time is set when it is told, or once its clock is gone.
    pub mark: TripMarked,
    /// When, ms of the monotonic clock of this machine's start; of a mark whose clock is gone, the start that found it.
    pub at_ms: i64,
    /// Which start of the machine that clock belongs to; 0: none that another start of the agent could know.
    pub machine: u64,
    /// The event that tells it, on its way to the disk.
    #[serde(skip)]
    pub told: Option<Seq>,
}

/// What server time was, by a machine's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownTime {
    /// Which start of the machine that clock belongs to.
    pub machine: u64,
    /// Server time less that clock, ms.
    pub offset_ms: i64,
}

/// The document.
///
/// Unknown fields are passed over: an agent that is rolled back must still read what the newer one saved.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SavedState {
    /// Policy in force; `None` = the default.
    #[serde(default)]
    pub policy: Option<Policy>,
    /// Highest shard epoch ever seen when a command was decided on.
    #[serde(default)]
    pub highest_epoch: Epoch,
    /// Commands obeyed or refused, oldest first.
    #[serde(default)]
    pub commands: Vec<KnownCommand>,
    /// Counts starts of the agent; the shell raises it before it makes the agent.
    #[serde(default)]
    pub boot: u32,
    /// What is spent of the data budget.
    #[serde(default)]
    pub spent: Spent,
    /// Questions to people that have not ended, oldest first.
    #[serde(default)]
    pub questions: Vec<OpenQuestion>,
    /// Ids of the last that ended, oldest first.
    #[serde(default)]
    pub questions_ended: Vec<[u8; 16]>,
    /// The trip whose stops are watched.
    #[serde(default)]
    pub trip: Option<Box<TripOnWatch>>,
    /// Trip marks that are not in the outbox yet, oldest first.
    #[serde(default)]
    pub marks: Vec<WaitingMark>,
    /// What time it is, for another start of the agent under the same clock.
    #[serde(default)]
    pub time: Option<KnownTime>,
}

impl SavedState {
    /// Reads what [`SavedState::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        // Strings and numbers only: nothing that JSON refuses.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn knows_question(&self, id: [u8; 16]) -> bool {
        self.questions_ended.contains(&id) || self.questions.iter().any(|open| open.id() == id)
    }

    /// The question at this place has ended.
    pub(crate) fn end_question(&mut self, at: usize) {
        let ended = self.questions.remove(at);
        if self.questions_ended.len() >= limits::QUESTIONS_ENDED_REMEMBERED {
            self.questions_ended.remove(0);
        }
        self.questions_ended.push(ended.id());
    }

    pub(crate) fn remember(&mut self, id: [u8; 16]) {
        if self.commands.len() >= limits::COMMANDS_REMEMBERED {
            // The oldest finished one; an unfinished one is still owed a result.
            let at = self.commands.iter().position(|c| c.finished).unwrap_or(0);
            self.commands.remove(at);
        }
        self.commands.push(KnownCommand { id, finished: false });
    }
}
