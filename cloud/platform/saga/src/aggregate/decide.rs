//! Which facts follow from a wish.

use remuda_eventsourcing::Context;

use super::back_off::pause_ms;
use super::command::Command;
use super::error::SagaRefusal;
use super::event::{
    Cause, Compensated, Completed, Failure, FailureKind, OperatorRetried, OperatorSkipped, SagaEvent,
    Started, StepFailed, StepSucceeded, StepUndone, StepsClosed, StepsOpened, Stuck, StuckWhy, TimerFired,
    TimerSet, TryFailed, UndoFailed, UndoTryFailed, UnwindingBegun,
};
use super::evolve::evolve;
use super::state::{Phase, State, StepStatus};
use crate::definition::StepKind;
use crate::limits;

type Decided = Result<Vec<SagaEvent>, SagaRefusal>;

/// Facts so far, and what is known after them.
struct Draft<'a> {
    state: State,
    events: Vec<SagaEvent>,
    context: &'a Context,
}

pub fn decide(state: &State, command: &Command, context: &Context) -> Decided {
    if let Command::Start { definition, input, seed } = command {
        if let Some(started) = &state.started {
            let same = started.definition.name == definition.name && started.input == *input;
            return if same { Ok(Vec::new()) } else { Err(SagaRefusal::IdTaken) };
        }
        if input.len() > limits::INPUT_BYTES_MAX {
            return Err(SagaRefusal::InputTooLarge(input.len()));
        }
        let mut draft = Draft { state: state.clone(), events: Vec::new(), context };
        let (definition, input) = (definition.clone(), input.clone());
        let (at_ms, opened) = (context.now_ms, Vec::new());
        draft.push(SagaEvent::Started(Started { definition, input, seed: *seed, at_ms, opened }));
        return Ok(draft.settle());
    }
    if state.started.is_none() {
        return Err(SagaRefusal::NotStarted);
    }
    let draft = Draft { state: state.clone(), events: Vec::new(), context };
    match command {
        Command::Start { .. } => Ok(Vec::new()),
        Command::Succeeded { step, output, uncalled } => draft.succeeded(*step, output, uncalled),
        Command::Failed { step, failure, inherited, uncalled } => {
            draft.failed(*step, failure, *inherited, uncalled)
        }
        Command::TimerFired { step } => draft.timer_fired(*step),
        Command::Undone { step } => draft.undone(*step),
        Command::UndoFailed { step, failure } => draft.undo_failed(*step, failure),
        Command::Hold { step, reason } => draft.hold(*step, reason),
        Command::Cancel { reason, uncalled } => draft.cancel(reason, uncalled),
        Command::Compensate { reason, uncalled } => draft.compensate(reason, uncalled),
        Command::Retry { reason } => draft.retry(reason),
        Command::Skip { step, reason } => draft.skip(*step, reason),
    }
}

impl Draft<'_> {
    fn push(&mut self, event: SagaEvent) {
        evolve(&mut self.state, &event);
        self.events.push(event);
    }

    /// The status of a step and whether it is its stage's turn to be done.
    fn doing(&self, index: u16) -> Result<(StepStatus, bool), SagaRefusal> {
        let (step, state) = self.state.step(index).ok_or(SagaRefusal::NoSuchStep(index))?;
        Ok((state.status, self.state.stage_doing() == Some(step.stage)))
    }

    fn name(&self, index: u16) -> String {
        self.state.step(index).map(|(step, _)| step.name.clone()).unwrap_or_default()
    }

    fn succeeded(mut self, step: u16, output: &str, uncalled: &[u16]) -> Decided {
        let (status, its_turn) = self.doing(step)?;
        if status != StepStatus::Open || self.state.is_ended() {
            return Ok(Vec::new());
        }
        if self.state.phase == Phase::Running && !its_turn {
            return Err(SagaRefusal::OutOfOrder(self.name(step)));
        }
        let total = self.state.context_bytes() + output.len();
        if output.len() > limits::OUTPUT_BYTES_MAX || total > limits::CONTEXT_BYTES_MAX {
            let detail = format!("{} bytes, {total} with all before", output.len());
            let kind = FailureKind::OutputTooLarge;
            return self.failed(
                step,
                &Failure { kind, code: kind.code().to_owned(), detail },
                false,
                uncalled,
            );
        }
        let (output, opened) = (output.to_owned(), Vec::new());
        self.push(SagaEvent::StepSucceeded(StepSucceeded { step, output, opened }));
        Ok(self.settle())
    }

    fn failed(mut self, step: u16, failure: &Failure, inherited: bool, uncalled: &[u16]) -> Decided {
        let (status, its_turn) = self.doing(step)?;
        if status != StepStatus::Open || self.state.is_ended() {
            return Ok(Vec::new());
        }
        let running = self.state.phase == Phase::Running;
        if running && !its_turn {
            return Err(SagaRefusal::OutOfOrder(self.name(step)));
        }
        let failure = cut(failure);
        if running
            && failure.kind.is_worth_a_retry()
            && let Some(retry_at_ms) = self.retry_at(step)
        {
            self.push(SagaEvent::TryFailed(TryFailed { step, failure, retry_at_ms }));
            return Ok(self.events);
        }
        let code = failure.code.clone();
        let before = self.state.step(step).is_some_and(|(_, s)| s.doubtful);
        let doubtful = inherited || before || failure.kind.may_have_happened();
        self.push(SagaEvent::StepFailed(StepFailed { step, failure, doubtful }));
        if running {
            self.unwind(Cause::StepFailed { step, code }, uncalled);
        }
        Ok(self.settle())
    }

    /// When the next try is due, unless this was the last.
    fn retry_at(&self, step: u16) -> Option<i64> {
        let (_, state) = self.state.step(step)?;
        let (policy, failed) = (self.state.policy(step), state.tries.saturating_add(1));
        let seed = self.state.started.as_ref().map_or(0, |started| started.seed);
        (failed < policy.tries)
            .then(|| self.context.now_ms.saturating_add(pause_ms(policy.back_off, failed, seed, step)))
    }

    fn timer_fired(mut self, step: u16) -> Decided {
        let (status, _) = self.doing(step)?;
        if status != StepStatus::Waiting || self.state.phase != Phase::Running {
            return Ok(Vec::new());
        }
        if self.state.step(step).is_some_and(|(_, s)| s.retry_at_ms > self.context.now_ms) {
            return Err(SagaRefusal::TooEarly(self.name(step)));
        }
        self.push(SagaEvent::TimerFired(TimerFired { step }));
        Ok(self.settle())
    }

    /// Whether this step waits to be undone, and nothing after it does.
    fn undoing(&self, index: u16) -> Result<bool, SagaRefusal> {
        let (step, state) = self.state.step(index).ok_or(SagaRefusal::NoSuchStep(index))?;
        if self.state.phase != Phase::Unwinding || !state.needs_undo(step) {
            return Ok(false);
        }
        if self.state.stage_undoing() != Some(step.stage) {
            return Err(SagaRefusal::OutOfOrder(self.name(index)));
        }
        Ok(true)
    }

    fn undone(mut self, step: u16) -> Decided {
        if !self.undoing(step)? {
            return Ok(Vec::new());
        }
        self.push(SagaEvent::StepUndone(StepUndone { step }));
        Ok(self.settle())
    }

    fn undo_failed(mut self, step: u16, failure: &Failure) -> Decided {
        if !self.undoing(step)? {
            return Ok(Vec::new());
        }
        let failure = cut(failure);
        if failure.kind.is_worth_a_retry()
            && let Some(retry_at_ms) = self.retry_at(step)
        {
            self.push(SagaEvent::UndoTryFailed(UndoTryFailed { step, failure, retry_at_ms }));
            return Ok(self.events);
        }
        let reason = format!("undo of {}: {} {}", self.name(step), failure.code, failure.detail);
        self.push(SagaEvent::UndoFailed(UndoFailed { step, failure }));
        if self.state.stuck.is_none() {
            self.stuck(step, StuckWhy::UndoGivenUp, reason.trim_end());
        }
        Ok(self.events)
    }

    fn stuck(&mut self, step: u16, why: StuckWhy, reason: &str) {
        let (reason, at_ms) = (shortened(reason), self.context.now_ms);
        self.push(SagaEvent::Stuck(Stuck { step, why, reason, at_ms }));
    }

    fn hold(mut self, step: u16, reason: &str) -> Decided {
        let (status, its_turn) = self.doing(step)?;
        let wanted = match self.state.phase {
            Phase::Running => its_turn && status == StepStatus::Open,
            _ => self.undoing(step)?,
        };
        if wanted && self.state.stuck.is_none() {
            self.stuck(step, StuckWhy::NoService, reason);
        }
        Ok(self.events)
    }

    fn cancel(mut self, reason: &str, uncalled: &[u16]) -> Decided {
        match self.state.phase {
            Phase::Completed => Err(SagaRefusal::AlreadyCompleted),
            Phase::Unwinding | Phase::Compensated | Phase::Absent => Ok(Vec::new()),
            Phase::Running => {
                let by = self.context.actor.clone();
                self.unwind(Cause::Cancelled { by, reason: shortened(reason) }, uncalled);
                Ok(self.settle())
            }
        }
    }

    fn compensate(mut self, reason: &str, uncalled: &[u16]) -> Decided {
        let reason = given(reason)?;
        match self.state.phase {
            Phase::Completed => Err(SagaRefusal::AlreadyCompleted),
            Phase::Compensated | Phase::Absent => Err(SagaRefusal::AlreadyCompensated),
            Phase::Unwinding => Err(SagaRefusal::AlreadyUnwinding),
            Phase::Running => {
                self.unwind(Cause::Forced { by: self.context.actor.clone(), reason }, uncalled);
                Ok(self.settle())
            }
        }
    }

    fn retry(mut self, reason: &str) -> Decided {
        let reason = given(reason)?;
        if self.state.stuck.is_none() {
            return Err(SagaRefusal::NotStuck);
        }
        self.push(SagaEvent::OperatorRetried(OperatorRetried { reason }));
        Ok(self.events)
    }

    fn skip(mut self, index: u16, reason: &str) -> Decided {
        let reason = given(reason)?;
        let (step, state) = self.state.step(index).ok_or(SagaRefusal::NoSuchStep(index))?;
        let stuck_on = self.state.stuck.as_ref().is_some_and(|stuck| stuck.step == index);
        let undo =
            self.state.phase == Phase::Unwinding && state.needs_undo(step) && (state.given_up || stuck_on);
        let timer = self.state.phase == Phase::Running && state.status == StepStatus::Waiting;
        if !undo && !timer {
            return Err(SagaRefusal::NotSkippable(self.name(index)));
        }
        self.push(SagaEvent::OperatorSkipped(OperatorSkipped { step: index, reason }));
        Ok(self.settle())
    }

    /// Turns round. Steps that were open ahead of their turn and never called have nothing to undo.
    fn unwind(&mut self, cause: Cause, uncalled: &[u16]) {
        let never = |step: &u16| {
            self.state
                .step(*step)
                .is_some_and(|(_, s)| s.status == StepStatus::Open && s.tries == 0 && !s.doubtful)
        };
        let steps: Vec<u16> = uncalled.iter().copied().filter(never).collect();
        if !steps.is_empty() {
            self.push(SagaEvent::StepsClosed(StepsClosed { steps }));
        }
        self.push(SagaEvent::UnwindingBegun(UnwindingBegun { cause }));
    }

    /// What follows by itself: the next stage opens, or it ends.
    fn settle(mut self) -> Vec<SagaEvent> {
        let at_ms = self.context.now_ms;
        match self.state.phase {
            Phase::Running => match self.state.stage_doing() {
                Some(stage) => self.open(stage),
                None => self.push(SagaEvent::Completed(Completed { at_ms })),
            },
            Phase::Unwinding if self.state.stage_undoing().is_none() => {
                self.push(SagaEvent::Compensated(Compensated { at_ms }));
            }
            _ => {}
        }
        self.events
    }

    /// Opens the steps of this stage and, ahead of time, of the next: so the next may be called as soon as this one's
    /// answers are there, while they are still being written. Not past a timer, which can be days.
    fn open(&mut self, stage: u16) {
        let mut open = Vec::new();
        let mut timers = Vec::new();
        let mut pause = false;
        for (index, step, state) in self.state.each().filter(|(_, step, _)| step.stage == stage) {
            if let StepKind::Timer { wait_ms } = step.kind {
                pause = true;
                if state.status == StepStatus::Pending {
                    // At most 90 days by the definition's check.
                    let fires_at_ms = self.context.now_ms.saturating_add_unsigned(wait_ms);
                    timers.push(TimerSet { step: index, fires_at_ms });
                }
            }
        }
        let last = if pause { stage } else { stage + 1 };
        for (index, step, state) in self.state.each() {
            let soon = (stage..=last).contains(&step.stage);
            if soon && step.call().is_some() && state.status == StepStatus::Pending {
                open.push(index);
            }
        }
        if !open.is_empty() {
            self.announce(open);
        }
        timers.into_iter().for_each(|timer| self.push(SagaEvent::TimerSet(timer)));
    }

    /// With the event that made it their turn, where that has room: an event fewer to write.
    fn announce(&mut self, steps: Vec<u16>) {
        let opened = match self.events.last_mut() {
            Some(SagaEvent::Started(e)) => &mut e.opened,
            Some(SagaEvent::StepSucceeded(e)) => &mut e.opened,
            _ => return self.push(SagaEvent::StepsOpened(StepsOpened { steps })),
        };
        opened.clone_from(&steps);
        evolve(&mut self.state, &SagaEvent::StepsOpened(StepsOpened { steps }));
    }
}

/// What an operator must say.
fn given(reason: &str) -> Result<String, SagaRefusal> {
    if reason.trim().is_empty() { Err(SagaRefusal::ReasonMissing) } else { Ok(shortened(reason.trim())) }
}

fn cut(failure: &Failure) -> Failure {
    Failure { kind: failure.kind, code: shortened(&failure.code), detail: shortened(&failure.detail) }
}

fn shortened(text: &str) -> String {
    let mut end = text.len().min(limits::TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
