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
    /// The answer is on its way to the vehicle as this command, or cannot be.
    Give {
        /// The command's id, or why there is none.
        given: Result<String, String>,
    },
    /// Time has passed.
    Sweep,
}
