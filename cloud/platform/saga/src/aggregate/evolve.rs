//! What follows from facts.

use super::event::SagaEvent;
use super::state::{Phase, State, StepState, StepStatus};

/// Takes a fact in. One that does not fit (it was never written by this code) changes nothing it cannot change.
pub fn evolve(state: &mut State, event: &SagaEvent) {
    match event {
        SagaEvent::Started(started) => {
            state.steps = vec![StepState::default(); started.definition.steps.len()];
            state.started = Some(started.clone());
            state.phase = Phase::Running;
            each(state, &started.opened, |s| s.status = StepStatus::Open);
        }
        SagaEvent::StepsOpened(opened) => each(state, &opened.steps, |s| s.status = StepStatus::Open),
        SagaEvent::StepsClosed(closed) => each(state, &closed.steps, |s| s.status = StepStatus::Pending),
        SagaEvent::TimerSet(set) => one(state, set.step, |s| {
            s.status = StepStatus::Waiting;
            s.retry_at_ms = set.fires_at_ms;
        }),
        SagaEvent::TimerFired(fired) => one(state, fired.step, |s| s.status = StepStatus::Succeeded),
        SagaEvent::StepSucceeded(done) => {
            one(state, done.step, |s| {
                s.status = StepStatus::Succeeded;
                s.output = Some(done.output.clone());
            });
            unstick(state, done.step);
            each(state, &done.opened, |s| s.status = StepStatus::Open);
        }
        SagaEvent::TryFailed(failed) => one(state, failed.step, |s| {
            s.tries = s.tries.saturating_add(1);
            s.retry_at_ms = failed.retry_at_ms;
            s.doubtful |= failed.failure.kind.may_have_happened();
        }),
        SagaEvent::StepFailed(failed) => one(state, failed.step, |s| {
            s.status = StepStatus::Failed;
            s.doubtful |= failed.doubtful;
        }),
        SagaEvent::UnwindingBegun(begun) => {
            state.phase = Phase::Unwinding;
            state.cause = Some(begun.cause.clone());
            state.stuck = None;
            afresh(state);
        }
        SagaEvent::StepUndone(undone) => {
            one(state, undone.step, |s| {
                s.status = StepStatus::Undone;
                s.given_up = false;
            });
            unstick(state, undone.step);
        }
        SagaEvent::UndoTryFailed(failed) => one(state, failed.step, |s| {
            s.tries = s.tries.saturating_add(1);
            s.retry_at_ms = failed.retry_at_ms;
        }),
        SagaEvent::UndoFailed(failed) => one(state, failed.step, |s| {
            s.tries = s.tries.saturating_add(1);
            s.given_up = true;
        }),
        SagaEvent::Stuck(stuck) => state.stuck = Some(stuck.clone()),
        SagaEvent::OperatorRetried(_) => {
            state.stuck = None;
            state.round = state.round.saturating_add(1);
            afresh(state);
        }
        SagaEvent::OperatorSkipped(skipped) => {
            one(state, skipped.step, |s| {
                let waited = s.status == StepStatus::Waiting;
                s.status = if waited { StepStatus::Succeeded } else { StepStatus::Skipped };
                s.given_up = false;
            });
            unstick(state, skipped.step);
        }
        SagaEvent::Completed(completed) => {
            state.phase = Phase::Completed;
            state.stuck = None;
            state.ended_ms = Some(completed.at_ms);
        }
        SagaEvent::Compensated(compensated) => {
            state.phase = Phase::Compensated;
            state.stuck = None;
            state.ended_ms = Some(compensated.at_ms);
        }
    }
}

fn one(state: &mut State, step: u16, change: impl FnOnce(&mut StepState)) {
    if let Some(step) = state.steps.get_mut(usize::from(step)) {
        change(step);
    }
}

fn each(state: &mut State, steps: &[u16], change: impl Fn(&mut StepState)) {
    steps.iter().for_each(|step| one(state, *step, &change));
}

/// Tries are counted anew. Timers keep their time.
fn afresh(state: &mut State) {
    for step in state.steps.iter_mut().filter(|step| step.status != StepStatus::Waiting) {
        step.tries = 0;
        step.retry_at_ms = 0;
        step.given_up = false;
    }
}

/// It is stuck no more once the step it was stuck on is settled and no other was given up.
fn unstick(state: &mut State, step: u16) {
    let Some(stuck) = &mut state.stuck else { return };
    match state.steps.iter().position(|s| s.given_up) {
        // At most 64 steps.
        Some(other) => stuck.step = other as u16,
        None if stuck.step == step => state.stuck = None,
        None => {}
    }
}
