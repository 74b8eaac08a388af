//! What is known of a saga.

use serde::{Deserialize, Serialize};

use super::event::{Cause, Started, Stuck};
use crate::definition::{Definition, Policy, Step};

/// A saga.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How it began; none before.
    pub started: Option<Started>,
    /// How far it is.
    pub phase: Phase,
    /// What an operator must look at.
    pub stuck: Option<Stuck>,
    /// Why it unwinds or was compensated.
    pub cause: Option<Cause>,
    /// When it ended, ms since 1970 UTC.
    pub ended_ms: Option<i64>,
    /// One per step of the definition.
    pub steps: Vec<StepState>,
    /// How often an operator had it try again: part of the command ids of what follows.
    pub round: u16,
}

/// How far a saga is. Beside it, it may be stuck.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Not begun.
    #[default]
    Absent,
    /// Doing.
    Running,
    /// Undoing.
    Unwinding,
    /// Done.
    Completed,
    /// Undone.
    Compensated,
}

/// A step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepState {
    /// How far it is.
    pub status: StepStatus,
    /// Failed tries in this direction since it began, or since an operator had it try again.
    pub tries: u16,
    /// Not tried again before, ms since 1970 UTC.
    pub retry_at_ms: i64,
    /// A try of it ended so that nobody knows whether it was done.
    pub doubtful: bool,
    /// Its undo was given up.
    pub given_up: bool,
    /// What it answered, JSON.
    pub output: Option<String>,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepStatus {
    /// Certainly never called.
    #[default]
    Pending,
    /// May have been called.
    Open,
    /// A timer runs; over at `retry_at_ms`.
    Waiting,
    /// Done.
    Succeeded,
    /// Given up, or refused.
    Failed,
    /// Undone.
    Undone,
    /// Taken off by an operator.
    Skipped,
}

impl State {
    /// What it does, once begun.
    pub fn definition(&self) -> Option<&Definition> {
        self.started.as_ref().map(|started| started.definition.as_ref())
    }

    /// Whether it has ended.
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Completed | Phase::Compensated)
    }

    /// Definition and state of a step.
    pub fn step(&self, index: u16) -> Option<(&Step, &StepState)> {
        let index = usize::from(index);
        Some((self.definition()?.steps.get(index)?, self.steps.get(index)?))
    }

    /// All steps with their indexes.
    pub fn each(&self) -> impl DoubleEndedIterator<Item = (u16, &Step, &StepState)> {
        let steps = self.definition().map_or(&[][..], |d| &d.steps);
        // At most 64 steps.
        steps.iter().zip(&self.steps).enumerate().map(|(i, (step, state))| (i as u16, step, state))
    }

    /// The stage that is being done: the first with a step that has not succeeded.
    pub fn stage_doing(&self) -> Option<u16> {
        self.each().find(|(_, _, state)| state.status != StepStatus::Succeeded).map(|(_, step, _)| step.stage)
    }

    /// The stage that is being undone: the last with a step that may need it.
    pub fn stage_undoing(&self) -> Option<u16> {
        self.each().rev().find(|(_, step, state)| state.needs_undo(step)).map(|(_, step, _)| step.stage)
    }

    /// How hard a step is tried in the direction that it goes now.
    pub fn policy(&self, index: u16) -> Policy {
        let call = self.step(index).and_then(|(step, _)| step.call());
        call.map(|call| if self.phase == Phase::Unwinding { call.undoing } else { call.doing })
            .unwrap_or_default()
    }

    /// Bytes of the input and of all outputs.
    pub fn context_bytes(&self) -> usize {
        let outputs: usize = self.steps.iter().filter_map(|s| s.output.as_ref()).map(String::len).sum();
        self.started.as_ref().map_or(0, |s| s.input.len()) + outputs
    }
}

impl StepState {
    /// Whether it may have left something behind that is not undone yet.
    pub fn needs_undo(&self, step: &Step) -> bool {
        step.has_undo()
            && match self.status {
                StepStatus::Open | StepStatus::Succeeded => true,
                StepStatus::Failed => self.doubtful,
                StepStatus::Pending | StepStatus::Waiting | StepStatus::Undone | StepStatus::Skipped => false,
            }
    }
}
