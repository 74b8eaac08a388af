//! What a saga refuses.

use remuda_eventsourcing::Refusal;

use crate::limits;

/// A no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SagaRefusal {
    /// There is none of this id.
    #[error("there is no such saga")]
    NotStarted,
    /// The id is another saga's.
    #[error("a saga with another definition or input has this id; choose another id")]
    IdTaken,
    /// The definition has fewer steps.
    #[error("the saga has no step {0}")]
    NoSuchStep(u16),
    /// Not this step's turn.
    #[error("it is not the turn of the step \"{0}\"")]
    OutOfOrder(String),
    /// The timer still runs.
    #[error("the timer \"{0}\" is not over yet")]
    TooEarly(String),
    /// It ended well.
    #[error("the saga is completed; what it did is undone by commands of its own")]
    AlreadyCompleted,
    /// It ended undone.
    #[error("the saga is compensated already")]
    AlreadyCompensated,
    /// It is being undone.
    #[error("the saga unwinds already; where it is stuck, retry or skip the step")]
    AlreadyUnwinding,
    /// Nothing to mend.
    #[error("the saga is not stuck")]
    NotStuck,
    /// Only an undo that was given up, or a timer, is skipped.
    #[error(
        "the step \"{0}\" is neither an undo that was given up nor a timer that runs; only those can be skipped"
    )]
    NotSkippable(String),
    /// The input is too large.
    #[error("the input has {0} bytes, at most {max} are taken; pass ids, not documents", max = limits::INPUT_BYTES_MAX)]
    InputTooLarge(usize),
    /// An operator must say why.
    #[error("a reason is needed")]
    ReasonMissing,
}

impl Refusal for SagaRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NotStarted => "not-started",
            Self::IdTaken => "id-taken",
            Self::NoSuchStep(_) => "no-such-step",
            Self::OutOfOrder(_) => "out-of-order",
            Self::TooEarly(_) => "too-early",
            Self::AlreadyCompleted => "already-completed",
            Self::AlreadyCompensated => "already-compensated",
            Self::AlreadyUnwinding => "already-unwinding",
            Self::NotStuck => "not-stuck",
            Self::NotSkippable(_) => "not-skippable",
            Self::InputTooLarge(_) => "input-too-large",
            Self::ReasonMissing => "reason-missing",
        }
    }
}
