//! Taking a backup: journals as of one moment, the lake's files of that moment's manifest, keys and register after it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use remuda_eventsourcing::copying::{Contents, Copying, copy_together};
use remuda_eventsourcing::{CopySink, ManifestEntry};
use serde::{Deserialize, Serialize};

use crate::error::BackupError;
use crate::files_part;
use crate::index::{Index, JournalCopy, LakeCopy, SnapshotKind, erasures_of};
use crate::journal_part::{Pieces, PiecesSink, Sealer};
use crate::lake_part::{LakeFiles, take_erasures};
use crate::limits;
use crate::pace::Pace;
use crate::parts::{LakePart, LakePlace, Parts};
use crate::repository::Repository;
use crate::seal::Recipients;

/// What backup is wanted.
#[derive(Clone)]
pub struct Request {
    /// Of what.
    pub kind: SnapshotKind,
    /// To whom keys, register and journals are encrypted.
    pub recipients: Recipients,
    /// Whether the lake's files are encrypted too.
    pub seal_lake: bool,
    /// Whether a file may be a link to the lake's own, where both are on one disk, or stay in the lake's bucket.
    pub links: bool,
}

/// A backup that was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// Its name.
    pub snapshot: String,
    /// Of what it is.
    pub kind: SnapshotKind,
    /// The moment that it is of, ms since 1970 UTC.
    pub moment_ms: i64,
    /// Keys of the journals.
    pub journal_keys: u64,
    /// Files of the lake.
    pub lake_files: u64,
    /// Of those, how many were not in the repository before and are links to the lake's own.
    pub lake_files_linked: u64,
    /// Of those, how many were not in the repository before and were copied.
    pub lake_files_copied: u64,
    /// Of those, how many are not in the repository: they stay in the lake's bucket.
    pub lake_files_in_place: u64,
    /// Bytes that the snapshot refers to.
    pub bytes: u64,
    /// Bytes that were not in the repository before.
    pub bytes_new: u64,
    /// Bytes gone through.
    pub bytes_read: u64,
    /// How long it took, s.
    pub seconds: f64,
    /// Megabytes (10^6) gone through in a second.
    pub mb_per_second: f64,
    /// How often the journals were copied.
    pub passes: u32,
    /// When the newest event in it was decided, ms since 1970 UTC.
    pub last_event_ms: Option<i64>,
    /// When the newest row in it was received, ms since 1970 UTC.
    pub last_row_ms: Option<i64>,
}

pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Sorts by time.
fn new_id(now_ms: i64) -> String {
    let at = DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
    format!("{}-{:04x}", at.format("%Y%m%dT%H%M%S%3fZ"), rand::random::<u16>())
}

/// Takes a backup. What an earlier one that was not finished has copied is used.
///
/// # Errors
/// When something cannot be read or written, or the pace says stop; then there is no new snapshot, and all earlier ones
/// are as they were.
pub fn take(
    repository: &mut Repository,
    parts: &Parts,
    request: &Request,
    pace: &mut Pace,
) -> Result<Taken, BackupError> {
    let begun_ms = now_ms();
    let id = new_id(begun_ms);
    let known = repository.known()?;
    repository.partial(&id)?;
    let mut run = Run {
        parts,
        request,
        sealer: Sealer { repository, recipients: &request.recipients, known: &known, pace, written: 0 },
        spools: 0,
    };
    let taken = match request.kind {
        SnapshotKind::Full => run.moment()?,
        SnapshotKind::Identity => Moment { at_ms: begun_ms, ..Moment::default() },
    };
    run.sealer.pace.phase("keys and register", 0);
    let mut files = Vec::new();
    let bucket = parts.lake.as_ref().filter(|lake| matches!(lake.place, LakePlace::Bucket(_)));
    for part in &parts.files {
        // What lies in the folder of a lake that has moved into a bucket is not in force.
        if bucket.is_none_or(|lake| part.name != erasures_of(lake.name)) {
            files.extend(files_part::take(part, &mut run.sealer)?);
        }
    }
    // Keys and register alone take a moment, wherever the lake is.
    if let Some(lake) = bucket.filter(|_| request.kind == SnapshotKind::Full) {
        files.extend(take_erasures(lake, &mut run.sealer)?);
    }
    let written = run.sealer.written;
    let index = Index {
        id,
        kind: request.kind,
        begun_ms,
        moment_ms: taken.at_ms,
        ended_ms: now_ms(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        recipients: request.recipients.names().to_vec(),
        journals: taken.journals,
        lake: taken.lake,
        files,
    };
    repository.seal_snapshot(&index)?;
    let seconds = pace.elapsed().as_secs_f64();
    let bytes_read = pace.progress().bytes;
    Ok(Taken {
        kind: index.kind,
        moment_ms: index.moment_ms,
        journal_keys: index.journals.iter().map(|j| j.entry_count).sum(),
        lake_files: index.lake.as_ref().map_or(0, LakeCopy::count),
        lake_files_linked: taken.linked,
        lake_files_copied: taken.copied,
        lake_files_in_place: index.lake.as_ref().map_or(0, |l| l.in_place.len() as u64),
        bytes: index.bytes(),
        bytes_new: written,
        bytes_read,
        seconds,
        mb_per_second: if seconds > 0.0 { bytes_read as f64 / 1e6 / seconds } else { 0.0 },
        passes: taken.passes,
        last_event_ms: index.journals.iter().filter_map(|j| j.last_event_ms).max(),
        last_row_ms: index.lake.as_ref().and_then(|l| l.last_row_ms),
        snapshot: index.id,
    })
}

/// Journals and lake as of one moment.
#[derive(Default)]
struct Moment {
    at_ms: i64,
    journals: Vec<JournalCopy>,
    lake: Option<LakeCopy>,
    linked: u64,
    copied: u64,
    passes: u32,
}

struct Run<'a> {
    parts: &'a Parts,
    request: &'a Request,
    sealer: Sealer<'a>,
    spools: u32,
}

impl Run<'_> {
    fn moment(&mut self) -> Result<Moment, BackupError> {
        let Some(lake) = &self.parts.lake else {
            let (at_ms, copies) = self.journals()?;
            let journals = copies.into_iter().map(|(copy, _)| copy).collect();
            return Ok(Moment { at_ms, journals, passes: 1, ..Moment::default() });
        };
        let sealed = self.request.seal_lake;
        let links = self.request.links && !sealed;
        let mut files = LakeFiles {
            place: &lake.place,
            sealed,
            links,
            done: HashMap::new(),
            in_place: HashMap::new(),
            linked: 0,
            copied: 0,
        };
        for passes in 1.. {
            let (at_ms, copies) = self.journals()?;
            let manifest: Vec<ManifestEntry> = copies
                .iter()
                .filter(|(copy, _)| copy.name == lake.journal)
                .flat_map(|(_, contents)| contents.manifest.values().cloned())
                .collect();
            let begun = Instant::now();
            let gone = files.take_all(&manifest, &mut self.sealer)?;
            let last = passes == limits::PASSES_MAX;
            let soon = begun.elapsed() < Duration::from_secs(limits::PASS_S_MAX);
            match gone {
                // What it holds is not much older than its end.
                None if soon || last => {
                    let last_row_ms = copies.iter().filter_map(|(_, contents)| contents.last_row_ms()).max();
                    let (linked, copied) = (files.linked, files.copied);
                    let lake = lake_copy(lake, sealed, &manifest, files, last_row_ms);
                    let journals = copies.into_iter().map(|(copy, _)| copy).collect();
                    return Ok(Moment { at_ms, journals, lake: Some(lake), linked, copied, passes });
                }
                Some(path) if last => return Err(BackupError::LakeFile { path, what: "is missing" }),
                // Nearly all files are there now: the next pass takes a moment.
                _ => {}
            }
        }
        Err(BackupError::Stopped)
    }

    fn journals(&mut self) -> Result<(i64, Vec<(JournalCopy, Contents)>), BackupError> {
        self.sealer.pace.phase("journals", 0);
        let journals = &self.parts.journals;
        let mut pieces: Vec<Pieces> = journals.iter().map(|_| Pieces::default()).collect();
        self.spools += 1;
        let folder = Spools::new(&self.parts.spool)?;
        let spool = |at: usize| folder.0.join(format!("changes-{}-{at}", self.spools));
        let spools: Vec<PathBuf> = (0..journals.len()).map(spool).collect();
        let sealer = Mutex::new(Sealer {
            repository: &mut *self.sealer.repository,
            recipients: self.sealer.recipients,
            known: self.sealer.known,
            pace: &mut *self.sealer.pace,
            written: 0,
        });
        let mut sinks: Vec<PiecesSink<'_, '_>> =
            pieces.iter_mut().map(|pieces| PiecesSink { pieces, sealer: &sealer, failed: None }).collect();
        let mut copying: Vec<Copying<'_>> = Vec::with_capacity(journals.len());
        for ((journal, spool), sink) in journals.iter().zip(&spools).zip(&mut sinks) {
            copying.push(Copying { source: &*journal.source, spool, sink: sink as &mut dyn CopySink });
        }
        let copied = copy_together(&mut copying);
        drop(copying);
        // A sink can only say that it failed; it knows why.
        if let Some(error) = sinks.iter_mut().find_map(|sink| sink.failed.take()) {
            return Err(error);
        }
        let (moment, copied) = copied?;
        let at_ms = moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        sinks.iter_mut().try_for_each(PiecesSink::end_piece)?;
        drop(sinks);
        let written = sealer.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).written;
        self.sealer.written += written;
        let copies = journals.iter().zip(pieces).zip(copied);
        let copies = copies.map(|((journal, pieces), copied)| pieces.copy(journal.name, copied));
        Ok((at_ms, copies.collect::<Result<_, _>>()?))
    }
}

/// A folder for spools, as long as they are wanted.
struct Spools<'a>(&'a Path);

impl<'a> Spools<'a> {
    fn new(folder: &'a Path) -> Result<Self, BackupError> {
        // What a run that was killed left.
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(BackupError::file(folder, "removed")(error));
            }
            _ => {}
        }
        fs::create_dir_all(folder).map_err(BackupError::file(folder, "made"))?;
        Ok(Self(folder))
    }
}

impl Drop for Spools<'_> {
    fn drop(&mut self) {
        // What stays is removed by the next run.
        let _ = fs::remove_dir_all(self.0);
    }
}

fn lake_copy(
    lake: &LakePart,
    sealed: bool,
    manifest: &[ManifestEntry],
    mut files: LakeFiles<'_>,
    last_row_ms: Option<i64>,
) -> LakeCopy {
    // Files of an earlier pass that have left the manifest since are not of this moment.
    let mut copies: Vec<_> = manifest.iter().filter_map(|entry| files.done.remove(&entry.path)).collect();
    copies.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let in_place = manifest.iter().filter_map(|entry| files.in_place.remove(&entry.path));
    let mut in_place: Vec<_> = in_place.collect();
    in_place.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    LakeCopy {
        name: lake.name.to_owned(),
        journal: lake.journal.to_owned(),
        files: copies,
        sealed,
        last_row_ms,
        bucket: match &lake.place {
            LakePlace::Folder(_) => None,
            LakePlace::Bucket(bucket) => Some(bucket.address().to_owned()),
        },
        in_place,
    }
}
