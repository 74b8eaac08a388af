//! Adopting files that lie in the lake and that the journal does not know: after a journal was restored from before they
//! were committed, or lost. Of a stopped node.
//!
//! A file is never taken over as it is: its rows are read and checked, those that the lake has not yet are written to a
//! new file and committed, and only then it goes to the trash. So nothing is ever there twice, and a crash anywhere is
//! mended by the next run; what an earlier one brought back for files that are gone, it noted in the journal.

mod made_up;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use remuda_eventsourcing::{ManifestEntry, ManifestRecord, Owner};
use remuda_model::{Incarnation, Seq, ShardId, VehicleId};
use serde::Serialize;

use crate::aside::aside;
use crate::describe::Description;
use crate::erasure::{COPIES, Stripped, Tombstone};
use crate::error::LakeError;
use crate::files::{Footer, replaced};
use crate::history::{FRESH, HISTORY, REPLACED, STAGED};
use crate::lake::Lake;
use crate::once::{Kind, is_adopted};
use crate::ranges::Ranges;
use crate::row::Row;
use crate::watermarks::{self, Marks};
use crate::{file, limits};
use made_up::Back;

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
    /// Of these, those that must not lie in the trash: rows in them are forgotten.
    forgotten: HashSet<String>,
    back: Back,
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
            forgotten: HashSet::new(),
            back: Back::default(),
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
        let mut listed = Vec::new();
        for folder in [FRESH, HISTORY, REPLACED, STAGED] {
            let files = self.lake.files.listed(folder.trim_end_matches('/')).await?;
            listed.extend(files.into_iter().map(|meta| meta.location.to_string()));
        }
        let there: HashSet<&str> = listed.iter().map(|at| place(at)).collect();
        let mut missing = Vec::new();
        let found = self
            .lake
            .records(0, |record| {
                if there.contains(record.entry.path.as_str()) {
                    // Without its rows an entry is small enough to keep all of them.
                    return Some(ManifestRecord {
                        entry: ManifestEntry { rows: Vec::new(), ..record.entry },
                        ..record
                    });
                }
                missing.push(record);
                None
            })
            .await?;
        let strays: Vec<&String> = {
            let mut known: HashSet<&str> = found.iter().map(|record| record.entry.path.as_str()).collect();
            let replaced = replaced(&*self.lake.journal).await?;
            known.extend(replaced.iter().map(|file| file.path.as_str()));
            listed.iter().filter(|at| !known.contains(place(at))).collect()
        };
        self.bring_home(&listed, &found).await?;
        // `records` reads the manifest again when a compaction came in between.
        missing.sort_unstable_by_key(|record| record.position);
        missing.dedup_by_key(|record| record.position);
        self.done.stray_files = strays.len() as u64;
        let all = (found.len() + strays.len()) as u64;
        let mut read = 0;
        if !strays.is_empty() || !missing.is_empty() {
            self.checkpoints().await?;
            self.back = Back::of(self.lake, &missing).await?;
            for ManifestRecord { entry, .. } in &found {
                let counts = is_adopted(&entry.path) && !self.back.is_noted(&entry.path);
                if counts {
                    self.back.counted(&entry.path);
                }
                for row in self.lake.rows_in(entry).await? {
                    // A file that was put back after its rows were adopted: they are there twice.
                    let is_new = self.have.add(&row);
                    match (counts, is_new) {
                        (true, true) => self.came_back(&row, 1).await?,
                        (false, false) => self.came_back(&row, -1).await?,
                        _ => {}
                    }
                }
                read += 1;
                progress(read, all);
            }
        }
        for path in strays {
            self.stray(path.clone()).await?;
            read += 1;
            progress(read, all);
        }
        self.commit().await?;
        self.make_up(missing).await?;
        self.count_lost();
        Ok(())
    }

    /// Moves committed files back that a compaction put aside after the journal's copy was taken: who reads `history/` from
    /// outside looks for them at their place.
    async fn bring_home(&self, listed: &[String], found: &[ManifestRecord]) -> Result<(), LakeError> {
        let there: HashSet<&str> = listed.iter().map(String::as_str).collect();
        let committed: HashSet<&str> = found.iter().map(|record| record.entry.path.as_str()).collect();
        for at in listed {
            let path = place(at);
            if committed.contains(path) && !there.contains(path) {
                self.lake.files.relocate(at, path).await?;
            }
        }
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
        let tombstones = self.lake.tombstones().await?;
        if self.back.is_noted(&path) {
            // An earlier run took it and died before it was moved away.
            if !tombstones.is_empty() {
                self.forgotten.insert(path.clone());
            }
            self.sources.push(path);
            return Ok(());
        }
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
        for mut row in rows {
            let is_new = self.have.add(&row);
            if is_new {
                self.came_back(&row, 1).await?;
            }
            let stripped = tombstones.strip(&mut row);
            if stripped != Stripped::Kept {
                self.forgotten.insert(path.clone());
            }
            if matches!(stripped, Stripped::Erased(_)) {
                self.done.erased_rows += 1;
            } else if is_new {
                self.done.rows += 1;
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
        let mut files = Vec::new();
        for (rows, kind) in [(old, Kind::Adopted), (new, Kind::AdoptedRound)] {
            if !rows.is_empty() {
                let shards: BTreeSet<ShardId> = rows.iter().map(|row| ShardId::of(&row.vehicle)).collect();
                let owners: Vec<Owner> = shards.iter().filter_map(|s| self.owners.get(s).copied()).collect();
                files.extend(self.lake.commit_rows(&owners, rows, &[], kind).await?.1);
            }
        }
        fail::fail_point!("adopt-after-commit", |_| std::process::abort());
        // Before they go: whoever finds them again counts their rows again.
        self.back.note(self.lake, self.sources.clone(), files).await?;
        let forgotten = std::mem::take(&mut self.forgotten);
        for path in std::mem::take(&mut self.sources) {
            if forgotten.contains(&path) {
                self.lake.files.delete(&path).await?;
            } else {
                self.lake.files.discard(&path, self.now_ms).await?;
            }
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

/// A file's path below the lake's root, wherever a compaction is just moving it.
fn place(at: &str) -> &str {
    at.strip_prefix(REPLACED).or_else(|| at.strip_prefix(STAGED)).unwrap_or(at)
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
