//! Connecting, greeting, farewell.

use remuda_model::{ConnectionId, Epoch, Lane};
use remuda_wire::topic::Channel;
use remuda_wire::{
    Farewell, FarewellReason, HandOver, Hello, Up, WIRE_VERSION, WIRE_VERSION_MIN, Welcome,
    limits as wire_limits,
};

use super::Agent;
use crate::limits;
use crate::output::Output;

const NS_PER_MS: u64 = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Until then there is a pause.
    Waiting(u64),
    Connecting,
    /// Hello was said `hellos` times, last at `said_ns`; again at `again_ns`.
    Greeting {
        hellos: u32,
        said_ns: u64,
        again_ns: u64,
    },
    Welcome,
    /// Farewell was said.
    Closing,
    /// Stopped for good.
    Closed,
}

/// One connection after the other.
#[derive(Debug)]
pub(super) struct Session {
    phase: Phase,
    counter: u32,
    attempts: u32,
    /// This connection was welcome since, ns.
    welcome_ns: Option<u64>,
    /// On this connection the cloud told of something newly durable.
    pub(super) progressed: bool,
    pub(super) round_trip_ns: u64,
    greeted_ns: u64,
    pub(super) live_ns: u64,
    /// The cloud said farewell: until when that holds, and the spread it asked for, both ns.
    hand_over: Option<(u64, u64)>,
}

impl Session {
    pub(super) fn new(now: u64) -> Self {
        let round_trip_ns = 200 * NS_PER_MS;
        let phase = Phase::Waiting(now);
        Self {
            phase,
            counter: 0,
            attempts: 0,
            welcome_ns: None,
            progressed: false,
            round_trip_ns,
            greeted_ns: 0,
            live_ns: 0,
            hand_over: None,
        }
    }

    /// Whether the connection that ends now was good for something. A Welcome alone says little: two copies of one
    /// disk that take the connection from each other are welcome each time, and neither gets a frame through.
    fn was_good(&mut self, now: u64) -> bool {
        let steady_ns = limits::STEADY_MS * NS_PER_MS;
        let lasted = self.welcome_ns.take().is_some_and(|since| now.saturating_sub(since) >= steady_ns);
        std::mem::take(&mut self.progressed) || lasted
    }

    pub(super) fn is_welcome(&self) -> bool {
        self.phase == Phase::Welcome
    }
}

impl Agent {
    pub(super) fn connection(&self) -> ConnectionId {
        ConnectionId { incarnation: self.settings.incarnation, counter: self.session.counter }
    }

    /// The connection stands and is subscribed.
    pub fn handle_connected(&mut self, now: u64) {
        for book in &mut self.books {
            book.restart();
        }
        self.reporting.restart();
        self.session.hand_over = None;
        self.say_hello(0, now);
    }

    /// The connection is gone, or could not be made.
    pub fn handle_disconnected(&mut self, now: u64) {
        for book in &mut self.books {
            book.restart();
        }
        if self.stopping {
            self.session.phase = Phase::Closed;
            return;
        }
        let Self { session, settings, .. } = self;
        if session.was_good(now) {
            session.attempts = 0;
        }
        if let Some((_, spread_ns)) = session.hand_over.take().filter(|(until, _)| now < *until) {
            // Not an outage: whoever comes too early goes through the pauses of one from their beginning.
            session.attempts = 0;
            session.phase = Phase::Waiting(now + self.jitter.below(spread_ns));
            return;
        }
        let doubled = settings.reconnect_ms.saturating_mul(1 << session.attempts.min(20));
        session.attempts = session.attempts.saturating_add(1);
        let pause = self.jitter.half_to_full(doubled.min(settings.reconnect_ms_max).max(1));
        session.phase = Phase::Waiting(now + pause * NS_PER_MS);
    }

    pub(super) fn session_deadline(&self) -> Option<u64> {
        match self.session.phase {
            Phase::Waiting(until) => Some(until),
            Phase::Greeting { again_ns, .. } => Some(again_ns),
            Phase::Connecting | Phase::Welcome | Phase::Closing | Phase::Closed => None,
        }
    }

    pub(super) fn session_timeout(&mut self, now: u64) {
        match self.session.phase {
            Phase::Waiting(until) if now >= until => {
                self.session.counter += 1;
                self.session.phase = Phase::Connecting;
                let connection = self.connection();
                let will = Up::Farewell(Farewell { connection, reason: FarewellReason::Lost }).encode();
                self.outputs.push_back(Output::Connect { connection, will });
            }
            Phase::Greeting { hellos, again_ns, .. } if now >= again_ns => {
                if hellos >= limits::HELLOS_MAX {
                    self.session.phase = Phase::Connecting;
                    self.outputs.push_back(Output::Disconnect);
                } else {
                    self.say_hello(hellos, now);
                }
            }
            _ => {}
        }
    }

    pub(super) fn say_hello(&mut self, hellos: u32, now: u64) {
        let pause = (limits::HELLO_INTERVAL_MS << hellos.min(10)).min(limits::HELLO_INTERVAL_MS_MAX);
        let again_ns = now + self.jitter.half_to_full(pause) * NS_PER_MS;
        self.session.phase = Phase::Greeting { hellos: hellos + 1, said_ns: now, again_ns };
        self.session.greeted_ns = now;
        let hello = Hello {
            connection: self.connection(),
            wire_min: WIRE_VERSION_MIN,
            wire_max: WIRE_VERSION,
            agent_version: self.settings.agent_version.to_owned(),
            boot: self.state.boot,
            registry: remuda_model::signal::REGISTRY_REVISION,
            registry_hash: self.settings.registry_hash,
            lanes: self.lanes_held(),
            highest_epoch: self.highest_epoch,
            open_commands: self
                .state
                .commands
                .iter()
                .filter(|c| !c.finished)
                .map(|c| c.id)
                .take(64)
                .collect(),
            policy_revision: self.in_force.revision,
            clock: self.clock.quality(),
        };
        self.send(Channel::Session, &Up::Hello(hello));
    }

    /// The oldest, and always the present incarnation's, as many as a Hello may carry. A lane's turn comes when the
    /// older ones are drained, and with it the next Hello.
    fn lanes_held(&self) -> Vec<remuda_wire::LaneState> {
        let present = self.books.len().saturating_sub(2);
        let old = present.min(wire_limits::HELLO_LANES_MAX - 2);
        self.books[..old].iter().chain(&self.books[present..]).map(crate::lane::Book::state).collect()
    }

    pub(super) fn handle_welcome(&mut self, welcome: &Welcome, now: u64) {
        let Phase::Greeting { said_ns, .. } = self.session.phase else { return };
        if welcome.connection != self.connection() {
            return;
        }
        self.session.phase = Phase::Welcome;
        self.session.welcome_ns.get_or_insert(now);
        let (least, most) = limits::ROUND_TRIP_MS;
        // Twice the measured time: the cloud's rounds make answers uneven.
        self.session.round_trip_ns = (2 * (now - said_ns)).clamp(least * NS_PER_MS, most * NS_PER_MS);
        self.clock.welcomed(welcome.server_time_ms, said_ns, now);
        self.note_epoch(welcome.epoch);
        for book in &mut self.books {
            book.restart();
        }
        for ack in &welcome.acks {
            self.take_ack(ack, now);
            if let Some(book) = self.book(ack.lane, ack.incarnation) {
                book.received = ack.received;
                book.go_back(ack.durable.saturating_add(1));
            }
        }
        self.drop_empty_books();
        self.shed_old(welcome.server_time_ms);
        if welcome.resync {
            // As newest values, not as samples: they were sampled before, and a sample is stored once.
            self.intake.resync();
            self.say_live(now);
        }
        self.trip_welcomed(now);
    }

    /// The door is about to close. It is the door that does so, once its other words are out.
    pub(super) fn handle_hand_over(&mut self, farewell: HandOver, now: u64) {
        let spread_ms = u64::from(farewell.spread_ms).min(limits::HAND_OVER_MS_MAX);
        let until = now + limits::HAND_OVER_HOLDS_MS * NS_PER_MS;
        self.session.hand_over = Some((until, spread_ms * NS_PER_MS));
    }

    /// The cloud has heard no Hello on this connection, or does not answer for what was sent.
    pub(super) fn greet_again(&mut self, now: u64) {
        let lately = now.saturating_sub(self.session.greeted_ns) < limits::HELLO_INTERVAL_MS * NS_PER_MS;
        if self.session.is_welcome() && !lately {
            self.say_hello(0, now);
        }
    }

    /// Says farewell, once everything that waits for the disk is made.
    pub fn handle_farewell(&mut self, _now: u64) {
        self.stopping = true;
        if self.state.spent.bytes > self.spent_saved {
            self.save();
        }
        match self.session.phase {
            Phase::Greeting { .. } | Phase::Welcome => {
                let connection = self.connection();
                self.send(
                    Channel::Session,
                    &Up::Farewell(Farewell { connection, reason: FarewellReason::Stopping }),
                );
                self.outputs.push_back(Output::Disconnect);
                self.session.phase = Phase::Closing;
            }
            Phase::Connecting => self.outputs.push_back(Output::Disconnect),
            Phase::Waiting(_) => self.session.phase = Phase::Closed,
            Phase::Closing | Phase::Closed => {}
        }
    }

    /// The connection has ended after [`Agent::handle_farewell`], and no other will be made.
    pub fn is_closed(&self) -> bool {
        self.session.phase == Phase::Closed
    }

    pub(super) fn note_epoch(&mut self, epoch: Epoch) {
        self.highest_epoch = self.highest_epoch.max(epoch);
    }

    pub(super) fn send(&mut self, channel: Channel, message: &Up) {
        let payload = message.encode();
        self.figures.bytes_sent += payload.len() as u64;
        self.spend(payload.len());
        self.outputs.push_back(Output::Send { channel, payload });
    }

    pub(super) fn begin(&mut self, now: u64) {
        let agent_version = self.settings.agent_version.to_owned();
        self.make_event(&remuda_wire::Event::Started { agent_version }, now);
        self.resume_trip(now);
        self.resume_questions(now);
        self.forget_unfinished_commands(now);
        debug_assert!(
            self.books.iter().rev().take(Lane::ALL.len()).all(|b| b.incarnation == self.incarnation())
        );
    }
}
