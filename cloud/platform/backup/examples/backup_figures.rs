//! How fast backups are: makes a data folder with a lake of so many megabytes, and measures.
//!
//! ```text
//! backup_figures make DATA MB          a journal and history files of 20 MB each, of random bytes
//! backup_figures measure DATA SCRATCH  one JSON object: MB/s copied, linked, sealed, restored, and of a plain copy
//! ```

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rand::RngCore;
use remuda_backup::restore::{Order, restore};
use remuda_backup::seal::new_key;
use remuda_backup::{
    Access, FilesPart, Identities, JournalPart, LakePart, LakePlace, Pace, Parts, Recipients, Repository,
    Request, SnapshotKind, take,
};
use remuda_eventsourcing::{Journal, JournalMetrics, ManifestEntry, SledJournal, testing};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Full, so no compaction touches them.
const FILE_BYTES: usize = 20_000_000;
/// Events beside: a journal has some, too.
const EVENTS: u64 = 20_000;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", data, megabytes] => make(Path::new(data), megabytes.parse()?),
        ["measure", data, scratch] => measure(Path::new(data), Path::new(scratch)),
        _ => Err("make DATA MB, or measure DATA SCRATCH".into()),
    }
}

fn make(data: &Path, megabytes: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    let journal = SledJournal::open(&data.join("journal"), JournalMetrics::default())?;
    let shard = testing::shard(4);
    let owner = runtime.block_on(journal.acquire(&[shard]))?[0].0;
    for first in (0..EVENTS).step_by(200) {
        let events = (first + 1..=first + 200).map(|version| testing::event("a", version)).collect();
        runtime.block_on(journal.append(owner, first, events))?;
    }
    let mut contents = vec![0; FILE_BYTES];
    for number in 0..(megabytes * 1_000_000).div_ceil(FILE_BYTES) {
        rand::rng().fill_bytes(&mut contents);
        let path = format!("history/organization=default/date=2026-11-01/hour=01/00ff-1-{number}.parquet");
        let full = data.join("lake").join(&path);
        fs::create_dir_all(full.parent().unwrap_or(data))?;
        let mut file = File::create(&full)?;
        file.write_all(&contents)?;
        file.sync_all()?;
        let entry = ManifestEntry {
            path,
            schema: 1,
            checksum: crc32c::crc32c(&contents),
            bytes: FILE_BYTES as u64,
            rows: vec![(shard, 1)],
            sample_time_ns: (0, 0),
            receive_time_ms: (0, 0),
        };
        runtime.block_on(journal.commit_file(&[owner], &[entry], &[]));
    }
    Ok(())
}

fn measure(data: &Path, scratch: &Path) -> Result<()> {
    fs::create_dir_all(scratch)?;
    let journal = Arc::new(SledJournal::open(&data.join("journal"), JournalMetrics::default())?);
    let parts = Parts {
        journals: vec![JournalPart { name: "journal", source: journal }],
        lake: Some(LakePart {
            name: "lake",
            journal: "journal",
            place: LakePlace::Folder(data.join("lake")),
        }),
        files: vec![FilesPart { name: "identity", folder: data.join("identity") }],
        spool: data.join("backup-spool"),
    };
    let key = new_key(None)?;
    let key_file = scratch.join("key");
    fs::write(&key_file, &key.file)?;
    let recipients = Recipients::parse(std::slice::from_ref(&key.recipient))?;
    let plain = Request { kind: SnapshotKind::Full, recipients, seal_lake: false, links: false };
    // Once, so that everybody finds the files in memory, or nobody.
    copy_all(&data.join("lake"), &scratch.join("warm"))?;
    let begun = Instant::now();
    let bytes = copy_all(&data.join("lake"), &scratch.join("cp"))?;
    let cp = bytes as f64 / 1e6 / begun.elapsed().as_secs_f64();
    let run = |name: &str, request: &Request| -> Result<f64> {
        let mut repository = Repository::create(&scratch.join(name))?;
        Ok(take(&mut repository, &parts, request, &mut Pace::silent())?.mb_per_second)
    };
    let copied = run("copied", &plain)?;
    let again = {
        let begun = Instant::now();
        run("copied", &plain)?;
        begun.elapsed().as_secs_f64()
    };
    let linked = run("linked", &Request { links: true, ..plain.clone() })?;
    let sealed = run("sealed", &Request { seal_lake: true, ..plain })?;
    let order = Order {
        snapshot: None,
        data: scratch.join("restored"),
        bucket: None,
        identities: Identities::read(&key_file, None)?,
        register: None,
        epoch_seen: 0,
    };
    let repository = Repository::open(&scratch.join("copied"), Access::Read)?;
    let restored = restore(&repository, &order, &mut Pace::silent())?;
    println!(
        "{{\"copied\":{copied},\"linked\":{linked},\"sealed\":{sealed},\"cp\":{cp},\"again_seconds\":{again},\
         \"restored_seconds\":{},\"mb\":{}}}",
        restored.seconds,
        bytes as f64 / 1e6
    );
    Ok(())
}

/// What `cp -r` and `sync` do.
fn copy_all(from: &Path, to: &Path) -> Result<u64> {
    fs::create_dir_all(to)?;
    let mut bytes = 0;
    for entry in fs::read_dir(from)? {
        let path: PathBuf = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            bytes += copy_all(&path, &target)?;
        } else {
            bytes += fs::copy(&path, &target)?;
            File::open(&target)?.sync_all()?;
        }
    }
    Ok(bytes)
}
