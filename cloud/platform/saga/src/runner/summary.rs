//! A saga as lists show it.

use serde::Serialize;

use crate::aggregate::{Cause, Phase, State, StepStatus, StuckWhy};
use crate::definition::StepKind;
use crate::host::SagaId;
use crate::metrics::Standing;

/// How a saga stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It is being read.
    Loading,
    /// Doing.
    Running,
    /// Undoing.
    Unwinding,
    /// An operator must resolve it.
    Stuck,
    /// Done.
    Completed,
    /// Undone.
    Compensated,
}

impl Status {
    /// Whether nothing changes any more.
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Compensated)
    }

    pub(crate) const fn standing(self) -> Option<Standing> {
        match self {
            Self::Loading | Self::Running | Self::Unwinding => Some(Standing::Running),
            Self::Stuck => Some(Standing::Stuck),
            Self::Completed | Self::Compensated => None,
        }
    }
}

/// A saga at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Which.
    pub id: SagaId,
    /// Name of its definition; empty while it is being read.
    pub saga: String,
    /// Version of its definition.
    pub version: u32,
    /// How it stands.
    pub status: Status,
    /// Why it unwinds, was compensated or is stuck; else empty.
    pub reason: String,
    /// The step that it is stuck on.
    pub stuck_on: Option<String>,
    /// When it began, ms since 1970 UTC.
    pub started_ms: i64,
    /// When it ended, ms since 1970 UTC.
    pub ended_ms: Option<i64>,
    /// Its steps.
    pub steps: Vec<StepSummary>,
}

/// A step at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepSummary {
    /// Name.
    pub name: String,
    /// Stage, from 0.
    pub stage: u16,
    /// `service/action`, or `timer`.
    pub what: String,
    /// How far it is.
    pub status: StepStatus,
    /// Failed tries in the direction it goes.
    pub tries: u16,
    /// When it is due, ms since 1970 UTC; none while nothing is waited for.
    pub due_ms: Option<i64>,
}

impl Summary {
    pub(crate) fn of(id: &SagaId, state: &State) -> Self {
        let status = match (&state.stuck, state.phase) {
            (Some(_), _) => Status::Stuck,
            (None, Phase::Absent) => Status::Loading,
            (None, Phase::Running) => Status::Running,
            (None, Phase::Unwinding) => Status::Unwinding,
            (None, Phase::Completed) => Status::Completed,
            (None, Phase::Compensated) => Status::Compensated,
        };
        let name = |step: u16| state.step(step).map(|(step, _)| step.name.clone()).unwrap_or_default();
        let reason = match (&state.stuck, &state.cause) {
            (Some(stuck), _) => stuck.reason.clone(),
            (None, Some(Cause::StepFailed { step, code })) => format!("{} failed: {code}", name(*step)),
            (None, Some(Cause::Cancelled { by, reason })) => format!("cancelled by {by}: {reason}"),
            (None, Some(Cause::Forced { by, reason })) => format!("compensated by {by}: {reason}"),
            (None, None) => String::new(),
        };
        let steps = state.each().map(|(_, step, s)| StepSummary {
            name: step.name.clone(),
            stage: step.stage,
            what: match &step.kind {
                StepKind::Call(call) => format!("{}/{}", call.service, call.action),
                StepKind::Timer { .. } => "timer".to_owned(),
            },
            status: s.status,
            tries: s.tries,
            due_ms: (s.retry_at_ms > 0 && matches!(s.status, StepStatus::Open | StepStatus::Waiting))
                .then_some(s.retry_at_ms),
        });
        let definition = state.definition();
        Self {
            id: id.clone(),
            saga: definition.map(|d| d.name.clone()).unwrap_or_default(),
            version: definition.map_or(0, |d| d.version),
            status,
            reason,
            stuck_on: state.stuck.as_ref().map(|stuck| name(stuck.step)),
            started_ms: state.started.as_ref().map_or(0, |s| s.at_ms),
            ended_ms: state.ended_ms,
            steps: steps.collect(),
        }
    }

    /// One that cannot be read: shown, not hidden.
    pub(crate) fn unreadable(id: &SagaId, reason: &str) -> Self {
        Self {
            id: id.clone(),
            saga: String::new(),
            version: 0,
            status: Status::Stuck,
            reason: format!("it cannot be read, run the program that wrote it: {reason}"),
            stuck_on: None,
            started_ms: 0,
            ended_ms: None,
            steps: Vec::new(),
        }
    }
}

/// Whether a saga that was stuck for want of a service may go on now.
pub(crate) fn waits_for_service(state: &State) -> Option<u16> {
    state.stuck.as_ref().filter(|stuck| stuck.why == StuckWhy::NoService).map(|stuck| stuck.step)
}
