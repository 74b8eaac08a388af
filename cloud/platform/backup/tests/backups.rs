//! Backups of a node that is written to, and what comes back.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::*;
use remuda_backup::prune::{Keep, prune};
use remuda_backup::restore::{MARKER, NOTE, note_of};
use remuda_backup::{Access, BackupError, Pace, Repository, Request, SnapshotKind};
use remuda_eventsourcing::{Appended, Journal, testing};
use remuda_model::{Epoch, OrganizationId};

#[test]
fn what_was_backed_up_comes_back_under_epochs_that_nobody_had() {
    let mut node = Node::new();
    let taken = node.take();
    assert_eq!((taken.lake_files, taken.lake_files_linked, taken.lake_files_copied), (3, 3, 0), "{taken:?}");
    assert_eq!(taken.last_row_ms, Some(3_000));
    // What comes after it is lost.
    node.append(2);
    node.commit_file(100);

    let order = node.order("restored");
    let restored = node.restore(&order).expect("restored");
    assert_eq!((restored.events, restored.lake_files, restored.snapshot.as_str()), (3, 3, &*taken.snapshot));
    assert!(restored.loss_seconds_max >= 0.0 && restored.noted);
    assert!(!order.data.join(MARKER).exists());
    let note = note_of(&order.data).expect("a note");
    assert_eq!((note.epoch, note.moment_ms), (restored.epoch, taken.moment_ms));
    assert_eq!(events(&node, &order.data), 3);
    let lake = files(&order.data.join("lake"));
    assert_eq!(lake.len(), 3);
    for (path, bytes) in lake {
        let original = node.data().join("lake").join(&path);
        assert_eq!(fs::read(&original).expect("there"), bytes, "{path}");
        let inode = |path: std::path::PathBuf| fs::metadata(path).expect("there").ino();
        assert_eq!(inode(original), inode(node.backups().join("objects/lake").join(&path)), "a link");
        assert_ne!(
            inode(order.data.join("lake").join(&path)),
            inode(node.backups().join("objects/lake").join(&path))
        );
    }
    assert_eq!(files(&order.data.join("identity")), files(&node.data().join("identity")));
    let key = fs::metadata(order.data.join("identity/vehicles/VAN1")).expect("there");
    let before = fs::metadata(node.data().join("identity/vehicles/VAN1")).expect("there");
    assert_eq!(key.permissions().mode(), before.permissions().mode());

    // The node that was lost, should it come back, and whoever comes next.
    let journal = open_journal(&order.data.join("journal"));
    let shards = [testing::shard(4), testing::shard(1_000)];
    let owners = node.runtime.block_on(journal.acquire(&shards)).expect("acquired");
    assert!(owners.iter().all(|(owner, _)| owner.epoch == Epoch(restored.epoch + 1)), "{owners:?}");
    let late = node.runtime.block_on(journal.append(owners[1].0, 0, vec![testing::event("z", 1)]));
    assert!(matches!(late, Ok(Appended::Committed { .. })));
    drop(journal);

    let again = node.restore(&order).expect_err("not empty");
    assert!(matches!(again, BackupError::NotEmpty(_)), "{again}");
    let second = node.restore(&node.order("again")).expect("restored");
    assert!(second.epoch > restored.epoch, "and above whatever the first restore handed out");
    let told = remuda_backup::restore::Order { epoch_seen: 1 << 60, ..node.order("told") };
    assert!(node.restore(&told).expect("restored").epoch > 1 << 60);
}

#[test]
fn a_second_backup_copies_what_is_new() {
    let mut node = Node::new();
    node.append(3_000);
    let first = node.take();
    node.append(1);
    node.commit_file(50_000);
    let second = node.take();
    assert_eq!((second.lake_files, second.lake_files_linked), (4, 1));
    assert!(second.bytes_new < first.bytes_new, "{first:?} {second:?}");
    assert!(
        second.bytes_read < first.bytes_read,
        "files that are known are not read again: {first:?} {second:?}"
    );
    // Without change there is nothing to write but the index.
    let third = node.take();
    assert_eq!((third.bytes_new, third.lake_files_linked + third.lake_files_copied), (0, 0), "{third:?}");
    let found = node.verify();
    assert_eq!((found.snapshots, found.unreferenced, found.faults.as_slice()), (3, 0, &[][..]));

    let repository = Repository::open(&node.backups(), Access::Write).expect("alone");
    assert!(matches!(Repository::open(&node.backups(), Access::Read), Err(BackupError::Busy(_))));
    let keep = Keep { newest: Some(1), days: None };
    let dry = prune(&repository, keep, true).expect("counted");
    assert_eq!(repository.snapshots().expect("listed").len(), 3);
    let pruned = prune(&repository, keep, false).expect("pruned");
    assert_eq!(pruned, dry);
    assert_eq!((pruned.removed.len(), &pruned.kept), (2, &vec![third.snapshot.clone()]));
    drop(repository);
    let found = node.verify();
    assert_eq!((found.snapshots, found.unreferenced, found.faults.as_slice()), (1, 0, &[][..]));
    assert_eq!(node.restore(&node.order("restored")).expect("restored").lake_files, 4);
    assert!(node.data().join("lake").join(node.lake_path(1)).exists(), "the lake's own are its own");
}

#[test]
fn the_lake_is_encrypted_where_that_is_asked_for() {
    let mut node = Node::new();
    let request = Request { seal_lake: true, ..node.request() };
    let taken = node.take_as(&request, &mut Pace::silent()).expect("taken");
    assert_eq!((taken.lake_files_linked, taken.lake_files_copied), (0, 3));
    let plain = fs::read(node.data().join("lake").join(node.lake_path(2))).expect("there");
    let stored = files(&node.backups());
    assert!(stored.iter().all(|(_, bytes)| !bytes.windows(64).any(|window| window == &plain[..64])));
    node.commit_file(10);
    assert_eq!(node.take_as(&request, &mut Pace::silent()).expect("taken").lake_files_copied, 1);
    let order = node.order("restored");
    assert_eq!(node.restore(&order).expect("restored").lake_files, 4);
    assert_eq!(fs::read(order.data.join("lake").join(node.lake_path(2))).expect("there"), plain);
    assert!(node.verify().faults.is_empty());
}

#[test]
fn secrets_lie_in_no_backup_and_another_key_opens_none() {
    let node = Node::new();
    node.take();
    for (path, bytes) in files(&node.backups()) {
        for secret in [&b"a secret key"[..], b"AGE-SECRET-KEY", b"register", b"VAN1"] {
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{path} holds {:?}", String::from_utf8_lossy(secret));
        }
    }
    let other = remuda_backup::seal::new_key(None).expect("a key");
    let file = node.folder.path().join("other.key");
    fs::write(&file, &other.file).expect("written");
    let identities = remuda_backup::Identities::read(&file, None).expect("read");
    let order = remuda_backup::restore::Order { identities, ..node.order("restored") };
    let refused = node.restore(&order).expect_err("another key").to_string();
    assert!(refused.contains(&node.recipient), "{refused}");
    assert!(!order.data.exists(), "nothing is begun");
}

#[test]
fn a_register_is_never_set_back_with_the_journal() {
    let mut node = Node::new();
    let whole = node.take();
    let default = OrganizationId::default();
    // Later, and kept in a snapshot of keys and register alone.
    node.register().revoke(default, vehicle("VAN1"), "stolen", &who()).expect("revoked");
    let request = Request { kind: SnapshotKind::Identity, ..node.request() };
    let quick = node.take_as(&request, &mut Pace::silent()).expect("taken");
    assert_eq!((quick.journal_keys, quick.lake_files), (0, 0));
    // Later still, and nowhere but in the folder that survived.
    node.register().revoke(default, vehicle("VAN2"), "stolen", &who()).expect("revoked");
    node.append(1);
    let named =
        remuda_backup::restore::Order { snapshot: Some(whole.snapshot.clone()), ..node.order("named") };
    for order in [node.order("newest"), named] {
        let restored = node.restore(&order).expect("restored");
        assert_eq!((&restored.snapshot, restored.events), (&whole.snapshot, 3));
        let register = remuda_identity::Register::open(&order.data.join("identity")).expect("opened");
        assert!(register.is_revoked(&vehicle("VAN1")), "as the newer snapshot knows");
        assert!(!register.is_revoked(&vehicle("VAN2")));
    }
    let survivor = node.data().join("identity/register.jsonl");
    let order = remuda_backup::restore::Order { register: Some(survivor), ..node.order("with-survivor") };
    let restored = node.restore(&order).expect("restored");
    assert!(matches!(restored.register_merged, Some(remuda_backup::register::RegisterMerge::Continued(_))));
    let register = remuda_identity::Register::open(&order.data.join("identity")).expect("opened");
    assert!(register.is_revoked(&vehicle("VAN1")) && register.is_revoked(&vehicle("VAN2")));

    // One of another history: only what it refuses is taken over.
    let elsewhere = node.folder.path().join("elsewhere");
    let other = remuda_identity::Register::open(&elsewhere).expect("made");
    other.create(default, &new_vehicles(&["VAN2", "VAN9"]), 3_600_000, [7; 32], &who()).expect("created");
    for id in ["VAN2", "VAN9"] {
        other.revoke(default, vehicle(id), "sold", &who()).expect("revoked");
    }
    let register = Some(elsewhere.join("register.jsonl"));
    let order = remuda_backup::restore::Order { register, ..node.order("with-other") };
    let restored = node.restore(&order).expect("restored");
    assert_eq!(restored.register_merged, Some(remuda_backup::register::RegisterMerge::Refusals(1)));
    let register = remuda_identity::Register::open(&order.data.join("identity")).expect("opened");
    assert!(register.is_revoked(&vehicle("VAN2")) && !register.contains(&vehicle("VAN9")));
}

#[test]
fn a_backup_that_is_stopped_leaves_the_others_as_they_were_and_the_next_goes_on() {
    let mut node = Node::new();
    node.take();
    (0..6).for_each(|_| node.commit_file(200_000));
    node.append(2_000);
    let stop = Arc::new(AtomicBool::new(false));
    let mut stopped = 0;
    // Each time a little later.
    for looks in 1..60 {
        stop.store(false, Ordering::Release);
        let (flag, mut left) = (Arc::clone(&stop), looks);
        let mut pace = Pace::new(
            None,
            Arc::clone(&stop),
            Box::new(move |_| {
                left -= 1;
                if left <= 0 {
                    flag.store(true, Ordering::Release);
                }
            }),
        );
        match node.take_as(&node.request(), &mut pace) {
            Err(BackupError::Stopped) => stopped += 1,
            Ok(taken) => {
                assert_eq!(taken.lake_files, 9);
                break;
            }
            Err(other) => panic!("{other}"),
        }
        let found = node.verify();
        assert_eq!((found.snapshots, found.faults.as_slice()), (1, &[][..]), "after {looks} looks");
    }
    assert!(stopped > 0, "it was never stopped");
    assert!(node.verify().faults.is_empty());
    let drafts = fs::read_dir(node.backups().join("drafts")).expect("listed").count();
    assert_eq!(drafts, 0);
    assert!(!node.data().join("backup-spool").exists(), "nor does the node's own disk keep any of it");
    assert_eq!(node.restore(&node.order("restored")).expect("restored").lake_files, 9);
}

#[test]
fn what_is_no_repository_is_left_alone() {
    let node = Node::new();
    let full = node.folder.path().join("photos");
    fs::create_dir(&full).expect("made");
    fs::write(full.join("cat"), b"meow").expect("written");
    assert!(matches!(Repository::create(&full), Err(BackupError::Occupied(_))));
    assert!(matches!(Repository::open(&full, Access::Read), Err(BackupError::NotARepository(_))));
    let empty = node.folder.path().join("empty");
    drop(Repository::create(&empty).expect("made"));
    let repository = Repository::open(&empty, Access::Read).expect("opened");
    let order = node.order("restored");
    let none = remuda_backup::restore::restore(&repository, &order, &mut Pace::silent()).expect_err("none");
    assert!(matches!(none, BackupError::NoSnapshot(_)), "{none}");
    assert!(matches!(repository.index("../etc"), Err(BackupError::NoSnapshot(_))));
    assert!(!order.data.join(NOTE).exists());
}

#[test]
fn a_damaged_lake_file_is_not_backed_up_as_if_it_were_whole() {
    let node = Node::new();
    let path = node.data().join("lake").join(node.lake_path(2));
    let mut bytes = fs::read(&path).expect("there");
    bytes[17] ^= 4;
    fs::write(&path, &bytes).expect("written");
    let error = node.take_as(&node.request(), &mut Pace::silent()).expect_err("damaged").to_string();
    assert!(error.contains(&node.lake_path(2)) && error.contains("remuda lake verify"), "{error}");
    fs::remove_file(&path).expect("removed");
    let error = node.take_as(&node.request(), &mut Pace::silent()).expect_err("missing").to_string();
    assert!(error.contains("is missing"), "{error}");
    assert_eq!(node.repository().snapshots().expect("listed").len(), 0);
}

/// Objects of a backup that never became whole, damaged since: nobody vouches for them.
#[test]
fn what_nobody_wrote_down_is_not_believed_to_be_there() {
    let mut node = Node::new();
    let request = Request { links: false, ..node.request() };
    let taken = node.take_as(&request, &mut Pace::silent()).expect("taken");
    fs::remove_dir_all(node.backups().join("snapshots").join(&taken.snapshot)).expect("removed");
    let objects = files(&node.backups().join("objects"));
    assert!(objects.iter().any(|(name, _)| name.starts_with("chunks")));
    let whole = node.lake_path(1);
    for (name, mut bytes) in objects {
        if !name.ends_with(&whole) {
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            fs::write(node.backups().join("objects").join(name), bytes).expect("written");
        }
    }
    node.append(1);
    let taken = node.take_as(&request, &mut Pace::silent()).expect("taken");
    assert_eq!(taken.lake_files_copied, 2, "the one that is what was committed is used");
    assert_eq!(node.verify().faults, []);
    let order = node.order("restored");
    assert_eq!(node.restore(&order).expect("restored").events, 4);
    assert_eq!(files(&order.data.join("lake")), files(&node.data().join("lake")));
}

/// A content that comes back after some snapshots is the object that the oldest one refers to.
#[test]
fn an_older_snapshot_keeps_its_objects() {
    let node = Node::new();
    for content in ["a", "b", "c", "a"] {
        fs::write(node.data().join("identity/issuer"), content).expect("written");
        node.take();
    }
    let found = node.verify();
    assert_eq!((found.snapshots, found.faults.as_slice()), (4, &[][..]));
}

#[test]
fn of_a_file_that_grows_only_its_end_is_stored_again() {
    let node = Node::new();
    let log = node.data().join("identity/log.jsonl");
    let line =
        |n: u64| format!("{{\"line\":{n},\"what\":\"{:064x}\"}}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut text: String = (0..120_000).map(line).collect();
    assert!(text.len() > 10 << 20);
    fs::write(&log, &text).expect("written");
    let first = node.take();
    assert!(first.bytes_new as usize > text.len());
    text.extend((120_000..120_010).map(line));
    fs::write(&log, &text).expect("written");
    let second = node.take();
    assert!(second.bytes_new < 4 << 20, "{} of {} bytes again", second.bytes_new, text.len());
    assert_eq!(node.verify().faults, []);
    let order = node.order("restored");
    node.restore(&order).expect("restored");
    assert_eq!(files(&order.data.join("identity")), files(&node.data().join("identity")));
}
