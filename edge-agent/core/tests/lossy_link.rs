//! The agent under virtual time against a tiny cloud, over links that break, lose and delay, with restarts, a full
//! outbox, damaged records and no credit: everything made ends durable or shed, in order, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use rand::prelude::*;
use remuda_edge_agent_core::{
    Agent, Held, Output, Policy, Reading, Record, RefuseAll, SavedState, Settings, ShedUntil,
};
use remuda_model::signal::SPEED;
use remuda_model::{ConnectionId, Epoch, Incarnation, Lane, Seq, VehicleId};
use remuda_wire::{Ack, Body, Down, Event, FloorReason, Frames, LaneAck, Up, Welcome, frame};

const MS: u64 = 1_000_000;
type Key = (Lane, Incarnation);

/// What survives the agent.
#[derive(Default)]
struct Disk {
    frames: BTreeMap<Key, BTreeMap<Seq, Bytes>>,
    durable: BTreeMap<Key, Seq>,
    floor: BTreeMap<Key, (Seq, FloorReason)>,
    damaged: BTreeSet<(Key, Seq)>,
    shed: BTreeSet<(Key, Seq)>,
    order: Vec<Key>,
    state: Vec<u8>,
}

impl Disk {
    fn bytes(&self) -> u64 {
        self.frames.values().flat_map(BTreeMap::values).map(|f| f.len() as u64).sum()
    }

    fn floor_of(&self, key: Key) -> (Seq, FloorReason) {
        self.floor.get(&key).copied().unwrap_or((1, FloorReason::Acked))
    }

    /// Power cut: what was not synced is gone.
    fn crash(&mut self) -> Vec<Held> {
        for (key, frames) in &mut self.frames {
            let durable = self.durable.get(key).copied().unwrap_or(0);
            frames.retain(|seq, _| *seq <= durable);
        }
        self.order
            .iter()
            .map(|key| {
                let (floor, floor_reason) = self.floor_of(*key);
                let made = self.durable.get(key).copied().unwrap_or(0);
                Held { lane: key.0, incarnation: key.1, floor, floor_reason, made }
            })
            .collect()
    }
}

#[derive(Default, Clone, Copy)]
struct Numbers {
    received: Seq,
    durable: Seq,
}

/// The cloud's half in a few lines.
struct Cloud {
    lanes: BTreeMap<Key, Numbers>,
    stored: BTreeSet<(Key, Seq)>,
    pending: Vec<(Key, Seq)>,
    gaps: BTreeSet<(Key, Seq)>,
    pending_gaps: Vec<(Key, Seq)>,
    credit: u32,
    greeted: bool,
}

impl Cloud {
    fn lane_ack(&self, key: Key) -> LaneAck {
        let Numbers { received, durable } = self.lanes.get(&key).copied().unwrap_or_default();
        LaneAck { lane: key.0, incarnation: key.1, received, durable, credit: self.credit }
    }

    fn ack(&self, key: Key, now: u64, missing: bool, greet: bool) -> Down {
        let server_time_ms = 1_700_000_000_000 + (now / MS) as i64;
        Down::Ack(Ack { ack: self.lane_ack(key), epoch: Epoch(1), server_time_ms, missing, greet })
    }

    fn take(&mut self, message: Up, now: u64) -> Option<Down> {
        match message {
            Up::Hello(hello) => {
                self.greeted = true;
                for lane in &hello.lanes {
                    let n = self.lanes.entry((lane.lane, lane.incarnation)).or_default();
                    assert!(lane.acked <= n.durable, "the vehicle claims acks that were never given");
                }
                Some(Down::Welcome(Welcome {
                    connection: hello.connection,
                    wire: 1,
                    epoch: Epoch(1),
                    server_time_ms: 1_700_000_000_000 + (now / MS) as i64,
                    acks: hello.lanes.iter().map(|l| self.lane_ack((l.lane, l.incarnation))).collect(),
                    resync: false,
                }))
            }
            Up::Frames(frames) => {
                let key = (frames.lane, frames.incarnation);
                if !self.greeted {
                    return Some(self.ack(key, now, false, true));
                }
                let missing = self.take_frames(key, &frames);
                missing.map(|missing| self.ack(key, now, missing, false))
            }
            Up::Live(_) | Up::Farewell(_) | Up::Status(_) | Up::Watching(_) => None,
        }
    }

    fn take_frames(&mut self, key: Key, message: &Frames) -> Option<bool> {
        let n = self.lanes.entry(key).or_default();
        for seq in n.received + 1..message.floor {
            assert_ne!(message.floor_reason, FloorReason::Acked, "an acked frame that is not here: {seq}");
            self.pending_gaps.push((key, seq));
            n.received = seq;
        }
        let mut answer = None;
        for (place, bytes) in message.frames.iter().enumerate() {
            let seq = message.first_seq + place as u64;
            let frame = frame::decode(bytes).expect("sound");
            assert_eq!(frame.header.seq, seq);
            if seq <= n.received {
                answer = Some(false);
            } else if seq > n.received + 1 {
                return Some(true);
            } else {
                n.received = seq;
                if frame.body == Body::Damaged {
                    self.pending_gaps.push((key, seq));
                } else {
                    self.pending.push((key, seq));
                }
            }
        }
        answer
    }

    fn commit(&mut self) -> BTreeSet<Key> {
        let mut moved = BTreeSet::new();
        for (key, seq) in self.pending.drain(..) {
            assert!(self.stored.insert((key, seq)), "{key:?} {seq} stored twice");
            assert!(!self.gaps.contains(&(key, seq)), "{key:?} {seq} stored and in a gap");
            moved.insert(key);
        }
        for (key, seq) in self.pending_gaps.drain(..) {
            assert!(
                self.gaps.insert((key, seq)) && !self.stored.contains(&(key, seq)),
                "{key:?} {seq} twice"
            );
            moved.insert(key);
        }
        for key in &moved {
            let n = self.lanes.entry(*key).or_default();
            n.durable = n.received;
        }
        moved
    }

    /// A commit that failed, or a restart: what was not durable was never received.
    fn forget(&mut self) {
        self.pending.clear();
        self.pending_gaps.clear();
        self.lanes.values_mut().for_each(|n| n.received = n.durable);
    }
}

enum Step {
    Up(ConnectionId, Up),
    Down(ConnectionId, Down),
    Synced(u32, Vec<(Lane, Seq)>),
    Read(u32, Key, Seq, Vec<Record>),
    Connected(ConnectionId),
    Broken(ConnectionId),
}

struct World {
    random: StdRng,
    now: u64,
    disk: Disk,
    cloud: Cloud,
    agent: Agent,
    starts: u32,
    steps: BTreeMap<(u64, u64), Step>,
    count: u64,
    connection: Option<ConnectionId>,
    link_free: u64,
    delivered: BTreeMap<Key, (Seq, u64)>,
    good: bool,
    probes: u64,
}

const CAPACITY: u64 = 1_200;

fn start(disk: &mut Disk, starts: u32, now: u64) -> Agent {
    let held = disk.crash();
    let mut state = SavedState::decode(&disk.state).unwrap_or_default();
    state.boot += 1;
    disk.state = state.encode();
    let incarnation = Incarnation(u64::from(starts) * 7_919 % 1_000_003);
    disk.order.extend(Lane::ALL.map(|lane| (lane, incarnation)));
    let vehicle = VehicleId::new("VAN1").expect("an id");
    let settings = Settings {
        outbox_bytes_max: CAPACITY,
        shed_bytes: 300,
        policy: Arc::new(Policy::everything()),
        ..Settings::new(vehicle, incarnation, u64::from(starts))
    };
    Agent::new(settings, Arc::new(RefuseAll), state, &held, now)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut disk = Disk::default();
        let agent = start(&mut disk, 1, 0);
        let cloud = Cloud {
            lanes: BTreeMap::new(),
            stored: BTreeSet::new(),
            pending: Vec::new(),
            gaps: BTreeSet::new(),
            pending_gaps: Vec::new(),
            credit: 2_000,
            greeted: false,
        };
        Self {
            random: StdRng::seed_from_u64(seed),
            now: 0,
            disk,
            cloud,
            agent,
            starts: 1,
            steps: BTreeMap::new(),
            count: 0,
            connection: None,
            link_free: 0,
            delivered: BTreeMap::new(),
            good: false,
            probes: 0,
        }
    }

    fn later(&mut self, ms: std::ops::Range<u64>, step: Step) {
        self.count += 1;
        let mut at = self.now + self.random.random_range(ms) * MS;
        if matches!(step, Step::Up(..) | Step::Down(..)) {
            // A connection keeps its order; one after the other does not.
            at = at.max(self.link_free);
            self.link_free = at;
        }
        self.steps.insert((at, self.count), step);
    }

    fn restart(&mut self) {
        self.starts += 1;
        self.agent = start(&mut self.disk, self.starts, self.now);
        self.connection = None;
        self.cloud.greeted = false;
        self.delivered.clear();
    }

    fn drive(&mut self) {
        while let Some(output) = self.agent.poll_output() {
            self.obey(output);
        }
    }

    fn obey(&mut self, output: Output) {
        let now = self.now;
        match output {
            Output::Append { lane, first, frames, .. } => {
                let key = (lane, self.agent.incarnation());
                let last = first + frames.len() as u64 - 1;
                for (n, bytes) in frames.into_iter().enumerate() {
                    let before = self.disk.frames.entry(key).or_default().insert(first + n as u64, bytes);
                    assert!(before.is_none(), "a seq given twice");
                }
                self.later(1..40, Step::Synced(self.starts, vec![(lane, last)]));
            }
            Output::Read { lane, incarnation, from, to, bytes_max } => {
                let key = (lane, incarnation);
                let mut records = Vec::new();
                let mut bytes = 0;
                for seq in from..=to {
                    let frame = self.disk.frames.get(&key).and_then(|f| f.get(&seq)).expect("held");
                    bytes += frame.len();
                    if !records.is_empty() && bytes > bytes_max {
                        break;
                    }
                    let damaged = self.disk.damaged.contains(&(key, seq));
                    records.push(if damaged { Record::Damaged } else { Record::Frame(frame.clone()) });
                }
                // The disk answers late, when an Ack or a new connection may have overtaken it.
                self.later(0..9, Step::Read(self.starts, key, from, records));
            }
            Output::Trim { lane, incarnation, up_to } => {
                let key = (lane, incarnation);
                let frames = self.disk.frames.entry(key).or_default();
                frames.retain(|seq, _| *seq > up_to);
                for seq in self.disk.floor_of(key).0..=up_to {
                    let safe =
                        self.cloud.stored.contains(&(key, seq)) || self.cloud.gaps.contains(&(key, seq));
                    assert!(safe, "trimmed {key:?} {seq}, which is not safe");
                }
                self.disk.floor.insert(key, (up_to + 1, FloorReason::Acked));
            }
            Output::Shed { lane, incarnation, until, reason } => {
                self.shed((lane, incarnation), until, reason)
            }
            Output::Connect { connection, .. } => {
                let fails = !self.good && self.random.random_bool(0.3);
                self.later(
                    5..200,
                    if fails { Step::Broken(connection) } else { Step::Connected(connection) },
                );
            }
            Output::Disconnect => {
                self.connection = None;
                self.agent.handle_disconnected(now);
            }
            Output::Send { payload, .. } => self.send(Up::decode(&Bytes::from(payload)).expect("ours")),
            Output::Save(state) => {
                self.disk.state = state;
                self.agent.handle_saved(now);
            }
            Output::Perform { .. } | Output::Act { .. } => panic!("nothing is signed here"),
        }
    }

    fn shed(&mut self, key: Key, until: ShedUntil, reason: FloorReason) {
        let durable = self.disk.durable.get(&key).copied().unwrap_or(0);
        let frames = self.disk.frames.entry(key).or_default();
        let mut freed = 0;
        let mut range: Option<(Seq, Seq)> = None;
        if let ShedUntil::Bytes(wanted) = until {
            while let Some((&seq, bytes)) = frames.first_key_value() {
                if freed >= wanted || seq > durable {
                    break;
                }
                freed += bytes.len() as u64;
                frames.pop_first();
                self.disk.shed.insert((key, seq));
                range = Some((range.map_or(seq, |r| r.0), seq));
            }
        }
        if let Some((_, to)) = range {
            self.disk.floor.insert(key, (to + 1, reason));
        }
        let bytes = self.disk.bytes();
        self.agent.handle_shed(key.0, key.1, range, reason, bytes, self.now);
    }

    fn send(&mut self, message: Up) {
        let Some(connection) = self.connection else { panic!("sent without a connection") };
        if let Up::Frames(frames) = &message {
            let key = (frames.lane, frames.incarnation);
            let (durable, credit) = self.delivered.get(&key).copied().unwrap_or((0, 0));
            let durable_seq = self.disk.durable.get(&key).copied().unwrap_or(0);
            let last = frames.first_seq + frames.frames.len() as u64 - 1;
            assert!(last <= durable_seq, "sent before it was made");
            for older in self.disk.order.iter().take_while(|k| **k != key).filter(|k| k.0 == key.0) {
                let made = self.disk.durable.get(older).copied().unwrap_or(0);
                assert!(
                    self.disk.floor_of(*older).0 > made,
                    "{key:?} before {older:?}, which still holds frames"
                );
            }
            let first = durable.max(frames.floor - 1) + 1;
            let size = |seq: Seq| self.disk.frames[&key].get(&seq).map_or(0, Bytes::len) as u64;
            let in_flight: u64 = (first..=last).map(size).sum();
            let probe = frames.frames.len() == 1 && frames.first_seq == first;
            // A damaged record is told in a frame of another size.
            let damaged = (first..=last).any(|seq| self.disk.damaged.contains(&(key, seq)));
            assert!(
                in_flight <= credit || probe || damaged,
                "{in_flight} bytes beyond durable, credit {credit}"
            );
            self.probes += u64::from(in_flight > credit);
        }
        let lost = !self.good && self.random.random_bool(0.05);
        if !lost {
            self.later(5..80, Step::Up(connection, message));
        }
    }

    fn step(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Synced(starts, lanes) if starts == self.starts => {
                for (lane, seq) in lanes {
                    let key = (lane, self.agent.incarnation());
                    let durable = self.disk.durable.entry(key).or_default();
                    *durable = seq.max(*durable);
                    let bytes = self.disk.bytes();
                    self.agent.handle_made(lane, seq, bytes, now);
                }
            }
            Step::Read(starts, key, from, records) if starts == self.starts => {
                self.agent.handle_read(key.0, key.1, from, records, now);
            }
            Step::Synced(..) | Step::Read(..) => {}
            Step::Connected(connection) => {
                if connection.incarnation == self.agent.incarnation() {
                    self.connection = Some(connection);
                    self.cloud.greeted = false;
                    self.delivered.clear();
                    self.agent.handle_connected(now);
                }
            }
            Step::Broken(connection) => {
                let current = self.connection == Some(connection) || self.connection.is_none();
                if current && connection.incarnation == self.agent.incarnation() {
                    self.connection = None;
                    self.agent.handle_disconnected(now);
                }
            }
            Step::Up(connection, message) => {
                // The door forgets what an older connection still had under way.
                if self.connection == Some(connection)
                    && let Some(answer) = self.cloud.take(message, now)
                {
                    self.later(5..80, Step::Down(connection, answer));
                }
            }
            Step::Down(connection, message) => {
                let lost = !self.good && self.random.random_bool(0.05);
                if self.connection == Some(connection) && !lost {
                    self.note(&message);
                    self.agent.handle_payload(&message.encode(), now);
                }
            }
        }
        self.drive();
    }

    fn note(&mut self, message: &Down) {
        let mut acks = Vec::new();
        match message {
            Down::Welcome(w) => acks.extend_from_slice(&w.acks),
            Down::Ack(a) => acks.push(a.ack),
            Down::Command(_) | Down::Policy(_) | Down::Ask(_) | Down::HandOver(_) | Down::Watch(_) => {}
        }
        for ack in acks {
            let known = self.delivered.entry((ack.lane, ack.incarnation)).or_default();
            *known = (known.0.max(ack.durable), u64::from(ack.credit));
        }
    }

    /// One turn: whatever is due next, by queue or by the agent's own deadline.
    fn advance(&mut self, until: u64) {
        loop {
            let queued = self.steps.first_key_value().map(|(at, _)| at.0);
            let deadline = self.agent.poll_timeout();
            let next = queued.into_iter().chain(deadline).min().filter(|at| *at <= until);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            if queued == Some(next) {
                let (_, step) = self.steps.pop_first().expect("peeked");
                self.step(step);
            } else {
                self.agent.handle_timeout(self.now);
                self.drive();
            }
        }
        self.now = until;
    }

    fn chaos(&mut self) {
        let now = self.now;
        if self.random.random_bool(0.9) {
            let raw = self.random.random_range(0..15_000);
            self.agent.handle_readings(&[Reading { signal: SPEED, raw, mono_ns: now }], now);
        }
        if self.random.random_bool(0.02) {
            let mark = Event::TripMark { departed: true, latitude_e7: 1, longitude_e7: 2 };
            self.agent.handle_event(&mark, now);
        }
        if self.random.random_bool(0.2) {
            self.commit();
        }
        match self.random.random_range(0..1_000) {
            0..4 => self.restart(),
            4..12 => self.break_link(),
            12..18 => self.cloud.forget(),
            18..40 => {
                self.cloud.credit = *[0, 0, 150, 2_000, 100_000].choose(&mut self.random).expect("some")
            }
            40..50 => self.damage(),
            _ => {}
        }
        self.drive();
    }

    fn commit(&mut self) {
        for key in self.cloud.commit() {
            let ack = self.cloud.ack(key, self.now, false, false);
            if let Some(connection) = self.connection {
                self.later(5..80, Step::Down(connection, ack));
            }
        }
    }

    fn break_link(&mut self) {
        if let Some(connection) = self.connection {
            self.later(0..1, Step::Broken(connection));
        }
    }

    fn damage(&mut self) {
        let made: Vec<_> = self
            .disk
            .frames
            .iter()
            .flat_map(|(key, frames)| frames.keys().map(|seq| (*key, *seq)))
            // Once sent whole, the cloud may hold it; damage what was never out to keep the books simple.
            .filter(|(key, seq)| self.cloud.lanes.get(key).is_none_or(|n| n.received < *seq))
            .collect();
        if let Some(record) = made.choose(&mut self.random) {
            self.disk.damaged.insert(*record);
        }
    }

    fn finish(&mut self) {
        self.good = true;
        self.cloud.credit = 100_000;
        for _ in 0..2_000 {
            self.advance(self.now + 100 * MS);
            self.commit();
            self.drive();
            if self.agent.is_drained() && self.steps.is_empty() {
                return;
            }
        }
        panic!("not drained: {:?}", self.agent);
    }

    fn check(&self) {
        let mut made = 0;
        for (key, durable) in &self.disk.durable {
            for seq in 1..=*durable {
                made += 1;
                let place = (*key, seq);
                let safe = self.cloud.stored.contains(&place) || self.cloud.gaps.contains(&place);
                assert!(safe || self.disk.shed.contains(&place), "{place:?} is lost");
            }
        }
        for (key, seq) in &self.cloud.gaps {
            let known = self.disk.shed.contains(&(*key, *seq)) || self.disk.damaged.contains(&(*key, *seq));
            assert!(known, "{key:?} {seq}: a gap that nobody told");
        }
        assert!(made > 100, "only {made} frames: nothing is proven");
        assert!(self.disk.bytes() == 0, "acked frames are still held");
    }
}

fn run(seed: u64) -> World {
    let mut world = World::new(seed);
    world.drive();
    for _ in 0..2_500 {
        world.advance(world.now + 100 * MS);
        world.chaos();
    }
    world.finish();
    world.check();
    world
}

#[test]
fn everything_made_ends_durable_or_shed_in_order_and_once() {
    let first: u64 = std::env::var("REMUDA_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    let (mut sheds, mut damages, mut probes, mut starts) = (0, 0, 0, 0);
    for seed in first..first + 60 {
        let result = std::panic::catch_unwind(|| {
            let world = run(seed);
            (world.disk.shed.len(), world.disk.damaged.len(), world.probes, world.starts)
        });
        match result {
            Ok((s, d, p, n)) => {
                (sheds, damages, probes, starts) = (sheds + s, damages + d, probes + p, starts + n);
            }
            Err(panic) => {
                eprintln!("seed {seed} (repeat with REMUDA_TEST_SEED={seed})");
                std::panic::resume_unwind(panic);
            }
        }
    }
    eprintln!("{sheds} frames shed, {damages} damaged, {probes} probes, {starts} starts");
    assert!(
        sheds > 0 && damages > 0 && probes > 0 && starts > 60,
        "the runs were too kind to prove anything"
    );
}
