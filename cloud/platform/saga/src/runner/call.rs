//! One call of a service: its context, its deadline, what became of it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::Inner;
use crate::aggregate::{Failure, FailureKind, State, StepStatus};
use crate::definition::Call;
use crate::host::SagaId;
use crate::service::{Service, StepContext, StepError, do_key, undo_key};

/// Doing or undoing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Do,
    Undo,
}

/// A call that came back.
pub(super) struct Answer {
    pub way: Way,
    pub outcome: Result<String, Failure>,
}

/// All that a call needs, so that it may run by itself.
pub(super) struct Prepared {
    way: Way,
    service: Arc<dyn Service>,
    action: String,
    key: String,
    deadline: Duration,
    context: StepContext,
}

/// What cannot be called, and why.
pub(super) struct Uncallable(pub String);

impl Prepared {
    pub(super) fn new(
        inner: &Inner,
        id: &SagaId,
        state: &State,
        (step, attempt, way): (u16, u16, Way),
    ) -> Result<Self, Uncallable> {
        let found = state.step(step).and_then(|(definition, _)| Some((definition, definition.call()?)));
        let Some((definition, call)) = found else {
            return Err(Uncallable(format!("step {step} is no call")));
        };
        let Call { service, action, compensate, doing, undoing } = call;
        let (action, policy, key) = match (way, compensate) {
            (Way::Do, _) => (action, doing, do_key(&id.id, &definition.name)),
            (Way::Undo, Some(compensate)) => (compensate, undoing, undo_key(&id.id, &definition.name)),
            (Way::Undo, None) => return Err(Uncallable(format!("{} has no compensation", definition.name))),
        };
        let Some(offering) = inner.services.offering(service, action) else {
            let text = format!(
                "no service \"{service}\" with an action \"{action}\" here; bring it back, then retry"
            );
            return Err(Uncallable(text));
        };
        let deadline = Duration::from_millis(policy.deadline_ms);
        let context = StepContext {
            organization: id.organization,
            saga_id: id.id.clone(),
            saga: state.definition().map(|d| d.name.clone()).unwrap_or_default(),
            step: definition.name.clone(),
            attempt,
            deadline_ms: 0,
            data: data(state, step, definition.stage, way),
        };
        Ok(Self { way, service: offering.clone(), action: action.clone(), key, deadline, context })
    }

    /// Calls. The deadline counts from when it is this call's turn.
    pub(super) async fn call(mut self, inner: Arc<Inner>) -> Answer {
        // Never closed: the semaphores live as long as the runner.
        let _permit = match inner.calls.get(self.service.name()) {
            Some(room) => room.acquire().await.ok(),
            None => None,
        };
        let begun = Instant::now();
        let wait_ms = i64::try_from(self.deadline.as_millis()).unwrap_or(i64::MAX);
        self.context.deadline_ms = inner.now_ms().saturating_add(wait_ms);
        let called = self.service.call(&self.action, &self.key, &self.context);
        let outcome = match tokio::time::timeout(self.deadline, called).await {
            Ok(Ok(value)) => Ok(value.to_string()),
            Ok(Err(error)) => Err(failure(error)),
            Err(_) => {
                let detail = format!("no answer within {wait_ms} ms");
                Err(of_kind(FailureKind::TimedOut, detail))
            }
        };
        let label = outcome.as_ref().map_or_else(|failure| failure.kind.code(), |_| "done");
        inner.metrics.call(&self.action, label, begun.elapsed());
        Answer { way: self.way, outcome }
    }
}

pub(super) fn of_kind(kind: FailureKind, detail: String) -> Failure {
    Failure { kind, code: kind.code().to_owned(), detail }
}

fn failure(error: StepError) -> Failure {
    match error {
        StepError::Refused { code, detail } => Failure { kind: FailureKind::Refused, code, detail },
        StepError::Transient(detail) => of_kind(FailureKind::Transient, detail),
        StepError::Unknown(detail) => of_kind(FailureKind::Unknown, detail),
    }
}

/// The input, and the outputs of earlier stages by step; for an undo also the step's own.
fn data(state: &State, own: u16, stage: u16, way: Way) -> Value {
    let input = state.started.as_ref().map(|s| s.input.as_str()).unwrap_or_default();
    // Checked to be an object when the saga was started.
    let mut data: Map<String, Value> = serde_json::from_str(input).unwrap_or_default();
    for (index, step, s) in state.each() {
        let seen = step.stage < stage || (way == Way::Undo && index == own);
        if let (true, Some(output)) = (seen && s.status != StepStatus::Pending, &s.output) {
            data.insert(step.name.clone(), serde_json::from_str(output).unwrap_or(Value::Null));
        }
    }
    Value::Object(data)
}
