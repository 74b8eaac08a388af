//! What has happened to a saga. Stored: fields are only added under a new schema version.

use std::sync::Arc;

use remuda_eventsourcing::event_codec;
use serde::{Deserialize, Serialize};

use crate::definition::Definition;

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SagaEvent {
    /// It began.
    Started(Started),
    /// These steps may be called from now on; where they do not come with the event that makes it their turn.
    StepsOpened(StepsOpened),
    /// A timer runs.
    TimerSet(TimerSet),
    /// A timer is over.
    TimerFired(TimerFired),
    /// A step was done.
    StepSucceeded(StepSucceeded),
    /// A try failed; there will be another.
    TryFailed(TryFailed),
    /// The last try failed, or the service refused.
    StepFailed(StepFailed),
    /// These steps were open and never called.
    StepsClosed(StepsClosed),
    /// From now on what was done is undone.
    UnwindingBegun(UnwindingBegun),
    /// A step was undone.
    StepUndone(StepUndone),
    /// A try of an undo failed; there will be another.
    UndoTryFailed(UndoTryFailed),
    /// The last try of an undo failed, or the service refused it.
    UndoFailed(UndoFailed),
    /// Somebody must look at it.
    Stuck(Stuck),
    /// An operator has mended what it was stuck on.
    OperatorRetried(OperatorRetried),
    /// An operator took a step off.
    OperatorSkipped(OperatorSkipped),
    /// All steps are done.
    Completed(Completed),
    /// All that was done is undone.
    Compensated(Compensated),
}

event_codec!(SagaEvent {
    Started = "saga.started" 1,
    StepsOpened = "saga.steps-opened" 1,
    TimerSet = "saga.timer-set" 1,
    TimerFired = "saga.timer-fired" 1,
    StepSucceeded = "saga.step-succeeded" 1,
    TryFailed = "saga.try-failed" 1,
    StepFailed = "saga.step-failed" 1,
    StepsClosed = "saga.steps-closed" 1,
    UnwindingBegun = "saga.unwinding-begun" 1,
    StepUndone = "saga.step-undone" 1,
    UndoTryFailed = "saga.undo-try-failed" 1,
    UndoFailed = "saga.undo-failed" 1,
    Stuck = "saga.stuck" 1,
    OperatorRetried = "saga.operator-retried" 1,
    OperatorSkipped = "saga.operator-skipped" 1,
    Completed = "saga.completed" 1,
    Compensated = "saga.compensated" 1,
});

/// See [`SagaEvent::Started`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Kept by value: the saga ends on the version it began with, whatever becomes of the file.
    #[serde(with = "shared")]
    pub definition: Arc<Definition>,
    /// A JSON object.
    pub input: String,
    /// For the jitter of pauses.
    pub seed: u64,
    /// When, ms since 1970 UTC.
    pub at_ms: i64,
    /// Steps that may be called from now on: their indexes.
    pub opened: Vec<u16>,
}

/// See [`SagaEvent::StepsOpened`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepsOpened {
    /// Their indexes.
    pub steps: Vec<u16>,
}

/// See [`SagaEvent::TimerSet`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerSet {
    /// Its index.
    pub step: u16,
    /// When it is over, ms since 1970 UTC.
    pub fires_at_ms: i64,
}

/// See [`SagaEvent::TimerFired`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerFired {
    /// Its index.
    pub step: u16,
}

/// See [`SagaEvent::StepSucceeded`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSucceeded {
    /// Its index.
    pub step: u16,
    /// What it answered, JSON.
    pub output: String,
    /// Steps that may be called from now on: their indexes.
    pub opened: Vec<u16>,
}

/// See [`SagaEvent::TryFailed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TryFailed {
    /// Its index.
    pub step: u16,
    /// How.
    pub failure: Failure,
    /// Not tried again before, ms since 1970 UTC.
    pub retry_at_ms: i64,
}

/// See [`SagaEvent::StepFailed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFailed {
    /// Its index.
    pub step: u16,
    /// How.
    pub failure: Failure,
    /// This try or one before may have been done all the same.
    pub doubtful: bool,
}

/// See [`SagaEvent::StepsClosed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepsClosed {
    /// Their indexes.
    pub steps: Vec<u16>,
}

/// See [`SagaEvent::UnwindingBegun`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnwindingBegun {
    /// Why.
    pub cause: Cause,
}

/// See [`SagaEvent::StepUndone`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepUndone {
    /// Its index.
    pub step: u16,
}

/// See [`SagaEvent::UndoTryFailed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoTryFailed {
    /// Its index.
    pub step: u16,
    /// How.
    pub failure: Failure,
    /// Not tried again before, ms since 1970 UTC.
    pub retry_at_ms: i64,
}

/// See [`SagaEvent::UndoFailed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoFailed {
    /// Its index.
    pub step: u16,
    /// How.
    pub failure: Failure,
}

/// See [`SagaEvent::Stuck`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// On which step.
    pub step: u16,
    /// What kind of trouble.
    pub why: StuckWhy,
    /// For people.
    pub reason: String,
    /// Since when, ms since 1970 UTC.
    pub at_ms: i64,
}

/// See [`SagaEvent::OperatorRetried`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorRetried {
    /// Why.
    pub reason: String,
}

/// See [`SagaEvent::OperatorSkipped`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorSkipped {
    /// Its index.
    pub step: u16,
    /// Why.
    pub reason: String,
}

/// See [`SagaEvent::Completed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completed {
    /// When, ms since 1970 UTC.
    pub at_ms: i64,
}

/// See [`SagaEvent::Compensated`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compensated {
    /// When, ms since 1970 UTC.
    pub at_ms: i64,
}

/// How a try failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Kind.
    pub kind: FailureKind,
    /// The refusal's stable code, or the kind's own.
    pub code: String,
    /// For people; may be empty.
    pub detail: String,
}

/// What is known of a try that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The service said no: nothing was done.
    Refused,
    /// Nothing was done this time.
    Transient,
    /// The answer was lost: it may have been done.
    Unknown,
    /// No answer within the deadline: it may have been done.
    TimedOut,
    /// It was done, and its answer is too large to keep.
    OutputTooLarge,
}

impl FailureKind {
    /// Whether it may have been done all the same.
    pub const fn may_have_happened(self) -> bool {
        matches!(self, Self::Unknown | Self::TimedOut | Self::OutputTooLarge)
    }

    /// Whether another try makes sense.
    pub const fn is_worth_a_retry(self) -> bool {
        matches!(self, Self::Transient | Self::Unknown | Self::TimedOut)
    }

    /// Stable name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Transient => "transient",
            Self::Unknown => "unknown",
            Self::TimedOut => "timed-out",
            Self::OutputTooLarge => "output-too-large",
        }
    }
}

/// Why a saga unwinds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// A step failed.
    StepFailed {
        /// Its index.
        step: u16,
        /// With this code.
        code: String,
    },
    /// Its caller no longer wants it.
    Cancelled {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// An operator wants it undone.
    Forced {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
}

/// What kind of trouble a stuck saga has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StuckWhy {
    /// An undo was given up.
    UndoGivenUp,
    /// No service here offers what the step needs.
    NoService,
}

/// A definition by value behind a shared pointer.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::definition::Definition;

    pub fn serialize<S: Serializer>(definition: &Arc<Definition>, serializer: S) -> Result<S::Ok, S::Error> {
        definition.as_ref().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Definition>, D::Error> {
        Definition::deserialize(deserializer).map(Arc::new)
    }
}
