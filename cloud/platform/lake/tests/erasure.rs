//! What is asked to be forgotten is shown to nobody from that moment, and leaves the disk; and there is a proof.

mod common;

use common::{BEGIN_MS, Fuse, HOUR_MS, World, vehicle};
use remuda_lake::{CompactionSettings, ErasureRequest, FaultKind, LakeError};
use remuda_model::{OrganizationId, SignalClass};

fn settings() -> CompactionSettings {
    CompactionSettings { grace_ms: 60_000, erase_within_ms: 0, ..CompactionSettings::default() }
}

/// Four frames of three vehicles in each of three hours, in history; a frame of each in `fresh/`.
async fn world() -> World {
    let mut world = World::new().await;
    world.now_ms += 3 * HOUR_MS;
    for hour in 0..3_i64 {
        for n in 0..3 {
            for frame in 0..4 {
                let at_ms = BEGIN_MS + hour * HOUR_MS + frame * 1_000;
                world.write(n, 2, Some(at_ms * 1_000_000)).await;
            }
        }
    }
    world.restart(true).await;
    world.compact(&settings()).await;
    for n in 0..3 {
        world.write(n, 2, Some(BEGIN_MS * 1_000_000 + 5)).await;
    }
    world
}

#[tokio::test]
async fn it_is_shown_to_nobody_at_once_and_leaves_the_disk() {
    let mut world = world().await;
    let tombstone = world.erase(Some(1), (1, 3), &[]).await;
    world.check().await;
    world.now_ms += 1_000;
    // What waits for a checkpoint may have rows of it.
    let done = world.compact(&settings()).await;
    assert_eq!((done.erased_rows, done.finished_erasures, done.open_erasures), (16, 0, 1));
    world.check().await;
    world.restart(true).await;
    world.compact(&settings()).await;
    world.now_ms += 61_000;
    // Deletes what was replaced, and so finishes.
    let done = world.compact(&settings()).await;
    assert_eq!((done.erased_rows, done.finished_erasures, done.open_erasures), (0, 1, 0));
    world.check().await;
    world.check_outside().await;
    world.check_forgotten().await;
    let erasures = world.lake(&Fuse::never()).erasures().await.expect("read");
    let [erasure] = erasures.as_slice() else { panic!("{erasures:?}") };
    assert_eq!(erasure.tombstone, tombstone);
    assert_eq!((erasure.rows, erasure.blanked, erasure.files.len()), (16, 0, 2));
    assert!(erasure.finished_at_ms >= Some(world.now_ms));
}

#[tokio::test]
async fn a_preview_counts_what_would_go_and_changes_nothing() {
    let mut world = world().await;
    let lake = world.lake(&Fuse::never());
    let hour = |hours: i64| Some((BEGIN_MS + hours * HOUR_MS) * 1_000_000);
    let request = |classes: &[SignalClass]| ErasureRequest {
        organization: OrganizationId::default(),
        vehicle: Some(vehicle(1)),
        from_ns: hour(1),
        until_ns: hour(3),
        classes: classes.iter().copied().collect(),
        requested_by: "ada".into(),
        reason: "asked".into(),
    };
    let within = std::time::Duration::from_secs(60);
    let whole = lake.preview_erasure(request(&[]), world.now_ms, within).await.expect("counted");
    assert_eq!((whole.files, whole.rows, whole.blanked), (2, 16, 0));
    assert_eq!(whole.files_looked_at, whole.files_to_look_at);
    let positions = [SignalClass::Position];
    let some = lake.preview_erasure(request(&positions), world.now_ms, within).await.expect("counted");
    assert!(some.rows == 0 && some.blanked > 0 && some.blanked < 16, "{some:?}");
    assert!(lake.tombstones().await.expect("read").is_empty());
    let none = lake.preview_erasure(request(&[]), world.now_ms, std::time::Duration::ZERO).await;
    assert_eq!(none.expect("counted").files_looked_at, 0);
    world.erase(Some(1), (1, 3), &[]).await;
    let again = lake.preview_erasure(request(&[]), world.now_ms, within).await.expect("counted");
    assert_eq!((again.files, again.rows), (0, 0), "it was asked for already");
    let done = world.compact(&settings()).await;
    assert_eq!(done.erased_rows, whole.rows);
}

#[tokio::test]
async fn late_rows_of_it_go_on_their_way_and_newer_ones_stay() {
    let mut world = world().await;
    world.erase(Some(1), (0, 100), &[]).await;
    world.restart(true).await;
    for _ in 0..2 {
        world.compact(&settings()).await;
        world.now_ms += 61_000;
    }
    world.compact(&settings()).await;
    let rows = world.lake(&Fuse::never()).erasures().await.expect("read")[0].rows;
    assert_eq!(rows, 26, "those of history, and those that were fresh");
    world.write(1, 3, Some(BEGIN_MS * 1_000_000 + 9)).await;
    world.write(1, 3, None).await;
    world.check().await;
    world.restart(true).await;
    let done = world.compact(&settings()).await;
    assert_eq!(done.erased_rows, 3, "what was sampled before the request");
    world.check().await;
    world.now_ms += 61_000;
    world.compact(&settings()).await;
    world.check_forgotten().await;
    let erasure = world.lake(&Fuse::never()).erasures().await.expect("read").remove(0);
    assert_eq!((erasure.rows, erasure.finished_at_ms.is_some()), (29, true));
}

#[tokio::test]
async fn a_class_is_taken_out_of_rows_that_stay() {
    let mut world = world().await;
    let before = world.model.len();
    world.erase(None, (0, 2), &[SignalClass::Position]).await;
    world.check().await;
    world.restart(true).await;
    for _ in 0..3 {
        world.compact(&settings()).await;
        world.now_ms += 61_000;
    }
    world.check().await;
    world.check_forgotten().await;
    let mut rows = 0;
    world.lake(&Fuse::never()).for_each_row(|_| rows += 1).await.expect("read");
    assert_eq!(rows, before);
    let erasure = world.lake(&Fuse::never()).erasures().await.expect("read").remove(0);
    assert_eq!((erasure.rows, erasure.finished_at_ms.is_some()), (0, true));
    assert!(erasure.blanked > 0);
}

#[tokio::test]
async fn erasures_that_come_together_are_rewritten_in_one_pass_in_time() {
    let mut world = world().await;
    let daily = CompactionSettings { erase_within_ms: 24 * HOUR_MS, ..settings() };
    world.erase(Some(1), (0, 3), &[]).await;
    world.now_ms += 11 * HOUR_MS;
    world.erase(Some(2), (0, 3), &[]).await;
    let done = world.compact(&daily).await;
    assert_eq!((done.erased_rows, done.open_erasures), (0, 2), "half of the time has not passed");
    world.check().await;
    world.now_ms += HOUR_MS;
    let done = world.compact(&daily).await;
    assert_eq!(done.erased_rows, 48);
    world.check().await;
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_refused() {
    let world = World::new().await;
    let lake = world.lake(&Fuse::never());
    let request = |from_ns, until_ns, by: &str| ErasureRequest {
        organization: OrganizationId::default(),
        vehicle: Some(vehicle(1)),
        from_ns,
        until_ns,
        classes: [].into(),
        requested_by: by.into(),
        reason: "asked".into(),
    };
    for (request, says) in [
        (request(Some(5), Some(5), "ada"), "--from before --until"),
        (request(None, None, " "), "who asks"),
        (request(None, None, &"a".repeat(1_001)), "1,000 bytes"),
        (request(Some(i64::MAX - 1), None, "ada"), "future"),
    ] {
        let error = lake.erase(request, BEGIN_MS).await.expect_err("refused").to_string();
        assert!(error.contains(says), "{error}");
    }
    assert!(lake.tombstones().await.expect("read").is_empty());
    let none = lake.reopen_erasure("1".parse().expect("an id"), "ada".into(), 1).await;
    assert!(matches!(none, Err(LakeError::Erasure(_))), "{none:?}");
}

/// Somebody puts back a file from a backup that is older than the erasure.
#[tokio::test]
async fn what_comes_back_is_found_and_goes_again() {
    let mut world = world().await;
    let tombstone = world.erase(Some(1), (1, 2), &[]).await;
    world.restart(true).await;
    for _ in 0..3 {
        world.compact(&settings()).await;
        world.now_ms += 61_000;
    }
    let lake = world.lake(&Fuse::never());
    assert_eq!(lake.verify(true, &mut |_, _| ()).await.expect("read").faults, []);
    world.bring_back(&tombstone).await;
    let faults = lake.verify(true, &mut |_, _| ()).await.expect("read").faults;
    let kinds: Vec<FaultKind> = faults.iter().map(|fault| fault.kind).collect();
    assert_eq!(kinds, [FaultKind::Erased]);
    world.check().await;
    lake.reopen_erasure(tombstone.id, "ada".into(), world.now_ms).await.expect("reopened");
    for _ in 0..2 {
        world.compact(&settings()).await;
        world.now_ms += 61_000;
    }
    assert_eq!(lake.verify(true, &mut |_, _| ()).await.expect("read").faults, []);
    world.check_forgotten().await;
}

/// A round whose commit never came: its file is in nobody's answer, but it is on the disk.
#[tokio::test]
async fn it_is_not_called_finished_before_files_without_a_commit_are_gone_too() {
    let mut world = world().await;
    world.restart(true).await;
    let orphan = world.orphan(1, (BEGIN_MS + HOUR_MS) * 1_000_000).await;
    world.erase(Some(1), (0, 3), &[]).await;
    for _ in 0..3 {
        world.now_ms += 61_000;
        let done = world.compact(&settings()).await;
        assert_eq!((done.finished_erasures, done.open_erasures), (0, 1), "it may still be committed");
    }
    assert!(world.listed("fresh").await.contains(&orphan));
    // A new owner: now it never will be.
    world.restart(true).await;
    let done = world.compact(&settings()).await;
    assert_eq!((done.finished_erasures, done.open_erasures), (1, 0));
    world.check_forgotten().await;
    // One of those that come later does not even get to the trash.
    world.orphan(1, (BEGIN_MS + HOUR_MS) * 1_000_000).await;
    world.orphan(2, (BEGIN_MS + HOUR_MS) * 1_000_000).await;
    world.restart(true).await;
    world.lake(&Fuse::never()).sweep().await.expect("swept");
    world.check_forgotten().await;
}

/// The process dies before, and after, each step that reaches the disk.
#[tokio::test]
async fn a_crash_between_any_two_steps_forgets_all_the_same() {
    let mut points = 0;
    for done in [false, true] {
        for step in 0.. {
            let mut world = World::new().await;
            world.now_ms += 2 * HOUR_MS;
            for n in 0..2_u8 {
                for hour in 0..2_i64 {
                    world.write(n, 2, Some((BEGIN_MS + hour * HOUR_MS) * 1_000_000)).await;
                }
            }
            world.restart(true).await;
            world.compact(&settings()).await;
            world.write(1, 1, Some(BEGIN_MS * 1_000_000 + 3)).await;
            world.restart(true).await;
            world.erase(Some(1), (0, 1), &[]).await;
            world.now_ms += 61_000;
            let mut died = world.compact_and_die(&settings(), &Fuse::after(step, done)).await;
            world.check().await;
            world.now_ms += 61_000;
            // The second one deletes and finishes.
            if !died {
                died = world.compact_and_die(&settings(), &Fuse::after(step / 4, done)).await;
                world.check().await;
            }
            for _ in 0..3 {
                world.compact(&settings()).await;
                world.check().await;
                world.now_ms += 61_000;
            }
            world.check_outside().await;
            world.check_forgotten().await;
            let erasure = world.lake(&Fuse::never()).erasures().await.expect("read").remove(0);
            assert_eq!((erasure.rows, erasure.finished_at_ms.is_some()), (3, true), "after step {step}");
            if !died {
                break;
            }
            points += 1;
        }
    }
    assert!(points > 40, "only {points} places to die at");
}
