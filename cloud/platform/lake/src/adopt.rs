//! Adopting files that lie in the lake and that the journal does not know: after a journal was restored from before they
//! were committed, or lost. Of a stopped node.
//!
//! A file is never taken over as it is: its rows are read and checked, those that the lake has not yet are written to a
//! new file and committed, and only then it goes to the trash. So nothing is ever there twice, and a crash anywhere is
//! mended by the next run.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use remuda_eventsourcing::{ManifestEntry, Owner, ReplaceOutcome};
use remuda_model::{Incarnation, Seq, ShardId, VehicleId};
use serde::Serialize;

use crate::aside::aside;
use crate::describe::Description;
use crate::erasure::{COPIES, Stripped, Tombstone};
use crate::error::LakeError;
use crate::files::{Footer, replaced};
use crate::history::{FRESH, HISTORY, REPLACED, STAGED};
use crate::lake::Lake;
use crate::once::Kind;
use crate::ranges::Ranges;
use crate::row::Row;
use crate::watermarks::{self, Marks};
use crate::{file, limits};

/// Frames that nobody has any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LostFrames {
    /// Of which vehicle.
    pub vehicle: VehicleId,
    /// Of which start of its agent.
    pub incarnation: Incarnation,
    /// First of them.
    pub from: Seq,
    /// Last of them.
    pub to: Seq,
}

/// A file that was left where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftFile {
    /// Path below the lake's root.
    pub path: String,
    /// Why.
    pub detail: String,
    /// What to do.
    pub advice: &'static str,
}

/// What an adoption did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Adopted {
    /// Files that the journal did not know.
    pub stray_files: u64,
    /// Their rows that the lake had not.
    pub rows: u64,
    /// Their rows that the lake had already.
    pub known_rows: u64,
    /// Their rows that were erased on request.
    pub erased_rows: u64,
    /// Erasures that the journal did not know.
    pub erasures: u64,
    /// Files of the manifest that were gone, and whose rows came back with others.
    pub made_up_files: u64,
    /// Files that could not be taken, and files that are still missing.
    pub left: Vec<LeftFile>,
    /// Frames between those that are there that are in no file; at most 1,000 ranges.
    pub lost: Vec<LostFrames>,
}

const DAMAGED: &str =
    "put it back from a backup and run remuda lake adopt again, or move it out of the lake's folder";
const GONE: &str = "put it back from a backup of the lake; remuda lake verify tells when all is there";

type Identity = (VehicleId, Incarnation, u32);

/// Which rows the lake has: for each vehicle, incarnation and place in the frame the frames that have it.
#[derive(Default)]
struct Have {
    rows: HashMap<Identity, Ranges>,
    frames: HashMap<(VehicleId, Incarnation), Ranges>,
}

impl Have {
    /// Adds a row; whether it was new.
    fn add(&mut self, row: &Row) -> bool {
        let identity = (row.vehicle, row.incarnation, row.row_in_frame);
        let is_new = self.rows.entry(identity).or_default().insert(row.seq, row.seq);
        if is_new {
            self.frames.entry((row.vehicle, row.incarnation)).or_default().insert(row.seq, row.durable_to());
        }
        is_new
    }
}

/// One run.
struct Adopting<'a> {
    lake: &'a Lake,
    done: Adopted,
    have: Have,
    marks: BTreeMap<VehicleId, Marks>,
    owners: HashMap<ShardId, Owner>,
    pending: Vec<Row>,
    /// Where the rows that are pending come from.
    sources: Vec<String>,
    /// Rows adopted by shard, with the times of their receipt.
    received: HashMap<ShardId, Vec<i64>>,
    now_ms: i64,
}

impl Lake {
    /// Brings in what the journal does not know. `progress` is told how many files were read, and of how many.
    ///
    /// # Errors
    /// When the store or the journal fails; what is adopted is adopted, and the next run goes on.
    pub async fn adopt(
        &self,
        now_ms: i64,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Adopted, LakeError> {
        let mut run = Adopting {
            lake: self,
            done: Adopted::default(),
            have: Have::default(),
            marks: BTreeMap::new(),
            owners: HashMap::new(),
            pending: Vec::new(),
            sources: Vec::new(),
            received: HashMap::new(),
            now_ms,
        };
        run.erasures().await?;
        run.files(progress).await?;
        Ok(run.done)
    }
}

impl Adopting<'_> {
    /// Erasures come first: what was forgotten must not come back.
    async fn erasures(&mut self) -> Result<(), LakeError> {
        self.lake.refresh().await?;
        for meta in self.lake.files.listed(COPIES.trim_end_matches('/')).await? {
            let path = meta.location.to_string();
            let Some(bytes) = self.lake.files.fetch(&path).await? else { continue };
            let Ok(tombstone) = serde_json::from_slice::<Tombstone>(&bytes) else {
                self.leave(path, "this copy of an erasure cannot be read".into(), DAMAGED);
                continue;
            };
            if !self.lake.known.lock().await.states.contains_key(&tombstone.id) {
                self.lake.request(&tombstone).await?;
                self.done.erasures += 1;
            }
        }
        self.lake.refresh().await
    }

    fn leave(&mut self, path: String, detail: String, advice: &'static str) {
        self.done.left.push(LeftFile { path, detail, advice });
    }

    async fn files(&mut self, progress: &mut (dyn FnMut(u64, u64) + Send)) -> Result<(), LakeError> {
        let entries = self.lake.records(0, |record| Some(record.entry)).await?;
        let mut known: HashSet<String> = entries.iter().map(|entry| entry.path.clone()).collect();
        known.extend(replaced(&*self.lake.journal).await?.into_iter().map(|file| file.path));
        let (mut there, mut strays) = (HashSet::new(), Vec::new());
        for folder in [FRESH, HISTORY, REPLACED, STAGED] {
            for meta in self.lake.files.listed(folder.trim_end_matches('/')).await? {
                let at = meta.location.to_string();
                let path = at.strip_prefix(REPLACED).or_else(|| at.strip_prefix(STAGED)).unwrap_or(&at);
                there.insert(path.to_owned());
                if !known.contains(path) {
                    strays.push(at);
                }
            }
        }
        let (found, missing): (Vec<_>, Vec<_>) = entries.into_iter().partition(|e| there.contains(&e.path));
        self.done.stray_files = strays.len() as u64;
        let all = (found.len() + strays.len()) as u64;
        let mut read = 0;
        if !strays.is_empty() {
            self.checkpoints().await?;
            for entry in found {
                for row in self.lake.rows_in(&entry).await? {
                    self.have.add(&row);
                }
                read += 1;
                progress(read, all);
            }
        }
        for path in strays {
            self.stray(path).await?;
            read += 1;
            progress(read, all);
        }
        self.commit().await?;
        self.make_up(missing).await?;
        self.count_lost();
        Ok(())
    }

    async fn checkpoints(&mut self) -> Result<(), LakeError> {
        for owner in self.lake.journal.epochs().await? {
            let checkpoint = self.lake.journal.checkpoint(owner.shard).await?;
            self.marks.extend(watermarks::read(owner.shard, checkpoint.as_ref())?.1.marks);
        }
        Ok(())
    }

    /// Takes what is new in a file.
    async fn stray(&mut self, path: String) -> Result<(), LakeError> {
        let Some(bytes) = self.lake.files.fetch(&path).await? else { return Ok(()) };
        let rows = match aside(move || sound(bytes)).await {
            Some(Ok(rows)) => rows,
            Some(Err(detail)) => {
                self.leave(path, detail, DAMAGED);
                return Ok(());
            }
            None => {
                self.leave(path, "its rows cannot be decoded".into(), DAMAGED);
                return Ok(());
            }
        };
        let tombstones = self.lake.tombstones().await?;
        for mut row in rows {
            if matches!(tombstones.strip(&mut row), Stripped::Erased(_)) {
                self.done.erased_rows += 1;
            } else if self.have.add(&row) {
                self.done.rows += 1;
                self.received.entry(ShardId::of(&row.vehicle)).or_default().push(row.receive_time_ms);
                self.pending.push(row);
            } else {
                self.done.known_rows += 1;
            }
        }
        self.sources.push(path);
        if self.pending.len() >= limits::ROW_GROUP_ROWS_MAX { self.commit().await } else { Ok(()) }
    }

    /// Commits what is pending, and only then moves away where it came from.
    async fn commit(&mut self) -> Result<(), LakeError> {
        let rows = std::mem::take(&mut self.pending);
        self.own(rows.iter().map(|row| ShardId::of(&row.vehicle)).collect()).await?;
        // Frames that the checkpoints call durable move no watermark and are not evaluated again.
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for row in rows {
            if self.is_durable(&row).await? { old.push(row) } else { new.push(row) }
        }
        for (rows, kind) in [(old, Kind::Reprocessed), (new, Kind::Round)] {
            if !rows.is_empty() {
                let shards: BTreeSet<ShardId> = rows.iter().map(|row| ShardId::of(&row.vehicle)).collect();
                let owners: Vec<Owner> = shards.iter().filter_map(|s| self.owners.get(s).copied()).collect();
                self.lake.commit_rows(&owners, rows, &[], kind).await?;
            }
        }
        fail::fail_point!("adopt-after-commit", |_| std::process::abort());
        for path in std::mem::take(&mut self.sources) {
            self.lake.files.discard(&path, self.now_ms).await?;
        }
        Ok(())
    }

    async fn own(&mut self, shards: BTreeSet<ShardId>) -> Result<(), LakeError> {
        let new: Vec<ShardId> = shards.into_iter().filter(|shard| !self.owners.contains_key(shard)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let owned = self.lake.journal.acquire(&new).await?;
        self.owners.extend(owned.into_iter().map(|(owner, _)| (owner.shard, owner)));
        Ok(())
    }

    async fn is_durable(&self, row: &Row) -> Result<bool, LakeError> {
        let marks = self.marks.get(&row.vehicle);
        let mark = marks.and_then(|marks| marks.iter().find(|(known, _)| *known == row.incarnation));
        match mark {
            Some((_, seq)) => Ok(row.durable_to() <= *seq),
            None => {
                let closed = self.lake.closed_watermark(&row.vehicle, row.incarnation).await?;
                Ok(closed.is_some_and(|seq| row.durable_to() <= seq))
            }
        }
    }

    /// Files that the manifest names and that are gone leave it when as many rows of their time came back with others:
    /// they were compacted after the journal's copy was taken.
    async fn make_up(&mut self, missing: Vec<ManifestEntry>) -> Result<(), LakeError> {
        if missing.is_empty() {
            return Ok(());
        }
        let from = missing.iter().map(|entry| entry.receive_time_ms.0).min().unwrap_or_default();
        let to = missing.iter().map(|entry| entry.receive_time_ms.1).max().unwrap_or_default();
        let mut rows: BTreeMap<ShardId, u64> = BTreeMap::new();
        for (shard, count) in missing.iter().flat_map(|entry| &entry.rows) {
            *rows.entry(*shard).or_default() += u64::from(*count);
        }
        let back = |shard: &ShardId| {
            let times = self.received.get(shard).map(Vec::as_slice).unwrap_or_default();
            times.iter().filter(|at| (from..=to).contains(at)).count() as u64
        };
        if !rows.iter().all(|(shard, count)| back(shard) >= *count) {
            for entry in missing {
                self.leave(entry.path, "it was committed and is not there".into(), GONE);
            }
            return Ok(());
        }
        let epoch = self.lake.journal.acquire_replacing().await?;
        for entries in missing.chunks(limits::REPLACED_FILES_MAX) {
            let paths: Vec<String> = entries.iter().map(|entry| entry.path.clone()).collect();
            match self.lake.journal.replace_files(epoch, &paths, &[], &[], self.now_ms).await {
                ReplaceOutcome::Committed { .. } => self.done.made_up_files += paths.len() as u64,
                ReplaceOutcome::Refused { .. } => return Err(LakeError::Refused),
                ReplaceOutcome::Unknown => return Err(LakeError::Stuck),
            }
        }
        Ok(())
    }

    /// Frames above the checkpoints that no file has, before others that some file has.
    fn count_lost(&mut self) {
        let mut all: Vec<_> = self.have.frames.iter().collect();
        all.sort_unstable_by_key(|(of, _)| **of);
        for ((vehicle, incarnation), frames) in all {
            let marks = self.marks.get(vehicle);
            let mark = marks.and_then(|marks| marks.iter().find(|(known, _)| known == incarnation));
            // Of an incarnation that no checkpoint knows, what came before may be gone for good reasons.
            let Some((_, mark)) = mark else { continue };
            for (from, to) in frames.holes_after(*mark) {
                if self.done.lost.len() < limits::LOST_TOLD_MAX {
                    self.done.lost.push(LostFrames {
                        vehicle: *vehicle,
                        incarnation: *incarnation,
                        from,
                        to,
                    });
                }
            }
        }
    }
}

/// The rows of a file that is what its own footer says.
fn sound(bytes: bytes::Bytes) -> Result<Vec<Row>, String> {
    let footer = file::entry_json(bytes.clone()).map_err(|e| format!("it has no footer of ours: {e}"))?;
    let footer: Footer = serde_json::from_str(&footer).map_err(|_| "its footer is not ours".to_owned())?;
    let rows = file::decode(bytes).map_err(|e| format!("its rows cannot be decoded: {e}"))?;
    let counted = Description::of(&rows).entry(String::new());
    let said = &footer.entry;
    if (&counted.rows, counted.sample_time_ns, counted.receive_time_ms)
        != (&said.rows, said.sample_time_ns, said.receive_time_ms)
    {
        return Err(format!("its rows are not those that its footer counts: {} are there", rows.len()));
    }
    Ok(rows)
}
