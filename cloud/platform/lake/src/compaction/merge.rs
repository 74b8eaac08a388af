//! Small history files of an hour to larger ones, by merging sorted files.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use bytes::Bytes;
use remuda_eventsourcing::ManifestEntry;
use remuda_model::{SignalClass, signal};

use super::filter::{Filter, Taken};
use super::order::Into;
use super::regroup::Plan;
use super::splice::spliced;
use super::{Run, footer};
use crate::aside::aside;
use crate::commits::Commits;
use crate::describe::{Description, rows_of};
use crate::encode::Encoder;
use crate::error::LakeError;
use crate::history::{Hour, Order, order};
use crate::limits;
use crate::row::Row;
use crate::scan::Scan;
use crate::schema::Style;

/// How often the hours are looked through: a merge may fill the next tier.
const PASSES: usize = 3;

/// Files of one hour and tier.
type Tier = (Hour, bool);

/// Rows of one input, a few at a time.
struct Input {
    scan: Scan,
    rows: std::vec::IntoIter<Row>,
}

impl Input {
    fn next(&mut self) -> Result<Option<Row>, LakeError> {
        if let Some(row) = self.rows.next() {
            return Ok(Some(row));
        }
        let mut rows = Vec::new();
        self.scan.read(limits::SCAN_ROWS / 4, &mut rows)?;
        self.rows = rows.into_iter();
        Ok(self.rows.next())
    }
}

/// A file made of others.
pub(super) struct Merged {
    pub entry: ManifestEntry,
    pub bytes: Vec<u8>,
    /// What was taken out of each of them.
    pub taken: Vec<Taken>,
}

/// How files are merged.
#[derive(Debug, Clone)]
pub(super) struct Merging {
    pub filter: Filter,
    pub hour: Hour,
    /// Of this run.
    pub name: String,
    pub bytes_max: usize,
    pub threads: usize,
}

/// Merges sorted files into one at `path`, without what the filter takes.
pub(super) fn merged(files: Vec<Bytes>, how: &Merging, path: String) -> Result<Merged, LakeError> {
    if how.filter.gone.is_empty() {
        if let [file] = files.as_slice()
            && let Some(merged) = spliced(file, how, &path)?
        {
            return Ok(merged);
        }
        let sources: Vec<_> = files.iter().map(|file| (file.clone(), None)).collect();
        let plan = Plan::new(&sources, &how.filter.tombstones, Into::One(how.hour), how.bytes_max)?;
        if let Some(plan) = plan {
            let taken = plan.taken().to_vec();
            let made = plan.write(&how.name, vec![path.clone()], how.threads)?.pop();
            let nothing = || (Description::default().entry(path), Vec::new());
            let (entry, bytes) = made.map_or_else(nothing, |made| (made.entry, made.bytes));
            return Ok(Merged { entry, bytes, taken });
        }
    }
    merged_by_row(files, &how.filter, &how.name, path)
}

/// The same, row by row.
pub(super) fn merged_by_row(
    files: Vec<Bytes>,
    filter: &Filter,
    name: &str,
    path: String,
) -> Result<Merged, LakeError> {
    let mut inputs = Vec::with_capacity(files.len());
    let mut signals = BTreeSet::new();
    let mut heap: BinaryHeap<Reverse<(Order, usize)>> = BinaryHeap::new();
    let mut heads: Vec<Option<Row>> = Vec::with_capacity(files.len());
    let mut taken = vec![Taken::default(); files.len()];
    for (i, file) in files.into_iter().enumerate() {
        let mut input = Input { scan: Scan::open(file)?, rows: Vec::new().into_iter() };
        signals.append(&mut input.scan.signals());
        let head = input.next()?;
        heap.extend(head.as_ref().map(|row| Reverse((order(row), i))));
        heads.push(head);
        inputs.push(input);
    }
    signals.retain(|signal| !filter.gone.contains(&signal::class_of(*signal)));
    let mut encoder = Encoder::new(&signals, Style::History)?;
    let mut description = Description::default();
    let mut group: Vec<Row> = Vec::new();
    while let Some(Reverse((_, i))) = heap.pop() {
        let next = inputs[i].next()?;
        heap.extend(next.as_ref().map(|row| Reverse((order(row), i))));
        if let Some(mut row) = std::mem::replace(&mut heads[i], next)
            && filter.keeps(&mut row, &mut taken[i])
        {
            description.add(&row);
            group.push(row);
        }
        if group.len() == limits::ROW_GROUP_ROWS_MAX {
            encoder.group(&group)?;
            group.clear();
        }
    }
    if !group.is_empty() {
        encoder.group(&group)?;
    }
    let entry = description.entry(path);
    let footer = footer(name, &entry)?;
    Ok(Merged { bytes: encoder.finish(footer)?, entry, taken })
}

impl Run<'_> {
    /// Merges where an hour has too many small files.
    pub(super) async fn merge(&mut self) -> Result<(), LakeError> {
        for _ in 0..PASSES {
            let mut any = false;
            for (hour, files) in self.small_files().await? {
                if !self.go_on() {
                    return Ok(());
                }
                self.merge_files(hour, files).await?;
                any = true;
                if self.done.interrupted {
                    return Ok(());
                }
            }
            if !any {
                break;
            }
        }
        Ok(())
    }

    /// Sets of files to be merged, each within the bounds.
    async fn small_files(&self) -> Result<Vec<(Hour, Vec<ManifestEntry>)>, LakeError> {
        let mut tiers: BTreeMap<Tier, Vec<ManifestEntry>> = BTreeMap::new();
        let small = self
            .lake
            .records(0, |record| {
                let hour = Hour::of_path(&record.entry.path)?;
                (record.entry.bytes < limits::HISTORY_FILE_FULL_BYTES).then_some((hour, record.entry))
            })
            .await?;
        for (hour, entry) in small {
            tiers.entry((hour, entry.bytes >= limits::LOWEST_TIER_BYTES)).or_default().push(entry);
        }
        let mut sets = Vec::new();
        for ((hour, _), mut files) in tiers {
            if files.len() <= self.settings.small_files_max.max(1) {
                continue;
            }
            files.sort_unstable_by_key(|entry| entry.bytes);
            let mut set: Vec<ManifestEntry> = Vec::new();
            let (mut bytes, mut rows) = (0, 0);
            for entry in files {
                let more = rows_of(&entry);
                if set.len() == limits::MERGE_FILES_MAX
                    || bytes + entry.bytes > limits::MERGE_BYTES_MAX
                    || rows + more > limits::MERGE_ROWS_MAX
                {
                    sets.push((hour, std::mem::take(&mut set)));
                    (bytes, rows) = (0, 0);
                }
                bytes += entry.bytes;
                rows += more;
                set.push(entry);
            }
            sets.push((hour, set));
        }
        sets.retain(|(_, set)| set.len() > 1);
        Ok(sets)
    }

    /// How this run merges files of an hour.
    pub(super) fn merging(&self, hour: Hour, gone: BTreeSet<SignalClass>) -> Merging {
        Merging {
            filter: Filter { tombstones: Arc::clone(&self.tombstones), gone },
            hour,
            name: self.name.clone(),
            bytes_max: self.settings.rows_bytes_max,
            threads: self.settings.threads,
        }
    }

    async fn merge_files(&mut self, hour: Hour, files: Vec<ManifestEntry>) -> Result<(), LakeError> {
        let mut bytes = Vec::with_capacity(files.len());
        for entry in &files {
            bytes.push(self.lake.files.read(entry).await?);
        }
        let gone = self.settings.retention.gone(hour.end_ms(), self.now_ms());
        self.tell_aged(&gone).await?;
        let commits = Commits::in_all(files.iter().map(|entry| entry.path.as_str()));
        let path = self.new_path(&hour.folder(), commits, &gone);
        let how = self.merging(hour, gone);
        let made = aside(move || merged(bytes, &how, path));
        let made =
            made.await.ok_or_else(|| LakeError::Encode("the thread that merges panicked".into()))??;
        let erased: u64 = made.taken.iter().map(|taken| taken.rows).sum();
        let (committed, read) = (files.iter().map(rows_of).sum::<u64>(), rows_of(&made.entry));
        if committed != read + erased {
            return Err(LakeError::Miscounted { committed, read: read + erased });
        }
        let mut notes = Vec::new();
        for (entry, taken) in files.iter().zip(&made.taken) {
            notes.extend(taken.notes(&entry.path, self.now_ms())?);
        }
        let mut outputs = Vec::new();
        if read > 0 {
            outputs.push(self.stage(made.entry, made.bytes).await?);
        }
        let count = files.len() as u64;
        self.replace(files.into_iter().map(|entry| entry.path).collect(), outputs, notes).await?;
        if !self.done.interrupted {
            made.taken.iter().for_each(|taken| self.took(taken));
            self.done.merged_files += count;
            self.done.merged_rows += read;
        }
        Ok(())
    }
}
