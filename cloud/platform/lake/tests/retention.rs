//! What is over age, over the bound of bytes, or of a class that is, leaves; readers are told up to where.

mod common;

use common::{BEGIN_MS, Fuse, HOUR_MS, World};
use remuda_lake::{CompactionSettings, Retention};
use remuda_model::{SignalClass, signal};

const DAY_MS: i64 = 24 * HOUR_MS;

fn keeping(retention: Retention) -> CompactionSettings {
    CompactionSettings { grace_ms: 60_000, small_files_max: 2, retention, ..CompactionSettings::default() }
}

/// Fourteen frames, of every kind of row, in each of four hours.
async fn world() -> World {
    let mut world = World::new().await;
    world.now_ms += 4 * HOUR_MS;
    for hour in 0..4_i64 {
        for n in 0..2 {
            for frame in 0..7 {
                world.write(n, 2, Some((BEGIN_MS + hour * HOUR_MS + frame) * 1_000_000)).await;
            }
        }
    }
    world.restart(true).await;
    world.compact(&keeping(Retention::default())).await;
    world
}

fn positions(days: u32) -> Retention {
    Retention { class_days: [(SignalClass::Position, days)].into(), ..Retention::default() }
}

#[tokio::test]
async fn a_class_leaves_hour_by_hour_and_each_file_is_rewritten_once() {
    let mut world = world().await;
    // The first two hours ended seven days ago, the others did not.
    world.now_ms = BEGIN_MS + 2 * HOUR_MS + 7 * DAY_MS;
    let done = world.compact(&keeping(positions(7))).await;
    assert_eq!((done.aged_files, done.expired_files), (2, 0));
    world.check().await;
    world.check_outside().await;
    let lake = world.lake(&Fuse::never());
    let mut places = 0;
    let mut rows = 0;
    let count = |row: &remuda_lake::Row| {
        rows += 1;
        let old = common::at(row) < (BEGIN_MS + 2 * HOUR_MS) * 1_000_000;
        if let remuda_lake::RowBody::Samples(values) = &row.body {
            let has = values.iter().any(|(id, _)| [signal::LATITUDE, signal::LONGITUDE].contains(id));
            assert!(!(old && has), "{row:?}");
            places += u32::from(has);
        }
    };
    lake.for_each_row(count).await.expect("read");
    assert!((rows, places > 0) == (world.model.len(), true), "rows stay, and so do newer positions");
    let horizon = lake.horizon().await.expect("read");
    let until_ns = Some((BEGIN_MS + 2 * HOUR_MS) * 1_000_000);
    assert_eq!((horizon.of(Some(signal::LATITUDE)), horizon.of(Some(signal::SPEED))), (until_ns, None));
    for _ in 0..2 {
        world.now_ms += 61_000;
        assert_eq!(world.compact(&keeping(positions(7))).await.aged_files, 0, "their names say so");
    }
    // Late rows of such an hour lose theirs on their way.
    world.write(1, 4, Some(BEGIN_MS * 1_000_000 + 99)).await;
    world.restart(true).await;
    assert_eq!(world.compact(&keeping(positions(7))).await.aged_files, 0);
    world.check().await;
    world.check_outside().await;
    assert_eq!(lake.verify(true, &mut |_, _| ()).await.expect("read").faults, []);
}

#[tokio::test]
async fn beyond_the_bound_of_bytes_the_oldest_hours_leave() {
    let mut world = world().await;
    let bytes: Vec<u64> = world.manifest().await.iter().map(|entry| entry.bytes).collect();
    let largest = bytes.iter().max().expect("four hours");
    let bytes_max = Some(bytes.iter().sum::<u64>() - largest - 1);
    let bounded = keeping(Retention { bytes_max, ..Retention::default() });
    let done = world.compact(&bounded).await;
    assert_eq!(done.expired_files, 2, "the bound is met only without the second hour");
    let lake = world.lake(&Fuse::never());
    let horizon = lake.horizon().await.expect("read");
    assert_eq!(horizon.of(None), Some((BEGIN_MS + 2 * HOUR_MS) * 1_000_000));
    assert_eq!(lake.expired_rows().await.expect("read"), done.expired_rows);
    let mut still_there = 0;
    lake.for_each_replaced_row(|_| still_there += 1).await.expect("read");
    assert!(still_there >= done.expired_rows, "{still_there} of {} rows", done.expired_rows);
    world.check().await;
    world.now_ms += 61_000;
    assert_eq!(world.compact(&bounded).await.expired_files, 0);
    world.check().await;
    world.check_outside().await;
}

#[tokio::test]
async fn age_and_class_go_together() {
    let mut world = world().await;
    world.now_ms = BEGIN_MS + HOUR_MS + 30 * DAY_MS;
    let retention = Retention { days: Some(30), ..positions(7) };
    let done = world.compact(&keeping(retention)).await;
    assert_eq!((done.expired_files, done.aged_files), (1, 3));
    world.check().await;
    world.check_outside().await;
}
