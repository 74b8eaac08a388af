//! One saga's task: it carries out what the pure machine wants, and writes down what became of it.
//!
//! Two states: `durable` is what the journal has; `ahead` also knows answers that are still being written. A step is
//! called when `ahead` says that it is its turn and `durable` has it open: its opening was written one stage early, so
//! that the write of one answer and the call that follows it take place at the same time. Undoing is never hurried:
//! there the two states must be one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use remuda_eventsourcing::{Aggregate, Context};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::call::{Answer, Prepared, Uncallable, Way, of_kind};
use super::summary::{Summary, waits_for_service};
use super::{Inner, SagaError};
use crate::aggregate::{Command, FailureKind, Intent, Phase, Saga, SagaEvent, State, StepStatus, next};
use crate::host::{Executed, HostError, SagaId};
use crate::limits;

/// Something that somebody wants of a saga that is under way.
pub(super) struct Request {
    pub command: Command,
    pub actor: String,
    pub request_id: String,
    pub reply: oneshot::Sender<Result<Summary, SagaError>>,
}

type Written = Result<Executed, HostError>;
type Reply = oneshot::Sender<Result<Summary, SagaError>>;

/// An entry that waits for its turn to be written.
struct Entry {
    command: Command,
    context: Context,
    /// What follows from it, in `ahead` already.
    events: Vec<SagaEvent>,
    reply: Option<Reply>,
}

/// Why the loop ended.
enum Over {
    /// The saga has ended.
    Ended,
    /// The node shuts down, or another has the saga.
    Left,
    /// What the journal has is no longer known.
    Reload,
}

pub(super) struct Driver {
    inner: Arc<Inner>,
    id: SagaId,
    durable: State,
    ahead: State,
    calls: JoinSet<Answer>,
    in_flight: BTreeMap<u16, Way>,
    tasks: BTreeMap<tokio::task::Id, u16>,
    /// Steps whose action may have been called, by this process or one before it.
    called: BTreeSet<u16>,
    /// Those of them that an earlier process may have called.
    inherited: BTreeSet<u16>,
    waiting: VecDeque<Entry>,
    writing: Option<Pin<Box<dyn Future<Output = Written> + Send>>>,
    writing_events: Vec<SagaEvent>,
    writing_reply: Option<Reply>,
    requests: mpsc::Receiver<Request>,
    shown: watch::Sender<Summary>,
    stopping: watch::Receiver<bool>,
    /// Loads in a row that led to nothing.
    reloads: u32,
    /// The machine refused this driver: the two disagree.
    lost: bool,
}

impl Driver {
    pub(super) fn new(
        inner: Arc<Inner>,
        id: SagaId,
        requests: mpsc::Receiver<Request>,
        shown: watch::Sender<Summary>,
    ) -> Self {
        let stopping = inner.stopping.subscribe();
        Self {
            inner,
            id,
            durable: State::default(),
            ahead: State::default(),
            calls: JoinSet::new(),
            in_flight: BTreeMap::new(),
            tasks: BTreeMap::new(),
            called: BTreeSet::new(),
            inherited: BTreeSet::new(),
            waiting: VecDeque::new(),
            writing: None,
            writing_events: Vec::new(),
            writing_reply: None,
            requests,
            shown,
            stopping,
            reloads: 0,
            lost: false,
        }
    }

    /// Runs the saga to its end. `begun` is what a start has just written; without it, the saga is loaded, and every open
    /// step may have been called before.
    pub(super) async fn run(mut self, begun: Option<State>) {
        let mut fresh = begun;
        loop {
            match fresh.take() {
                Some(state) => self.take(state),
                None => {
                    if !self.load().await {
                        break;
                    }
                }
            }
            match self.go_on().await {
                Over::Reload => {
                    self.forget();
                    if !self.pause().await {
                        break;
                    }
                }
                Over::Ended | Over::Left => break,
            }
        }
        self.inner.close(&self.id, &self.shown);
    }

    fn take(&mut self, state: State) {
        self.ahead = state.clone();
        self.durable = state;
        self.show();
    }

    /// Drops what is not certain. Calls under way are broken off: whether they were done is unknown.
    fn forget(&mut self) {
        self.lost = false;
        self.calls = JoinSet::new();
        self.in_flight.clear();
        self.tasks.clear();
        self.writing = None;
        let lost = || SagaError::Journal("whether it was written is unknown; ask again".to_owned());
        let replies = self.writing_reply.take().into_iter();
        replies.chain(self.waiting.drain(..).filter_map(|e| e.reply)).for_each(|reply| {
            // Who asked may have gone.
            let _ = reply.send(Err(lost()));
        });
    }

    /// Reads the saga, for as long as it takes; false when there is nothing to run here.
    async fn load(&mut self) -> bool {
        loop {
            let loaded = {
                let _permit = self.inner.loads.acquire().await;
                self.inner.host.state(&self.id).await
            };
            match loaded {
                Ok(state) if state.phase == Phase::Absent => return false,
                Ok(state) => {
                    self.called = state
                        .each()
                        .filter(|(_, _, s)| s.status == StepStatus::Open)
                        .map(|(i, ..)| i)
                        .collect();
                    self.inherited = self.called.clone();
                    self.take(state);
                    self.unstick_if_served();
                    return true;
                }
                Err(HostError::Elsewhere) => return false,
                Err(HostError::Unreadable(reason)) => {
                    tracing::error!(saga_id = %self.id, %reason, "a saga cannot be read");
                    self.publish(Summary::unreadable(&self.id, &reason));
                    if !self.asked_to_retry().await {
                        return false;
                    }
                }
                Err(error) => {
                    tracing::warn!(saga_id = %self.id, %error, "a saga could not be loaded, trying again");
                    if !self.pause().await {
                        return false;
                    }
                }
            }
        }
    }

    /// Waits longer each time in a row; false when the node shuts down meanwhile.
    async fn pause(&mut self) -> bool {
        let pause_ms = (limits::RELOAD_MS << self.reloads.min(16)).min(limits::RELOAD_MS_MAX);
        self.reloads += 1;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(pause_ms)) => true,
            _ = self.stopping.wait_for(|stopping| *stopping) => false,
        }
    }

    /// A saga that cannot be read stays visible until an operator wants it read again; false when the node shuts down.
    async fn asked_to_retry(&mut self) -> bool {
        loop {
            let request = tokio::select! {
                request = self.requests.recv() => request,
                _ = self.stopping.wait_for(|stopping| *stopping) => None,
            };
            let Some(Request { command, reply, .. }) = request else { return false };
            let shown = self.shown.borrow().clone();
            let again = matches!(command, Command::Retry { .. });
            let _ = reply.send(if again { Ok(shown) } else { Err(SagaError::Journal(shown.reason)) });
            if again {
                return true;
            }
        }
    }

    /// A saga that waited for a service which this program has goes on by itself.
    fn unstick_if_served(&mut self) {
        let Some(step) = waits_for_service(&self.ahead) else { return };
        let way = if self.ahead.phase == Phase::Unwinding { Way::Undo } else { Way::Do };
        if Prepared::new(&self.inner, &self.id, &self.ahead, (step, 1, way)).is_ok() {
            let command = Command::Retry { reason: "the service is there again".to_owned() };
            self.note(command, format!("served/{}", self.ahead.round));
        }
    }

    async fn go_on(&mut self) -> Over {
        loop {
            let wake_ms = if *self.stopping.borrow() { None } else { self.begin_calls() };
            self.begin_write();
            if self.lost {
                return Over::Reload;
            }
            if self.writing.is_none() {
                // Calls still under way when a saga has ended are of steps that leave nothing behind.
                if self.durable.is_ended() {
                    return Over::Ended;
                }
                if *self.stopping.borrow() && self.in_flight.is_empty() {
                    return Over::Left;
                }
            }
            let now_ms = self.inner.now_ms();
            tokio::select! {
                biased;
                written = async { self.writing.as_mut().expect("this branch is only taken while a write is under way").await }, if self.writing.is_some() => {
                    self.writing = None;
                    if let Some(over) = self.written(written) {
                        return over;
                    }
                }
                Some(joined) = self.calls.join_next_with_id(), if !self.calls.is_empty() => {
                    self.answered(joined);
                }
                Some(request) = self.requests.recv() => self.requested(request),
                () = pause_until(wake_ms, now_ms), if wake_ms.is_some() => {}
                _ = self.stopping.changed() => {}
            }
        }
    }

    /// Begins what is wanted and not begun; answers when to ask again.
    fn begin_calls(&mut self) -> Option<i64> {
        let now_ms = self.inner.now_ms();
        let settled = self.waiting.is_empty() && self.writing.is_none();
        let mut wake: Option<i64> = None;
        for intent in next(&self.ahead, now_ms) {
            match intent {
                Intent::Do { step, attempt } if self.may_do(step) => self.begin(step, attempt, Way::Do),
                Intent::Undo { step, attempt } if settled && !self.in_flight.contains_key(&step) => {
                    self.begin(step, attempt, Way::Undo);
                }
                Intent::Fire { step } if settled => {
                    self.note(Command::TimerFired { step }, format!("{step}/fired"));
                }
                Intent::WakeAt(at_ms) => wake = Some(wake.map_or(at_ms, |w| w.min(at_ms))),
                Intent::Do { .. } | Intent::Undo { .. } | Intent::Fire { .. } => {}
            }
        }
        wake
    }

    /// Whether the journal says that the step may be called, with as many tries behind it as there were.
    fn may_do(&self, step: u16) -> bool {
        let licensed = self.durable.phase == Phase::Running && self.durable.stuck.is_none();
        let at = usize::from(step);
        let same = match (self.durable.steps.get(at), self.ahead.steps.get(at)) {
            (Some(durable), Some(ahead)) => {
                durable.status == StepStatus::Open && durable.tries == ahead.tries
            }
            _ => false,
        };
        licensed && same && !self.in_flight.contains_key(&step)
    }

    fn begin(&mut self, step: u16, attempt: u16, way: Way) {
        match Prepared::new(&self.inner, &self.id, &self.ahead, (step, attempt, way)) {
            Ok(prepared) => {
                if way == Way::Do {
                    self.called.insert(step);
                }
                self.in_flight.insert(step, way);
                let task = self.calls.spawn(prepared.call(Arc::clone(&self.inner)));
                self.tasks.insert(task.id(), step);
            }
            Err(Uncallable(reason)) => {
                tracing::error!(saga_id = %self.id, step, %reason, "a saga is stuck");
                let round = self.ahead.round;
                self.note(Command::Hold { step, reason }, format!("{step}/hold/{round}"));
            }
        }
    }

    /// A call came back, or broke.
    fn answered(&mut self, joined: Result<(tokio::task::Id, Answer), tokio::task::JoinError>) {
        let (task, answer) = match joined {
            Ok((task, answer)) => (task, Some(answer)),
            Err(error) => (error.id(), None),
        };
        let Some(step) = self.tasks.remove(&task) else { return };
        let Some(way) = self.in_flight.remove(&step) else { return };
        let answer = answer.unwrap_or_else(|| {
            let failure = of_kind(FailureKind::Unknown, "the call panicked".to_owned());
            Answer { way, outcome: Err(failure) }
        });
        let uncalled = self.uncalled();
        let (round, tries) =
            (self.ahead.round, self.ahead.steps.get(usize::from(step)).map_or(0, |s| s.tries));
        let (command, key) = match (answer.way, answer.outcome) {
            (Way::Do, Ok(output)) => (Command::Succeeded { step, output, uncalled }, format!("{step}/done")),
            (Way::Do, Err(failure)) => {
                let inherited = self.inherited.contains(&step);
                (
                    Command::Failed { step, failure, inherited, uncalled },
                    format!("{step}/failed/{round}/{tries}"),
                )
            }
            (Way::Undo, Ok(_)) => (Command::Undone { step }, format!("{step}/undone")),
            (Way::Undo, Err(failure)) => {
                (Command::UndoFailed { step, failure }, format!("{step}/undo-failed/{round}/{tries}"))
            }
        };
        self.note(command, key);
    }

    /// Open steps that were certainly never called.
    fn uncalled(&self) -> Vec<u16> {
        let open = self.ahead.each().filter(|(_, _, s)| s.status == StepStatus::Open);
        open.map(|(step, ..)| step).filter(|step| !self.called.contains(step)).collect()
    }

    /// Takes a command of the saga's own: into `ahead` at once, into the journal in its turn.
    fn note(&mut self, command: Command, key: String) {
        let context = Context {
            now_ms: self.inner.now_ms(),
            command_id: format!("{}/{key}", self.id.id),
            actor: format!("saga/{}", self.id.id),
            correlation_id: self.id.id.clone(),
        };
        if let Err(refusal) = self.advance(command, context, None) {
            // The machine and this driver disagree: the journal's word counts, and it is asked anew.
            tracing::error!(saga_id = %self.id, %refusal, "a saga refused its own driver");
            self.lost = true;
        }
    }

    fn advance(
        &mut self,
        command: Command,
        context: Context,
        reply: Option<Reply>,
    ) -> Result<(), crate::SagaRefusal> {
        let events = match Saga::decide(&self.ahead, &command, &context) {
            Ok(events) => events,
            Err(refusal) => {
                if let Some(reply) = reply {
                    let _ = reply.send(Err(refusal.clone().into()));
                }
                return Err(refusal);
            }
        };
        if events.is_empty() {
            if let Some(reply) = reply {
                let _ = reply.send(Ok(Summary::of(&self.id, &self.ahead)));
            }
            return Ok(());
        }
        events.iter().for_each(|event| Saga::evolve(&mut self.ahead, event));
        self.waiting.push_back(Entry { command, context, events, reply });
        Ok(())
    }

    fn requested(&mut self, request: Request) {
        let Request { mut command, actor, request_id, reply } = request;
        let never = self.uncalled();
        if let Command::Cancel { uncalled, .. } | Command::Compensate { uncalled, .. } = &mut command {
            *uncalled = never;
        }
        let context = Context {
            now_ms: self.inner.now_ms(),
            command_id: request_id,
            actor,
            correlation_id: self.id.id.clone(),
        };
        // A refusal went to whoever asked.
        let _ = self.advance(command, context, Some(reply));
    }

    fn begin_write(&mut self) {
        if self.writing.is_some() {
            return;
        }
        let Some(Entry { command, context, events, reply }) = self.waiting.pop_front() else { return };
        let (inner, id) = (Arc::clone(&self.inner), self.id.clone());
        self.writing = Some(Box::pin(async move { inner.host.execute(&id, command, context).await }));
        self.writing_events = events;
        self.writing_reply = reply;
    }

    fn written(&mut self, written: Written) -> Option<Over> {
        match written {
            Ok(Executed { events, repeated }) => {
                if repeated || events != self.writing_events {
                    // Somebody else wrote to this saga, past its driver.
                    tracing::warn!(saga_id = %self.id, "a saga was changed from outside, loading it again");
                    return Some(Over::Reload);
                }
                events.iter().for_each(|event| Saga::evolve(&mut self.durable, event));
                self.reloads = 0;
                self.show();
                if let Some(reply) = self.writing_reply.take() {
                    let _ = reply.send(Ok(Summary::of(&self.id, &self.durable)));
                }
                None
            }
            Err(HostError::Elsewhere) => {
                self.forget();
                Some(Over::Left)
            }
            Err(error) => {
                tracing::warn!(saga_id = %self.id, %error, "a saga's event was not written for certain, loading it again");
                Some(Over::Reload)
            }
        }
    }

    fn show(&self) {
        self.publish(Summary::of(&self.id, &self.durable));
    }

    fn publish(&self, summary: Summary) {
        // Counted first: who waits for the end finds it in the figures.
        let before = self.shown.borrow().status;
        self.inner.metrics.moved(before.standing(), summary.status.standing());
        if summary.status.is_ended() && !before.is_ended() {
            let took_ms = summary.ended_ms.unwrap_or_default() - summary.started_ms;
            self.inner.metrics.ended(self.durable.phase, took_ms);
        }
        if summary.status == super::Status::Stuck && before != super::Status::Stuck {
            tracing::warn!(saga_id = %self.id, reason = %summary.reason, "a saga is stuck");
        }
        self.shown.send_replace(summary);
    }
}

/// A clock that went back makes this early; whoever asked then asks again, at most a thousand times a second.
async fn pause_until(wake_ms: Option<i64>, now_ms: i64) {
    let wait = wake_ms.map_or(i64::MAX, |at| at.saturating_sub(now_ms)).max(1);
    tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())).await;
}
