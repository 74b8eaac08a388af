//! Compaction: fresh files become history files, small history files become larger ones, old ones go.
//!
//! A step is always the same: outputs are written to `staged/` (synced), one transaction of the journal puts them into
//! the manifest for their inputs, the outputs move to their place in `history/`, the inputs to `replaced/`, where they
//! stay for readers that began before; after a grace period they are deleted and forgotten. What a crash leaves between
//! two of these, the next run finishes first, from the journal's list of replaced files and from what lies in `staged/`.

mod columns;
mod filter;
mod fresh;
mod merge;
mod order;
mod regroup;
mod rewrite;
mod settle;
mod splice;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use remuda_eventsourcing::{ManifestEntry, Note, ReplaceOutcome};
use remuda_model::{Epoch, SignalClass};
use serde::Serialize;
use tokio::time::Instant;

use crate::commits::Commits;
use crate::erasure::{ErasureId, Tombstones};
use crate::error::LakeError;
use crate::files::Footer;
use crate::history::{REPLACED, STAGED};
use crate::lake::Lake;
use crate::limits;
use crate::retention::{Retention, mark};

/// How a compaction works.
#[derive(Debug, Clone)]
pub struct CompactionSettings {
    /// Memory that files take while their rows are regrouped, bytes: they, the columns in work and what comes of them.
    /// Files that need more are read row by row: rows up to as much, beside the files that are read and the one that is
    /// written, 64 MiB each at most when files are merged.
    pub rows_bytes_max: usize,
    /// Threads that encode columns at once; at least 1.
    pub threads: usize,
    /// Small files that an hour may have in each tier before they are merged; at least 1.
    pub small_files_max: usize,
    /// How long a replaced file can still be read, ms.
    pub grace_ms: i64,
    /// What leaves the lake, and when.
    pub retention: Retention,
    /// Within what time the files of an erasure are rewritten, ms. It is begun after half of it, so that erasures that
    /// come together are done in one pass; 0: by the next compaction.
    pub erase_within_ms: i64,
}

impl Default for CompactionSettings {
    fn default() -> Self {
        Self {
            rows_bytes_max: limits::COMPACTION_ROWS_BYTES,
            threads: threads(),
            small_files_max: limits::SMALL_FILES_MAX,
            grace_ms: limits::REPLACED_GRACE_MS,
            retention: Retention::default(),
            erase_within_ms: limits::ERASE_WITHIN_MS,
        }
    }
}

/// As many as there are cores, but a few at most.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(limits::COMPACTION_THREADS_MAX)
}

/// What a compaction has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Compacted {
    /// Fresh files whose rows are in history now.
    pub fresh_files: u64,
    /// Fresh files that wait for a checkpoint to cover them.
    pub waiting_files: u64,
    /// Rows moved to history.
    pub rows: u64,
    /// Bytes of these fresh files.
    pub fresh_bytes: u64,
    /// History files made of them.
    pub history_files: u64,
    /// Bytes of these.
    pub history_bytes: u64,
    /// Small history files that were merged.
    pub merged_files: u64,
    /// Rows in them.
    pub merged_rows: u64,
    /// History files beyond the retention.
    pub expired_files: u64,
    /// Rows in them.
    pub expired_rows: u64,
    /// History files without values of classes that are over age now.
    pub aged_files: u64,
    /// Rows that erasures took out.
    pub erased_rows: u64,
    /// Rows of which erasures took values.
    pub blanked_rows: u64,
    /// Erasures of which nothing is left.
    pub finished_erasures: u64,
    /// Erasures that are not finished.
    pub open_erasures: u64,
    /// Of these, those whose files were not rewritten within their time.
    pub overdue_erasures: u64,
    /// Replaced files that were deleted after the grace period.
    pub deleted_files: u64,
    /// Steps that an earlier run had begun and this one finished.
    pub finished_steps: u64,
    /// Whether it was told to stop before it was done.
    pub interrupted: bool,
}

/// Is told the progress between any two steps; `Break` ends the compaction there, with nothing half done.
pub type Watch<'a> = &'a (dyn Fn(&Compacted) -> ControlFlow<()> + Sync);

/// One run.
struct Run<'a> {
    lake: &'a Lake,
    settings: &'a CompactionSettings,
    watch: Watch<'a>,
    epoch: Epoch,
    begun: (i64, Instant),
    /// Names this run in file names.
    name: String,
    counter: u64,
    done: Compacted,
    /// What was to be forgotten when it began, and the erasures that this comes from.
    tombstones: Arc<Tombstones>,
    knows: BTreeSet<ErasureId>,
    /// Erasures of which rows wait in fresh files.
    blocked: BTreeSet<ErasureId>,
}

/// A file written to `staged/`.
struct Staged {
    entry: ManifestEntry,
}

impl Lake {
    /// Moves rows of fresh files that checkpoints cover to `history/`, drops what is older than the retention, merges small
    /// files, takes out what erasures ask for, deletes what was replaced longer ago than the grace period. Only one compaction of a lake is at work: a
    /// newer one refuses the older. Rounds, recovery and readers go on meanwhile.
    ///
    /// # Errors
    /// When a file is missing or damaged, the store or the journal fails, or a newer compaction has begun. Nothing is
    /// half done then that the next run would not finish.
    pub async fn compact(
        &self,
        settings: &CompactionSettings,
        now_ms: i64,
        watch: Watch<'_>,
    ) -> Result<Compacted, LakeError> {
        let mut run = Run {
            lake: self,
            settings,
            watch,
            epoch: self.journal.acquire_replacing().await?,
            begun: (now_ms, Instant::now()),
            name: format!("{:016x}", rand::random::<u64>()),
            counter: 0,
            done: Compacted::default(),
            tombstones: Arc::default(),
            knows: BTreeSet::new(),
            blocked: BTreeSet::new(),
        };
        let ended = run.all().await;
        run.lake.metrics.compacted(&run.done, run.begun.1.elapsed());
        ended?;
        Ok(run.done)
    }
}

impl Run<'_> {
    async fn all(&mut self) -> Result<(), LakeError> {
        // Our epoch was raised before: whoever does not know of a tombstone replaces nothing any more.
        self.lake.refresh().await?;
        self.lake.copy_tombstones().await?;
        {
            let known = self.lake.known.lock().await;
            self.tombstones = Arc::clone(&known.tombstones);
            self.knows = known.states.keys().copied().collect();
        }
        self.settle().await?;
        self.fresh().await?;
        self.expire().await?;
        self.merge().await?;
        self.blank_aged().await?;
        if self.done.interrupted { Ok(()) } else { self.erase().await }
    }

    /// Counts what was taken out.
    fn took(&mut self, taken: &filter::Taken) {
        self.done.erased_rows += taken.rows;
        self.done.blanked_rows += taken.blanked();
    }

    fn now_ms(&self) -> i64 {
        let (at, begun) = self.begun;
        at.saturating_add(i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    /// Tells the progress; whether to go on.
    fn go_on(&mut self) -> bool {
        if (self.watch)(&self.done).is_break() {
            self.done.interrupted = true;
        }
        !self.done.interrupted
    }

    /// A new file's path below the root, in an hour's folder; its name says which commits are in it, and what is gone from it.
    fn new_path(&mut self, folder: &str, commits: Option<Commits>, gone: &BTreeSet<SignalClass>) -> String {
        self.counter += 1;
        let commits = commits.map(|commits| commits.mark()).unwrap_or_default();
        format!("{folder}/{}-{}-{}{commits}{}.parquet", self.name, self.epoch.0, self.counter, mark(gone))
    }

    /// Writes an output where nobody looks for it yet.
    async fn stage(&self, mut entry: ManifestEntry, bytes: Vec<u8>) -> Result<Staged, LakeError> {
        entry.bytes = bytes.len() as u64;
        entry.checksum = crc32c::crc32c(&bytes);
        self.lake.files.create(&format!("{STAGED}{}", entry.path), bytes).await?;
        Ok(Staged { entry })
    }

    /// Takes back what will not be committed.
    async fn unstage(&self, staged: Vec<Staged>) {
        for Staged { entry } in staged {
            if let Err(error) = self.lake.files.delete(&format!("{STAGED}{}", entry.path)).await {
                tracing::warn!(%error, path = entry.path, "a file that is not needed stays until the next compaction");
            }
        }
    }

    /// The transaction, and then the moves.
    async fn replace(
        &mut self,
        inputs: Vec<String>,
        outputs: Vec<Staged>,
        notes: Vec<Note>,
    ) -> Result<(), LakeError> {
        fail::fail_point!("compact-after-staging", |_| std::process::abort());
        let entries: Vec<ManifestEntry> = outputs.iter().map(|staged| staged.entry.clone()).collect();
        let mut pause = limits::RETRY_MS_MIN;
        loop {
            let turn = self.lake.turns.replace().await;
            let outcome =
                self.lake.journal.replace_files(self.epoch, &inputs, &entries, &notes, self.now_ms()).await;
            drop(turn);
            match outcome {
                ReplaceOutcome::Committed { .. } => break,
                ReplaceOutcome::Refused { missing } => {
                    self.unstage(outputs).await;
                    return Err(LakeError::Superseded { missing: missing.len() });
                }
                ReplaceOutcome::Unknown if !self.go_on() => {
                    // Whether it was committed is not known: what is staged stays, and the next run will find out.
                    return Ok(());
                }
                ReplaceOutcome::Unknown => {
                    tracing::warn!("the answer of a replacement was lost; asking again");
                    self.lake.metrics.retries.inc();
                    tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
                    pause = (pause * 2).min(limits::RETRY_MS_MAX);
                }
            }
        }
        fail::fail_point!("compact-before-moves", |_| std::process::abort());
        for entry in &entries {
            self.lake.files.relocate(&format!("{STAGED}{}", entry.path), &entry.path).await?;
        }
        fail::fail_point!("compact-between-moves", |_| std::process::abort());
        for path in &inputs {
            self.lake.files.relocate(path, &format!("{REPLACED}{path}")).await?;
        }
        fail::fail_point!("compact-after-moves", |_| std::process::abort());
        Ok(())
    }
}

/// What the footer of a file says.
fn footer(name: &str, entry: &ManifestEntry) -> Result<String, LakeError> {
    let footer = Footer { writer: name.to_owned(), owners: Vec::new(), entry: entry.clone() };
    serde_json::to_string(&footer).map_err(|e| LakeError::Encode(e.to_string()))
}

/// Stops a compaction from outside, such as a node that ends.
pub fn until(stop: &std::sync::atomic::AtomicBool) -> impl Fn(&Compacted) -> ControlFlow<()> + Sync + '_ {
    |_| if stop.load(Ordering::Acquire) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
