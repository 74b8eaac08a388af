//! Files that the journal does not know come in, each row once, whatever they are and wherever it dies.

mod common;

use common::{BEGIN_MS, Fuse, HOUR_MS, World};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use remuda_lake::{Adopted, CompactionSettings, FaultKind};

fn settings() -> CompactionSettings {
    CompactionSettings { grace_ms: 60_000, erase_within_ms: 0, ..CompactionSettings::default() }
}

/// Two hours of history with the files it was made of still there, and fresh files.
async fn world() -> World {
    let mut world = World::new().await;
    world.now_ms += 2 * HOUR_MS;
    for n in 0..3 {
        for hour in 0..2_i64 {
            // The second frame lies in both hours.
            world.write(n, 2, Some((BEGIN_MS + hour * HOUR_MS) * 1_000_000)).await;
            world.write(n, 2, Some((BEGIN_MS + HOUR_MS) * 1_000_000 - 1_000_000)).await;
        }
    }
    world.restart(true).await;
    world.compact(&settings()).await;
    world.write(1, 2, Some(BEGIN_MS * 1_000_000 + 5)).await;
    world.write(2, 1, None).await;
    world
}

async fn adopt(world: &World) -> Adopted {
    world.lake(&Fuse::never()).adopt(world.now_ms, &mut |_, _| ()).await.expect("adopted")
}

async fn verified(world: &World) -> Vec<FaultKind> {
    let found = world.lake(&Fuse::never()).verify(true, &mut |_, _| ()).await.expect("read");
    found.faults.into_iter().map(|fault| fault.kind).collect()
}

#[tokio::test]
async fn a_lake_without_its_journal_is_whole_again() {
    let mut world = world().await;
    let rows = world.model.len() as u64;
    world.lose_journal().await;
    assert!(verified(&world).await.iter().all(|kind| *kind == FaultKind::Stray));
    let done = adopt(&world).await;
    assert_eq!((done.rows, done.known_rows, done.left.len(), done.lost.len()), (rows, 24, 0, 0));
    world.check().await;
    assert_eq!(verified(&world).await, []);
    for folder in ["history", "staged", "replaced"] {
        assert!(world.listed(folder).await.is_empty(), "{folder}");
    }
    assert_eq!(adopt(&world).await, Adopted::default(), "once");
    // Vehicles are told what is durable, and everything goes on.
    world.begin_again().await;
    world.write(1, 2, None).await;
    world.restart(true).await;
    world.compact(&settings()).await;
    world.check().await;
    world.check_outside().await;
}

#[tokio::test]
async fn what_is_there_already_is_not_adopted() {
    let world = world().await;
    let history = world.listed("history").await.remove(0);
    let fresh = world.listed("replaced").await.remove(0);
    for (from, to) in [
        (history.clone(), history.replace("hour=22", "hour=21")),
        (history.clone(), history.replace(".parquet", "-copy.parquet")),
        (fresh.clone(), fresh.replace("replaced/", "").replace(".parquet", "-copy.parquet")),
    ] {
        world.files.copy(&Path::from(from), &Path::from(to)).await.expect("copied");
    }
    let done = adopt(&world).await;
    assert_eq!((done.stray_files, done.rows), (3, 0));
    assert!(done.known_rows > 0);
    world.check().await;
    assert_eq!(verified(&world).await, []);
}

/// As after the journal was restored from before a compaction whose inputs are not deleted yet.
#[tokio::test]
async fn a_committed_file_that_was_put_aside_goes_back_to_its_place() {
    let world = world().await;
    let home = world.listed("history").await.remove(0);
    let aside = Path::from(format!("replaced/{home}"));
    world.files.rename(&Path::from(home.as_str()), &aside).await.expect("moved");
    assert_eq!(adopt(&world).await, Adopted::default());
    assert!(world.listed("history").await.contains(&home));
    world.check_outside().await;
    world.check().await;
}

#[tokio::test]
async fn a_damaged_file_is_left_where_it_is() {
    let mut world = world().await;
    world.lose_journal().await;
    let path = world.listed("fresh").await.remove(0);
    let at = Path::from(path.as_str());
    let whole = world.files.get(&at).await.expect("there").bytes().await.expect("read");
    world.files.put(&at, whole.slice(..whole.len() - 9).into()).await.expect("written");
    let done = adopt(&world).await;
    assert_eq!(done.left.iter().map(|left| left.path.clone()).collect::<Vec<_>>(), [path]);
    world.files.put(&at, whole.into()).await.expect("written");
    assert_eq!(adopt(&world).await.left, []);
    world.check().await;
}

#[tokio::test]
async fn what_was_forgotten_does_not_come_back() {
    let mut world = world().await;
    world.erase(Some(1), (0, 2), &[]).await;
    world.lose_journal().await;
    let done = adopt(&world).await;
    assert_eq!(done.erasures, 1, "the copy in the lake is enough");
    assert!(done.erased_rows > 0);
    world.check().await;
}

/// The journal's copy is from before a compaction: it names files that are gone, and does not know those that replaced them,
/// nor what was written since.
async fn restored_from_before_a_compaction() -> World {
    let mut world = world().await;
    world.write(0, 2, None).await;
    world.restart(true).await;
    // No checkpoint covers this one, in the copy.
    world.write(4, 3, None).await;
    let copy = world.memory.copy();
    world.write(5, 2, None).await;
    world.restart(true).await;
    for _ in 0..2 {
        world.now_ms += 61_000;
        world.compact(&settings()).await;
    }
    world.write(6, 4, None).await;
    world.restore_journal(&copy).await;
    assert!(verified(&world).await.contains(&FaultKind::Missing));
    world
}

#[tokio::test]
async fn files_that_were_compacted_since_are_made_up_for() {
    let world = restored_from_before_a_compaction().await;
    let done = adopt(&world).await;
    assert_eq!((done.left.len(), done.made_up_files, done.lost.len()), (0, 4, 0));
    world.check().await;
    assert_eq!(verified(&world).await, []);
}

/// A file that replaced others is gone for good: nothing else makes up for its rows, however many came since.
#[tokio::test]
async fn what_came_later_makes_up_for_nothing() {
    let mut world = world().await;
    world.restart(true).await;
    let copy = world.memory.copy();
    // Of the same vehicles, received at the same time.
    for n in 0..3 {
        for _ in 0..9 {
            world.write(n, 3, None).await;
        }
    }
    world.restart(true).await;
    let before = world.listed("history").await;
    for _ in 0..2 {
        world.compact(&settings()).await;
        world.now_ms += 61_000;
    }
    world.restore_journal(&copy).await;
    let mut lost = world.listed("history").await;
    lost.retain(|path| !before.contains(path) && path.contains("hour=22"));
    assert!(!lost.is_empty());
    for path in &lost {
        world.files.delete(&Path::from(path.as_str())).await.expect("deleted");
    }
    let done = adopt(&world).await;
    assert!(done.made_up_files == 0 && !done.left.is_empty(), "{done:?}");
    assert!(done.left.iter().all(|left| left.detail.contains("is not there")));
    assert_eq!(adopt(&world).await.left, done.left, "nor does asking again");
}

/// Rows that are forgotten do not come back, and are not missed.
#[tokio::test]
async fn what_was_erased_since_is_not_missed() {
    for dies in [false, true] {
        let mut world = world().await;
        world.restart(true).await;
        let copy = world.memory.copy();
        for _ in 0..2 {
            world.compact(&settings()).await;
            world.now_ms += 61_000;
        }
        world.erase(Some(1), (0, 3), &[]).await;
        world.restore_journal(&copy).await;
        if dies {
            let fuse = Fuse::after(4, true);
            world.lake(&fuse).adopt(world.now_ms, &mut |_, _| ()).await.expect_err("it died");
        }
        let done = adopt(&world).await;
        assert_eq!((done.left.len(), done.made_up_files > 0), (0, true), "{done:?}");
        world.check().await;
        assert_eq!(verified(&world).await, []);
    }
}

#[tokio::test]
async fn making_up_goes_on_after_a_crash_between_any_two_steps() {
    for done in [false, true] {
        for step in 0.. {
            let world = restored_from_before_a_compaction().await;
            let fuse = Fuse::after(step, done);
            let ended = world.lake(&fuse).adopt(world.now_ms, &mut |_, _| ()).await;
            assert!(ended.is_ok() || fuse.is_dead(), "{ended:?}");
            let again = adopt(&world).await;
            assert_eq!(again.left, [], "after step {step}");
            world.check().await;
            assert_eq!(verified(&world).await, [], "after step {step}");
            if !fuse.is_dead() {
                assert!(step > 8, "only {step} places to die at");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_crash_between_any_two_steps_is_mended_by_the_next_run() {
    for done in [false, true] {
        for step in 0.. {
            let mut world = world().await;
            world.erase(Some(2), (0, 1), &[]).await;
            world.lose_journal().await;
            let fuse = Fuse::after(step, done);
            let ended = world.lake(&fuse).adopt(world.now_ms, &mut |_, _| ()).await;
            assert!(ended.is_ok() || fuse.is_dead(), "{ended:?}");
            adopt(&world).await;
            world.check().await;
            assert_eq!(verified(&world).await, []);
            if !fuse.is_dead() {
                assert!(step > 15, "only {step} places to die at");
                break;
            }
        }
    }
}
