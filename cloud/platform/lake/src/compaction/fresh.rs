//! Fresh files to history files: the rows of as many as fit into memory are regrouped by their hours, column by column. Where
//! values of rows are to be taken out, or a single file is too large, they are distributed row by row: the largest hour is
//! written out when memory is full, the rest when the batch is committed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use remuda_eventsourcing::{ManifestEntry, ManifestPosition, Note};
use remuda_model::ShardId;

use super::filter::{Filter, Taken};
use super::order::Into;
use super::regroup::{Made, Plan, cost};
use super::{Run, Staged, footer};
use crate::aside::aside;
use crate::commits::Commits;
use crate::describe::{Description, rows_of};
use crate::erasure::{Tombstone, blank};
use crate::error::LakeError;
use crate::file::encode_as;
use crate::history::{FRESH, Hour, bytes_of, order};
use crate::row::Row;
use crate::scan::Scan;
use crate::schema::Style;
use crate::{limits, watermarks};

/// A fresh file that can be compacted.
struct Covered {
    /// Without its rows.
    entry: ManifestEntry,
    rows: u64,
    position: ManifestPosition,
}

/// Rows by hour.
#[derive(Default)]
struct Hours {
    rows: BTreeMap<Hour, (Vec<Row>, usize)>,
    bytes: usize,
}

impl Hours {
    fn add(&mut self, row: Row) {
        let bytes = bytes_of(&row);
        let (rows, held) = self.rows.entry(Hour::of(&row)).or_default();
        rows.push(row);
        *held += bytes;
        self.bytes += bytes;
    }

    fn take_largest(&mut self) -> Option<(Hour, Vec<Row>)> {
        let hour = *self.rows.iter().max_by_key(|(_, (_, held))| *held)?.0;
        let (rows, held) = self.rows.remove(&hour)?;
        self.bytes -= held;
        Some((hour, rows))
    }
}

/// Reads on until the file ends (true) or memory is full.
fn fill(
    scan: &mut Scan,
    (filter, taken): (&Filter, &mut Taken),
    position: ManifestPosition,
    hours: &mut Hours,
    bytes_max: usize,
) -> Result<bool, LakeError> {
    let mut chunk = Vec::new();
    while hours.bytes < bytes_max {
        if scan.read(limits::SCAN_ROWS, &mut chunk)? == 0 {
            return Ok(true);
        }
        for mut row in chunk.drain(..) {
            row.commit = position;
            if filter.keeps(&mut row, taken) {
                hours.add(row);
            }
        }
    }
    Ok(false)
}

/// Fresh files on their way into one replacement.
#[derive(Default)]
struct Batch {
    inputs: Vec<Covered>,
    files: Vec<Bytes>,
    /// Memory that regrouping them takes, bytes.
    cost: usize,
    rows: u64,
    bytes: u64,
    outputs: Vec<Staged>,
    /// What erasures took, and the lines that say so.
    taken: Vec<Taken>,
    notes: Vec<Note>,
}

impl Run<'_> {
    /// Moves every fresh file that is covered.
    pub(super) async fn fresh(&mut self) -> Result<(), LakeError> {
        let files = self.covered().await?;
        let mut batch = Batch::default();
        for file in files {
            if !self.go_on() {
                return Ok(());
            }
            let cost = cost(file.entry.bytes, file.rows);
            let full = batch.cost.saturating_add(cost) > self.settings.rows_bytes_max
                || batch.inputs.len() >= limits::REPLACED_FILES_MAX;
            if full && !batch.inputs.is_empty() {
                self.finish(std::mem::take(&mut batch)).await?;
                if self.done.interrupted {
                    return Ok(());
                }
            }
            batch.files.push(self.lake.files.read(&file.entry).await?);
            batch.cost = batch.cost.saturating_add(cost);
            batch.rows += file.rows;
            batch.bytes += file.entry.bytes;
            batch.inputs.push(file);
        }
        if batch.inputs.is_empty() {
            return Ok(());
        }
        self.finish(batch).await
    }

    /// Fresh files that the checkpoints of all their shards cover, in order of commit.
    async fn covered(&mut self) -> Result<Vec<Covered>, LakeError> {
        let owned = self.lake.journal.epochs().await?;
        let mut covered: HashMap<ShardId, ManifestPosition> = HashMap::with_capacity(owned.len());
        for owner in owned {
            let checkpoint = self.lake.journal.checkpoint(owner.shard).await?;
            covered.insert(owner.shard, watermarks::covered_to(owner.shard, checkpoint.as_ref())?);
        }
        let mut waiting = 0;
        let open: Vec<Tombstone> = {
            let known = self.lake.known.lock().await;
            known
                .states
                .values()
                .filter(|s| s.finished_at_ms.is_none())
                .map(|s| s.tombstone.clone())
                .collect()
        };
        let mut blocked = BTreeSet::new();
        let files = self
            .lake
            .records(0, |record| {
                let entry = record.entry;
                if !entry.path.starts_with(FRESH) {
                    return None;
                }
                let to = |(shard, _): &(ShardId, u32)| covered.get(shard).copied().unwrap_or(0);
                if entry.rows.iter().any(|shard| to(shard) < record.position) {
                    waiting += 1;
                    blocked.extend(Self::blocks(&open, &entry));
                    return None;
                }
                let rows = rows_of(&entry);
                let position = record.position;
                Some(Covered { rows, position, entry: ManifestEntry { rows: Vec::new(), ..entry } })
            })
            .await?;
        self.done.waiting_files = waiting;
        self.blocked = blocked;
        Ok(files)
    }

    /// The batch's rows to files of their hours, column by column; false when they are to be read row by row.
    async fn regroup(&mut self, batch: &mut Batch) -> Result<bool, LakeError> {
        let tombstones = Arc::clone(&self.tombstones);
        let committed = batch.inputs.iter().map(|file| Some(file.position));
        let files: Vec<_> = batch.files.iter().cloned().zip(committed).collect();
        let bytes_max = self.settings.rows_bytes_max;
        let plan = aside(move || Plan::new(&files, &tombstones, Into::Hours, bytes_max)).await;
        let Some(plan) = plan.ok_or_else(panicked)?? else { return Ok(false) };
        let mut paths = Vec::new();
        for (hour, commits) in plan.hours() {
            let gone = self.settings.retention.gone(hour.end_ms(), self.now_ms());
            if !gone.is_empty() {
                return Ok(false);
            }
            paths.push(self.new_path(&hour.folder(), commits, &gone));
        }
        for (file, taken) in batch.inputs.iter().zip(plan.taken()) {
            batch.notes.extend(taken.notes(&file.entry.path, self.now_ms())?);
            batch.taken.push(taken.clone());
        }
        let (name, threads) = (self.name.clone(), self.settings.threads);
        let made = aside(move || plan.write(&name, paths, threads)).await.ok_or_else(panicked)??;
        for Made { entry, bytes } in made {
            let staged = self.stage(entry, bytes).await?;
            batch.outputs.push(staged);
        }
        Ok(true)
    }

    /// The same, row by row.
    async fn distribute(&mut self, batch: &mut Batch) -> Result<(), LakeError> {
        let mut hours = Hours::default();
        let files = std::mem::take(&mut batch.files);
        for (file, bytes) in std::mem::take(&mut batch.inputs).into_iter().zip(files) {
            self.take(batch, &mut hours, &file, bytes).await?;
            batch.inputs.push(file);
        }
        while let Some((hour, rows)) = hours.take_largest() {
            let staged = self.write(hour, rows).await?;
            batch.outputs.push(staged);
        }
        Ok(())
    }

    async fn take(
        &mut self,
        batch: &mut Batch,
        hours: &mut Hours,
        file: &Covered,
        bytes: Bytes,
    ) -> Result<(), LakeError> {
        let (entry, position) = (&file.entry, file.position);
        let mut scan = Scan::open(bytes)?;
        let bytes_max = self.settings.rows_bytes_max;
        let mut taken = Taken::default();
        loop {
            let mut held = std::mem::take(hours);
            let filter = Filter { tombstones: Arc::clone(&self.tombstones), ..Filter::default() };
            let filled = aside(move || {
                let ended = fill(&mut scan, (&filter, &mut taken), position, &mut held, bytes_max);
                (scan, held, taken, ended)
            });
            let ended;
            (scan, *hours, taken, ended) = filled.await.ok_or_else(|| unreadable(entry))?;
            if ended? {
                break;
            }
            while hours.bytes * 2 >= bytes_max {
                let Some((hour, rows)) = hours.take_largest() else { break };
                let staged = self.write(hour, rows).await?;
                batch.outputs.push(staged);
            }
        }
        batch.notes.extend(taken.notes(&entry.path, self.now_ms())?);
        batch.taken.push(taken);
        Ok(())
    }

    /// Sorts one hour's rows and writes them.
    async fn write(&mut self, hour: Hour, mut rows: Vec<Row>) -> Result<Staged, LakeError> {
        let gone = self.settings.retention.gone(hour.end_ms(), self.now_ms());
        self.tell_aged(&gone).await?;
        let path = self.new_path(&hour.folder(), Commits::of(&rows), &gone);
        let entry = Description::of(&rows).entry(path);
        let footer = footer(&self.name, &entry)?;
        let encoded = aside(move || {
            if !gone.is_empty() {
                rows.iter_mut().for_each(|row| {
                    blank(&mut row.body, |class| gone.contains(&class));
                });
            }
            rows.sort_unstable_by_key(order);
            encode_as(&rows, footer, Style::History)
        });
        let bytes = encoded.await.ok_or_else(|| unreadable(&entry))??;
        self.stage(entry, bytes).await
    }

    /// Writes a batch and commits it.
    async fn finish(&mut self, mut batch: Batch) -> Result<(), LakeError> {
        let made = match self.regroup(&mut batch).await {
            Ok(false) => self.distribute(&mut batch).await,
            Ok(true) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = made {
            self.unstage(batch.outputs).await;
            return Err(error);
        }
        batch.files.clear();
        let written: u64 = batch.outputs.iter().map(|staged| rows_of(&staged.entry)).sum();
        let erased: u64 = batch.taken.iter().map(|taken| taken.rows).sum();
        if written + erased != batch.rows {
            self.unstage(batch.outputs).await;
            return Err(LakeError::Miscounted { committed: batch.rows, read: written + erased });
        }
        let (files, bytes) =
            (batch.outputs.len() as u64, batch.outputs.iter().map(|staged| staged.entry.bytes).sum::<u64>());
        let inputs = batch.inputs.len() as u64;
        let paths = batch.inputs.into_iter().map(|file| file.entry.path).collect();
        self.replace(paths, batch.outputs, batch.notes).await?;
        if !self.done.interrupted {
            batch.taken.iter().for_each(|taken| self.took(taken));
            self.done.fresh_files += inputs;
            self.done.rows += batch.rows;
            self.done.fresh_bytes += batch.bytes;
            self.done.history_files += files;
            self.done.history_bytes += bytes;
        }
        Ok(())
    }
}

fn unreadable(entry: &ManifestEntry) -> LakeError {
    LakeError::Damaged { path: entry.path.clone(), what: "unreadable".into() }
}

fn panicked() -> LakeError {
    LakeError::Encode("the thread that compacts panicked".into())
}
