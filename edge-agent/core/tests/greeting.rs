//! Hellos that nobody answers, and going back: how often, and how soon.

use std::sync::Arc;

use bytes::Bytes;
use remuda_edge_agent_core::{
    Agent, Output, Policy, Reading, Record, RefuseAll, SavedState, Settings, limits,
};
use remuda_model::signal::SPEED;
use remuda_model::{ConnectionId, Epoch, Incarnation, Lane, Seq, VehicleId};
use remuda_wire::{Ack, Down, Frames, LaneAck, Up, Welcome};

const MS: u64 = 1_000_000;
const INCARNATION: Incarnation = Incarnation(7);

struct Bench {
    agent: Agent,
    samples: Vec<Bytes>,
    sent: Vec<Frames>,
    hellos: u32,
    disconnects: u32,
}

impl Bench {
    fn connected() -> Self {
        let vehicle = VehicleId::new("VAN1").expect("an id");
        let settings =
            Settings { policy: Arc::new(Policy::everything()), ..Settings::new(vehicle, INCARNATION, 1) };
        let agent = Agent::new(settings, Arc::new(RefuseAll), SavedState::default(), &[], 0);
        let mut bench = Self { agent, samples: vec![], sent: vec![], hellos: 0, disconnects: 0 };
        bench.agent.handle_timeout(0);
        bench.drive(0);
        bench.agent.handle_connected(0);
        bench.drive(0);
        bench
    }

    fn drive(&mut self, now: u64) {
        while let Some(output) = self.agent.poll_output() {
            match output {
                Output::Append { lane, first, frames, .. } => {
                    let last = first + frames.len() as u64 - 1;
                    if lane == Lane::Samples {
                        self.samples.extend(frames);
                        self.agent.handle_made(lane, last, 0, now);
                    }
                }
                Output::Read { lane, incarnation, from, to, .. } => {
                    let range = from as usize - 1..to as usize;
                    let records = self.samples[range].iter().cloned().map(Record::Frame).collect();
                    self.agent.handle_read(lane, incarnation, from, records, now);
                }
                Output::Send { payload, .. } => match Up::decode(&payload.into()).expect("ours") {
                    Up::Hello(_) => self.hellos += 1,
                    Up::Frames(frames) => self.sent.push(frames),
                    Up::Live(_) | Up::Farewell(_) | Up::Status(_) | Up::Watching(_) => {}
                },
                Output::Disconnect => self.disconnects += 1,
                _ => {}
            }
        }
    }

    fn connect(&mut self, now: u64) {
        self.agent.handle_timeout(now);
        self.drive(now);
        self.agent.handle_connected(now);
        self.drive(now);
    }

    /// The cloud greets this connection and has so many frames of it durable.
    fn welcome(&mut self, counter: u32, durable: Seq, now: u64) {
        let connection = ConnectionId { incarnation: INCARNATION, counter };
        let (epoch, server_time_ms) = (Epoch(1), 1_700_000_000_000);
        let acks = vec![self.ack(durable, durable)];
        let welcome = Welcome { connection, wire: 1, epoch, server_time_ms, acks, resync: false };
        self.agent.handle_payload(&Down::Welcome(welcome).encode(), now);
        self.drive(now);
    }

    /// 20 frames are out after a round trip of 50 ms.
    fn sending() -> Self {
        let mut bench = Self::connected();
        for n in 0..20 {
            bench.agent.handle_readings(&[Reading { signal: SPEED, raw: n, mono_ns: 1 }], 0);
            bench.agent.handle_flush(0);
        }
        bench.drive(0);
        let connection = ConnectionId { incarnation: INCARNATION, counter: 1 };
        let (epoch, server_time_ms) = (Epoch(1), 1_700_000_000_000);
        let acks = vec![bench.ack(0, 0)];
        let welcome = Welcome { connection, wire: 1, epoch, server_time_ms, acks, resync: false };
        bench.agent.handle_payload(&Down::Welcome(welcome).encode(), 50 * MS);
        bench.drive(50 * MS);
        assert_eq!(bench.firsts(), [1]);
        bench
    }

    fn ack(&self, received: Seq, durable: Seq) -> LaneAck {
        LaneAck { lane: Lane::Samples, incarnation: INCARNATION, received, durable, credit: 100_000 }
    }

    fn hear(&mut self, received: Seq, missing: bool, now: u64) {
        let (epoch, server_time_ms) = (Epoch(1), 1_700_000_000_000);
        let ack = Ack { ack: self.ack(received, 0), epoch, server_time_ms, missing, greet: false };
        self.agent.handle_payload(&Down::Ack(ack).encode(), now);
        self.drive(now);
    }

    /// First seqs of the messages sent since the last look.
    fn firsts(&mut self) -> Vec<Seq> {
        self.sent.drain(..).map(|frames| frames.first_seq).collect()
    }
}

#[test]
fn hellos_are_repeated_with_back_off_and_then_the_connection_is_given_up() {
    let mut bench = Bench::connected();
    let mut times = vec![0];
    while bench.disconnects == 0 {
        let at = bench.agent.poll_timeout().expect("something is due");
        let before = bench.hellos;
        bench.agent.handle_timeout(at);
        bench.drive(at);
        if bench.hellos > before {
            times.push(at);
        }
    }
    assert_eq!(bench.hellos, limits::HELLOS_MAX);
    let pauses: Vec<u64> = times.windows(2).map(|w| (w[1] - w[0]) / MS).collect();
    for (n, pause) in pauses.iter().enumerate() {
        let full = (limits::HELLO_INTERVAL_MS << n).min(limits::HELLO_INTERVAL_MS_MAX);
        assert!((full / 2..=full).contains(pause), "{pauses:?}");
    }
}

#[test]
fn reconnecting_backs_off_within_its_bounds_and_never_stops() {
    let mut bench = Bench::connected();
    let mut now = 0;
    for n in 0..40_u32 {
        bench.agent.handle_disconnected(now);
        let at = bench.agent.poll_timeout().expect("it will try again");
        let full = (limits::RECONNECT_MS << n.min(20)).min(limits::RECONNECT_MS_MAX);
        assert!((full / 2..=full).contains(&((at - now) / MS)), "attempt {n}: {} ms", (at - now) / MS);
        now = at;
        bench.agent.handle_timeout(now);
        let connect = std::iter::from_fn(|| bench.agent.poll_output()).find_map(|o| match o {
            Output::Connect { connection, .. } => Some(connection.counter),
            _ => None,
        });
        assert_eq!(connect, Some(n + 2));
    }
}

/// Where another copy of its disk answers to its name, a vehicle is welcome each time and thrown out at once.
#[test]
fn a_welcome_alone_does_not_shorten_the_pauses_but_progress_does() {
    let mut bench = Bench::connected();
    bench.agent.handle_readings(&[Reading { signal: SPEED, raw: 1, mono_ns: 1 }], 0);
    bench.agent.handle_flush(0);
    bench.drive(0);
    let mut now = 0;
    let pause = |bench: &mut Bench, now: u64| {
        bench.agent.handle_disconnected(now);
        bench.agent.poll_timeout().expect("it will try again") - now
    };
    for n in 0..12_u32 {
        bench.welcome(n + 1, 0, now);
        let waited = pause(&mut bench, now);
        let full = (limits::RECONNECT_MS << n).min(limits::RECONNECT_MS_MAX) * MS;
        assert!((full / 2..=full).contains(&waited), "connection {n}: {waited} of {full} ns");
        now += waited;
        bench.connect(now);
    }
    // The frame sent on an earlier one is durable by now.
    bench.welcome(13, 1, now);
    let waited = pause(&mut bench, now);
    assert!(waited <= limits::RECONNECT_MS * MS, "after progress: {waited} ns");
    now += waited;
    bench.connect(now);
    bench.welcome(14, 1, now);
    let waited = pause(&mut bench, now);
    assert!(waited >= limits::RECONNECT_MS * MS, "no news is no progress: {waited} ns");
    // Nothing to say, but the connection lasts.
    now += waited;
    bench.connect(now);
    bench.welcome(15, 1, now);
    let waited = pause(&mut bench, now + limits::STEADY_MS * MS);
    assert!(waited <= limits::RECONNECT_MS * MS, "after a steady one: {waited} ns");
}

#[test]
fn missing_makes_it_go_back_at_once_but_only_once_per_round_trip() {
    let mut bench = Bench::sending();
    bench.hear(4, true, 60 * MS);
    assert_eq!(bench.firsts(), [5]);
    // What was under way says the same; twice the measured round trip is waited.
    bench.hear(4, true, 70 * MS);
    bench.hear(4, true, 80 * MS);
    assert!(bench.firsts().is_empty());
    // It is still missing after that: back again, without waiting for the cloud to say so once more.
    assert_eq!(bench.agent.poll_timeout(), Some(160 * MS));
    bench.agent.handle_timeout(160 * MS);
    bench.drive(160 * MS);
    assert_eq!(bench.firsts(), [5]);
    // Heard of again, but meanwhile it came: nothing.
    bench.hear(4, true, 170 * MS);
    bench.hear(20, false, 180 * MS);
    bench.agent.handle_timeout(300 * MS);
    bench.drive(300 * MS);
    assert!(bench.firsts().is_empty());
}

#[test]
fn a_received_lower_than_before_makes_it_go_back() {
    let mut bench = Bench::sending();
    bench.hear(12, false, 60 * MS);
    assert!(bench.firsts().is_empty());
    bench.hear(3, false, 70 * MS);
    assert_eq!(bench.firsts(), [4]);
}

#[test]
fn without_progress_it_says_hello_again_after_ten_seconds() {
    let mut bench = Bench::sending();
    bench.hear(20, false, 60 * MS);
    let mut now = 60 * MS;
    while bench.hellos == 1 {
        now = bench.agent.poll_timeout().expect("frames are out");
        bench.agent.handle_timeout(now);
        bench.drive(now);
    }
    assert_eq!(now, 50 * MS + limits::STALL_MS * MS);
}
