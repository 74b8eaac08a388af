//! Reception against a naive model, over lost, doubled and reordered messages.

use bytes::Bytes;
use proptest::prelude::*;
use remuda_contracts::uplink::ConnectionGeneration;
use remuda_model::{ConnectionId, Epoch, Incarnation, Lane, Seq};
use remuda_vehicles::error::Refusal;
use remuda_vehicles::reception::{Reception, Taken};
use remuda_wire::{
    Body, ClockQuality, Farewell, FarewellReason, FloorReason, FrameHeader, Frames, Hello, LaneState,
    SampleBlock, TimeUnit, frame,
};

const GENERATION: ConnectionGeneration = ConnectionGeneration(1);
const CAR: Incarnation = Incarnation(7);
const LAST: Seq = 24;

fn encoded(seq: Seq) -> Bytes {
    let header = FrameHeader {
        seq,
        boot: 1,
        mono_ms: seq,
        wall_ms: None,
        clock: ClockQuality::Unknown,
        registry: 1,
        trace: None,
    };
    let block = SampleBlock { unit: TimeUnit::Millisecond, offsets: vec![], columns: vec![] };
    frame::encode(&header, &Body::Samples(block)).into()
}

fn hello(incarnation: u64, counter: u32, acked: Seq) -> Hello {
    let incarnation = Incarnation(incarnation);
    Hello {
        connection: ConnectionId { incarnation, counter },
        wire_min: 1,
        wire_max: 1,
        agent_version: String::new(),
        boot: 1,
        registry: 1,
        registry_hash: 0,
        lanes: vec![LaneState { lane: Lane::Samples, incarnation, next_seq: LAST + 1, floor: 1, acked }],
        highest_epoch: Epoch(0),
        open_commands: vec![],
        policy_revision: 0,
        clock: ClockQuality::Unknown,
    }
}

fn message(first_seq: Seq, count: u64, floor: Seq, floor_reason: FloorReason) -> Frames {
    let frames = (first_seq..first_seq + count).map(encoded).collect();
    Frames { lane: Lane::Samples, incarnation: CAR, floor, floor_reason, first_seq, frames }
}

fn greeted(acked: Seq) -> Reception {
    let mut reception = Reception::default();
    assert!(reception.open(Lane::Samples, CAR, 0));
    reception.hello(GENERATION, &hello(7, 1, acked));
    reception
}

fn range_of(taken: &Taken) -> (Seq, Seq) {
    match taken {
        Taken::Gap { from, to, .. } => (*from, *to),
        Taken::Frame { frame, .. } => (frame.header.seq, frame.header.seq),
        Taken::Quarantined { seq, .. } => (*seq, *seq),
    }
}

#[derive(Debug, Clone)]
enum Step {
    Send { first: Seq, count: u64, broken: Option<u64> },
    Shed { to: Seq },
    Commit { back: u64 },
    Drop,
    Full,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1..=LAST, 1..6u64, proptest::option::weighted(0.1, 0..6u64))
            .prop_map(|(first, count, broken)| Step::Send { first, count, broken }),
        1 => (1..=LAST).prop_map(|to| Step::Shed { to }),
        2 => (0..3u64).prop_map(|back| Step::Commit { back }),
        1 => Just(Step::Drop),
        1 => Just(Step::Full),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever happens to messages: what is taken is the sequence itself, each number once until it is dropped.
    #[test]
    fn takes_the_sequence_and_nothing_else(steps in steps()) {
        let mut reception = greeted(0);
        let (mut received, mut durable, mut floor, mut room) = (0u64, 0u64, 1u64, true);
        for step in steps {
            match step {
                Step::Shed { to } => floor = floor.max(to),
                Step::Commit { back } => {
                    durable = durable.max(received.saturating_sub(back));
                    reception.durable(Lane::Samples, CAR, durable);
                }
                Step::Drop => {
                    received = durable;
                    reception.dropped();
                }
                Step::Full => room = !room,
                Step::Send { first, count, broken } => {
                    let first = first.max(floor);
                    let mut frames = message(first, count, floor, FloorReason::Full);
                    if let Some(place) = broken.filter(|place| *place < count) {
                        let mut raw = frames.frames[place as usize].to_vec();
                        raw[3] ^= 0x40;
                        frames.frames[place as usize] = raw.into();
                    }
                    let broken_seq = broken.map(|place| first + place);
                    let outcome = reception.frames(GENERATION, &frames, &mut |_| room);
                    // The naive model.
                    let mut expected = Vec::new();
                    if floor > received + 1 {
                        expected.push((received + 1, floor - 1));
                        received = floor - 1;
                    }
                    let (mut lower, mut missing) = (false, false);
                    for seq in first..first + count {
                        if seq <= received {
                            lower = true;
                        } else if seq == received + 1 && room && broken_seq != Some(seq) && !missing {
                            received = seq;
                            expected.push((seq, seq));
                        } else {
                            missing = true;
                        }
                    }
                    let taken: Vec<_> = outcome.taken.iter().map(range_of).collect();
                    prop_assert_eq!(taken, expected);
                    prop_assert_eq!(outcome.missing, missing);
                    prop_assert_eq!(outcome.answer, lower || missing);
                    prop_assert!(outcome.cloud_lost.is_none());
                }
            }
            let ack = reception.ack(Lane::Samples, CAR, 0);
            prop_assert_eq!((ack.received, ack.durable), (received, durable));
        }
        // A sender that goes back to `received + 1` gets everything across.
        let from = (received + 1).max(floor);
        if from <= LAST {
            let outcome =
                reception.frames(GENERATION, &message(from, LAST + 1 - from, floor, FloorReason::Full), &mut |_| true);
            prop_assert!(!outcome.missing);
            prop_assert_eq!(reception.ack(Lane::Samples, CAR, 0).received, LAST);
        }
    }
}

#[test]
fn acked_frames_that_we_lack_are_ours_to_answer_for() {
    let mut reception = greeted(4);
    let outcome = reception.frames(GENERATION, &message(8, 1, 8, FloorReason::Full), &mut |_| true);
    assert_eq!(outcome.cloud_lost, Some((1, 4)));
    let reasons = outcome.taken.iter().filter_map(|t| match t {
        Taken::Gap { from, to, reason } => Some((*from, *to, *reason)),
        _ => None,
    });
    assert_eq!(reasons.collect::<Vec<_>>(), [(1, 4, "cloud-lost"), (5, 7, "shed")]);
}

#[test]
fn messages_that_contradict_themselves_are_refused() {
    let mut reception = greeted(0);
    for bad in [
        message(3, 1, 4, FloorReason::Full),
        message(0, 1, 0, FloorReason::Acked),
        Frames { frames: vec![], ..message(1, 1, 1, FloorReason::Acked) },
        Frames { first_seq: u64::MAX, ..message(1, 2, 1, FloorReason::Acked) },
    ] {
        let outcome = reception.frames(GENERATION, &bad, &mut |_| true);
        assert_eq!(outcome.refused.map(|(r, _)| r), Some(Refusal::Inconsistent));
        assert!(outcome.taken.is_empty());
    }
    // A sound frame at another's place would lose one or double one.
    let mut swapped = message(1, 1, 1, FloorReason::Acked);
    swapped.frames[0] = encoded(2);
    let outcome = reception.frames(GENERATION, &swapped, &mut |_| true);
    assert!(matches!(outcome.taken[..], [Taken::Quarantined { seq: 1, reason: "sequence", .. }]));
}

#[test]
fn older_connections_are_answered_but_change_nothing() {
    let mut reception = greeted(0);
    let newer = ConnectionGeneration(5);
    assert!(reception.connected(newer));
    assert!(!reception.is_online(), "a new connection is greeted anew");
    assert!(!reception.hello(newer, &hello(7, 3, 0)).stale);
    let greeted_as = reception.greeted();
    // By generation of the door, and by counter of the agent.
    assert!(reception.hello(GENERATION, &hello(7, 9, 0)).stale);
    assert!(reception.hello(newer, &hello(7, 2, 0)).stale);
    assert!(!reception.connected(GENERATION) && !reception.disconnected(GENERATION));
    let old = ConnectionId { incarnation: CAR, counter: 1 };
    assert!(!reception.farewell(newer, &Farewell { connection: old, reason: FarewellReason::Lost }));
    let outcome = reception.frames(GENERATION, &message(1, 1, 1, FloorReason::Acked), &mut |_| true);
    assert_eq!(outcome.refused.map(|(r, _)| r), Some(Refusal::StaleConnection));
    assert!(reception.is_online() && reception.greeted() == greeted_as);
    let current = ConnectionId { incarnation: CAR, counter: 3 };
    assert!(reception.farewell(newer, &Farewell { connection: current, reason: FarewellReason::Stopping }));
    assert!(!reception.is_online());
}

#[test]
fn agents_that_take_turns_are_clones_and_restarts_are_not() {
    let mut reception = Reception::default();
    for (turn, incarnation) in [1, 2, 3, 4, 5, 6].into_iter().enumerate() {
        let generation = ConnectionGeneration(turn as u64);
        assert!(!reception.hello(generation, &hello(incarnation, 1, 0)).cloned);
    }
    let mut cloned = Vec::new();
    for (turn, incarnation) in [5, 6, 5, 6].into_iter().enumerate() {
        let generation = ConnectionGeneration(10 + turn as u64);
        cloned.push(reception.hello(generation, &hello(incarnation, turn as u32 + 2, 0)).cloned);
    }
    assert_eq!(cloned, [false, true, true, true]);
}

#[test]
fn drained_lanes_leave_memory_and_what_is_in_flight_stays() {
    let mut reception = greeted(0);
    let outcome = reception.frames(GENERATION, &message(1, 3, 1, FloorReason::Acked), &mut |_| true);
    assert_eq!(outcome.taken.len(), 3);
    // The agent restarted: 7 is still listed by nobody, but its frames wait for their round.
    assert!(reception.open(Lane::Samples, Incarnation(8), 0));
    reception.hello(GENERATION, &hello(8, 1, 0));
    assert!(reception.knows(Lane::Samples, CAR));
    reception.durable(Lane::Samples, CAR, 3);
    reception.hello(GENERATION, &hello(8, 2, 0));
    assert!(!reception.knows(Lane::Samples, CAR));
}
