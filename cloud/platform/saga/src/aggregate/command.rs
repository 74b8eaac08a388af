//! What can be asked of a saga.

use std::sync::Arc;

use super::event::Failure;
use crate::definition::Definition;

/// An imperative that may be refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Begin. Again with the same definition's name and input: nothing.
    Start {
        /// What to do; the saga keeps it, whatever becomes of the file.
        definition: Arc<Definition>,
        /// A JSON object.
        input: String,
        /// For the jitter of pauses.
        seed: u64,
    },
    /// A step was done.
    Succeeded {
        /// Its index.
        step: u16,
        /// What it answered, JSON.
        output: String,
        /// Steps that are open and were certainly never called, for when the saga must unwind.
        uncalled: Vec<u16>,
    },
    /// A try of a step failed.
    Failed {
        /// Its index.
        step: u16,
        /// How.
        failure: Failure,
        /// An earlier process may have called it and died before it wrote down what came of it.
        inherited: bool,
        /// As in [`Command::Succeeded`].
        uncalled: Vec<u16>,
    },
    /// A timer is over.
    TimerFired {
        /// Its index.
        step: u16,
    },
    /// A step was undone.
    Undone {
        /// Its index.
        step: u16,
    },
    /// A try of an undo failed.
    UndoFailed {
        /// Its index.
        step: u16,
        /// How.
        failure: Failure,
    },
    /// A step cannot be called at all.
    Hold {
        /// Its index.
        step: u16,
        /// Why, for people.
        reason: String,
    },
    /// Its caller no longer wants it.
    Cancel {
        /// Why.
        reason: String,
        /// As in [`Command::Succeeded`].
        uncalled: Vec<u16>,
    },
    /// An operator wants it undone.
    Compensate {
        /// Why.
        reason: String,
        /// As in [`Command::Succeeded`].
        uncalled: Vec<u16>,
    },
    /// An operator has mended what it was stuck on.
    Retry {
        /// Why.
        reason: String,
    },
    /// An operator has undone a step by hand, or will not have it undone; or ends a timer early.
    Skip {
        /// Its index.
        step: u16,
        /// Why.
        reason: String,
    },
}
