//! Which commands an entity has seen, and what came of them.
//!
//! Durable is what stands in the journal: events carry the id of their command as `causation_id`, and the engine finds
//! them by it for ever. A refusal is an event of the shell's own, [`REFUSED`], in the same stream. This memory only saves
//! that look-up for the last few.

use std::collections::VecDeque;

use remuda_eventsourcing::{Event, NewEvent};
use serde::{Deserialize, Serialize};

use crate::limits;

/// Type of the event that remembers a refusal: the shell's own, never shown to an aggregate.
pub const REFUSED: &str = "command.refused";
/// All types of the shell's own events begin with this.
pub const SHELL_EVENTS: &str = "command.";

/// Payload of [`REFUSED`], version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedEvent {
    /// The refusal's code.
    pub code: String,
    /// The refusal's text.
    pub text: String,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remembered {
    /// These versions are its events.
    Accepted { first: u64, last: u64 },
    /// It was so already; the version then. Not durable.
    Nothing { version: u64 },
    /// The domain said no.
    Refused { code: String, text: String },
}

/// The last few outcomes.
#[derive(Debug)]
pub(crate) struct Memory {
    outcomes: VecDeque<(Box<str>, Remembered)>,
    /// No durable outcome of the entity is missing here.
    complete: bool,
}

impl Memory {
    /// Of an entity that is read from its first event on, or from a snapshot.
    pub fn new(from_first_event: bool) -> Self {
        Self { outcomes: VecDeque::new(), complete: from_first_event }
    }

    /// Whether the journal need not be asked for a command that is not here.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    pub fn find(&self, command_id: &str) -> Option<&Remembered> {
        self.outcomes.iter().rev().find(|(id, _)| **id == *command_id).map(|(_, outcome)| outcome)
    }

    pub fn note(&mut self, command_id: &str, outcome: Remembered) {
        if self.outcomes.len() >= limits::REMEMBERED_MAX {
            self.outcomes.pop_front();
            self.complete = false;
        }
        if self.outcomes.len() == self.outcomes.capacity() {
            // Doubling would leave most of it unused in a hundred thousand idle entities.
            self.outcomes.reserve_exact(4);
        }
        self.outcomes.push_back((command_id.into(), outcome));
    }

    /// Notes what a stored event tells.
    pub fn saw(&mut self, Event { event, .. }: &Event) {
        let version = event.version;
        if event.event_type == REFUSED {
            if let Some(outcome) = refusal(event) {
                self.note(&event.causation_id, outcome);
            }
            return;
        }
        match self.outcomes.back_mut() {
            Some((id, Remembered::Accepted { last, .. })) if **id == *event.causation_id => *last = version,
            _ => self.note(&event.causation_id, Remembered::Accepted { first: version, last: version }),
        }
    }
}

/// What a [`REFUSED`] event remembers.
pub(crate) fn refusal(event: &NewEvent) -> Option<Remembered> {
    let RefusedEvent { code, text } = postcard::from_bytes(&event.payload).ok()?;
    Some(Remembered::Refused { code, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_and_that_is_known() {
        let mut memory = Memory::new(true);
        for i in 0..limits::REMEMBERED_MAX as u64 {
            memory.note(&i.to_string(), Remembered::Nothing { version: i });
        }
        assert!(memory.is_complete());
        assert_eq!(memory.find("0"), Some(&Remembered::Nothing { version: 0 }));
        memory.note("more", Remembered::Nothing { version: 9 });
        assert_eq!(memory.find("0"), None);
        assert!(!memory.is_complete());
    }
}
