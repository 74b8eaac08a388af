//! Files that the manifest names and that are gone, and how many of their rows came back with others: they were compacted
//! after the journal's copy was taken.
//!
//! Nobody knows any more which rows a file had that is gone, only how many of each shard and when they were received. A row
//! that came back is taken for one of them when it was received in their time, and was committed before the journal's
//! copy was taken: the checkpoints call it durable, or one of the files that are gone is newer than they are. What came
//! later makes up for nothing.
//!
//! How many came back is noted in the journal with each file that is adopted, so that a run that dies is gone on with.

use std::collections::{BTreeMap, HashMap, HashSet};

use remuda_eventsourcing::{ManifestRecord, Note, ReplaceOutcome};
use remuda_model::ShardId;
use serde::{Deserialize, Serialize};

use super::{Adopting, LeftFile};
use crate::error::LakeError;
use crate::history::HISTORY;
use crate::lake::Lake;
use crate::limits;
use crate::once::is_reprocessed;
use crate::row::Row;
use crate::watermarks;

/// The trail's name in the journal.
const TRAIL: &str = "lake-adoptions";
const GONE: &str = "put it back from a backup of the lake; remuda lake verify tells when all is there";

/// A line of the trail, JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
enum AdoptionRecord {
    /// Files were adopted.
    Took {
        /// Where their rows came from: nobody reads these again.
        sources: Vec<String>,
        /// What was committed.
        files: Vec<String>,
        /// Rows that came back with it for files that are gone, by shard.
        back: Vec<(ShardId, u64)>,
    },
    /// All that was gone came back, and left the manifest.
    MadeUp {
        /// How many files, of the last transaction.
        files: u64,
        /// When, ms since 1970 UTC.
        at_ms: i64,
    },
}

impl AdoptionRecord {
    fn note(&self) -> Result<Note, LakeError> {
        let bytes = serde_json::to_vec(self).map_err(|e| LakeError::Encode(e.to_string()))?;
        Ok(Note { trail: TRAIL.into(), bytes })
    }
}

/// Times of receipt, ms since 1970 UTC; first and last.
type Times = Vec<(i64, i64)>;

/// What is gone of a shard.
#[derive(Debug, Default)]
struct Gone {
    rows: u64,
    /// When the rows of its files were received.
    received: Times,
    /// The same of files that are newer than the shard's checkpoint.
    after_checkpoint: Times,
}

/// What is gone, and what came back of it.
#[derive(Debug, Default)]
pub(super) struct Back {
    gone: HashMap<ShardId, Gone>,
    /// Rows that came back, those of earlier runs too.
    rows: BTreeMap<ShardId, u64>,
    /// Of these, those that no line of the trail says yet.
    new: BTreeMap<ShardId, u64>,
    /// Files, and where they came from, whose rows the trail counts.
    noted: HashSet<String>,
    /// Files that an earlier run committed, and died before it noted them: their rows are counted now.
    counted: Vec<String>,
}

impl Back {
    /// What is gone with these files, and what earlier runs brought back.
    pub async fn of(lake: &Lake, missing: &[ManifestRecord]) -> Result<Self, LakeError> {
        let mut back = Self::default();
        if missing.is_empty() {
            return Ok(back);
        }
        let mut covered = HashMap::new();
        for owner in lake.journal.epochs().await? {
            let checkpoint = lake.journal.checkpoint(owner.shard).await?;
            covered.insert(owner.shard, watermarks::read(owner.shard, checkpoint.as_ref())?.0);
        }
        for ManifestRecord { position, entry } in missing {
            let durable = entry.path.starts_with(HISTORY) || is_reprocessed(&entry.path);
            for (shard, rows) in &entry.rows {
                let gone = back.gone.entry(*shard).or_default();
                gone.rows += u64::from(*rows);
                gone.received.push(entry.receive_time_ms);
                if !durable && *position > covered.get(shard).copied().unwrap_or_default() {
                    gone.after_checkpoint.push(entry.receive_time_ms);
                }
            }
        }
        for gone in back.gone.values_mut() {
            join(&mut gone.received);
            join(&mut gone.after_checkpoint);
        }
        back.read(lake).await?;
        Ok(back)
    }

    async fn read(&mut self, lake: &Lake) -> Result<(), LakeError> {
        let mut after = 0;
        loop {
            let lines = lake.journal.notes(TRAIL, after, limits::MANIFEST_PAGE).await?;
            let Some((last, _)) = lines.last() else { return Ok(()) };
            after = *last;
            for (_, line) in &lines {
                let record = serde_json::from_slice(line).map_err(|e| {
                    LakeError::Encode(format!(
                        "a line of the trail {TRAIL} cannot be read ({e}); use a newer release"
                    ))
                })?;
                match record {
                    AdoptionRecord::Took { sources, files, back } => {
                        self.noted.extend(sources.into_iter().chain(files));
                        for (shard, rows) in back {
                            *self.rows.entry(shard).or_default() += rows;
                        }
                    }
                    AdoptionRecord::MadeUp { .. } => self.rows.clear(),
                }
            }
        }
    }

    /// Whether the trail counts the rows of this file already.
    pub fn is_noted(&self, path: &str) -> bool {
        self.noted.contains(path)
    }

    /// The rows of a file that an earlier run committed and did not note are counted.
    pub fn counted(&mut self, path: &str) {
        self.counted.push(path.to_owned());
    }

    /// Whether a row was received when rows that are gone were; and whether one that no checkpoint covers counts too.
    fn asks_for(&self, shard: ShardId, received_ms: i64) -> Option<bool> {
        let gone = self.gone.get(&shard)?;
        has(&gone.received, received_ms).then(|| has(&gone.after_checkpoint, received_ms))
    }

    fn count(&mut self, shard: ShardId, rows: i64) {
        let known = self.rows.entry(shard).or_default();
        *known = known.saturating_add_signed(rows);
        if rows > 0 {
            *self.new.entry(shard).or_default() += rows.unsigned_abs();
        }
    }

    /// Notes what came back with these files.
    pub async fn note(
        &mut self,
        lake: &Lake,
        sources: Vec<String>,
        mut files: Vec<String>,
    ) -> Result<(), LakeError> {
        files.append(&mut self.counted);
        if self.gone.is_empty() || (sources.is_empty() && files.is_empty() && self.new.is_empty()) {
            return Ok(());
        }
        let back = std::mem::take(&mut self.new).into_iter().collect();
        Ok(lake.journal.note(&[AdoptionRecord::Took { sources, files, back }.note()?]).await?)
    }

    fn is_whole(&self) -> bool {
        self.gone.iter().all(|(shard, gone)| self.rows.get(shard).is_some_and(|rows| *rows >= gone.rows))
    }
}

/// Sorts ranges and joins those that touch.
fn join(times: &mut Times) {
    times.sort_unstable();
    let mut joined: Times = Vec::with_capacity(times.len().min(16));
    for (from, to) in times.drain(..) {
        match joined.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => joined.push((from, to)),
        }
    }
    *times = joined;
}

/// Whether joined ranges hold a time.
fn has(times: &Times, at: i64) -> bool {
    let before = times.partition_point(|(from, _)| *from <= at);
    before > 0 && times[before - 1].1 >= at
}

impl Adopting<'_> {
    /// Counts a row that came back (1), or that turned out to be there twice (-1).
    pub(super) async fn came_back(&mut self, row: &Row, rows: i64) -> Result<(), LakeError> {
        let shard = ShardId::of(&row.vehicle);
        let Some(newer_too) = self.back.asks_for(shard, row.receive_time_ms) else { return Ok(()) };
        if newer_too || self.is_durable(row).await? {
            self.back.count(shard, rows);
        }
        Ok(())
    }

    /// Files that are gone leave the manifest when as many rows of their time came back with others.
    pub(super) async fn make_up(&mut self, missing: Vec<ManifestRecord>) -> Result<(), LakeError> {
        if missing.is_empty() {
            return Ok(());
        }
        if !self.back.is_whole() {
            let left = |record: ManifestRecord| LeftFile {
                path: record.entry.path,
                detail: "it was committed and is not there".into(),
                advice: GONE,
            };
            self.done.left.extend(missing.into_iter().map(left));
            return Ok(());
        }
        let epoch = self.lake.journal.acquire_replacing().await?;
        let mut left = missing.len();
        for records in missing.chunks(limits::REPLACED_FILES_MAX) {
            let paths: Vec<String> = records.iter().map(|record| record.entry.path.clone()).collect();
            left -= paths.len();
            let made_up = AdoptionRecord::MadeUp { files: paths.len() as u64, at_ms: self.now_ms };
            // With the last of them: until then, what came back is still counted.
            let notes = if left == 0 { vec![made_up.note()?] } else { Vec::new() };
            match self.lake.journal.replace_files(epoch, &paths, &[], &notes, self.now_ms).await {
                ReplaceOutcome::Committed { .. } => self.done.made_up_files += paths.len() as u64,
                ReplaceOutcome::Refused { .. } => return Err(LakeError::Refused),
                ReplaceOutcome::Unknown => return Err(LakeError::Stuck),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_ranges_hold_their_ends() {
        let mut times = vec![(5, 7), (1, 2), (7, 9), (20, 20)];
        join(&mut times);
        assert_eq!(times, [(1, 2), (5, 9), (20, 20)]);
        let held: Vec<i64> = (0..22).filter(|at| has(&times, *at)).collect();
        assert_eq!(held, [1, 2, 5, 6, 7, 8, 9, 20]);
    }

    /// Lines as they stand in journals: they are read for ever.
    #[test]
    fn old_lines_are_read() {
        for line in [
            r#"{"line":"took","sources":["staged/b.parquet"],"files":["fresh/a.adopted.parquet"],"back":[[7,3]]}"#,
            r#"{"line":"made-up","files":2,"at_ms":9}"#,
        ] {
            let record: AdoptionRecord = serde_json::from_str(line).expect("read");
            assert_eq!(serde_json::to_string(&record).expect("written"), line);
        }
    }
}
