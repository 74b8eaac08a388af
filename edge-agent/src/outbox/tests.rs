//! The log against a model in memory, with restarts and damage at any point; many vehicles in one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use remuda_edge_agent_core::{Record, ShedUntil};
use remuda_model::{Incarnation, Lane, Seq, VehicleId};
use remuda_wire::frame::{self, FrameHeader};
use remuda_wire::{Body, ClockQuality, Event, FloorReason};

use super::{Group, Opened, Profile, Store, VehicleOutbox, files, offline};

fn small() -> Profile {
    Profile { segment_bytes: 2_000, group_ms: 0, evidence_max: 100 }
}

fn vehicle(n: usize) -> VehicleId {
    VehicleId::new(&format!("VAN{n}")).expect("an id")
}

fn frame(seq: Seq, size: usize) -> Bytes {
    let header = FrameHeader {
        seq,
        boot: 1,
        mono_ms: seq,
        wall_ms: Some(seq as i64 * 1_000),
        clock: ClockQuality::Server,
        registry: 1,
        trace: None,
    };
    Bytes::from(frame::encode(&header, &Body::Event(Event::Started { agent_version: "x".repeat(size) })))
}

fn wait(outbox: &VehicleOutbox, group: Group) {
    let committed = outbox.committed();
    let until = Instant::now() + Duration::from_secs(20);
    while *committed.borrow() < group {
        outbox.check().expect("the disk is well");
        assert!(Instant::now() < until, "group {group} never comes");
        std::thread::yield_now();
    }
}

fn open(store: &Store, n: usize, incarnation: u64) -> Opened {
    store.vehicle(vehicle(n), Incarnation(incarnation)).expect("opens")
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), small()).expect("opens");
    let outbox = open(&store, 1, 7).outbox;
    for seq in 1..=50 {
        let group = outbox.append(Lane::Samples, seq, &[frame(seq, 100)], false).expect("fits");
        wait(&outbox, group);
    }
    outbox.trim(Lane::Samples, Incarnation(7), 30);
    let group = outbox.save_state(b"state".to_vec()).expect("fits");
    wait(&outbox, group);
    assert!(matches!(Store::open(dir.path(), small()), Err(super::OutboxError::InUse(_))));
    store.close().expect("closes");

    let books = offline::open(dir.path()).expect("readable");
    let samples = books.iter().find(|b| b.key.lane == Lane::Samples).expect("there");
    assert_eq!((samples.made, samples.trimmed_to, samples.held), (50, 30, Some((31, 50))));

    let store = Store::open(dir.path(), small()).expect("opens");
    let opened = open(&store, 1, 8);
    assert_eq!(opened.state.as_deref(), Some(&b"state"[..]));
    assert_eq!(opened.held.len(), 1);
    assert_eq!((opened.held[0].floor, opened.held[0].made), (31, 50));
    let read = opened.outbox.read(Lane::Samples, Incarnation(7), 31, 50, 300).expect("reads");
    assert_eq!(read, [Record::Frame(frame(31, 100)), Record::Frame(frame(32, 100))]);
    opened.outbox.trim(Lane::Samples, Incarnation(7), 50);
    let group = opened.outbox.append(Lane::Samples, 1, &[frame(1, 10)], true).expect("fits");
    wait(&opened.outbox, group);
    drop(opened);
    store.close().expect("closes");
    // Everything of the first start is trimmed: its segments are gone, the evidence that it was made is not.
    assert!(files::list(dir.path()).expect("readable").len() <= 2);
    let books = offline::open(dir.path()).expect("readable");
    let old = books.iter().find(|b| b.key.incarnation == Incarnation(7) && b.key.lane == Lane::Samples);
    let old = old.expect("evidence outlives trimming");
    assert_eq!((old.made, old.trimmed_to, old.held), (50, 50, None));
}

#[test]
fn a_flipped_byte_is_told_as_damaged_and_the_sequence_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let frames: Vec<_> = (1..=9).map(|seq| frame(seq, 60)).collect();
    {
        let store = Store::open(dir.path(), Profile::vehicle()).expect("opens");
        let outbox = open(&store, 1, 7).outbox;
        wait(&outbox, outbox.append(Lane::Events, 1, &frames, true).expect("fits"));
    }
    let segment = files::path_of(dir.path(), 1);
    let whole = fs::read(&segment).expect("readable");
    let needle = &frames[4][..];
    let at = whole.windows(needle.len()).position(|w| w == needle).expect("the fifth frame");
    // Its payload, its own header, and the header of the one before.
    for (place, lost) in [(at + 20, 5), (at - 3, 5), (at - 20, 5)] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        fs::write(&segment, &damaged).expect("writable");
        let store = Store::open(dir.path(), Profile::vehicle()).expect("opens");
        let opened = open(&store, 1, 100 + place as u64);
        assert_eq!((opened.held[0].floor, opened.held[0].made), (1, 9));
        let read = opened.outbox.read(Lane::Events, Incarnation(7), 1, 9, usize::MAX).expect("reads");
        for (n, record) in read.iter().enumerate() {
            let expected = if n + 1 == lost { Record::Damaged } else { Record::Frame(frames[n].clone()) };
            assert_eq!(*record, expected, "frame {} with byte {place} flipped", n + 1);
        }
    }
}

#[test]
fn a_torn_tail_is_ignored() {
    let dir = tempfile::tempdir().expect("a folder");
    {
        let store = Store::open(dir.path(), Profile::vehicle()).expect("opens");
        let outbox = open(&store, 1, 7).outbox;
        wait(&outbox, outbox.append(Lane::Samples, 1, &[frame(1, 60), frame(2, 60)], true).expect("fits"));
    }
    let segment = files::path_of(dir.path(), 1);
    let whole = fs::read(&segment).expect("readable");
    // The close wrote no mark behind the frames: nothing was trimmed.
    for cut in [1, 40, 70] {
        fs::write(&segment, &whole[..whole.len() - cut]).expect("writable");
        let books = offline::open(dir.path()).expect("readable");
        let samples = books.iter().find(|b| b.key.lane == Lane::Samples).expect("there");
        assert_eq!(samples.held, Some((1, 1)), "{cut} bytes cut");
    }
}

#[test]
fn many_vehicles_share_a_log_and_old_segments_go() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), small()).expect("opens");
    let outboxes: Vec<_> = (0..20).map(|n| open(&store, n, 7).outbox).collect();
    for seq in 1..=60 {
        let mut last = 0;
        for outbox in &outboxes {
            last = outbox.append(Lane::Samples, seq, &[frame(seq, 40)], false).expect("fits");
        }
        wait(&outboxes[0], last);
        for (n, outbox) in outboxes.iter().enumerate() {
            // One vehicle hears nothing from the cloud; its few frames must not keep whole segments.
            if n > 0 {
                outbox.trim(Lane::Samples, Incarnation(7), seq);
            }
        }
    }
    let read = outboxes[0].read(Lane::Samples, Incarnation(7), 1, 60, usize::MAX).expect("reads");
    let expected: Vec<_> = (1..=60).map(|seq| Record::Frame(frame(seq, 40))).collect();
    assert_eq!(read, expected);
    drop(outboxes);
    store.close().expect("closes");
    let bytes: u64 = files::list(dir.path())
        .expect("readable")
        .iter()
        .map(|id| fs::metadata(files::path_of(dir.path(), *id)).map_or(0, |m| m.len()))
        .sum();
    // 1,200 frames of about 100 bytes were written; 60 are live.
    assert!(bytes < 60_000, "{bytes} bytes are still there");
    let books = offline::open(dir.path()).expect("readable");
    for book in books.iter().filter(|b| b.key.lane == Lane::Samples) {
        let held = (book.key.vehicle == vehicle(0)).then_some((1, 60));
        assert_eq!((book.made, book.held), (60, held), "{:?}", book.key);
    }
}

#[test]
fn a_shed_range_is_recorded_before_it_goes() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), small()).expect("opens");
    let outbox = open(&store, 1, 7).outbox;
    let frames: Vec<_> = (1..=20).map(|seq| frame(seq, 60)).collect();
    wait(&outbox, outbox.append(Lane::Samples, 1, &frames, true).expect("fits"));
    let before = outbox.bytes();
    let shed = |until, reason| outbox.shed(Lane::Samples, Incarnation(7), until, reason).expect("works");
    let (range, group) = shed(ShedUntil::Bytes(before / 2), FloorReason::Full).expect("something");
    assert_eq!((range.from, range.to), (1, 11));
    assert_eq!(outbox.bytes(), before, "nothing goes before the record is durable");
    wait(&outbox, group);
    outbox.finish_shed(Lane::Samples, Incarnation(7), range);
    assert!(outbox.bytes() <= before / 2);
    let (range, group) = shed(ShedUntil::Before { wall_ms: 13_000 }, FloorReason::Age).expect("something");
    assert_eq!((range.from, range.to), (12, 12));
    wait(&outbox, group);
    outbox.finish_shed(Lane::Samples, Incarnation(7), range);
    drop(outbox);
    store.close().expect("closes");
    let books = offline::open(dir.path()).expect("readable");
    let samples = books.iter().find(|b| b.key.lane == Lane::Samples).expect("there");
    let shed: Vec<_> = samples.shed.iter().map(|s| (s.from, s.to)).collect();
    assert_eq!((shed, samples.held), (vec![(1, 11), (12, 12)], Some((13, 20))));
}

#[derive(Debug, Clone)]
enum Act {
    Append(usize, bool, usize),
    Trim(usize, bool, f64),
    Reopen,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        8 => (0..3_usize, any::<bool>(), 1..300_usize).prop_map(|(v, lane, size)| Act::Append(v, lane, size)),
        3 => (0..3_usize, any::<bool>(), 0.0..1.0).prop_map(|(v, lane, part)| Act::Trim(v, lane, part)),
        1 => Just(Act::Reopen),
    ];
    proptest::collection::vec(act, 1..120)
}

fn lane(events: bool) -> Lane {
    if events { Lane::Events } else { Lane::Samples }
}

type Model = BTreeMap<(usize, Lane, u64), (Seq, Vec<Bytes>)>;

fn check(dir: &Path, store: Store, outboxes: Vec<VehicleOutbox>, model: &Model) {
    for ((v, lane, incarnation), (floor, frames)) in model {
        let made = frames.len() as u64;
        let read =
            outboxes[*v].read(*lane, Incarnation(*incarnation), *floor, made, usize::MAX).expect("reads");
        let expected: Vec<_> = frames[*floor as usize - 1..].iter().cloned().map(Record::Frame).collect();
        assert_eq!(read, expected, "{v} {lane:?} {incarnation}");
    }
    drop(outboxes);
    store.close().expect("closes");
    let books = offline::open(dir).expect("readable");
    for ((v, lane, incarnation), (floor, frames)) in model {
        let key = (vehicle(*v), *lane, Incarnation(*incarnation));
        let book =
            books.iter().find(|b| (b.key.vehicle, b.key.lane, b.key.incarnation) == key).expect("known");
        let made = frames.len() as u64;
        assert_eq!((book.made, book.trimmed_to + 1), (made, *floor));
        assert_eq!(book.held, (*floor <= made).then_some((*floor, made)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn it_holds_what_a_map_would(acts in acts()) {
        let dir = tempfile::tempdir().expect("a folder");
        let mut model = Model::new();
        let mut start = 1;
        let mut store = Store::open(dir.path(), small()).expect("opens");
        let mut outboxes: Vec<_> = (0..3).map(|n| open(&store, n, start).outbox).collect();
        for act in acts {
            match act {
                Act::Append(v, events, size) => {
                    let (_, frames) = model.entry((v, lane(events), start)).or_insert((1, Vec::new()));
                    let seq = frames.len() as u64 + 1;
                    frames.push(frame(seq, size));
                    let group = outboxes[v].append(lane(events), seq, &frames[seq as usize - 1..], events).expect("fits");
                    wait(&outboxes[v], group);
                }
                Act::Trim(v, events, part) => {
                    // Any incarnation of the vehicle that holds something.
                    let held = model.iter_mut().find(|((w, l, _), (floor, f))| {
                        *w == v && *l == lane(events) && *floor <= f.len() as u64
                    });
                    if let Some(((_, l, incarnation), (floor, frames))) = held {
                        let up_to = *floor + ((frames.len() as u64 - *floor) as f64 * part) as u64;
                        outboxes[v].trim(*l, Incarnation(*incarnation), up_to);
                        *floor = up_to + 1;
                    }
                }
                Act::Reopen => {
                    check(dir.path(), store, outboxes, &model);
                    start += 1;
                    store = Store::open(dir.path(), small()).expect("opens");
                    outboxes = (0..3).map(|n| open(&store, n, start).outbox).collect();
                }
            }
        }
        check(dir.path(), store, outboxes, &model);
    }
}
