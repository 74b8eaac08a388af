//! Files of history rewritten without what retention and erasures take out of them; erasures brought to their end.

use std::collections::BTreeSet;

use bytes::Bytes;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::file::statistics::Statistics;
use remuda_eventsourcing::ManifestEntry;
use remuda_model::{ShardId, SignalClass, VehicleId};

use super::Run;
use super::merge::merged;
use crate::aside::aside;
use crate::commits::Commits;
use crate::describe::rows_of;
use crate::erasure::{ErasureId, ErasureRecord, State, Tombstone};
use crate::error::LakeError;
use crate::files::{Footer, replaced};
use crate::history::{HOUR_NS, Hour};
use crate::retention::{RetentionRecord, full_hour, gone_from};
use crate::{file, schema};

impl Run<'_> {
    /// Takes values of classes that are over age out of files that still have them, each file once.
    pub(super) async fn blank_aged(&mut self) -> Result<(), LakeError> {
        if self.settings.retention.class_days.is_empty() {
            return Ok(());
        }
        let (retention, now_ms) = (&self.settings.retention, self.now_ms());
        let aged: Vec<(ManifestEntry, BTreeSet<SignalClass>)> = self
            .lake
            .records(0, |record| {
                let hour = Hour::of_path(&record.entry.path)?;
                let gone = retention.gone(hour.end_ms(), now_ms);
                let still = !gone.is_subset(&gone_from(&record.entry.path));
                still.then(|| (ManifestEntry { rows: Vec::new(), ..record.entry }, gone))
            })
            .await?;
        for (entry, gone) in aged {
            if !self.go_on() {
                return Ok(());
            }
            self.rewrite(entry, gone).await?;
            if self.done.interrupted {
                return Ok(());
            }
            self.done.aged_files += 1;
        }
        Ok(())
    }

    /// Says beforehand what will be missing: told too early is no lie.
    pub(super) async fn tell_aged(&self, gone: &BTreeSet<SignalClass>) -> Result<(), LakeError> {
        if gone.is_empty() {
            return Ok(());
        }
        let known = self.lake.horizon().await?.classes_ms;
        let at_ms = self.now_ms();
        let mut notes = Vec::new();
        for (class, days) in
            self.settings.retention.class_days.iter().filter(|(class, _)| gone.contains(class))
        {
            let until_ms = full_hour(at_ms.saturating_sub(i64::from(*days) * 86_400_000));
            if known.get(class).is_none_or(|known| *known < until_ms) {
                let (why, class) = ("class".to_owned(), Some(*class));
                let (files, rows, bytes, dropped) = (0, 0, 0, Vec::new());
                let record = RetentionRecord { at_ms, why, class, until_ms, files, rows, bytes, dropped };
                notes.push(record.note()?);
            }
        }
        if notes.is_empty() { Ok(()) } else { Ok(self.lake.journal.note(&notes).await?) }
    }

    /// Rewrites what history holds of erasures that are due.
    pub(super) async fn erase(&mut self) -> Result<(), LakeError> {
        let open = self.open_erasures().await;
        let waiting: Vec<Tombstone> =
            open.iter().filter(|s| s.rewritten_at_ms.is_none()).map(|s| s.tombstone.clone()).collect();
        self.done.open_erasures = open.len() as u64;
        let late =
            |t: &&Tombstone| t.requested_at_ms.saturating_add(self.settings.erase_within_ms) < self.now_ms();
        self.done.overdue_erasures = waiting.iter().filter(late).count() as u64;
        // One pass for as many as have come together meanwhile.
        let due = |t: &Tombstone| {
            t.requested_at_ms.saturating_add(self.settings.erase_within_ms / 2) <= self.now_ms()
        };
        if !waiting.iter().any(due) {
            return self.finish_erasures().await;
        }
        let slim = |entry: ManifestEntry| ManifestEntry { rows: Vec::new(), ..entry };
        let touched: Vec<ManifestEntry> = self
            .lake
            .records(0, |record| {
                let hour = Hour::of_path(&record.entry.path)?;
                waiting
                    .iter()
                    .any(|t| in_hour(t, &hour) && has_shard(t, &record.entry))
                    .then(|| slim(record.entry))
            })
            .await?;
        for entry in touched {
            if !self.go_on() {
                return Ok(());
            }
            self.erase_from(&waiting, entry).await?;
            if self.done.interrupted {
                return Ok(());
            }
        }
        let at_ms = self.now_ms();
        let notes: Result<Vec<_>, LakeError> =
            waiting.iter().map(|t| ErasureRecord::Rewritten { id: t.id, at_ms }.note()).collect();
        self.lake.journal.note(&notes?).await?;
        self.done.overdue_erasures = 0;
        fail::fail_point!("erase-after-rewriting", |_| std::process::abort());
        self.finish_erasures().await
    }

    async fn open_erasures(&self) -> Vec<State> {
        let known = self.lake.known.lock().await;
        let open = known.states.values().filter(|state| state.finished_at_ms.is_none());
        // Those that this run's filter does not know came after it began: the next one's.
        open.filter(|state| self.knows.contains(&state.tombstone.id)).cloned().collect()
    }

    async fn erase_from(&mut self, waiting: &[Tombstone], entry: ManifestEntry) -> Result<(), LakeError> {
        let bytes = self.lake.files.read(&entry).await?;
        let vehicles: Option<Vec<VehicleId>> = waiting.iter().map(|t| t.vehicle).collect();
        if vehicles.is_some_and(|vehicles| !may_hold(bytes.clone(), &vehicles)) {
            return Ok(());
        }
        self.rewrite_bytes(entry.clone(), bytes, gone_from(&entry.path), true).await
    }

    async fn rewrite(&mut self, entry: ManifestEntry, gone: BTreeSet<SignalClass>) -> Result<(), LakeError> {
        let bytes = self.lake.files.read(&entry).await?;
        self.rewrite_bytes(entry, bytes, gone, false).await
    }

    /// One file for another without what the filter takes; with `only_if_dirty`, only when there was any of it.
    async fn rewrite_bytes(
        &mut self,
        entry: ManifestEntry,
        bytes: Bytes,
        gone: BTreeSet<SignalClass>,
        only_if_dirty: bool,
    ) -> Result<(), LakeError> {
        let Some(hour) = Hour::of_path(&entry.path) else { return Ok(()) };
        self.tell_aged(&gone).await?;
        let path = self.new_path(&hour.folder(), Commits::in_path(&entry.path), &gone);
        let how = self.merging(hour, gone);
        let made = aside(move || {
            // A file that others have put here has no footer of ours.
            let footer = file::entry_json(bytes.clone()).ok();
            let written = footer.and_then(|text| serde_json::from_str::<Footer>(&text).ok());
            let committed = written.map(|footer| rows_of(&footer.entry));
            Ok::<_, LakeError>((committed, merged(vec![bytes], &how, path)?))
        });
        let (committed, made) =
            made.await.ok_or_else(|| LakeError::Encode("the thread that rewrites panicked".into()))??;
        let taken = made.taken.first().cloned().unwrap_or_default();
        // The file goes with this: no row may go with it that nobody asked to forget.
        let read = rows_of(&made.entry) + taken.rows;
        if let Some(committed) = committed.filter(|committed| *committed != read) {
            return Err(LakeError::Miscounted { committed, read });
        }
        if only_if_dirty && taken.is_clean() {
            return Ok(());
        }
        let notes = taken.notes(&entry.path, self.now_ms())?;
        let mut outputs = Vec::new();
        if rows_of(&made.entry) > 0 {
            outputs.push(self.stage(made.entry, made.bytes).await?);
        }
        self.replace(vec![entry.path], outputs, notes).await?;
        if !self.done.interrupted {
            self.took(&taken);
        }
        Ok(())
    }

    /// An erasure is finished when no file that was received before the request waits to be compacted, and no file that
    /// had any of it is left for readers.
    async fn finish_erasures(&mut self) -> Result<(), LakeError> {
        self.lake.refresh().await?;
        let open: Vec<State> =
            self.open_erasures().await.into_iter().filter(|s| s.rewritten_at_ms.is_some()).collect();
        if open.is_empty() {
            return Ok(());
        }
        let oldest = replaced(&*self.lake.journal).await?.iter().map(|file| file.since_ms).min();
        let mut notes = Vec::new();
        for state in &open {
            let id = state.tombstone.id;
            let last = state.last_removed_ms.max(state.rewritten_at_ms.unwrap_or_default());
            if !self.blocked.contains(&id) && oldest.is_none_or(|oldest| oldest > last) {
                notes.push(ErasureRecord::Finished { id, at_ms: self.now_ms() }.note()?);
            }
        }
        if notes.is_empty() {
            return Ok(());
        }
        // What was never committed is in nobody's answer, but it is on the disk: until it is gone, nothing is finished.
        let asked = open.iter().map(|state| state.tombstone.requested_at_ms).max().unwrap_or_default();
        if !self.lake.purge_orphans(&self.tombstones, asked, Some(self.epoch.0), self.now_ms()).await? {
            return Ok(());
        }
        self.lake.purge_trash(&self.tombstones).await?;
        self.lake.journal.note(&notes).await?;
        self.done.finished_erasures += notes.len() as u64;
        self.done.open_erasures -= notes.len() as u64;
        Ok(())
    }

    /// Which erasures a fresh file may still have rows of.
    pub(super) fn blocks<'t>(
        open: &'t [Tombstone],
        entry: &ManifestEntry,
    ) -> impl Iterator<Item = ErasureId> + use<'t> {
        let (earliest, shards) = (entry.receive_time_ms.0, entry.clone());
        open.iter().filter(move |t| earliest <= t.requested_at_ms && has_shard(t, &shards)).map(|t| t.id)
    }
}

fn in_hour(tombstone: &Tombstone, hour: &Hour) -> bool {
    let (from, until) = tombstone.range_ns();
    let begin = hour.hour.saturating_mul(HOUR_NS);
    tombstone.organization == hour.organization && begin < until && from < begin.saturating_add(HOUR_NS)
}

fn has_shard(tombstone: &Tombstone, entry: &ManifestEntry) -> bool {
    let Some(vehicle) = &tombstone.vehicle else { return true };
    let shard = ShardId::of(vehicle);
    entry.rows.iter().any(|(known, _)| *known == shard)
}

/// Whether a file's statistics leave room for one of these vehicles; a file that cannot be judged may hold anything.
fn may_hold(bytes: Bytes, vehicles: &[VehicleId]) -> bool {
    let Ok(reader) = SerializedFileReader::new(bytes) else { return true };
    let groups = reader.metadata().row_groups();
    groups.iter().any(|group| {
        let column = group.columns().iter().find(|column| column.column_descr().name() == schema::VEHICLE);
        let Some(Statistics::ByteArray(range)) = column.and_then(|column| column.statistics()) else {
            return true;
        };
        let (Some(min), Some(max)) = (range.min_bytes_opt(), range.max_bytes_opt()) else { return true };
        vehicles.iter().any(|vehicle| (min..=max).contains(&vehicle.as_str().as_bytes()))
    })
}
