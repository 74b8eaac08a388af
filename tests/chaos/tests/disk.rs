//! The disk that loses power: what was synced survives every cut, what was not may go, and nothing else happens.

mod scene;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use remuda_chaos::disk::{Fault, FaultKind, SURVIVALS, Survival};
use scene::{FOLDER, ROLE, Scene, scene, start};

const SEEDS: u64 = 15;

/// Runs a role on the disk until it says that it is done, then kills it.
fn run(scene: &Scene, role: &str) -> String {
    let mut child = start(scene, role);
    let mut said = String::new();
    let mut out = child.stdout.take().expect("piped");
    let mut byte = [0];
    while !said.contains("done") && out.read(&mut byte).expect("readable") == 1 {
        said.push(char::from(byte[0]));
    }
    child.kill().expect("is alive");
    child.wait().expect("ended");
    assert!(said.contains("done"), "{role} ended by itself: {said}");
    said
}

fn sync_dir(path: &Path) {
    File::open(path).and_then(|d| d.sync_all()).expect("synced");
}

/// The child; without its environment it is no test.
#[test]
fn child() {
    let (Ok(folder), Ok(role)) = (std::env::var(FOLDER), std::env::var(ROLE)) else { return };
    let root = PathBuf::from(folder);
    let open = |name: &str| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).open(root.join(name)).expect("opens")
    };
    match role.as_str() {
        "mixed" => {
            let synced = open("synced");
            synced.write_all_at(&[1; 10_000], 0).expect("written");
            synced.sync_data().expect("synced");
            sync_dir(&root);
            synced.write_all_at(&[2; 10_000], 5_000).expect("written");
            open("nameless").sync_all().expect("synced");
            let mut unsynced = open("unsynced");
            unsynced.write_all(&[3; 3_000]).expect("written");
            unsynced.write_all(&[4; 3_000]).expect("written");
            sync_dir(&root);
            fs::create_dir(root.join("folder")).expect("made");
            fs::write(root.join("folder/inner"), b"inner").expect("written");
            File::open(root.join("folder/inner")).and_then(|f| f.sync_all()).expect("synced");
            sync_dir(&root.join("folder"));
        }
        "rename" => {
            let mut new = open("new");
            new.write_all(b"new").expect("written");
            new.sync_all().expect("synced");
            fs::rename(root.join("new"), root.join("old")).expect("renamed");
            let second = new.try_clone().expect("cloned");
            second.write_all_at(b"NEW", 0).expect("written");
            second.sync_all().expect("synced");
            fs::hard_link(root.join("old"), root.join("link")).expect("linked");
        }
        "churn" => {
            for n in 0_u8..100 {
                let path = format!("churn-{}", n % 7);
                let mut file = open(&path);
                file.write_all(&vec![n; usize::from(n) * 97]).expect("written");
                if n % 3 == 0 {
                    file.set_len(u64::from(n) * 31).expect("cut");
                }
                if n % 5 == 0 {
                    fs::remove_file(root.join(&path)).expect("removed");
                }
            }
            fs::create_dir_all(root.join("a/b/c")).expect("made");
            fs::write(root.join("a/b/c/d"), b"d").expect("written");
            fs::copy(root.join("a/b/c/d"), root.join("a/b/e")).expect("copied");
            fs::remove_dir_all(root.join("a/b/c")).expect("removed");
        }
        "faults" => {
            let mut file = open("full");
            let full = file.write_all(&[0; 5_000]).expect_err("there is room for 4,000 bytes");
            let sync = File::open(root.join("full")).and_then(|f| f.sync_all());
            println!("{:?} {:?}", full.kind(), sync.map_err(|e| e.raw_os_error()));
        }
        "read-only" => {
            let kind = |result: std::io::Result<()>| result.err().map(|e| e.kind());
            let made = kind(fs::create_dir(root.join("no")));
            println!("{made:?} {:?}", kind(fs::write(root.join("no"), b"no")));
        }
        "clock" => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
            println!("time {} end", now.as_secs());
        }
        other => panic!("no role {other}"),
    }
    println!("done");
    std::thread::sleep(std::time::Duration::from_secs(60));
}

fn read(scene: &Scene, name: &str) -> Option<Vec<u8>> {
    fs::read(scene.root.join(name)).ok()
}

#[test]
fn what_was_synced_survives_every_cut_and_what_was_not_need_not() {
    let (mut nameless_gone, mut unsynced_short, mut torn, mut folder_gone) = (0, 0, 0, 0);
    for survival in SURVIVALS {
        let seeds = if matches!(survival, Survival::Nothing | Survival::Everything) { 1 } else { SEEDS };
        for seed in 0..seeds {
            let mut scene = scene();
            run(&scene, "mixed");
            scene.disk.cut_power(survival, seed).expect("cut");
            let synced = read(&scene, "synced").expect("name and data were synced");
            assert!(synced.len() >= 10_000 && synced[..5_000].iter().all(|b| *b == 1), "{survival:?} {seed}");
            assert!(synced[5_000..10_000].iter().all(|b| [1, 2].contains(b)), "{survival:?} {seed}");
            torn += u32::from(synced[5_000..10_000].contains(&1) && synced[5_000..10_000].contains(&2));
            let unsynced = read(&scene, "unsynced").expect("its name was synced");
            unsynced_short += u32::from(unsynced != [vec![3; 3_000], vec![4; 3_000]].concat());
            nameless_gone += u32::from(read(&scene, "nameless").is_none());
            folder_gone += u32::from(!scene.root.join("folder").exists());
            match survival {
                Survival::Nothing => {
                    assert_eq!((synced.len(), unsynced.len()), (10_000, 0));
                    assert!(!scene.root.join("folder").exists(), "its own name was not synced");
                }
                Survival::Everything => {
                    assert_eq!((synced.len(), unsynced.len()), (15_000, 6_000));
                    assert_eq!(read(&scene, "folder/inner").as_deref(), Some(b"inner".as_slice()));
                }
                _ => {}
            }
        }
    }
    // Syncing the folder later made the name of `nameless` durable, too.
    assert_eq!(nameless_gone, 0);
    assert!(unsynced_short > 5 && torn > 5 && folder_gone > 5, "{unsynced_short} {torn} {folder_gone}");
}

#[test]
fn a_rename_happened_or_did_not() {
    let mut seen = std::collections::BTreeSet::new();
    for survival in SURVIVALS {
        for seed in 0..SEEDS {
            let mut scene = scene();
            fs::write(scene.root.join("old"), b"old").expect("written");
            scene.disk.begin_anew().expect("durable");
            run(&scene, "rename");
            scene.disk.cut_power(survival, seed).expect("cut");
            let old = read(&scene, "old").expect("one of the two is there");
            let moved = read(&scene, "new").is_none();
            assert!(old == b"old" || (moved && old == b"NEW"), "{survival:?} {seed}: {old:?}");
            seen.insert((old, moved, scene.root.join("link").exists()));
        }
    }
    assert!(seen.len() >= 3, "{seen:?}");
}

#[test]
fn every_way_of_writing_is_seen() {
    let mut scene = scene();
    for _ in 0..3 {
        // Cuts that keep everything compare what was recorded with what is there.
        run(&scene, "churn");
        scene.disk.settle().expect("settled");
        run(&scene, "rename");
        scene.disk.cut_power(Survival::Everything, 0).expect("all of it was seen");
        assert_eq!(read(&scene, "a/b/e").as_deref(), Some(b"d".as_slice()));
        fs::remove_dir_all(scene.root.join("a")).expect("removed");
        for entry in fs::read_dir(&scene.root).expect("listed") {
            fs::remove_file(entry.expect("listed").path()).expect("removed");
        }
        scene.disk.begin_anew().expect("durable");
    }
    fs::write(scene.root.join("by-somebody-else"), b"?").expect("written");
    let error = scene.disk.cut_power(Survival::Everything, 0).expect_err("not recorded").to_string();
    assert!(error.contains("by-somebody-else"), "{error}");
}

#[test]
fn a_sync_that_is_a_lie_saves_nothing() {
    let mut scene = scene();
    scene.disk.lie_about("synced");
    run(&scene, "mixed");
    scene.disk.cut_power(Survival::Nothing, 0).expect("cut");
    assert_eq!(read(&scene, "synced").expect("its name is durable"), [] as [u8; 0]);
}

#[test]
fn faults_are_met_and_lifted() {
    let scene = scene();
    let full = Fault { kind: FaultKind::Full(4_000), only: "full" };
    scene.disk.set(&full).expect("set");
    scene.disk.set(&Fault { kind: FaultKind::SyncError, only: "full" }).expect("set");
    let said = run(&scene, "faults");
    assert!(said.contains("StorageFull Err(Some(5))"), "{said}");
    assert_eq!(read(&scene, "full").expect("there").len(), 4_000);
    assert!(scene.disk.faults_met().expect("read") >= 2);
    scene.disk.heal().expect("healed");
    scene.disk.set(&Fault { kind: FaultKind::ReadOnly, only: "" }).expect("set");
    let said = run(&scene, "read-only");
    assert!(said.contains("Some(ReadOnlyFilesystem) Some(ReadOnlyFilesystem)"), "{said}");
    scene.disk.heal().expect("healed");
    run(&scene, "mixed");
}

#[test]
fn a_clock_jumps() {
    let scene = scene();
    let now = || {
        let said = run(&scene, "clock");
        let (_, time) = said.split_once("time ").expect("says it");
        time.split(' ').next().and_then(|t| t.parse::<i64>().ok()).expect("a number")
    };
    let before = now();
    scene.disk.shift_clock(-86_400_000_000_000).expect("moved");
    let after = now();
    assert!((86_000..86_401).contains(&(before - after)), "{before} {after}");
}
