//! A saga's history as people read it.

use std::fmt;

use remuda_eventsourcing::Aggregate;
use serde::Serialize;

use crate::aggregate::{Cause, Failure, Saga, SagaEvent, State};
use crate::host::Recorded;

/// A line of a saga's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Version of the event.
    pub version: u64,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
    /// Ms since the saga began.
    pub after_ms: i64,
    /// Stable type of the event, such as `saga.step-succeeded`.
    pub event: &'static str,
    /// The step; none for the saga as a whole.
    pub step: Option<String>,
    /// What happened.
    pub what: String,
    /// Who did it.
    pub by: String,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.after_ms.div_euclid(1_000), self.after_ms.rem_euclid(1_000));
        let step = self.step.as_deref().unwrap_or("saga");
        write!(f, "+{whole}.{rest:03} s  {step}: {} [{}]", self.what, self.by)
    }
}

/// A saga's events, in order, as lines.
pub fn timeline(history: &[Recorded]) -> Vec<Entry> {
    let mut state = State::default();
    let began_ms = history.first().map_or(0, |recorded| recorded.time_ms);
    let entry = |recorded: &Recorded| {
        let (step, what) = line(&state, &recorded.event);
        let step = step.and_then(|step| state.step(step)).map(|(step, _)| step.name.clone());
        Saga::evolve(&mut state, &recorded.event);
        Entry {
            version: recorded.version,
            time_ms: recorded.time_ms,
            after_ms: recorded.time_ms - began_ms,
            event: recorded.event.event_type(),
            step,
            what,
            by: recorded.actor.clone(),
        }
    };
    history.iter().map(entry).collect()
}

/// The step concerned, and what happened, in a state before it.
fn line(state: &State, event: &SagaEvent) -> (Option<u16>, String) {
    let name = |step: &u16| state.step(*step).map(|(step, _)| step.name.as_str()).unwrap_or("?");
    let names = |steps: &[u16]| steps.iter().map(name).collect::<Vec<_>>().join(", ");
    let tries = |step: &u16| state.step(*step).map_or(0, |(_, s)| s.tries) + 1;
    match event {
        SagaEvent::Started(e) => {
            let definition = &e.definition;
            let opened = e.opened.iter().filter_map(|step| definition.steps.get(usize::from(*step)));
            let opened: Vec<&str> = opened.map(|step| step.name.as_str()).collect();
            let ahead = if opened.is_empty() {
                String::new()
            } else {
                format!("; may now call {}", opened.join(", "))
            };
            (None, format!("started {} version {}{ahead}", definition.name, definition.version))
        }
        SagaEvent::StepsOpened(e) => (None, format!("may now call {}", names(&e.steps))),
        SagaEvent::StepsClosed(e) => (None, format!("never called {}", names(&e.steps))),
        SagaEvent::TimerSet(e) => (Some(e.step), format!("waits until {} ms", e.fires_at_ms)),
        SagaEvent::TimerFired(e) => (Some(e.step), "waited".to_owned()),
        SagaEvent::StepSucceeded(e) => {
            let ahead = if e.opened.is_empty() {
                String::new()
            } else {
                format!("; may now call {}", names(&e.opened))
            };
            (Some(e.step), format!("done at try {}{ahead}", tries(&e.step)))
        }
        SagaEvent::TryFailed(e) => {
            (Some(e.step), format!("try {} failed: {}", tries(&e.step), failure(&e.failure)))
        }
        SagaEvent::StepFailed(e) => {
            let doubt = if e.doubtful { "; it may have been done" } else { "" };
            (Some(e.step), format!("failed at try {}: {}{doubt}", tries(&e.step), failure(&e.failure)))
        }
        SagaEvent::UnwindingBegun(e) => {
            let why = match &e.cause {
                Cause::StepFailed { step, code } => format!("{} failed: {code}", name(step)),
                Cause::Cancelled { by, reason } => format!("cancelled by {by}: {reason}"),
                Cause::Forced { by, reason } => format!("compensated by {by}: {reason}"),
            };
            (None, format!("unwinds, since {why}"))
        }
        SagaEvent::StepUndone(e) => (Some(e.step), format!("undone at try {}", tries(&e.step))),
        SagaEvent::UndoTryFailed(e) => {
            (Some(e.step), format!("try {} to undo it failed: {}", tries(&e.step), failure(&e.failure)))
        }
        SagaEvent::UndoFailed(e) => {
            (Some(e.step), format!("undo given up at try {}: {}", tries(&e.step), failure(&e.failure)))
        }
        SagaEvent::Stuck(e) => (Some(e.step), format!("stuck: {}", e.reason)),
        SagaEvent::OperatorRetried(e) => (None, format!("is tried again: {}", e.reason)),
        SagaEvent::OperatorSkipped(e) => (Some(e.step), format!("skipped: {}", e.reason)),
        SagaEvent::Completed(_) => (None, "completed".to_owned()),
        SagaEvent::Compensated(_) => (None, "compensated".to_owned()),
    }
}

fn failure(failure: &Failure) -> String {
    if failure.detail.is_empty() || failure.detail == failure.code {
        failure.code.clone()
    } else {
        format!("{} ({})", failure.code, failure.detail)
    }
}
