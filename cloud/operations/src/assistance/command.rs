//! What is asked of a request for assistance.

use remuda_model::VehicleId;
use remuda_wire::{Question, QuestionStep};

/// A wish; [`super::decide()`] may refuse it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssistanceCommand {
    /// The vehicle has asked, perhaps not for the first time.
    Ask {
        /// Which.
        vehicle: VehicleId,
        /// What.
        question: Question,
        /// When it began to wait, ms since 1970 UTC, by the cloud's best knowledge.
        asked_ms: i64,
    },
    /// The vehicle has said what became of it.
    Report {
        /// What.
        step: QuestionStep,
    },
    /// Somebody wants to answer it; nobody else may meanwhile.
    Take {
        /// Who.
        by: String,
    },
    /// Somebody will not answer it after all.
    Release {
        /// Who says so.
        by: String,
        /// Why; needed when it is another who has it.
        reason: String,
    },
    /// Somebody chose an option.
    Answer {
        /// Who.
        by: String,
        /// Which, from 0.
        option: u8,
        /// What they say to it.
        reason: String,
    },
    /// The answer is on its way to the vehicle.
    Give {
        /// The id of the command that brings it.
        command: String,
    },
    /// The answer does not reach the vehicle.
    Return {
        /// Why not.
        why: String,
    },
    /// Time has passed.
    Sweep,
}
