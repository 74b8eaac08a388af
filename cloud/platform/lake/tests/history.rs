//! What a scan answers is what a naive model answers: over writes, late rows, duplicates, compaction, what is to be forgotten.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use common::{BEGIN_MS, Fuse, HOUR_MS, World, key, vehicle};
use object_store::ObjectStoreExt;
use proptest::prelude::*;
use remuda_lake::query::{
    AnswerRows, Bucket, BucketRows, Buckets, Cursor, HistoryReader, HistorySettings, Mode, QueryError,
    SampleRows, Scan, Selection, lttb,
};
use remuda_lake::{
    CompactionSettings, ErasureRequest, LakeError, Row, RowBody, Stripped, Tombstone, Tombstones, row_time_ns,
};
use remuda_model::{OrganizationId, ShardId, SignalClass, SignalId, VehicleId, signal};

const MS_NS: i64 = 1_000_000;
const HOUR_NS: i64 = HOUR_MS * MS_NS;
const SIGNALS: [SignalId; 3] = [signal::CHARGE, signal::LATITUDE, signal::SPEED];

/// Vehicle, time, and a value or none for each of `SIGNALS`.
type Flat = (VehicleId, i64, Vec<Option<i64>>);

/// What the model answers, in the order of a scan: by hour, vehicle, time.
fn expected(
    model: &[Row],
    vehicles: &[u8],
    from_ns: i64,
    until_ns: i64,
    forgotten: &Tombstones,
) -> Vec<Flat> {
    let wanted: BTreeSet<VehicleId> = vehicles.iter().map(|n| vehicle(*n)).collect();
    let mut rows = BTreeMap::new();
    for row in model {
        let at = row_time_ns(row.sample_time_ns, row.receive_time_ms);
        let mut row = row.clone();
        let stripped = forgotten.strip(&mut row);
        let RowBody::Samples(values) = &row.body else { continue };
        let gone = matches!(stripped, Stripped::Erased(_));
        if gone || !wanted.contains(&row.vehicle) || !(from_ns..until_ns).contains(&at) {
            continue;
        }
        let of = |id: &SignalId| values.iter().find(|(signal, _)| signal == id).map(|(_, raw)| *raw);
        let values: Vec<_> = SIGNALS.iter().map(of).collect();
        if values.iter().any(Option::is_some) {
            let place = (at.div_euclid(HOUR_NS), row.vehicle, at, row.incarnation, row.seq, row.row_in_frame);
            rows.insert(place, (row.vehicle, at, values));
        }
    }
    rows.into_values().collect()
}

fn flat(rows: &SampleRows) -> Vec<Flat> {
    let values = |row: usize| rows.columns.iter().map(|column| column.get(row)).collect();
    rows.times.iter().enumerate().map(|(row, at)| (rows.vehicle, *at, values(row))).collect()
}

async fn drain(scan: &mut Scan) -> Vec<Flat> {
    let mut found = Vec::new();
    while let Some(rows) = scan.next().await.expect("read") {
        found.extend(flat(&rows));
    }
    found
}

fn reader(world: &World, unit_bytes: usize) -> HistoryReader {
    let settings = HistorySettings { unit_bytes, cache_bytes_max: 300_000, scans_max: 2, decoders: 2 };
    HistoryReader::new(world.lake(&Fuse::never()), &settings)
}

fn selection(vehicles: &[u8], from_ns: i64, until_ns: i64) -> Selection {
    let vehicles = vehicles.iter().map(|n| vehicle(*n)).collect();
    Selection::new(OrganizationId::default(), vehicles, SIGNALS.to_vec(), from_ns, until_ns)
}

/// The whole in pages of some rows, each going on where the one before ended.
async fn by_pages(reader: &HistoryReader, whole: &Selection, rows: usize) -> Vec<Flat> {
    let mut found: Vec<Flat> = Vec::new();
    let mut after = None;
    loop {
        let mut scan = reader.scan(whole.clone().after(after)).await.expect("begun");
        let mut page = Vec::new();
        while page.len() < rows
            && let Some(more) = scan.next().await.expect("read")
        {
            page.extend(flat(&more));
        }
        page.truncate(rows);
        let Some((vehicle, time_ns, _)) = page.last().cloned() else { return found };
        found.append(&mut page);
        let same = found.iter().rev().take_while(|(v, at, _)| (*v, *at) == (vehicle, time_ns)).count();
        after = Some(Cursor { vehicle, time_ns, rows: same as u32 });
    }
}

/// Buckets of the model's rows.
fn buckets_of(rows: &[Flat], length_ns: i64) -> BTreeMap<(VehicleId, i64), Vec<Option<Bucket>>> {
    let mut buckets: BTreeMap<_, Vec<Option<Bucket>>> = BTreeMap::new();
    for (vehicle, at, values) in rows {
        let begin = at.div_euclid(length_ns) * length_ns;
        let of_begin = buckets.entry((*vehicle, begin)).or_insert_with(|| vec![None; SIGNALS.len()]);
        for (bucket, value) in of_begin.iter_mut().zip(values) {
            let Some(raw) = *value else { continue };
            let new = Bucket { min: raw, max: raw, last: raw, sum: i128::from(raw), count: 1 };
            *bucket = Some(bucket.map_or(new, |b| Bucket {
                min: b.min.min(raw),
                max: b.max.max(raw),
                last: raw,
                sum: b.sum + i128::from(raw),
                count: b.count + 1,
            }));
        }
    }
    buckets
}

#[derive(Debug, Clone)]
enum Step {
    /// One frame of a vehicle, rows and how far its samples lie behind, ms; `None`: it does not know the time.
    Write(u8, u32, Option<i64>),
    Restart(bool),
    Compact(usize),
    /// Rows that are there already are committed once more.
    Duplicate(usize),
    Pass(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let behind = prop_oneof![
        6 => (0_i64..3).prop_map(Some),
        3 => (0_i64..4 * HOUR_MS).prop_map(Some),
        1 => Just(None),
        1 => Just(Some(400 * 24 * HOUR_MS)),
    ];
    let step = prop_oneof![
        12 => (0_u8..4, 1_u32..4, behind).prop_map(|(n, rows, behind)| Step::Write(n, rows, behind)),
        2 => any::<bool>().prop_map(Step::Restart),
        2 => (1_usize..3).prop_map(Step::Compact),
        1 => (1_usize..6).prop_map(Step::Duplicate),
        3 => (1_i64..2 * HOUR_MS).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 4..40)
}

/// Whose rows are to be forgotten, from when and how long, and whether all of it.
fn stone() -> impl Strategy<Value = (u8, i64, i64, bool)> {
    (0_u8..4, -2 * HOUR_MS..4 * HOUR_MS, 1..3 * HOUR_MS, any::<bool>())
}

async fn run(world: &mut World, steps: &[Step]) {
    for step in steps {
        match step {
            Step::Write(n, rows, behind) => {
                let at = behind.map(|behind| (world.now_ms - behind) * MS_NS);
                world.write(*n, *rows, at).await;
            }
            Step::Restart(covered) => world.restart(*covered).await,
            Step::Compact(small_files_max) => {
                let settings =
                    CompactionSettings { small_files_max: *small_files_max, ..CompactionSettings::default() };
                world.compact(&settings).await;
            }
            Step::Duplicate(rows) => duplicate(world, *rows).await,
            Step::Pass(ms) => world.now_ms += ms,
        }
    }
}

async fn duplicate(world: &mut World, rows: usize) {
    let rows: Vec<Row> = world.model.iter().rev().step_by(2).take(rows).cloned().collect();
    let mut shards: Vec<ShardId> = rows.iter().map(|row| ShardId::of(&row.vehicle)).collect();
    shards.sort_unstable();
    shards.dedup();
    let owned = world.journal.acquire(&shards).await.expect("acquired");
    let owners: Vec<_> = owned.into_iter().map(|(owner, _)| owner).collect();
    if !rows.is_empty() {
        world.lake(&Fuse::never()).commit_reprocessed(&owners, rows, &[]).await.expect("committed");
    }
    // The rounds lost these shards.
    world.restart(false).await;
}

async fn erase(world: &World, n: u8, from_ms: i64, length_ms: i64, classes: &[SignalClass]) -> Tombstone {
    let request = ErasureRequest {
        organization: OrganizationId::default(),
        vehicle: (n > 0).then(|| vehicle(n)),
        from_ns: Some(from_ms * MS_NS),
        until_ns: Some((from_ms + length_ms) * MS_NS),
        classes: classes.iter().copied().collect(),
        requested_by: "ada".into(),
        reason: "asked".into(),
    };
    world.lake(&Fuse::never()).erase(request, BEGIN_MS + 1_000 * HOUR_MS).await.expect("asked")
}

fn on_one_thread<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_scan_answers_as_the_model_does(
        steps in steps(),
        more in steps(),
        vehicles in prop::collection::vec(0_u8..5, 1..4),
        (from, length) in (-5 * HOUR_MS..6 * HOUR_MS, prop_oneof![1_i64..2 * HOUR_MS, Just(600 * HOUR_MS)]),
        unit_bytes in prop_oneof![Just(1_usize), Just(300), Just(1 << 20)],
        page in 1_usize..9,
        bucket_ms in prop_oneof![Just(1_i64), Just(700), Just(HOUR_MS), Just(36 * HOUR_MS), Just(7 * 60_000)],
        stones in (prop::option::of(stone()), prop::option::weighted(0.3, stone())),
    ) {
        on_one_thread(async {
            let mut world = World::new().await;
            let mut forgotten = Tombstones::default();
            let reader = reader(&world, unit_bytes);
            let (from_ns, until_ns) = ((BEGIN_MS + from) * MS_NS, (BEGIN_MS + from + length) * MS_NS);
            let asked = selection(&vehicles, from_ns, until_ns);
            // The reader lives over all of it, with what it remembers of the manifest and of files.
            for (steps, stone) in [(steps, stones.0), (more, stones.1)] {
                run(&mut world, &steps).await;
                if let Some((n, from, length, all)) = stone {
                    let classes: &[SignalClass] =
                        if all { &[] } else { &[SignalClass::Technical, SignalClass::Position] };
                    forgotten.add(&erase(&world, n, BEGIN_MS + from, length, classes).await);
                }
                let expected = expected(&world.model, &vehicles, from_ns, until_ns, &forgotten);
                let found = drain(&mut reader.scan(asked.clone()).await.expect("begun")).await;
                assert_eq!(found, expected);
                assert_eq!(by_pages(&reader, &asked, page).await, expected, "in pages of {page}");
                let mut scan = reader.scan(asked.clone()).await.expect("begun");
                let mut buckets = Buckets::new(bucket_ms * MS_NS);
                let mut found: Vec<BucketRows> = Vec::new();
                while let Some(rows) = scan.next().await.expect("read") {
                    found.extend(buckets.push(&rows));
                }
                found.extend(buckets.finish());
                let found: BTreeMap<_, Vec<Option<Bucket>>> = found
                    .iter()
                    .flat_map(|rows| {
                        let of = |i: usize| rows.columns.iter().map(|column| column[i]).collect();
                        rows.begins.iter().enumerate().map(move |(i, begin)| ((rows.vehicle, *begin), of(i)))
                    })
                    .collect();
                assert_eq!(found, buckets_of(&expected, bucket_ms * MS_NS));
            }
        });
    }
}

const WHOLE: (i64, i64) = ((BEGIN_MS - 10 * HOUR_MS) * MS_NS, (BEGIN_MS + 100 * HOUR_MS) * MS_NS);

/// A few hours of three vehicles, all covered by snapshots.
async fn some_hours() -> World {
    let mut world = World::new().await;
    for _ in 0..4 {
        for n in 0..3 {
            for _ in 0..7 {
                world.write(n, 2, Some(world.now_ms * MS_NS)).await;
                world.now_ms += 1_000;
            }
        }
        world.now_ms += HOUR_MS;
    }
    world.restart(true).await;
    world
}

#[tokio::test]
async fn files_that_are_removed_while_they_are_read_are_found_again() {
    let world = some_hours().await;
    let forgotten = Tombstones::default();
    let expected = expected(&world.model, &[0, 1, 2], WHOLE.0, WHOLE.1, &forgotten);
    let at_once = CompactionSettings { grace_ms: 0, ..CompactionSettings::default() };
    for read_before in [0, 1, 5] {
        let mut world = some_hours().await;
        let reader = reader(&world, 200);
        let mut scan = reader.scan(selection(&[0, 1, 2], WHOLE.0, WHOLE.1)).await.expect("begun");
        let before = scan.as_of();
        let mut found = Vec::new();
        for _ in 0..read_before {
            found.extend(flat(&scan.next().await.expect("read").expect("more")));
        }
        // The second run deletes what the first one replaced.
        let first = world.compact(&at_once).await;
        world.now_ms += 60_000;
        let second = world.compact(&at_once).await;
        assert!(first.deleted_files + second.deleted_files > 0, "{first:?} {second:?}");
        found.extend(drain(&mut scan).await);
        assert_eq!(found, expected, "after {read_before}");
        assert!(scan.as_of().position > before.position, "it says that it is of another moment");
    }
}

#[tokio::test]
async fn scans_are_bounded_and_end_when_they_are_dropped() {
    let world = some_hours().await;
    let reader = reader(&world, 1);
    let asked = selection(&[0, 1, 2], WHOLE.0, WHOLE.1);
    let mut first = reader.scan(asked.clone()).await.expect("begun");
    first.next().await.expect("read");
    let _second = reader.scan(asked.clone()).await.expect("begun");
    let third = reader.scan(asked.clone()).await;
    assert!(matches!(third, Err(QueryError::Busy(2))));
    let read = first.progress();
    let mut whole = world.model.len() as u64;
    whole -= whole / 2;
    assert!(read.rows < whole, "it reads ahead by a few units only: {read:?}");
    drop(first);
    let mut again = reader.scan(asked).await.expect("its place is free");
    assert!(!drain(&mut again).await.is_empty());
}

#[tokio::test]
async fn only_pages_that_may_hold_something_are_read() {
    let world = some_hours().await;
    world.compact(&CompactionSettings::default()).await;
    let reader = reader(&world, 1 << 20);
    let nobody = reader.scan(selection(&[7], WHOLE.0, WHOLE.1)).await.expect("begun");
    assert_eq!((nobody.as_of().history_files, nobody.as_of().fresh_files), (0, 0), "its shard has no file");
    drop(nobody);
    let (from, until) = (BEGIN_MS * MS_NS, (BEGIN_MS + HOUR_MS) * MS_NS);
    let mut hour = reader.scan(selection(&[1], from, until)).await.expect("begun");
    assert_eq!(hour.as_of().history_files, 1);
    drain(&mut hour).await;
    let read_of_hour = hour.progress().bytes;
    drop(hour);
    let mut all = reader.scan(selection(&[0, 1, 2], WHOLE.0, WHOLE.1)).await.expect("begun");
    drain(&mut all).await;
    assert!(read_of_hour * 3 < all.progress().bytes, "{read_of_hour} of {:?}", all.progress());
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    let world = some_hours().await;
    for entry in world.manifest().await {
        let garbage = vec![7_u8; entry.bytes as usize];
        world.files.put(&entry.path.as_str().into(), garbage.into()).await.expect("written");
    }
    let reader = reader(&world, 1 << 20);
    let mut scan = reader.scan(selection(&[0], WHOLE.0, WHOLE.1)).await.expect("begun");
    let failed = scan.next().await.expect_err("damaged");
    let cause = std::error::Error::source(&failed).expect("why").to_string();
    assert!(cause.contains("fresh/date=") && cause.contains("restore it from a backup"), "{cause}");
}

#[tokio::test]
async fn an_answer_is_limited_and_goes_on() {
    let world = some_hours().await;
    let expected = expected(&world.model, &[0, 1, 2], WHOLE.0, WHOLE.1, &Tombstones::default());
    let reader = reader(&world, 1 << 20);
    for limit in [1, 3, 50, expected.len(), expected.len() + 1] {
        let (mut found, mut after): (Vec<Flat>, _) = (Vec::new(), None);
        loop {
            let asked = selection(&[0, 1, 2], WHOLE.0, WHOLE.1).after(after);
            let mut answer = reader.answer(asked, Mode::Raw, Some(limit as u64)).await.expect("begun");
            let before = found.len();
            while let Some(rows) = answer.next().await.expect("read") {
                let AnswerRows::Samples(rows) = rows else { panic!("{rows:?}") };
                found.extend(flat(&rows));
            }
            let end = answer.end();
            assert_eq!(end.rows as usize, found.len() - before);
            assert!(end.rows as usize <= limit && end.limited == end.next.is_some(), "{end:?}");
            after = end.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{limit} at a time");
    }
}

#[tokio::test]
async fn a_plot_keeps_the_shape_of_each_line() {
    let world = some_hours().await;
    let expected = expected(&world.model, &[0, 1, 2], WHOLE.0, WHOLE.1, &Tombstones::default());
    let reader = reader(&world, 300);
    for points in [2, 5, 1_000] {
        let asked = selection(&[0, 1, 2], WHOLE.0, WHOLE.1);
        let mut answer = reader.answer(asked, Mode::Plot(points), None).await.expect("begun");
        let mut found: BTreeMap<(VehicleId, usize), Vec<(i64, i64)>> = BTreeMap::new();
        while let Some(rows) = answer.next().await.expect("read") {
            let AnswerRows::Samples(rows) = rows else { panic!("{rows:?}") };
            for (vehicle, at, values) in flat(&rows) {
                for (signal, value) in values.into_iter().enumerate() {
                    found.entry((vehicle, signal)).or_default().extend(value.map(|value| (at, value)));
                }
            }
        }
        for n in 0..3 {
            for signal in 0..SIGNALS.len() {
                let mine = expected.iter().filter(|(of, ..)| *of == vehicle(n));
                let line: Vec<(i64, i64)> = mine.filter_map(|(_, at, v)| Some((*at, v[signal]?))).collect();
                let (times, values): (Vec<i64>, Vec<i64>) = line.iter().copied().unzip();
                let kept: Vec<(i64, i64)> =
                    lttb(&times, &values, points).into_iter().map(|i| line[i]).collect();
                let shown = found.get(&(vehicle(n), signal)).cloned().unwrap_or_default();
                assert_eq!(shown, kept, "vehicle {n}, signal {signal}, {points} points");
            }
        }
    }
}

#[test]
fn the_model_tells_rows_apart() {
    // The property is worth something only when rows of one time occur.
    let rows = [common::row(1, 4, 0, Some(5), 1), common::row(1, 4, 1, Some(5), 1)];
    assert_ne!(key(&rows[0]), key(&rows[1]));
}

/// Somebody else replaces files whenever they are listed: for a while that is waited out, and in the end it is told.
#[tokio::test]
async fn a_list_is_not_tried_for_ever() {
    let mut world = World::new().await;
    world.write(1, 2, None).await;
    world.restart(true).await;
    let fuse = Fuse::never();
    let lake = world.lake(&fuse);
    let reader = HistoryReader::new(lake.clone(), &HistorySettings::default());
    let asked = || Selection::new(OrganizationId::default(), vec![vehicle(1)], vec![], 0, i64::MAX);
    for (restless, holds) in [(9, true), (i64::MAX, false)] {
        for what in ["records", "recover", "query"] {
            fuse.restless.store(restless, Ordering::SeqCst);
            let ended = match what {
                "records" => lake.for_each_row(|_| ()).await,
                "recover" => lake.recover(&[]).await.map(|_| ()),
                _ => match reader.moment(asked()).await {
                    Err(QueryError::Lake(error)) => Err(error),
                    other => other.map(|_| ()).map_err(|_| LakeError::Closed),
                },
            };
            assert_eq!(ended.is_ok(), holds, "{what}: {ended:?}");
            assert!(holds || matches!(ended, Err(LakeError::Restless { .. })), "{what}: {ended:?}");
        }
    }
}
