//! Drives a core: its outbox, its connection, its inputs. The same for a vehicle and for a simulator's thousands.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use remuda_edge_agent_core::limits::QUESTIONS_OPEN_MAX;
use remuda_edge_agent_core::{Agent, Figures, Output, SavedState, Settings};
use remuda_model::{Lane, Seq};
use remuda_wire::frame::CommandOutcome;
use remuda_wire::{Event, LinkKind, Question};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::actuators::{Actuators, ChoiceMade, Controls};
use crate::io::{Link, LinkEvent};
use crate::outbox::{Group, OutboxError, ShedRange, Store, VehicleOutbox};

pub use remuda_edge_agent_core::Reading;

/// What sources tell an agent.
#[derive(Debug, Clone)]
pub enum Input {
    /// Readings; those of one time that belong together come together.
    Readings(Vec<Reading>),
    /// Something to tell at once.
    Event(Event),
    /// The kind of link there is from now on.
    Link(LinkKind),
    /// A question to a person.
    Question(Question),
}

/// How an agent is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Go on.
    No,
    /// Make what was sensed durable, say farewell, end.
    Now,
    /// The same, but only once the cloud has everything.
    Drained,
}

/// Why an agent ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The outbox.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// What the outbox holds as state cannot be read.
    #[error("the agent's saved state cannot be read: {0}; move the outbox directory away to begin anew")]
    State(#[from] serde_json::Error),
}

/// A monotonic clock.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// Of this machine's start, and of every agent on it. It runs while the machine sleeps: a vehicle that slept is as late as
    /// its watch says.
    Machine,
    /// With an origin of its own, so that a replay can live at its capture's times.
    Own {
        /// When it began.
        start: Instant,
        /// What it said then.
        origin_ns: u64,
    },
}

/// Timers stand still while the machine sleeps: after it wakes a deadline that passed is noticed within this.
const LOOK: Duration = Duration::from_secs(1);

impl Clock {
    /// One of its own; `origin_ns` is now.
    pub fn starting_at(origin_ns: u64) -> Self {
        Self::Own { start: Instant::now(), origin_ns }
    }

    /// Nanoseconds of this clock.
    pub fn now(&self) -> u64 {
        match self {
            Self::Machine => since_boot(),
            Self::Own { start, origin_ns } => origin_ns + nanoseconds(start.elapsed()),
        }
    }

    /// When to look whether it is so late; perhaps too early.
    fn instant(&self, ns: u64) -> Instant {
        match self {
            Self::Machine => Instant::now() + Duration::from_nanos(ns.saturating_sub(since_boot())).min(LOOK),
            Self::Own { start, origin_ns } => {
                let ahead = Duration::from_nanos(ns.saturating_sub(*origin_ns));
                // Far deadlines are looked at again.
                *start + ahead.min(Duration::from_secs(100 * 86_400))
            }
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(target_os = "linux")]
const RUNS_IN_SUSPEND: libc::clockid_t = libc::CLOCK_BOOTTIME;
#[cfg(not(target_os = "linux"))]
const RUNS_IN_SUSPEND: libc::clockid_t = libc::CLOCK_MONOTONIC;

/// Nanoseconds since this machine started, its sleep included.
#[allow(unsafe_code, reason = "the clock of the standard library stands still while the machine sleeps")]
fn since_boot() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it fills a live timespec. It cannot fail: the clock is one that every kernel has.
    unsafe { libc::clock_gettime(RUNS_IN_SUSPEND, &raw mut time) };
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default());
    nanoseconds(seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default()))
}

/// Appends and saves that wait for their group.
#[derive(Debug)]
enum Waiting {
    Made(Lane, Seq),
    Saved,
    Shed(Lane, remuda_model::Incarnation, ShedRange),
}

/// One agent with everything around it.
#[derive(Debug)]
pub struct AgentRunner<L> {
    core: Agent,
    outbox: VehicleOutbox,
    link: L,
    clock: Clock,
    inputs: mpsc::Receiver<Input>,
    inputs_open: bool,
    stop: watch::Receiver<Stop>,
    committed: watch::Receiver<Group>,
    waiting: VecDeque<(Group, Waiting)>,
    figures: Option<watch::Sender<Figures>>,
    // Why the door does not let this vehicle in, as last said.
    refused: Option<String>,
    actuators: Arc<dyn Actuators>,
    /// Commands being obeyed and options being taken; the core bounds how many it remembers.
    performing: JoinSet<(Doing, CommandOutcome)>,
    /// For safe defaults of questions that could not be asked, of which the core remembers nothing.
    defaults: Arc<Semaphore>,
    defaults_dropped: u64,
}

/// What the vehicle is doing.
#[derive(Debug)]
enum Doing {
    /// It obeys a command.
    Command([u8; 16]),
    /// It takes an option of a question.
    Question([u8; 16]),
    /// It takes the safe default of a question that could not be asked; room for another, once that is done.
    Default(OwnedSemaphorePermit),
}

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(5);
/// Newest values are not queued behind so many bytes: they would be old when they arrive.
const LIVE_QUEUE_BYTES: usize = 64 * 1024;

impl<L: Link> AgentRunner<L> {
    /// Begins a new start of this vehicle's agent on a log: reads what it holds, raises and saves the boot counter.
    pub fn open(
        settings: Settings,
        store: &Store,
        link: L,
        clock: Clock,
        inputs: mpsc::Receiver<Input>,
        stop: watch::Receiver<Stop>,
        controls: Controls,
    ) -> Result<Self, RunError> {
        let opened = store.vehicle(settings.vehicle, settings.incarnation)?;
        let mut state = match &opened.state {
            Some(bytes) => SavedState::decode(bytes)?,
            None => SavedState::default(),
        };
        state.boot = state.boot.saturating_add(1);
        let outbox = opened.outbox;
        // Written ahead of every frame of this start, so a frame is never durable without its boot.
        outbox.save_state(state.encode())?;
        let committed = outbox.committed();
        let core = Agent::new(settings, controls.verifier, state, &opened.held, clock.now());
        let (waiting, inputs_open) = (VecDeque::new(), true);
        Ok(Self {
            core,
            outbox,
            link,
            clock,
            inputs,
            inputs_open,
            stop,
            committed,
            waiting,
            figures: None,
            refused: None,
            actuators: controls.actuators,
            performing: JoinSet::new(),
            defaults: Arc::new(Semaphore::new(QUESTIONS_OPEN_MAX)),
            defaults_dropped: 0,
        })
    }

    /// Frames in the outbox now, of all its incarnations.
    pub fn frames_held(&self) -> u64 {
        self.core.frames_held()
    }

    /// Tells its figures there as it goes.
    #[must_use]
    pub fn with_figures(mut self, figures: watch::Sender<Figures>) -> Self {
        self.figures = Some(figures);
        self
    }

    /// Runs until asked to stop. Answers its figures and the bytes its connection wrote.
    pub async fn run(mut self) -> Result<(Figures, u64), RunError> {
        self.drive()?;
        loop {
            let stop = *self.stop.borrow();
            let stop = if self.stop.has_changed().is_err() && stop == Stop::No { Stop::Now } else { stop };
            match stop {
                Stop::Now => break,
                Stop::Drained if !self.inputs_open => {
                    self.core.handle_flush(self.clock.now());
                    self.drive()?;
                    if self.core.is_drained() && self.waiting.is_empty() {
                        break;
                    }
                }
                Stop::No | Stop::Drained => {}
            }
            self.step().await?;
            self.drive()?;
            self.tell();
        }
        self.farewell().await?;
        self.tell();
        Ok((self.core.figures(), self.link.bytes_written()))
    }

    fn tell(&self) {
        if let Some(figures) = &self.figures {
            let now = self.core.figures();
            figures.send_if_modified(|known| std::mem::replace(known, now) != now);
        }
    }

    async fn step(&mut self) -> Result<(), RunError> {
        let deadline = self.core.poll_timeout().map(|ns| self.clock.instant(ns));
        let sleep = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let waits = !self.waiting.is_empty();
        tokio::select! {
            event = self.link.next() => self.handle_link(event),
            input = self.inputs.recv(), if self.inputs_open => match input {
                Some(input) => self.handle_input(input),
                None => self.inputs_open = false,
            },
            Some(performed) = self.performing.join_next() => match performed {
                Ok((Doing::Command(id), outcome)) => self.core.handle_outcome(id, outcome, self.clock.now()),
                Ok((Doing::Question(id), outcome)) => self.core.handle_acted(id, outcome, self.clock.now()),
                Ok((Doing::Default(permit), outcome)) => {
                    drop(permit);
                    if outcome != CommandOutcome::Done {
                        tracing::warn!(?outcome, "a safe default was not taken");
                    }
                }
                // It panicked, which was reported. The command stays open, and unknown at the next start.
                Err(error) => tracing::error!(%error, "a command was not obeyed"),
            },
            changed = self.committed.changed(), if waits => {
                self.handle_committed()?;
                if changed.is_err() || !self.waiting.is_empty() {
                    self.outbox.check()?;
                }
            }
            _ = self.stop.changed(), if self.stop.has_changed().is_ok() => {}
            () = sleep => self.core.handle_timeout(self.clock.now()),
        }
        Ok(())
    }

    fn handle_link(&mut self, event: LinkEvent) {
        let now = self.clock.now();
        match event {
            LinkEvent::Connected => {
                self.refused = None;
                self.core.handle_connected(now);
            }
            LinkEvent::Payload(payload) => self.core.handle_payload(&payload, now),
            LinkEvent::Closed(why) => {
                tracing::debug!(%why, "the connection is closed");
                self.core.handle_disconnected(now);
            }
            LinkEvent::Refused(why) => {
                // Said once: the same answer comes at every attempt.
                if self.refused.as_ref() != Some(&why) {
                    tracing::warn!("{why}");
                    self.refused = Some(why);
                }
                self.core.handle_disconnected(now);
            }
        }
    }

    fn handle_input(&mut self, input: Input) {
        let now = self.clock.now();
        self.take_input(input, now);
        // Whatever else is there is taken with it: one wake-up, not many.
        for _ in 0..64 {
            let Ok(input) = self.inputs.try_recv() else { break };
            self.take_input(input, now);
        }
    }

    fn take_input(&mut self, input: Input, now: u64) {
        match input {
            Input::Readings(readings) => self.core.handle_readings(&readings, now),
            Input::Event(event) => self.core.handle_event(&event, now),
            Input::Link(link) => self.core.handle_link(link, now),
            Input::Question(question) => {
                if let Err(error) = self.core.handle_question(question, now) {
                    tracing::warn!(%error, "a question is not asked; the vehicle takes its safe default");
                }
            }
        }
    }

    fn handle_committed(&mut self) -> Result<(), RunError> {
        let committed = *self.committed.borrow_and_update();
        while self.waiting.front().is_some_and(|(group, _)| *group <= committed) {
            let Some((_, waiting)) = self.waiting.pop_front() else { break };
            let now = self.clock.now();
            match waiting {
                Waiting::Made(lane, seq) => {
                    let bytes = self.outbox.bytes();
                    self.core.handle_made(lane, seq, bytes, now);
                }
                Waiting::Saved => self.core.handle_saved(now),
                Waiting::Shed(lane, incarnation, shed) => {
                    self.outbox.finish_shed(lane, incarnation, shed);
                    let range = Some((shed.from, shed.to));
                    let bytes = self.outbox.bytes();
                    self.core.handle_shed(lane, incarnation, range, shed.reason, bytes, now);
                }
            }
            self.drive()?;
        }
        Ok(())
    }

    /// Does what the core asks for.
    fn drive(&mut self) -> Result<(), RunError> {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Append { lane, first, frames, at_once } => {
                    let group = self.outbox.append(lane, first, &frames, at_once)?;
                    let last = first + frames.len() as u64 - 1;
                    self.waiting.push_back((group, Waiting::Made(lane, last)));
                }
                Output::Read { lane, incarnation, from, to, bytes_max } => {
                    let records = self.outbox.read(lane, incarnation, from, to, bytes_max)?;
                    self.core.handle_read(lane, incarnation, from, records, self.clock.now());
                }
                Output::Trim { lane, incarnation, up_to } => self.outbox.trim(lane, incarnation, up_to),
                Output::Shed { lane, incarnation, until, reason } => {
                    match self.outbox.shed(lane, incarnation, until, reason)? {
                        Some((shed, group)) => {
                            self.waiting.push_back((group, Waiting::Shed(lane, incarnation, shed)));
                        }
                        None => {
                            let (bytes, now) = (self.outbox.bytes(), self.clock.now());
                            self.core.handle_shed(lane, incarnation, None, reason, bytes, now);
                        }
                    }
                }
                Output::Connect { will, .. } => self.link.connect(will),
                Output::Disconnect => self.link.close(),
                Output::Send { channel, payload } => {
                    let live = channel == remuda_wire::topic::Channel::Live;
                    if !live || self.link.queued() < LIVE_QUEUE_BYTES {
                        self.link.send(channel, payload);
                    }
                }
                Output::Save(state) => {
                    let group = self.outbox.save_state(state)?;
                    self.waiting.push_back((group, Waiting::Saved));
                }
                Output::Perform { id, kind } => {
                    let performing = self.actuators.perform(kind);
                    self.performing.spawn(async move { (Doing::Command(id), performing.await) });
                }
                Output::Act { question, option, why } => self.act(ChoiceMade { question, option, why }),
            }
        }
        Ok(())
    }

    /// Takes an option. Of questions that could not be asked only a few at once: whoever asks without end fills no memory with them.
    fn act(&mut self, choice: ChoiceMade) {
        if choice.why.is_some() {
            let acting = self.actuators.act(choice);
            self.performing.spawn(async move { (Doing::Question(choice.question), acting.await) });
            return;
        }
        let Ok(permit) = Arc::clone(&self.defaults).try_acquire_owned() else {
            self.defaults_dropped += 1;
            let dropped = self.defaults_dropped;
            tracing::warn!(dropped, "a safe default is not taken: others are being taken still");
            return;
        };
        let acting = self.actuators.act(choice);
        self.performing.spawn(async move { (Doing::Default(permit), acting.await) });
    }

    /// Closes what is open, makes it durable, then says farewell.
    async fn farewell(&mut self) -> Result<(), RunError> {
        // What sources have already said is part of what was sensed.
        while let Ok(input) = self.inputs.try_recv() {
            self.handle_input(input);
        }
        self.core.handle_flush(self.clock.now());
        self.drive()?;
        while !self.waiting.is_empty() {
            let gone = self.committed.changed().await.is_err();
            self.handle_committed()?;
            if gone || !self.waiting.is_empty() {
                self.outbox.check()?;
            }
        }
        self.core.handle_farewell(self.clock.now());
        self.drive()?;
        let until = Instant::now() + FAREWELL;
        while !self.core.is_closed() && Instant::now() < until {
            match tokio::time::timeout_at(until, self.link.next()).await {
                Ok(LinkEvent::Closed(_) | LinkEvent::Refused(_)) => {
                    self.core.handle_disconnected(self.clock.now())
                }
                Ok(LinkEvent::Connected | LinkEvent::Payload(_)) => {}
                Err(_) => break,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_clock_counts_its_sleep_and_is_looked_at_every_second() {
        // The kernel's own word for the time since its start, sleep included, in hundredths.
        let uptime = || {
            let text = std::fs::read_to_string("/proc/uptime").expect("uptime");
            let seconds = text.split(' ').next().and_then(|text| text.parse::<f64>().ok());
            Duration::from_secs_f64(seconds.expect("seconds"))
        };
        let (before, now, after) = (uptime(), Duration::from_nanos(Clock::Machine.now()), uptime());
        let hundredth = Duration::from_millis(10);
        assert!(before <= now + hundredth && now <= after + hundredth, "{before:?} {now:?} {after:?}");
        let latest = |clock: Clock, ns| clock.instant(ns).saturating_duration_since(Instant::now());
        assert!(latest(Clock::Machine, u64::MAX) <= LOOK);
        assert!(latest(Clock::starting_at(0), u64::MAX) > LOOK);
        assert_eq!(latest(Clock::Machine, 0), Duration::ZERO);
    }
}
