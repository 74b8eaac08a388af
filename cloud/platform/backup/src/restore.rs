//! Restoring a node onto an empty machine.
//!
//! A file in the data folder says that a restore is under way from the first byte to the last check: a node does not start
//! on a folder that has it, so half a restore is never put to use.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use remuda_eventsourcing::copying::Contents;
use remuda_eventsourcing::folders;
use remuda_eventsourcing::restoring::Restoring;
use remuda_model::Epoch;
use serde::{Deserialize, Serialize};

use crate::bucket::LakeBucket;
use crate::epochs::{self, Known};
use crate::error::BackupError;
use crate::files_part;
use crate::hashing::Hashing;
use crate::index::{Index, JournalCopy, LakeCopy, LakeFileCopy, SnapshotKind};
use crate::journal_part;
use crate::lake_part::{Checked, pump, restore_erasures};
use crate::limits;
use crate::pace::Pace;
use crate::references::{self, Looked, MissingFile};
use crate::register::{self, RegisterMerge, RegisterSource};
use crate::repository::{Repository, replace, sync, walk};
use crate::seal::Identities;
use crate::take::now_ms;
use crate::verify::{same_files, wrong};

/// Says that a restore is under way, or was given up.
pub const MARKER: &str = "restoring";
/// Says from which backup a folder was restored.
pub const NOTE: &str = "restored.json";

/// What is wanted.
pub struct Order {
    /// Which snapshot; none: the newest whole one.
    pub snapshot: Option<String>,
    /// The new data folder.
    pub data: PathBuf,
    /// The bucket of the new node's lake; none: it goes into the data folder.
    pub bucket: Option<LakeBucket>,
    /// Keys.
    pub identities: Identities,
    /// A register that survived elsewhere.
    pub register: Option<PathBuf>,
    /// The highest epoch that somebody has seen.
    pub epoch_seen: u64,
}

/// What was restored.
#[derive(Debug, Clone, Serialize)]
pub struct Restored {
    /// From which snapshot.
    pub snapshot: String,
    /// The moment that it is of, ms since 1970 UTC.
    pub moment_ms: i64,
    /// When its newest event was decided, ms since 1970 UTC.
    pub last_event_ms: Option<i64>,
    /// When its newest row was received, ms since 1970 UTC.
    pub last_row_ms: Option<i64>,
    /// From the moment of the backup to now, s: what was acknowledged within it is lost to the cloud (the RPO at its worst).
    pub loss_seconds_max: f64,
    /// How long the restore took, s (the RTO, without the start of the node).
    pub seconds: f64,
    /// Bytes gone through, checks and all.
    pub bytes: u64,
    /// Events.
    pub events: u64,
    /// Files of the lake.
    pub lake_files: u64,
    /// Of these, how many stay in the bucket that they were in.
    pub lake_files_in_place: u64,
    /// Of these, how many are not there as the snapshot names them.
    pub lake_files_missing: u64,
    /// The first of them, at most 1,000.
    pub lake_missing: Vec<MissingFile>,
    /// Next owners of shards have epochs above it.
    pub epoch: u64,
    /// Whose keys and register these are.
    pub register: RegisterSource,
    /// What a register that survived added.
    pub register_merged: Option<RegisterMerge>,
    /// Whether the repository knows of this restore; where it does not, the next one relies on the clock.
    pub noted: bool,
}

/// What a restored data folder says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Note {
    /// From which snapshot.
    pub snapshot: String,
    /// The moment that it is of, ms since 1970 UTC.
    pub moment_ms: i64,
    /// When it was restored, ms since 1970 UTC.
    pub restored_ms: i64,
    /// Its owners have epochs above it.
    pub epoch: u64,
}

/// The note of a data folder, if it was restored.
pub fn note_of(data: &Path) -> Option<Note> {
    serde_json::from_slice(&fs::read(data.join(NOTE)).ok()?).ok()
}

/// Restores. Everything is read and compared before anything is written, and compared again once it is.
///
/// # Errors
/// When the folder is not empty, the backup lacks something, or the parts of what was restored do not agree: then the
/// folder is marked and no node starts on it.
pub fn restore(repository: &Repository, order: &Order, pace: &mut Pace) -> Result<Restored, BackupError> {
    let data = &order.data;
    require_empty(data)?;
    let index = chosen(repository, order.snapshot.as_deref())?;
    // First the bucket: that it is another should not be told after an hour.
    let mut looked = look_at_bucket(&index, order.bucket.as_ref(), pace)?;
    check(repository, &index, &order.identities, pace)?;
    let known = Known {
        in_backup: index.journals.iter().map(|j| j.highest_epoch).max().unwrap_or_default(),
        in_file_names: in_file_names(&index).max(looked.highest_epoch),
        restored: repository.restored_epoch()?,
        told: order.epoch_seen,
        now_s: u64::try_from(now_ms() / 1_000).unwrap_or_default(),
    };
    let epoch = epochs::floor(known);
    // Before a node can have it.
    let noted = repository.note_restore(&index.id, epoch, now_ms());
    let marker = begin(data)?;
    let mut run = Run { repository, order, index: &index, epoch, pace, events: 0 };
    for journal in &index.journals {
        run.journal(journal)?;
    }
    if let Some(lake) = &index.lake {
        run.lake(lake)?;
    }
    let (register, register_merged) = run.files()?;
    let events = run.events;
    let lake_files_missing = looked.missing.len() as u64;
    looked.missing.truncate(limits::MISSING_TOLD_MAX);
    fail::fail_point!("restore-before-done", |_| std::process::abort());
    let note = Note { snapshot: index.id.clone(), moment_ms: index.moment_ms, restored_ms: now_ms(), epoch };
    let path = data.join(NOTE);
    replace(&path, &serde_json::to_vec(&note).unwrap_or_default())
        .map_err(BackupError::file(&path, "written"))?;
    fs::remove_file(&marker).map_err(BackupError::file(&marker, "removed"))?;
    sync(data).map_err(BackupError::file(data, "synced"))?;
    Ok(Restored {
        moment_ms: index.moment_ms,
        last_event_ms: index.journals.iter().filter_map(|j| j.last_event_ms).max(),
        last_row_ms: index.lake.as_ref().and_then(|l| l.last_row_ms),
        loss_seconds_max: (now_ms() - index.moment_ms).max(0) as f64 / 1e3,
        seconds: pace.elapsed().as_secs_f64(),
        bytes: pace.progress().bytes,
        events,
        lake_files: index.lake.as_ref().map_or(0, LakeCopy::count),
        lake_files_in_place: index.lake.as_ref().map_or(0, |l| l.in_place.len() as u64),
        lake_files_missing,
        lake_missing: looked.missing,
        epoch,
        register,
        register_merged,
        noted,
        snapshot: index.id,
    })
}

fn require_empty(data: &Path) -> Result<(), BackupError> {
    match fs::read_dir(data) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(BackupError::File { path: data.to_path_buf(), what: "read", source }),
        Ok(mut entries) => {
            // A new disk has one folder of its own.
            let other = entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != "lost+found"));
            if other { Err(BackupError::NotEmpty(data.to_path_buf())) } else { Ok(()) }
        }
    }
}

/// What is there of files that stay in the bucket; of copies, whether they may go there.
fn look_at_bucket(
    index: &Index,
    bucket: Option<&LakeBucket>,
    pace: &mut Pace,
) -> Result<Looked, BackupError> {
    let Some(lake) = &index.lake else { return Ok(Looked::default()) };
    match bucket {
        Some(bucket) if lake.lies_in(bucket.address()) => references::look(&lake.in_place, bucket, pace),
        _ if !lake.in_place.is_empty() => Err(BackupError::Elsewhere {
            snapshot: index.id.clone(),
            named: lake.bucket.clone().unwrap_or_default(),
            configured: bucket.map_or("in the data folder", LakeBucket::address).to_owned(),
        }),
        Some(bucket) => references::require_own(lake, bucket, pace).map(|()| Looked::default()),
        None => Ok(Looked::default()),
    }
}

fn chosen(repository: &Repository, snapshot: Option<&str>) -> Result<Index, BackupError> {
    if let Some(id) = snapshot {
        let index = repository.index(id)?;
        return match index.kind {
            SnapshotKind::Full => Ok(index),
            SnapshotKind::Identity => Err(BackupError::Inconsistent(format!(
                "{id} holds keys and register alone; name a whole snapshot, theirs are taken all the same"
            ))),
        };
    }
    let mut damaged = None;
    for id in repository.snapshots()?.iter().rev() {
        match repository.index(id) {
            Ok(index) if index.kind == SnapshotKind::Full => {
                // A newer one that cannot be read may be what is wanted: somebody must say so.
                return damaged.map_or(Ok(index), Err);
            }
            Ok(_) => {}
            Err(error) => damaged = Some(error),
        }
    }
    Err(damaged.unwrap_or_else(|| BackupError::NoSnapshot("that is whole".into())))
}

/// Every object is there and is what was written, and the key is the right one.
fn check(
    repository: &Repository,
    index: &Index,
    identities: &Identities,
    pace: &mut Pace,
) -> Result<(), BackupError> {
    pace.phase("checking", index.bytes());
    if let Some((object, _)) = index.objects().find(|(_, sealed)| *sealed) {
        // First the key: that it is another's should not be told after an hour.
        let path = repository.object(&object.name);
        let file = File::open(&path).map_err(BackupError::file(&path, "read"))?;
        identities.open(&object.name, &index.recipients, file)?;
    }
    for (object, _) in index.objects() {
        if let Some((_, what)) = wrong(repository, object, pace)? {
            return Err(BackupError::damaged(&object.name, what));
        }
    }
    Ok(())
}

fn in_file_names(index: &Index) -> u64 {
    let files = index.lake.iter().flat_map(LakeCopy::manifest);
    files.filter_map(|(path, ..)| epochs::in_file_name(path)).max().unwrap_or_default()
}

/// Makes the folder, and says in it what is going on.
fn begin(data: &Path) -> Result<PathBuf, BackupError> {
    folders::make_durable(data).map_err(BackupError::file(data, "made"))?;
    let marker = data.join(MARKER);
    let text = "remuda restore is at work in this folder, or was stopped. What is here is not whole: remove it, and restore again.\n";
    replace(&marker, text.as_bytes()).map_err(BackupError::file(&marker, "written"))?;
    Ok(marker)
}

struct Run<'a> {
    repository: &'a Repository,
    order: &'a Order,
    index: &'a Index,
    epoch: u64,
    pace: &'a mut Pace,
    events: u64,
}

impl Run<'_> {
    fn journal(&mut self, copy: &JournalCopy) -> Result<(), BackupError> {
        self.pace.phase("journals", 0);
        let folder = self.order.data.join(&copy.name);
        if let Some(parent) = folder.parent() {
            folders::make_durable(parent).map_err(BackupError::file(parent, "made"))?;
        }
        let mut restoring = Restoring::begin(&folder)?;
        let mut contents = Contents::default();
        let Self { repository, order, index, pace, .. } = self;
        journal_part::read(repository, index, copy, &order.identities, pace, &mut |key, value| {
            contents.see(&key, value.as_deref())?;
            Ok(restoring.put(key, value)?)
        })?;
        restoring.raise_epochs(Epoch(self.epoch))?;
        let report = restoring.finish()?;
        if let Some(fault) = report.faults.first() {
            return Err(BackupError::Inconsistent(format!("the journal {}: {fault}", copy.name)));
        }
        self.events += report.events;
        match self.index.lake.as_ref().filter(|lake| lake.journal == copy.name) {
            Some(lake) => same_files(&contents, lake).map_err(BackupError::Inconsistent),
            None => Ok(()),
        }
    }

    fn lake(&mut self, lake: &LakeCopy) -> Result<(), BackupError> {
        self.pace.phase("lake", lake.files.iter().map(|file| file.bytes).sum());
        let order = self.order;
        match &order.bucket {
            // It was looked at before.
            Some(bucket) if lake.lies_in(bucket.address()) => Ok(()),
            Some(bucket) => self.lake_to_bucket(lake, bucket),
            None => self.lake_to_folder(lake),
        }
    }

    fn lake_to_bucket(&mut self, lake: &LakeCopy, bucket: &LakeBucket) -> Result<(), BackupError> {
        for file in &lake.files {
            let (path, bytes, max) = (&file.path, file.bytes, limits::BUCKET_FILE_BYTES_MAX);
            if bytes > max {
                return Err(BackupError::TooLarge { what: path.clone(), bytes, max });
            }
            let mut contents = Vec::new();
            self.open_lake_file(lake, file, (&mut contents, Path::new(path)))?;
            bucket.create(path, contents, self.pace)?;
        }
        match references::absent(lake, bucket, self.pace)? {
            Some(path) => {
                Err(BackupError::Inconsistent(format!("the lake file {path} is not in {}", bucket.address())))
            }
            None => Ok(()),
        }
    }

    fn lake_to_folder(&mut self, lake: &LakeCopy) -> Result<(), BackupError> {
        let root = self.order.data.join(&lake.name);
        folders::make_durable(&root).map_err(BackupError::file(&root, "made"))?;
        let mut touched = BTreeSet::from([root.clone()]);
        for file in &lake.files {
            let path = root.join(&file.path);
            let folder = path.parent().unwrap_or(&root);
            fs::create_dir_all(folder).map_err(BackupError::file(folder, "made"))?;
            touched.extend(
                folder.ancestors().take_while(|above| above.starts_with(&root)).map(Path::to_path_buf),
            );
            self.lake_file(lake, file, &path)?;
        }
        for folder in touched.iter().rev() {
            sync(folder).map_err(BackupError::file(folder, "synced"))?;
        }
        let mut there = Vec::new();
        walk(&root, &root, &mut there).map_err(BackupError::file(&root, "read"))?;
        let there: BTreeSet<String> = there.into_iter().map(|(path, _)| path).collect();
        let wanted: BTreeSet<String> = lake.files.iter().map(|file| file.path.clone()).collect();
        match there.symmetric_difference(&wanted).next() {
            Some(path) => {
                Err(BackupError::Inconsistent(format!("the lake file {path} is missing, or a stray")))
            }
            None => Ok(()),
        }
    }

    fn lake_file(&mut self, lake: &LakeCopy, file: &LakeFileCopy, path: &Path) -> Result<(), BackupError> {
        let mut out = File::create_new(path).map_err(BackupError::file(path, "made"))?;
        self.open_lake_file(lake, file, (&mut out, path))?;
        out.sync_all().map_err(BackupError::file(path, "synced"))
    }

    /// Writes a copied file out, opened, and compares it with what was committed.
    fn open_lake_file(
        &mut self,
        lake: &LakeCopy,
        file: &LakeFileCopy,
        (out, to): (&mut impl Write, &Path),
    ) -> Result<(), BackupError> {
        let source = self.repository.object(&file.object.name);
        let stored = File::open(&source).map_err(BackupError::file(&source, "read"))?;
        let mut hashing = Hashing::new(stored);
        let sums = if lake.sealed {
            let identities = &self.order.identities;
            let opened = identities.open(&file.object.name, &self.index.recipients, &mut hashing)?;
            self.copy(opened, &source, (out, to))?
        } else {
            self.copy(&mut hashing, &source, (out, to))?
        };
        // It may have been changed between the check and now.
        let same = hashing.finish().0 == file.object.sha256;
        if !same || sums != (file.bytes, file.crc32c) {
            return Err(BackupError::damaged(&file.object.name, "it is not the file that was committed"));
        }
        Ok(())
    }

    fn copy(
        &mut self,
        input: impl Read,
        source: &Path,
        (out, to): (&mut impl Write, &Path),
    ) -> Result<(u64, u32), BackupError> {
        let mut checked = Checked::new(input);
        pump(&mut checked, source, out, to, self.pace)?;
        Ok(checked.sums())
    }

    /// Folders of small files, the register not older than it need be.
    fn files(&mut self) -> Result<(RegisterSource, Option<RegisterMerge>), BackupError> {
        self.pace.phase("keys and register", 0);
        let (mut from, mut merged) = (RegisterSource::Snapshot, None);
        for (index, copy, source) in register::newest(self.repository, self.index)? {
            let identities = &self.order.identities;
            let files = files_part::open(self.repository, &index, &copy, identities, self.pace)?;
            let is_erasures = self.index.lake.as_ref().is_some_and(|lake| copy.name == lake.erasures());
            if let (Some(bucket), true) = (&self.order.bucket, is_erasures) {
                restore_erasures(bucket, files, self.pace)?;
                continue;
            }
            let folder = self.order.data.join(&copy.name);
            files_part::restore(&folder, &files)?;
            if !folder.join(register::FILE).exists() {
                continue;
            }
            from = source;
            if let Some(survivor) = &self.order.register {
                merged = Some(register::merge(&folder, survivor, now_ms())?);
            }
        }
        Ok((from, merged))
    }
}
