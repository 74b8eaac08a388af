//! What an agent must remember over a restart beside its frames: small, saved as one JSON document.

use remuda_model::Epoch;
use remuda_wire::Policy;
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

    pub(crate) fn remember(&mut self, id: [u8; 16]) {
        if self.commands.len() >= limits::COMMANDS_REMEMBERED {
            // The oldest finished one; an unfinished one is still owed a result.
            let at = self.commands.iter().position(|c| c.finished).unwrap_or(0);
            self.commands.remove(at);
        }
        self.commands.push(KnownCommand { id, finished: false });
    }
}
