//! Compaction: whatever is written, late or repeated, and wherever it dies, the lake holds each row once.

mod common;

use common::{BEGIN_MS, Fuse, HOUR_MS, World, vehicle};
use proptest::prelude::*;
use remuda_lake::query::{HistoryReader, HistorySettings, Selection};
use remuda_lake::{CompactionSettings, LakeError, Retention, RowBody, row_time_ns};
use remuda_model::{OrganizationId, SignalClass, SignalId, VehicleId, signal};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

const HOUR_NS: i64 = HOUR_MS * 1_000_000;

fn settings() -> CompactionSettings {
    CompactionSettings {
        grace_ms: 60_000,
        small_files_max: 2,
        erase_within_ms: 0,
        ..CompactionSettings::default()
    }
}

/// Eleven frames over three hours, one of them late, one without a clock, one with an absurd one; covered.
async fn some_hours(world: &mut World) {
    for n in 0..3 {
        for hour in 0..3_i64 {
            world.write(n, 2, Some(BEGIN_MS * 1_000_000 + hour * HOUR_NS + i64::from(n))).await;
        }
    }
    world.write(3, 1, None).await;
    world.write(4, 1, Some(7)).await;
    world.restart(true).await;
}

/// Two frames in two hours, covered.
async fn two_hours(world: &mut World) {
    for n in 0..2_u8 {
        world.write(n, 2, Some(BEGIN_MS * 1_000_000 + i64::from(n) * HOUR_NS)).await;
    }
    world.restart(true).await;
}

#[tokio::test]
async fn rows_lie_by_hour_sorted_by_vehicle_and_time() {
    let mut world = World::new().await;
    some_hours(&mut world).await;
    world.write(5, 1, None).await;
    let done = world.compact(&settings()).await;
    assert_eq!((done.fresh_files, done.waiting_files, done.rows), (11, 1, 20));
    assert_eq!(
        done.history_files, 3,
        "one of each hour: the clocks that say nothing are in that of the receipt"
    );
    let folders: Vec<String> = world
        .listed("history")
        .await
        .iter()
        .map(|path| path.rsplit_once('/').expect("a folder").0.to_owned())
        .collect();
    assert_eq!(
        folders,
        [
            "history/organization=default/date=2023-11-14/hour=22",
            "history/organization=default/date=2023-11-14/hour=23",
            "history/organization=default/date=2023-11-15/hour=00",
        ]
    );
    world.check().await;
    world.check_outside().await;
    assert_eq!(world.listed("fresh").await.len(), 1, "the one that waits");
    assert_eq!(world.listed("replaced").await.len(), 11, "readers may be at them");
}

#[tokio::test]
async fn only_what_checkpoints_and_snapshots_cover_is_taken() {
    let mut world = World::new().await;
    world.write(1, 2, None).await;
    assert_eq!(world.compact(&settings()).await.rows, 0, "no checkpoint yet");
    world.restart(false).await;
    let done = world.compact(&settings()).await;
    assert_eq!((done.rows, done.waiting_files), (0, 1), "its rows would have to be replayed");
    world.restart(true).await;
    assert_eq!(world.compact(&settings()).await.rows, 2);
    world.check().await;
}

#[tokio::test]
async fn late_rows_reopen_their_hour_and_small_files_are_merged() {
    let mut world = World::new().await;
    for round in 0..4 {
        world.write(1, 2, Some(BEGIN_MS * 1_000_000 + round)).await;
        world.restart(true).await;
        world.now_ms += 7 * HOUR_MS;
        let done = world.compact(&settings()).await;
        world.check().await;
        world.check_outside().await;
        let expected = if round == 2 { 3 } else { 0 };
        assert_eq!(done.merged_files, expected, "in round {round}");
    }
    assert_eq!(world.listed("history").await.len(), 2, "three of them merged, and the fourth");
    let done = world.compact(&CompactionSettings { small_files_max: 1, ..settings() }).await;
    assert_eq!((done.merged_files, done.merged_rows), (2, 8));
    world.check().await;
    world.check_outside().await;
}

#[tokio::test]
async fn memory_is_bounded_by_writing_the_largest_hour_early() {
    let mut world = World::new().await;
    for frame in 0..40 {
        world.write(1, 4, Some(BEGIN_MS * 1_000_000 + frame % 3 * HOUR_NS)).await;
    }
    world.write(2, 9_000, Some(BEGIN_MS * 1_000_000)).await;
    world.restart(true).await;
    // The small files fit into it; the large one is read row by row, and written in pieces within one replacement.
    let done = world
        .compact(&CompactionSettings { rows_bytes_max: 800_000, small_files_max: 100, ..settings() })
        .await;
    assert_eq!((done.fresh_files, done.rows), (41, 9_160));
    assert_eq!(done.history_files, 6, "three hours, and three pieces of the large frame: {done:?}");
    world.check().await;
    world.check_outside().await;
}

#[tokio::test]
async fn replaced_files_are_deleted_after_their_grace_and_never_swept() {
    let mut world = World::new().await;
    some_hours(&mut world).await;
    let before = world.manifest().await;
    world.compact(&settings()).await;
    assert_eq!(world.lake(&Fuse::never()).sweep().await.expect("swept"), 0);
    assert_eq!(world.listed("replaced").await.len(), 11);
    // A round that lost its answer asks once more for a file whose rows are in history by now.
    world.commit_again(&before[0]).await;
    world.now_ms += 59_000;
    assert_eq!(world.compact(&settings()).await.deleted_files, 0);
    world.now_ms += 2_000;
    assert_eq!(world.compact(&settings()).await.deleted_files, 11);
    assert!(world.listed("replaced").await.is_empty());
    assert!(world.journal.replaced(None, 10).await.expect("read").is_empty());
    world.check().await;
}

#[tokio::test]
async fn a_file_that_was_listed_can_be_read_while_it_is_replaced() {
    let mut world = World::new().await;
    some_hours(&mut world).await;
    let lake = world.lake(&Fuse::never());
    let mut rows = 0;
    // Reading takes long: in the middle of it everything moves.
    let mut moved = false;
    let entries = world.manifest().await;
    for entry in entries {
        if !moved {
            world.compact(&settings()).await;
            moved = true;
        }
        rows += lake.rows_in(&entry).await.expect("in its grace").len();
    }
    assert_eq!(rows, world.model.len());
}

#[tokio::test]
async fn a_newer_compaction_refuses_an_older_one() {
    let mut world = World::new().await;
    some_hours(&mut world).await;
    let lake = world.lake(&Fuse::never());
    let overtaken = std::sync::atomic::AtomicBool::new(false);
    let journal = world.journal.clone();
    let result = lake
        .compact(&settings(), world.now_ms, &|_| {
            if !overtaken.swap(true, std::sync::atomic::Ordering::SeqCst) {
                // In place, so it is done when it is polled once.
                let mut raised = std::pin::pin!(journal.acquire_replacing());
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                assert!(raised.as_mut().poll(&mut context).is_ready());
            }
            ControlFlow::Continue(())
        })
        .await;
    assert!(matches!(result, Err(LakeError::Superseded { missing: 0 })), "{result:?}");
    assert!(world.listed("staged").await.is_empty(), "it takes back what it wrote");
    assert!(world.listed("history").await.is_empty());
    world.check().await;
}

#[tokio::test]
async fn it_stops_when_it_is_told_to() {
    let mut world = World::new().await;
    some_hours(&mut world).await;
    let lake = world.lake(&Fuse::never());
    let one = CompactionSettings { rows_bytes_max: 1, ..settings() };
    let done = lake
        .compact(&one, world.now_ms, &|done| {
            if done.fresh_files == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await
        .expect("stopped");
    assert!(done.interrupted);
    assert_eq!(done.fresh_files, 4);
    assert!(world.listed("staged").await.is_empty());
    world.check().await;
    world.check_outside().await;
}

#[tokio::test]
async fn hours_beyond_the_retention_leave() {
    let mut world = World::new().await;
    some_hours(&mut world).await;
    world.compact(&settings()).await;
    // The first hour ended just two days ago, the others did not.
    world.now_ms = BEGIN_MS + HOUR_MS + 2 * 24 * HOUR_MS;
    let expiring =
        CompactionSettings { retention: Retention { days: Some(2), ..Retention::default() }, ..settings() };
    let done = world.compact(&expiring).await;
    assert_eq!((done.expired_files, done.expired_rows), (1, 8));
    let first = BEGIN_MS * 1_000_000;
    world
        .model
        .retain(|row| row.vehicle < vehicle(3) && row.sample_time_ns.is_some_and(|at| at >= first + HOUR_NS));
    world.check().await;
    world.check_outside().await;
    world.now_ms += 61_000;
    world.compact(&expiring).await;
    assert!(world.listed("replaced").await.is_empty());
    world.check().await;
}

/// The process dies before, and after, each step that reaches the disk.
#[tokio::test]
async fn a_crash_between_any_two_steps_loses_and_doubles_nothing() {
    let mut points = 0;
    for done in [false, true] {
        for step in 0.. {
            let mut world = World::new().await;
            two_hours(&mut world).await;
            world.compact(&settings()).await;
            world.now_ms += 61_000;
            two_hours(&mut world).await;
            world.restart(true).await;
            two_hours(&mut world).await;
            // This one deletes, moves to history, merges.
            let fuse = Fuse::after(step, done);
            let died =
                world.compact_and_die(&CompactionSettings { small_files_max: 1, ..settings() }, &fuse).await;
            world.check().await;
            // Whoever comes next: the node that starts, recovers and sweeps, or another compaction.
            if step % 2 == 0 {
                world.restart(step % 4 == 0).await;
                world.lake(&Fuse::never()).sweep().await.expect("swept");
                world.check().await;
            }
            world.compact(&settings()).await;
            world.check().await;
            world.check_outside().await;
            // The grace period, and as long again: real time passes too, on a busy machine seconds of it.
            world.now_ms += 121_000;
            world.compact(&settings()).await;
            world.check().await;
            for folder in ["staged", "replaced"] {
                assert!(world.listed(folder).await.is_empty(), "{folder} after step {step}");
            }
            assert!(world.journal.replaced(None, 10).await.expect("read").is_empty());
            if !died {
                break;
            }
            points += 1;
        }
    }
    assert!(points > 60, "only {points} places to die at");
}

/// What may happen to a lake.
#[derive(Debug, Clone)]
enum Op {
    Write {
        vehicle: u8,
        rows: u32,
        at: At,
    },
    Restart {
        covered: bool,
    },
    Compact {
        rows_bytes_max: usize,
        small_files_max: usize,
    },
    Die {
        step: i64,
        done: bool,
        rows_bytes_max: usize,
    },
    CommitAgain(prop::sample::Index),
    Wait {
        s: i64,
    },
    Sweep,
    Erase {
        of: Option<u8>,
        from: i64,
        hours: i64,
        classes: Vec<SignalClass>,
    },
    Retain(Retention),
    Days(i64),
    /// The writer is killed so many steps into writing a frame.
    Kill {
        vehicle: u8,
        rows: u32,
        step: i64,
        done: bool,
    },
    /// Rows that are there already come once more.
    Duplicate(usize),
    /// Somebody looks, at so many hours from then on.
    Query {
        vehicles: Vec<u8>,
        from: i64,
        hours: i64,
    },
}

/// When a frame was sampled.
#[derive(Debug, Clone)]
enum At {
    Unknown,
    Absurd,
    /// Hours after the beginning.
    Hour(i64),
}

fn op() -> impl Strategy<Value = Op> {
    let at = prop_oneof![1 => Just(At::Unknown), 1 => Just(At::Absurd), 6 => (-3_i64..3).prop_map(At::Hour)];
    let bytes = prop_oneof![Just(1_usize), Just(3_000), Just(1 << 20)];
    prop_oneof![
        6 => (0..8_u8, 1..4_u32, at).prop_map(|(vehicle, rows, at)| Op::Write { vehicle, rows, at }),
        2 => any::<bool>().prop_map(|covered| Op::Restart { covered }),
        2 => (bytes.clone(), 1..4_usize)
            .prop_map(|(rows_bytes_max, small_files_max)| Op::Compact { rows_bytes_max, small_files_max }),
        2 => (0..40_i64, any::<bool>(), bytes)
            .prop_map(|(step, done, rows_bytes_max)| Op::Die { step, done, rows_bytes_max }),
        1 => any::<prop::sample::Index>().prop_map(Op::CommitAgain),
        1 => (1..50_i64).prop_map(|s| Op::Wait { s }),
        1 => Just(Op::Sweep),
        1 => (prop::option::weighted(0.8, 0..8_u8), -4_i64..0, 1..5_i64, classes())
            .prop_map(|(of, from, hours, classes)| Op::Erase { of, from, hours, classes }),
        1 => retention().prop_map(Op::Retain),
        1 => (1..3_i64).prop_map(Op::Days),
        2 => (0..8_u8, 1..4_u32, 0..5_i64, any::<bool>())
            .prop_map(|(vehicle, rows, step, done)| Op::Kill { vehicle, rows, step, done }),
        1 => (1..6_usize).prop_map(Op::Duplicate),
        3 => (prop::collection::vec(0..9_u8, 1..4), -5_i64..4, 1..300_i64)
            .prop_map(|(vehicles, from, hours)| Op::Query { vehicles, from, hours }),
    ]
}

fn classes() -> impl Strategy<Value = Vec<SignalClass>> {
    prop_oneof![
        Just(Vec::new()),
        Just(vec![SignalClass::Position]),
        Just(vec![SignalClass::DriverBehaviour, SignalClass::Technical]),
    ]
}

fn retention() -> impl Strategy<Value = Retention> {
    let bytes = prop_oneof![3 => Just(None), 1 => Just(Some(9_000))];
    (prop::option::weighted(0.3, 3..6_u32), bytes, prop::option::of(1..3_u32)).prop_map(
        |(days, bytes_max, positions)| Retention {
            days,
            bytes_max,
            class_days: positions.map(|days| (SignalClass::Position, days)).into_iter().collect(),
        },
    )
}

const SIGNALS: [SignalId; 3] = [signal::CHARGE, signal::LATITUDE, signal::SPEED];

/// A vehicle, a time, and the values then.
type Shown = (VehicleId, i64, Vec<Option<i64>>);

/// Asks the reader, and the naive model; where retention has cut they are asked from there on.
async fn query(world: &World, reader: &HistoryReader, vehicles: &[u8], (from, hours): (i64, i64)) {
    let horizon = world.lake(&Fuse::never()).horizon().await.expect("read");
    let from_ns = BEGIN_MS * 1_000_000 + from * HOUR_NS;
    let until_ns = from_ns + hours * HOUR_NS;
    let from_ns = SIGNALS.iter().filter_map(|id| horizon.of(Some(*id))).fold(from_ns, i64::max);
    let wanted: BTreeSet<VehicleId> = vehicles.iter().map(|n| vehicle(*n)).collect();
    let mut expected: Vec<Shown> = Vec::new();
    for row in world.expected(&horizon) {
        let RowBody::Samples(values) = &row.body else { continue };
        let of = |id: &SignalId| values.iter().find(|(signal, _)| signal == id).map(|(_, raw)| *raw);
        let values: Vec<Option<i64>> = SIGNALS.iter().map(of).collect();
        let at = row_time_ns(row.sample_time_ns, row.receive_time_ms);
        let is_wanted = wanted.contains(&row.vehicle) && (from_ns..until_ns).contains(&at);
        if is_wanted && values.iter().any(Option::is_some) {
            expected.push((row.vehicle, at, values));
        }
    }
    let asked = Selection::new(
        OrganizationId::default(),
        wanted.into_iter().collect(),
        SIGNALS.to_vec(),
        from_ns,
        until_ns,
    );
    let mut scan = reader.scan(asked).await.expect("begun");
    let mut found: Vec<Shown> = Vec::new();
    while let Some(rows) = scan.next().await.expect("read") {
        let values = |row: usize| rows.columns.iter().map(|column| column.get(row)).collect();
        found.extend(rows.times.iter().enumerate().map(|(row, at)| (rows.vehicle, *at, values(row))));
    }
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

async fn run(ops: Vec<Op>) {
    let mut world = World::new().await;
    // It lives over all of it, with what it remembers of the manifest and of files.
    let settings_of_reader =
        HistorySettings { unit_bytes: 300, cache_bytes_max: 300_000, scans_max: 2, decoders: 2 };
    let reader = HistoryReader::new(world.lake(&Fuse::never()), &settings_of_reader);
    let mut retention = Retention::default();
    for op in ops {
        let known = world.manifest().await;
        match op {
            Op::Write { vehicle, rows, at } => {
                let at = match at {
                    At::Unknown => None,
                    At::Absurd => Some(i64::MAX - 7),
                    At::Hour(hour) => Some(BEGIN_MS * 1_000_000 + hour * HOUR_NS),
                };
                world.write(vehicle, rows, at).await;
            }
            Op::Restart { covered } => world.restart(covered).await,
            Op::Compact { rows_bytes_max, small_files_max } => {
                let kept = CompactionSettings { retention: retention.clone(), ..settings() };
                world.compact(&CompactionSettings { rows_bytes_max, small_files_max, ..kept }).await;
                world.check_outside().await;
            }
            Op::Die { step, done, rows_bytes_max } => {
                let fuse = Fuse::after(step, done);
                let kept = CompactionSettings { retention: retention.clone(), ..settings() };
                world.compact_and_die(&CompactionSettings { rows_bytes_max, ..kept }, &fuse).await;
            }
            Op::CommitAgain(index) => {
                if !known.is_empty() {
                    world.commit_again(index.get(&known)).await;
                }
            }
            Op::Wait { s } => world.now_ms += s * 1_000,
            Op::Sweep => {
                world.lake(&Fuse::never()).sweep().await.expect("swept");
            }
            Op::Erase { of, from, hours, classes } => {
                world.erase(of, (from, from + hours), &classes).await;
            }
            Op::Retain(other) => retention = other,
            Op::Days(days) => world.now_ms += days * 24 * HOUR_MS,
            Op::Kill { vehicle, rows, step, done } => {
                let at = Some(world.now_ms * 1_000_000);
                world.write_and_die(vehicle, rows, at, &Fuse::after(step, done)).await;
            }
            Op::Duplicate(rows) => {
                let rows = world.model.iter().rev().step_by(2).take(rows).cloned().collect();
                world.duplicate(rows).await;
            }
            Op::Query { vehicles, from, hours } => query(&world, &reader, &vehicles, (from, hours)).await,
        }
        world.check().await;
    }
    world.restart(true).await;
    let done = world.compact(&settings()).await;
    assert_eq!(done.waiting_files, 0);
    world.check().await;
    world.check_outside().await;
    for _ in 0..2 {
        world.now_ms += 61_000;
        world.compact(&settings()).await;
    }
    world.check().await;
    query(&world, &reader, &[0, 1, 2, 3, 4, 5, 6, 7], (-300, 600)).await;
    world.check_forgotten().await;
    let erasures = world.lake(&Fuse::never()).erasures().await.expect("read");
    assert!(erasures.iter().all(|erasure| erasure.finished_at_ms.is_some()), "{erasures:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_is_the_naive_model(ops in prop::collection::vec(op(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(run(ops));
    }
}
