//! The machine.

mod assistance;
mod budget;
mod commands;
mod make;
mod policy;
mod session;
mod status;
mod trip;
mod uplink;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use remuda_model::{Epoch, Incarnation, Lane, VehicleId};
use remuda_wire::{Command, Down, FloorReason, LinkKind, PolicyRefused};

use crate::clock::WallClock;
use crate::instruments::Instruments;
use crate::intake::Intake;
use crate::lane::Book;
use crate::limits;
use crate::output::{Held, Output};
use crate::random::Jitter;
use crate::state::SavedState;
use policy::InForce;
use remuda_policy::Policy;
use session::Session;
use status::Reporting;

pub use assistance::AskRefusal;

/// Checks the signature of commands.
pub trait Verifier: fmt::Debug + Send + Sync {
    /// Is it signed by the cloud's command key, for this vehicle?
    fn verify(&self, vehicle: &VehicleId, command: &Command) -> bool;
}

/// No key is known: every command is refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct RefuseAll;

impl Verifier for RefuseAll {
    fn verify(&self, _: &VehicleId, _: &Command) -> bool {
        false
    }
}

/// What an agent is made with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who it is.
    pub vehicle: VehicleId,
    /// This start of it: random, new at every start.
    pub incarnation: Incarnation,
    /// Seed of its jitter.
    pub seed: u64,
    /// Said in Hello and in the `Started` event.
    pub agent_version: &'static str,
    /// Hash of the customer's registry file; 0 when there is none.
    pub registry_hash: u64,
    /// Bytes the outbox may hold.
    pub outbox_bytes_max: u64,
    /// Bytes shed at once.
    pub shed_bytes: u64,
    /// First pause before connecting again, ms.
    pub reconnect_ms: u64,
    /// Longest pause before connecting again, ms.
    pub reconnect_ms_max: u64,
    /// The policy when the cloud has sent none.
    pub policy: Arc<Policy>,
    /// Whether policies of the cloud are followed; a replay keeps its own.
    pub follow_policy: bool,
    /// Names this start of the machine, whose monotonic clock the agent is told: two starts of the agent with the same
    /// one have the same clock. 0: not known, and no other start's times can be understood.
    pub machine: u64,
}

impl Settings {
    /// The defaults for this start of this vehicle.
    pub fn new(vehicle: VehicleId, incarnation: Incarnation, seed: u64) -> Self {
        Self {
            vehicle,
            incarnation,
            seed,
            agent_version: env!("CARGO_PKG_VERSION"),
            registry_hash: 0,
            outbox_bytes_max: limits::OUTBOX_BYTES_MAX,
            shed_bytes: limits::SHED_BYTES,
            reconnect_ms: limits::RECONNECT_MS,
            reconnect_ms_max: limits::RECONNECT_MS_MAX,
            policy: Arc::new(Policy::default()),
            follow_policy: true,
            machine: 0,
        }
    }
}

/// Numbers for people and benches; the truth is on the disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Frames durable in the outbox since the start.
    pub frames_made: u64,
    /// Frames acked since the start.
    pub frames_acked: u64,
    /// Frames shed since the start.
    pub frames_shed: u64,
    /// Frames handed to the connection, repeats included.
    pub frames_sent: u64,
    /// Bytes of messages handed to the connection.
    pub bytes_sent: u64,
    /// Samples taken into batches since the start.
    pub samples_taken: u64,
    /// Readings dropped because there are too many signals.
    pub readings_dropped: u64,
    /// Damaged records told.
    pub frames_damaged: u64,
    /// Messages from the cloud that could not be read.
    pub messages_malformed: u64,
    /// Questions that could not be asked: their safe default was taken at once.
    pub questions_refused: u64,
    /// Bytes of the data budget spent this month.
    pub bytes_spent: u64,
    /// Policies taken over since the start.
    pub policies_applied: u64,
    /// Greeted on the present connection?
    pub online: bool,
}

/// What waits for the state to be durable; a crash in between costs it, never half of it.
#[derive(Debug)]
enum Saving {
    /// A command, for its id.
    Command(Command),
    /// A policy.
    Policy(InForce, Arc<Policy>),
    /// A question, to be told.
    Asked([u8; 16]),
    /// An answer, for its id and for what it chose for this question.
    Answered(Command, [u8; 16]),
    /// What to watch of a trip.
    Trip,
    /// Trip marks of this start up to this number, to be told.
    Marks(u32),
    /// A safe default chosen for a question, to be told and acted on.
    Decided([u8; 16]),
}

/// One vehicle's agent.
#[derive(Debug)]
pub struct Agent {
    settings: Settings,
    verifier: Arc<dyn Verifier>,
    jitter: Jitter,
    state: SavedState,
    intake: Intake,
    instruments: Instruments,
    // Trip marks of this start: noticed, and durable.
    marks_noticed: u32,
    marks_durable: u32,
    // Older incarnations first; the last two are the present one's.
    books: Vec<Book>,
    session: Session,
    clock: WallClock,
    highest_epoch: Epoch,
    // Each with the number of the save it waits for.
    saving: VecDeque<(u64, Saving)>,
    saves_begun: u64,
    saves_done: u64,
    in_force: InForce,
    policy_refused: Option<PolicyRefused>,
    link: LinkKind,
    reporting: Reporting,
    // When frames are looked at for their age.
    age_ns: u64,
    // Bytes spent when the state was last saved.
    spent_saved: u64,
    outputs: VecDeque<Output>,
    figures: Figures,
    stopping: bool,
}

impl Agent {
    /// A new start: `held` is what the outbox holds of earlier ones, older first. The shell has raised `state.boot`
    /// and saved it.
    pub fn new(
        settings: Settings,
        verifier: Arc<dyn Verifier>,
        state: SavedState,
        held: &[Held],
        now: u64,
    ) -> Self {
        let (in_force, policy, policy_refused) = policy::remembered(&settings, &state);
        let mut books: Vec<Book> =
            held.iter().filter(|h| h.incarnation != settings.incarnation).map(|h| Book::new(*h)).collect();
        books.retain(|book| !book.is_empty());
        for lane in Lane::ALL {
            let incarnation = settings.incarnation;
            let held = Held { lane, incarnation, floor: 1, floor_reason: FloorReason::Acked, made: 0 };
            books.push(Book::new(held));
        }
        let mut clock = WallClock::default();
        if let Some(time) =
            state.time.filter(|time| settings.machine != 0 && time.machine == settings.machine)
        {
            clock.resume(time.offset_ms);
        }
        let mut agent = Self {
            jitter: Jitter::new(settings.seed),
            intake: Intake::new(policy),
            instruments: Instruments::default(),
            marks_noticed: 0,
            marks_durable: 0,
            verifier,
            books,
            session: Session::new(now),
            clock,
            highest_epoch: state.highest_epoch,
            spent_saved: state.spent.bytes,
            age_ns: now + limits::AGE_CHECK_MS * 1_000_000,
            state,
            saving: VecDeque::new(),
            saves_begun: 0,
            saves_done: 0,
            in_force,
            policy_refused,
            link: LinkKind::Unknown,
            reporting: Reporting::default(),
            outputs: VecDeque::new(),
            figures: Figures::default(),
            stopping: false,
            settings,
        };
        agent.begin(now);
        agent
    }

    /// Bytes from the `down` topic.
    pub fn handle_payload(&mut self, payload: &[u8], now: u64) {
        self.spend(payload.len());
        match Down::decode(payload) {
            Ok(Down::Welcome(welcome)) => self.handle_welcome(&welcome, now),
            Ok(Down::Ack(ack)) => self.handle_ack(&ack, now),
            Ok(Down::Command(command)) => self.handle_command(command, now),
            Ok(Down::Policy(policy)) => self.handle_policy(policy, now),
            Ok(Down::Ask(ask)) => self.handle_ask(ask, now),
            Ok(Down::Watch(watch)) => self.handle_watch(watch),
            Ok(Down::HandOver(farewell)) => self.handle_hand_over(farewell, now),
            Err(_) => self.figures.messages_malformed += 1,
        }
        self.pump(now);
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now: u64) {
        self.close_batches(now, false);
        self.session_timeout(now);
        self.uplink_timeout(now);
        self.pump(now);
        self.status_timeout(now);
        self.age_timeout(now);
        self.questions_timeout(now);
    }

    /// When [`Agent::handle_timeout`] is due, ns.
    pub fn poll_timeout(&self) -> Option<u64> {
        let times = [
            self.intake.deadline(),
            self.session_deadline(),
            self.uplink_deadline(),
            self.status_deadline(),
            self.age_deadline(),
            self.questions_deadline(),
        ];
        times.into_iter().flatten().min()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if self.outputs.is_empty() && self.outputs.capacity() > 8 {
            self.outputs = VecDeque::new();
        }
        output
    }

    /// Numbers so far.
    pub fn figures(&self) -> Figures {
        Figures {
            readings_dropped: self.intake.dropped,
            bytes_spent: self.state.spent.bytes,
            online: self.session.is_welcome(),
            ..self.figures
        }
    }

    /// This start.
    pub fn incarnation(&self) -> Incarnation {
        self.settings.incarnation
    }

    /// Nothing waits to be batched, made or acked.
    pub fn is_drained(&self) -> bool {
        self.outputs.is_empty()
            && self.intake.deadline().is_none()
            && self.books.iter().all(|book| book.is_empty() && book.made + 1 == book.next_seq)
    }

    /// Frames held, of all lanes and incarnations.
    pub fn frames_held(&self) -> u64 {
        self.books.iter().map(Book::held).sum()
    }
}
