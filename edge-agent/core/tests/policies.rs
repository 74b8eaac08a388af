//! Policies: durable before they count, reported back, refused with a reason; data budgets and links.

use std::sync::Arc;

use bytes::Bytes;
use remuda_edge_agent_core::{
    Agent, Held, Output, Policy, Reading, Record, RefuseAll, SavedState, Settings, ShedUntil, limits,
};
use remuda_model::signal::SPEED;
use remuda_model::{ConnectionId, Epoch, Incarnation, Lane, Seq, VehicleId};
use remuda_wire::{
    Ack, Ask, CollectionLevel, Down, FloorReason, Frames, LaneAck, LinkKind, Policy as Sent, Status, Up,
    Welcome,
};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const INCARNATION: Incarnation = Incarnation(7);
// 30 November 2026, 12:00 UTC.
const NOVEMBER_MS: i64 = 1_796_040_000_000;
const DAY_MS: i64 = 86_400_000;

struct Bench {
    agent: Agent,
    samples: Vec<Bytes>,
    events: u64,
    sent: Vec<Frames>,
    statuses: Vec<Status>,
    live: u64,
    saved: Vec<u8>,
    unsaved: usize,
    hold_saves: bool,
    revision_greeted: u32,
    // The cloud's clock when ours is 0.
    server_ms: i64,
}

impl Bench {
    fn new(state: SavedState, follow_policy: bool) -> Self {
        let vehicle = VehicleId::new("VAN1").expect("an id");
        let settings = Settings {
            policy: Arc::new(Policy::everything()),
            follow_policy,
            ..Settings::new(vehicle, INCARNATION, 1)
        };
        let agent = Agent::new(settings, Arc::new(RefuseAll), state, &[] as &[Held], 0);
        Self {
            agent,
            samples: vec![],
            events: 0,
            sent: vec![],
            statuses: vec![],
            live: 0,
            saved: vec![],
            unsaved: 0,
            hold_saves: false,
            revision_greeted: 0,
            server_ms: NOVEMBER_MS,
        }
    }

    fn drive(&mut self, now: u64) {
        while let Some(output) = self.agent.poll_output() {
            match output {
                Output::Append { lane, first, frames, .. } => {
                    let last = first + frames.len() as u64 - 1;
                    match lane {
                        Lane::Samples => self.samples.extend(frames),
                        Lane::Events => self.events = last,
                    }
                    self.agent.handle_made(lane, last, 0, now);
                }
                Output::Read { lane: Lane::Samples, incarnation, from, to, .. } => {
                    let range = from as usize - 1..to as usize;
                    let records = self.samples[range].iter().cloned().map(Record::Frame).collect();
                    self.agent.handle_read(Lane::Samples, incarnation, from, records, now);
                }
                Output::Send { payload, .. } => match Up::decode(&payload.into()).expect("ours") {
                    Up::Frames(frames) => self.sent.push(frames),
                    Up::Status(status) => self.statuses.push(status),
                    Up::Hello(hello) => self.revision_greeted = hello.policy_revision,
                    Up::Live(_) => self.live += 1,
                    Up::Farewell(_) | Up::Watching(_) => {}
                },
                Output::Save(state) => {
                    self.saved = state;
                    self.unsaved += 1;
                }
                _ => {}
            }
            while self.unsaved > 0 && !self.hold_saves {
                self.unsaved -= 1;
                self.agent.handle_saved(now);
            }
        }
    }

    fn say(&mut self, message: &Down, now: u64) {
        self.agent.handle_payload(&message.encode(), now);
        self.drive(now);
    }

    /// A connection to a cloud that asks for the status.
    fn connect(&mut self) {
        let now = 0;
        self.agent.handle_timeout(now);
        self.drive(now);
        self.agent.handle_connected(now);
        self.drive(now);
        let connection = ConnectionId { incarnation: INCARNATION, counter: 1 };
        let (server_time_ms, acks) = (self.server_ms, vec![self.ack(0)]);
        let welcome = Welcome { connection, wire: 1, epoch: Epoch(1), server_time_ms, acks, resync: false };
        self.say(&Down::Welcome(welcome), now);
        self.say(&Down::Ask(Ask { interval_s: 30 }), now);
        self.agent.handle_timeout(now);
        self.drive(now);
    }

    fn ack(&self, durable: Seq) -> LaneAck {
        LaneAck { lane: Lane::Samples, incarnation: INCARNATION, received: durable, durable, credit: 1 << 20 }
    }

    /// The cloud has everything that was sent.
    fn ack_all(&mut self, now: u64) {
        let server_time_ms = self.server_ms + (now / MS) as i64;
        let sent = self.sent.iter().map(|m| m.first_seq + m.frames.len() as Seq - 1).max();
        let ack = self.ack(sent.unwrap_or_default());
        let ack = Ack { ack, epoch: Epoch(1), server_time_ms, missing: false, greet: false };
        self.say(&Down::Ack(ack), now);
    }

    /// One reading a second for so long, each of another value.
    fn sense(&mut self, from: u64, seconds: u64) -> u64 {
        for second in 0..seconds {
            let now = from + second * SECOND;
            self.agent.handle_readings(&[Reading { signal: SPEED, raw: now as i64, mono_ns: now }], now);
            self.agent.handle_timeout(now);
            self.drive(now);
            self.ack_all(now);
        }
        from + seconds * SECOND
    }

    fn policy(&mut self, revision: u32, document: &str, now: u64) {
        self.say(&Down::Policy(Sent { revision, document: document.to_owned() }), now);
        self.agent.handle_timeout(now);
        self.drive(now);
    }

    fn status(&self) -> &Status {
        self.statuses.last().expect("a status was said")
    }

    fn state(&self) -> SavedState {
        SavedState::decode(&self.saved).expect("ours")
    }
}

const RARE: &str = r#"{"signals":{"Vehicle.Speed":{"min_interval_ms":10000}}}"#;

#[test]
fn a_policy_counts_when_it_is_durable_and_not_before() {
    let mut bench = Bench::new(SavedState::default(), true);
    bench.connect();
    assert_eq!((bench.status().policy_revision, bench.statuses.len()), (0, 1));
    bench.hold_saves = true;
    bench.policy(9, RARE, 0);
    let now = bench.sense(SECOND, 20);
    let before = bench.samples.len();
    assert!(before >= 18, "the old policy is still in force: {before}");
    assert_eq!(bench.statuses.len(), 1, "nothing is reported that a power cut would undo");
    assert_eq!(bench.state().policy.map(|p| p.revision), Some(9));
    bench.hold_saves = false;
    bench.drive(now);
    bench.agent.handle_saved(now);
    bench.unsaved = 0;
    bench.drive(now);
    assert_eq!(bench.status().policy_revision, 9);
    assert_ne!(bench.status().policy_fingerprint, 0);
    bench.sense(now, 20);
    assert!(bench.samples.len() - before <= 4, "{} more", bench.samples.len() - before);
    // A restart remembers it and says so.
    let mut again = Bench::new(bench.state(), true);
    again.connect();
    assert_eq!((again.revision_greeted, again.status().policy_revision), (9, 9));
    // Another cohort's, though its number is lower; then none.
    again.policy(4, r#"{"others":{}}"#, SECOND);
    assert_eq!(again.status().policy_revision, 4);
    again.policy(0, "", 2 * SECOND);
    assert_eq!((again.status().policy_revision, again.status().policy_fingerprint), (0, 0));
    assert_eq!(again.state().policy, None);
}

#[test]
fn two_saves_under_way_do_not_make_the_second_durable_with_the_first() {
    let mut bench = Bench::new(SavedState::default(), true);
    bench.connect();
    bench.hold_saves = true;
    bench.policy(1, RARE, 0);
    bench.policy(2, r#"{"others":{}}"#, 0);
    bench.agent.handle_saved(0);
    bench.agent.handle_timeout(0);
    bench.drive(0);
    assert_eq!(bench.status().policy_revision, 1);
    bench.agent.handle_saved(0);
    bench.drive(0);
    assert_eq!(bench.status().policy_revision, 2);
}

#[test]
fn what_cannot_be_followed_is_refused_with_a_reason_and_changes_nothing() {
    let mut bench = Bench::new(SavedState::default(), true);
    bench.connect();
    bench.policy(3, RARE, 0);
    bench.policy(4, r#"{"signals":{"Vehicle.Spede":{}}}"#, 0);
    let status = bench.status().clone();
    assert_eq!(status.policy_revision, 3);
    let refused = status.policy_refused.expect("refused");
    assert!(refused.revision == 4 && refused.reason.contains("Vehicle.Spede"), "{refused:?}");
    bench.policy(5, RARE, 0);
    assert_eq!((bench.status().policy_revision, bench.status().policy_refused.clone()), (5, None));
    // An agent put back to a version that cannot read what is saved runs with its built-in policy and says so.
    let mut state = bench.state();
    state.policy = Some(Sent { revision: 8, document: r#"{"novelty":1}"#.to_owned() });
    let mut again = Bench::new(state, true);
    again.connect();
    assert_eq!(again.revision_greeted, 0);
    assert_eq!(again.status().policy_refused.as_ref().map(|r| r.revision), Some(8));
    let mut own = Bench::new(SavedState::default(), false);
    own.connect();
    own.policy(3, RARE, 0);
    assert_eq!(own.status().policy_refused.as_ref().map(|r| r.revision), Some(3));
}

const BUDGET: &str = r#"{"others":{},"budget":{"megabytes_per_month":1,"stretch_factor":10}}"#;

#[test]
fn a_budget_first_stretches_then_leaves_only_events_until_the_next_month() {
    let mut bench = Bench::new(SavedState::default(), true);
    bench.connect();
    bench.agent.handle_link(LinkKind::Metered, 0);
    bench.policy(3, BUDGET, 0);
    let mut now = SECOND;
    let (mut full, mut stretched) = (0, 0);
    while bench.status().collection != CollectionLevel::EventsOnly {
        let before = bench.samples.len();
        now = bench.sense(now, 100);
        match bench.status().collection {
            CollectionLevel::Full => full = bench.samples.len() - before,
            _ => stretched = bench.samples.len() - before,
        }
        assert!(now < 50_000 * SECOND, "never spent: {:?}", bench.status());
    }
    assert!((95..=101).contains(&full) && (1..=12).contains(&stretched), "{full} {stretched}");
    let (made, sent) = (bench.samples.len(), bench.sent.len());
    let spent = bench.status().budget.expect("a budget");
    assert!(spent.spent_bytes >= 1_000_000 && spent.bytes == 1_000_000 && spent.month == 202_611);
    now = bench.sense(now, 100);
    assert_eq!((bench.samples.len(), bench.sent.len()), (made, sent), "no sample is made or sent");
    let events = bench.events;
    bench.agent.handle_event(&remuda_wire::Event::Started { agent_version: "x".into() }, now);
    bench.drive(now);
    assert_eq!(bench.events, events + 1, "events go on");
    // A restart forgets nothing but the last thousandth, and a clock that jumps back gives nothing back.
    let mut again = Bench::new(bench.state(), true);
    again.server_ms -= 400 * DAY_MS;
    again.connect();
    again.sense(0, 100);
    assert!(again.samples.len() <= 12, "{}", again.samples.len());
    // Wi-Fi costs nothing.
    let before = bench.samples.len();
    bench.agent.handle_link(LinkKind::Wifi, now);
    now = bench.sense(now, 50);
    assert!(bench.samples.len() - before >= 45 && bench.status().collection == CollectionLevel::Full);
    bench.agent.handle_link(LinkKind::Metered, now);
    now = bench.sense(now, 2);
    assert_eq!(bench.status().collection, CollectionLevel::EventsOnly);
    // The next month, as the cloud's clock says.
    bench.server_ms += DAY_MS;
    let before = bench.samples.len();
    bench.sense(now, 50);
    assert!(bench.samples.len() - before >= 45, "{}", bench.samples.len() - before);
    assert_eq!(bench.status().budget.map(|b| b.month), Some(202_612));
}

#[test]
fn bulk_waits_for_wifi_while_newest_values_go_rarely() {
    let mut bench = Bench::new(SavedState::default(), true);
    bench.connect();
    bench.policy(3, r#"{"others":{},"budget":{"bulk":"wifi"}}"#, 0);
    let before = bench.sent.len();
    let now = bench.sense(SECOND, 120);
    assert!(bench.samples.len() >= 118 && bench.sent.len() == before, "kept, not sent");
    assert!((4..=5).contains(&bench.live), "{} newest values in 120 s", bench.live);
    assert!(bench.status().bulk_held && bench.status().frames_held >= 60, "{:?}", bench.status());
    bench.agent.handle_link(LinkKind::Wifi, now);
    bench.drive(now);
    let sent: usize = bench.sent.iter().map(|m| m.frames.len()).sum();
    assert_eq!(sent, bench.samples.len());
    const { assert!(limits::LIVE_HELD_INTERVAL_MS > limits::LIVE_INTERVAL_MS) };
    let floor = bench.sent.first().map(|m| (m.floor, m.floor_reason));
    assert_eq!(floor, Some((1, FloorReason::Acked)));
}

#[test]
fn an_agent_sends_no_status_to_a_cloud_that_did_not_ask() {
    let mut bench = Bench::new(SavedState::default(), true);
    bench.agent.handle_timeout(0);
    bench.drive(0);
    bench.agent.handle_connected(0);
    bench.drive(0);
    let connection = ConnectionId { incarnation: INCARNATION, counter: 1 };
    let (epoch, acks) = (Epoch(1), vec![bench.ack(0)]);
    let welcome = Welcome { connection, wire: 1, epoch, server_time_ms: NOVEMBER_MS, acks, resync: false };
    bench.say(&Down::Welcome(welcome), 0);
    bench.policy(9, RARE, 0);
    bench.sense(SECOND, 100);
    assert!(bench.statuses.is_empty());
}

#[test]
fn old_frames_of_this_start_are_shed_while_it_is_away() {
    let mut bench = Bench::new(SavedState::default(), true);
    bench.connect();
    let now = bench.sense(SECOND, 10);
    bench.agent.handle_disconnected(now);
    bench.agent.handle_readings(&[Reading { signal: SPEED, raw: -1, mono_ns: now }], now);
    bench.agent.handle_flush(now);
    while bench.agent.poll_output().is_some() {}
    let held = bench.samples.len() as Seq + 1;
    bench.agent.handle_made(Lane::Samples, held, 0, now);
    let asked = |bench: &mut Bench, now: u64| {
        bench.agent.handle_timeout(now);
        let outputs = std::iter::from_fn(|| bench.agent.poll_output());
        outputs.filter(|o| matches!(o, Output::Shed { lane: Lane::Samples, .. })).last()
    };
    let day = DAY_MS as u64 * MS;
    let at = bench.agent.poll_timeout().expect("frames are held");
    assert!(at <= now + limits::AGE_CHECK_MS * MS);
    let Some(Output::Shed { incarnation, until, reason, .. }) = asked(&mut bench, now + 181 * day) else {
        panic!("nothing is looked at")
    };
    assert_eq!((incarnation, reason), (INCARNATION, FloorReason::Age));
    let server_ms = NOVEMBER_MS + ((now + 181 * day) / MS) as i64;
    assert_eq!(until, ShedUntil::Before { wall_ms: server_ms - limits::AGE_MS_MAX });
    // Asked once until it is answered, and again a quarter of a day later.
    assert_eq!(asked(&mut bench, now + 182 * day), None);
    bench.agent.handle_shed(
        Lane::Samples,
        INCARNATION,
        Some((1, held)),
        FloorReason::Age,
        0,
        now + 182 * day,
    );
    assert_eq!(bench.agent.figures().frames_shed, held);
}
