//! Backups: what a node consists of, its configuration's section, and the backups that a running node takes.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use remuda_backup::pace::Tell;
use remuda_backup::prune::{Keep, prune};
use remuda_backup::restore::{MARKER, note_of};
use remuda_backup::{
    Access, BackupError, BackupMetrics, FilesPart, JournalPart, LakeBucket, LakePart, LakePlace, Pace, Parts,
    Recipients, Repository, Request, SnapshotKind, Taken, take,
};
use remuda_lake::LakeError;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::config::{Config, ConfigError};
use crate::control;
use crate::lake_files::now_ms;
use crate::wiring::chain;

mod commands;

pub use commands::{BackupArgs, RestoreArgs};
pub(crate) use commands::{run, run_restore};

/// Backups.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backup {
    /// Folder of the backups, on another disk. None: named with `--to` each time.
    pub to: Option<PathBuf>,
    /// To whom keys, register and journals are encrypted: what `remuda backup keygen` printed, `age1...`.
    pub recipients: Vec<String>,
    /// Whether the lake's files are encrypted too; they are copied then, never linked.
    pub encrypt_lake: bool,
    /// Whether the lake's files are copied also where links would do, on one disk, or where they would stay in their bucket.
    pub copy_lake: bool,
    /// Most that a backup reads, MB (10^6 bytes) a second, 1 to 100,000; 0: as fast as it goes.
    pub rate_mb_per_second: u32,
    /// Minutes between two backups that a running node takes by itself, 1 to 525,600; 0: only when told to.
    pub every_minutes: u32,
    /// Days that the node keeps the backups it takes by itself, 1 to 36,500; the newest stays. Rows that were erased are in older
    /// backups until then. 0: for ever, until `remuda backup prune`.
    pub keep_days: u32,
}

impl Default for Backup {
    fn default() -> Self {
        let rate = remuda_backup::limits::BYTES_PER_SECOND / 1_000_000;
        Self {
            to: None,
            recipients: Vec::new(),
            encrypt_lake: false,
            copy_lake: false,
            rate_mb_per_second: u32::try_from(rate).unwrap_or(u32::MAX),
            every_minutes: 0,
            keep_days: 0,
        }
    }
}

impl Backup {
    /// Checks the section.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let range = |key, value: String, must| Err(ConfigError::Range { key, value, must });
        if self.rate_mb_per_second > 100_000 {
            let value = self.rate_mb_per_second.to_string();
            return range("backup.rate_mb_per_second", value, "0 (as fast as it goes), or 1 to 100000");
        }
        if self.every_minutes > 525_600 {
            let value = self.every_minutes.to_string();
            return range("backup.every_minutes", value, "0 (only when told to), or 1 to 525600");
        }
        if self.keep_days > 36_500 {
            let value = self.keep_days.to_string();
            return range("backup.keep_days", value, "0 (for ever), or 1 to 36500");
        }
        if !self.recipients.is_empty()
            && let Err(error) = Recipients::parse(&self.recipients)
        {
            return range("backup.recipients", error.to_string(), "lines that remuda backup keygen printed");
        }
        if self.every_minutes > 0 && (self.to.is_none() || self.recipients.is_empty()) {
            let must = "0, unless backup.to and backup.recipients say where to and for whom";
            return range("backup.every_minutes", self.every_minutes.to_string(), must);
        }
        Ok(())
    }
}

/// A node takes no backup by itself before this long after its start.
const START_TIME: Duration = Duration::from_secs(60);

/// Journals below the data folder; of a stopped node those that are there. All of them are copied as of one moment.
pub(crate) const JOURNALS: &[&str] = &["journal", "business"];
/// Folders of small files below the data folder; of a restored node they are the newest that the repository has.
const FILES: &[&str] = &["identity", "audit", "lake/erasures", "business-data/keys"];
/// The lake's folder, and the journal that holds its manifest.
const LAKE: (&str, &str) = ("lake", "journal");

/// The bucket of the lake, when it lies in one; requests are made on `runtime`.
pub(crate) fn lake_bucket(config: &Config, runtime: &Handle) -> Result<Option<LakeBucket>, LakeError> {
    let bucket = config.lake.open_bucket()?;
    Ok(bucket.map(|bucket| LakeBucket::new(bucket, runtime.clone())))
}

/// What a node consists of, with its journals, open.
pub(crate) fn parts(data: &Path, journals: Vec<JournalPart>, bucket: Option<LakeBucket>) -> Parts {
    let place = bucket.map_or_else(|| LakePlace::Folder(data.join(LAKE.0)), LakePlace::Bucket);
    Parts {
        journals,
        lake: Some(LakePart { name: LAKE.0, journal: LAKE.1, place }),
        files: FILES.iter().map(|name| FilesPart { name, folder: data.join(name) }).collect(),
        spool: data.join("backup-spool"),
    }
}

/// A journal of the data folder that no backup would hold: somebody has forgotten a line.
fn left_out(parts: &Parts) -> Option<PathBuf> {
    let data = parts.spool.parent()?;
    let folders = std::fs::read_dir(data).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut journals = folders.filter(|folder| folder.join("db").is_file() && folder.join("conf").is_file());
    journals.find(|folder| !parts.journals.iter().any(|part| data.join(part.name) == *folder))
}

/// What a restore left in a data folder: a node does not start on half of one.
///
/// # Errors
/// One sentence, when it was not finished.
pub(crate) fn check_restored(data: &Path) -> Result<(), String> {
    if data.join(MARKER).exists() {
        return Err(format!(
            "{} was not restored to its end; remove the folder and run remuda restore again",
            data.display()
        ));
    }
    if let Some(note) = note_of(data) {
        tracing::info!(
            snapshot = note.snapshot,
            moment_ms = note.moment_ms,
            restored_ms = note.restored_ms,
            epoch = note.epoch,
            "this node was restored; what vehicles were told is durable since that moment is missing, and becomes gaps \
             with the reason cloud-lost"
        );
    }
    Ok(())
}

/// A backup that is wanted of a running node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Wanted {
    to: PathBuf,
    recipients: Vec<String>,
    only_identity: bool,
    encrypt_lake: bool,
    copy: bool,
    rate_mb_per_second: u32,
    /// Older ones are removed afterwards; 0: none.
    #[serde(default)]
    keep_days: u32,
}

impl Wanted {
    fn configured(backup: &Backup) -> Result<Self, BackupError> {
        Ok(Self {
            to: backup.to.clone().ok_or_else(|| BackupError::NotARepository(PathBuf::new()))?,
            recipients: backup.recipients.clone(),
            only_identity: false,
            encrypt_lake: backup.encrypt_lake,
            copy: backup.copy_lake,
            rate_mb_per_second: backup.rate_mb_per_second,
            keep_days: backup.keep_days,
        })
    }

    fn take(&self, parts: &Parts, stop: Arc<AtomicBool>, tell: Tell) -> Result<Taken, BackupError> {
        if let Some(folder) = left_out(parts) {
            return Err(BackupError::LeftOut(folder));
        }
        let recipients = Recipients::parse(&self.recipients)?;
        let kind = if self.only_identity { SnapshotKind::Identity } else { SnapshotKind::Full };
        let rate = (self.rate_mb_per_second > 0).then(|| u64::from(self.rate_mb_per_second) * 1_000_000);
        let mut repository = Repository::create(&self.to)?;
        let request = Request { kind, recipients, seal_lake: self.encrypt_lake, links: !self.copy };
        let taken = take(&mut repository, parts, &request, &mut Pace::new(rate, stop, tell))?;
        if self.keep_days > 0 {
            let keep = Keep { newest: Some(1), days: Some(self.keep_days) };
            match prune(&repository, keep, false) {
                Ok(pruned) if pruned.removed.is_empty() => {}
                Ok(pruned) => tracing::info!(
                    snapshots = pruned.removed.len(),
                    bytes = pruned.bytes,
                    "backups beyond backup.keep_days were removed"
                ),
                Err(error) => tracing::warn!(
                    error = chain(&error),
                    "backups beyond backup.keep_days stay: what was erased is in them still"
                ),
            }
        }
        Ok(taken)
    }
}

/// What a running node backs up.
#[derive(Clone)]
pub(crate) struct Backing {
    parts: Parts,
    metrics: BackupMetrics,
    at_work: Arc<Mutex<()>>,
}

impl Backing {
    pub fn new(parts: Parts, metrics: BackupMetrics) -> Self {
        Self { parts, metrics, at_work: Arc::default() }
    }

    /// Takes a backup on a thread of its own; one at a time.
    pub fn back_up(
        &self,
        wanted: Wanted,
        stop: Arc<AtomicBool>,
        tell: Tell,
    ) -> JoinHandle<Result<Taken, String>> {
        let Self { parts, metrics, at_work } = self.clone();
        tokio::task::spawn_blocking(move || {
            let Ok(_alone) = at_work.try_lock() else {
                return Err("this node takes a backup already; wait for its end".to_owned());
            };
            match wanted.take(&parts, stop, tell) {
                Ok(taken) => {
                    metrics.taken(&taken);
                    let Taken { snapshot, bytes_new, seconds, .. } = &taken;
                    tracing::info!(snapshot, bytes_new, seconds, "a backup was taken");
                    Ok(taken)
                }
                Err(error) => {
                    metrics.failed();
                    tracing::warn!(error = chain(&error), "a backup was not finished");
                    Err(chain(&error))
                }
            }
        })
    }

    /// Takes one every so often, as the configuration says, counted from the newest that there is.
    pub fn schedule(&self, backup: &Backup, stop: Arc<AtomicBool>) -> Option<JoinHandle<()>> {
        let wanted = Wanted::configured(backup).ok().filter(|_| backup.every_minutes > 0)?;
        let (backing, every) = (self.clone(), Duration::from_secs(u64::from(backup.every_minutes) * 60));
        Some(tokio::spawn(async move {
            let to = wanted.to.clone();
            let newest = tokio::task::spawn_blocking(move || newest(&to)).await.ok().flatten();
            let mut wait = until_next(newest, now_ms(), every);
            loop {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = control::stopped(&stop) => return,
                }
                wait = every;
                // What went wrong was logged and counted.
                let _ = backing.back_up(wanted.clone(), Arc::clone(&stop), Box::new(|_| ())).await;
            }
        }))
    }
}

/// When the newest backup was begun, ms since 1970 UTC; none where there is none, or it cannot be told.
fn newest(to: &Path) -> Option<i64> {
    let repository = match Repository::open(to, Access::Read) {
        Ok(repository) => repository,
        // Not made yet.
        Err(BackupError::NotARepository(_)) => return None,
        Err(error) => {
            tracing::warn!(error = chain(&error), "it cannot be told when the last backup was taken");
            return None;
        }
    };
    repository.newest_full_ms().unwrap_or_default()
}

/// How long to wait for the next one. One that is due is not taken while the node is still starting.
fn until_next(newest_ms: Option<i64>, now_ms: i64, every: Duration) -> Duration {
    let every_ms = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
    let due_ms = newest_ms.map_or(now_ms, |newest| newest.saturating_add(every_ms));
    // A clock that was set back must not put it off for longer.
    let left_ms = due_ms.saturating_sub(now_ms).clamp(0, every_ms);
    Duration::from_millis(left_ms.unsigned_abs()).max(START_TIME.min(every))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_backup_is_counted_from_the_last_one_also_over_a_restart() {
        const HOUR: Duration = Duration::from_secs(3_600);
        let minutes = |n: i64| n * 60_000;
        let wait = |newest: Option<i64>| until_next(newest, minutes(1_000), HOUR);
        assert_eq!(wait(Some(minutes(960))), Duration::from_secs(20 * 60));
        assert_eq!(wait(Some(minutes(10))), START_TIME, "overdue");
        assert_eq!(wait(None), START_TIME, "none yet");
        assert_eq!(wait(Some(minutes(5_000))), HOUR, "the clock was set back");
        assert_eq!(until_next(None, 0, Duration::from_secs(60)), START_TIME.min(Duration::from_secs(60)));
    }
}
