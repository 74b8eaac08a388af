//! Each kind of damage to a repository is found, and keeps a restore from beginning.

mod common;

use std::fs;
use std::path::PathBuf;

use common::*;
use remuda_backup::verify::FaultKind;
use remuda_backup::{Access, BackupError, Pace, Repository};

/// Two snapshots, the second with one file more.
fn two() -> (Node, PathBuf) {
    let mut node = Node::new();
    node.take();
    node.commit_file(30_000);
    node.append(1);
    let newest = node.take().snapshot;
    let index = node.backups().join("snapshots").join(newest).join("index");
    assert!(node.verify().faults.is_empty());
    (node, index)
}

/// Exactly this is found, and the newest snapshot is not restored.
fn found(node: &Node, kind: FaultKind, snapshots: usize) {
    let found = node.verify();
    let kinds: Vec<FaultKind> = found.faults.iter().map(|fault| fault.kind).collect();
    assert_eq!(kinds, [kind], "{:#?}", found.faults);
    assert_eq!(found.faults[0].snapshots.len(), snapshots, "{:#?}", found.faults);
    assert!(!found.faults[0].advice.is_empty());
    let order = node.order("restored");
    let refused = node.restore(&order).expect_err("damaged");
    assert!(
        matches!(
            refused,
            BackupError::Damaged { .. } | BackupError::Inconsistent(_) | BackupError::File { .. }
        ),
        "{refused}"
    );
    assert!(!order.data.join("journal").exists() || order.data.join("restoring").exists());
}

fn lake_object(node: &Node, number: u64) -> PathBuf {
    node.backups().join("objects/lake").join(node.lake_path(number))
}

/// Not through the link to the lake's own file.
fn rewrite(path: &PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("there");
    change(&mut bytes);
    fs::remove_file(path).expect("removed");
    fs::write(path, bytes).expect("written");
}

#[test]
fn a_missing_object() {
    let (node, _) = two();
    fs::remove_file(lake_object(&node, 1)).expect("removed");
    found(&node, FaultKind::Missing, 2);
    // What the node still has is copied again.
    node.take();
    assert!(node.verify().faults.is_empty());
}

#[test]
fn a_flipped_bit_in_a_lake_file() {
    let (node, _) = two();
    rewrite(&lake_object(&node, 4), |bytes| bytes[20_000] ^= 1);
    found(&node, FaultKind::Changed, 1);
}

#[test]
fn a_flipped_bit_in_a_sealed_object() {
    for kind in ["chunks", "files"] {
        let (node, _) = two();
        let newest =
            node.repository().index(node.repository().snapshots().expect("listed").last().expect("one"));
        let index = newest.expect("read");
        let (object, _) = index.objects().find(|(object, _)| object.name.starts_with(kind)).expect("one");
        rewrite(&node.backups().join("objects").join(&object.name), |bytes| {
            *bytes.last_mut().expect("some") ^= 1
        });
        let shared = if kind == "files" { 2 } else { 1 };
        found(&node, FaultKind::Changed, shared);
    }
}

#[test]
fn an_object_cut_short() {
    let (node, _) = two();
    rewrite(&lake_object(&node, 2), |bytes| bytes.truncate(100));
    found(&node, FaultKind::Truncated, 2);
}

#[test]
fn an_index_cut_short() {
    let (node, index) = two();
    rewrite(&index, |bytes| bytes.truncate(bytes.len() - 1));
    found(&node, FaultKind::Index, 1);
    let repository = Repository::open(&node.backups(), Access::Write).expect("alone");
    let keep = remuda_backup::prune::Keep { newest: Some(1), days: None };
    assert!(remuda_backup::prune::prune(&repository, keep, false).is_err(), "what it refers to is not known");
    drop(repository);
    // The older one is restored by its name.
    let older = node.repository().snapshots().expect("listed").remove(0);
    let order = remuda_backup::restore::Order { snapshot: Some(older), ..node.order("older") };
    assert_eq!(node.restore(&order).expect("restored").lake_files, 3);
}

#[test]
fn an_index_that_is_gone_or_changed() {
    let (node, index) = two();
    rewrite(&index, |bytes| bytes[100] ^= 1);
    found(&node, FaultKind::Index, 1);
    fs::remove_file(&index).expect("removed");
    found(&node, FaultKind::Index, 1);
}

#[test]
fn a_manifest_that_names_other_files_than_the_backup_holds() {
    let (node, index) = two();
    // As if whoever wrote it had forgotten a file: the checksum holds, the parts do not agree.
    let id = index.parent().expect("a folder").file_name().expect("a name").to_string_lossy().into_owned();
    let mut read = node.repository().index(&id).expect("read");
    read.lake.as_mut().expect("a lake").files.remove(1);
    fs::write(&index, read.encode().expect("encodes")).expect("written");
    found(&node, FaultKind::Contents, 1);
    // And a file that nobody committed.
    let (node, index) = two();
    let id = index.parent().expect("a folder").file_name().expect("a name").to_string_lossy().into_owned();
    let mut read = node.repository().index(&id).expect("read");
    let lake = read.lake.as_mut().expect("a lake");
    let mut stray = lake.files[0].clone();
    stray.path = "fresh/stray.parquet".into();
    lake.files.push(stray);
    fs::write(&index, read.encode().expect("encodes")).expect("written");
    found(&node, FaultKind::Contents, 1);
}

#[test]
fn without_a_key_what_is_stored_is_compared_all_the_same() {
    let (node, _) = two();
    rewrite(&lake_object(&node, 3), |bytes| bytes[0] ^= 128);
    let repository = node.repository();
    let all = repository.snapshots().expect("listed");
    let found =
        remuda_backup::verify::verify(&repository, &all, None, None, &mut Pace::silent()).expect("read");
    assert!(!found.opened);
    assert_eq!(found.faults.len(), 1, "{:#?}", found.faults);
}
