//! Each fault of a lake, planted by hand, is found and named.

mod common;

use std::sync::Arc;

use common::{BEGIN_MS, Fuse, World};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use remuda_eventsourcing::{CommitOutcome, ManifestEntry};
use remuda_lake::{CompactionSettings, FaultKind, LakeVerification};

/// A lake with two history files and a fresh one.
async fn world() -> World {
    let mut world = World::new().await;
    for hour in 0..2 {
        world.write(1, 30, Some((BEGIN_MS + hour * common::HOUR_MS) * 1_000_000)).await;
    }
    world.restart(true).await;
    world.compact(&CompactionSettings::default()).await;
    world.write(2, 2, None).await;
    world
}

async fn verify(world: &World, deep: bool) -> LakeVerification {
    world.lake(&Fuse::never()).verify(deep, &mut |_, _| ()).await.expect("read")
}

async fn faults(world: &World, deep: bool) -> Vec<(FaultKind, String)> {
    let found = verify(world, deep).await.faults;
    assert!(found.iter().all(|fault| !fault.advice.is_empty()));
    found.into_iter().map(|fault| (fault.kind, fault.path)).collect()
}

async fn rewrite(world: &World, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = Path::from(path);
    let mut bytes = world.files.get(&path).await.expect("there").bytes().await.expect("read").to_vec();
    change(&mut bytes);
    world.files.put(&path, bytes.into()).await.expect("written");
}

async fn history(world: &World) -> ManifestEntry {
    world.manifest().await.into_iter().find(|entry| entry.path.starts_with("history/")).expect("compacted")
}

#[tokio::test]
async fn a_lake_that_holds_has_no_fault() {
    let world = world().await;
    let found = verify(&world, true).await;
    assert_eq!((found.files, found.rows, found.faults), (3, 62, Vec::new()));
}

#[tokio::test]
async fn a_missing_file_is_found() {
    let world = world().await;
    for entry in [history(&world).await, world.manifest().await.pop().expect("there")] {
        world.files.delete(&Path::from(entry.path.as_str())).await.expect("deleted");
        assert!(faults(&world, false).await.contains(&(FaultKind::Missing, entry.path)));
    }
}

#[tokio::test]
async fn a_flipped_bit_is_found_wherever_it_is() {
    let world = world().await;
    let path = history(&world).await.path;
    let length = history(&world).await.bytes as usize;
    for at in [0, 4, length / 3, length / 2, length - 9, length - 1] {
        rewrite(&world, &path, |bytes| bytes[at] ^= 4).await;
        assert_eq!(faults(&world, false).await, [(FaultKind::Changed, path.clone())], "at byte {at}");
        rewrite(&world, &path, |bytes| bytes[at] ^= 4).await;
    }
    assert_eq!(faults(&world, false).await, []);
}

#[tokio::test]
async fn a_truncated_footer_is_found() {
    let world = world().await;
    let path = history(&world).await.path;
    rewrite(&world, &path, |bytes| bytes.truncate(bytes.len() - 12)).await;
    assert_eq!(faults(&world, false).await, [(FaultKind::Truncated, path)]);
}

#[tokio::test]
async fn a_stray_file_is_found_and_replaced_ones_are_not_stray() {
    let world = world().await;
    let known = history(&world).await.path;
    let fresh = world.listed("replaced").await.remove(0).replace("replaced/", "");
    let strays = [
        known.replace("hour=22", "hour=21"),
        known.replace(".parquet", "-copy.parquet"),
        "fresh/date=2023-11-14/hour=22/0000-1-9.parquet".to_owned(),
    ];
    for stray in &strays {
        world.files.copy(&Path::from(known.as_str()), &Path::from(stray.as_str())).await.expect("copied");
    }
    // One that a compaction replaced and did not move away yet.
    world.files.rename(&Path::from(format!("replaced/{fresh}")), &Path::from(fresh)).await.expect("moved");
    let mut expected: Vec<_> = strays.into_iter().map(|path| (FaultKind::Stray, path)).collect();
    expected.sort_by(|a, b| a.1.cmp(&b.1));
    assert_eq!(faults(&world, false).await, expected);
}

#[tokio::test]
async fn a_manifest_entry_that_is_there_twice_is_found() {
    let world = world().await;
    let entry = history(&world).await;
    // The journal takes a repetition for one only when it comes first.
    let other = ManifestEntry { path: "fresh/other".into(), rows: Vec::new(), ..entry.clone() };
    let outcome = world.journal.commit_file(&[], &[other, entry.clone()], &[]).await;
    assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
    assert!(faults(&world, false).await.contains(&(FaultKind::Doubled, entry.path)));
}

#[tokio::test]
async fn rows_that_are_not_those_of_the_manifest_are_found_by_a_deep_look() {
    let world = world().await;
    let entry = history(&world).await;
    let bytes =
        world.files.get(&Path::from(entry.path.as_str())).await.expect("there").bytes().await.expect("read");
    let mut less = entry.rows.clone();
    less[0].1 -= 1;
    let wrong = [
        ManifestEntry { path: entry.path.replace(".parquet", "-rows.parquet"), rows: less, ..entry.clone() },
        ManifestEntry {
            path: entry.path.replace(".parquet", "-time.parquet"),
            receive_time_ms: (1, 2),
            ..entry.clone()
        },
        ManifestEntry { path: entry.path.replace("hour=2", "hour=1"), ..entry.clone() },
    ];
    for entry in &wrong {
        world.files.put(&Path::from(entry.path.as_str()), bytes.clone().into()).await.expect("written");
    }
    world.journal.commit_file(&[], &wrong, &[]).await;
    assert_eq!(faults(&world, false).await, [], "every byte is as it was committed");
    let mut expected: Vec<_> = wrong.into_iter().map(|entry| (FaultKind::Rows, entry.path)).collect();
    expected.sort_by(|a, b| a.1.cmp(&b.1));
    assert_eq!(faults(&world, true).await, expected);
}

#[tokio::test]
async fn what_is_listed_and_counted_is_what_is_there() {
    let world = world().await;
    let lake = Arc::new(world.lake(&Fuse::never()));
    let files = lake.list().await.expect("read");
    let shown: Vec<_> = files.iter().map(|f| (f.organization.as_deref(), f.rows)).collect();
    assert_eq!(shown, [(None, 2), (Some("default"), 30), (Some("default"), 30)]);
    for file in &files {
        let meta = world.files.head(&Path::from(file.path.as_str())).await.expect("there");
        assert_eq!(meta.size, file.bytes);
    }
    let (from, to) = files[1].sampled.clone().expect("its rows know when");
    assert_eq!((from.as_str(), to.as_str()), ("2023-11-14T22:00:00.000Z", "2023-11-14T22:00:00.029Z"));
    assert_eq!(files[0].sampled, None);
    let stats = lake.stats().await.expect("read");
    assert_eq!((stats.fresh.rows, stats.history.rows, stats.hours, stats.organizations), (2, 60, 2, 1));
    assert_eq!((stats.history.files, stats.replaced_files), (2, 2));
    assert_eq!(stats.sampled.expect("known").1, "2023-11-14T23:00:00.029Z");
}
