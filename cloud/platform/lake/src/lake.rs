//! The lake of one node: opening, recovery, the start of its rounds, reading back.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use object_store::ObjectStore;
use remuda_eventsourcing::{Journal, ManifestEntry, ManifestPosition, ManifestRecord, Owner, ReplacedFile};
use remuda_model::{Incarnation, Seq, ShardId, VehicleId};
use tokio::sync::{Mutex, mpsc};

use crate::aside::aside;
use crate::erasure::Known;
use crate::error::LakeError;
use crate::files::{Files, replaced};
use crate::history::HISTORY;
use crate::listing::{Tries, Turns};
use crate::metrics::LakeMetrics;
use crate::once::is_reprocessed;
use crate::retention::KnownHorizon;
use crate::rounds::{Rounds, RoundsHandle, SharedListener};
use crate::row::Row;
use crate::s3::S3Settings;
use crate::watermarks::{self, Marks, ShardMarks};
use crate::writer::{Writer, now_ms};
use crate::{file, limits};

/// How a lake works.
#[derive(Debug, Clone)]
pub struct LakeSettings {
    /// Its folder.
    pub root: PathBuf,
    /// Longest time between commits, ms.
    pub round_interval_ms: u64,
    /// A round is closed early at this size, bytes in flight.
    pub round_bytes_max: usize,
    /// Time between checkpoints, ms.
    pub checkpoint_interval_ms: u64,
}

impl LakeSettings {
    /// The usual numbers.
    pub fn new(root: PathBuf) -> Self {
        Self { root, round_interval_ms: 1_000, round_bytes_max: 32 << 20, checkpoint_interval_ms: 60_000 }
    }
}

/// What recovery found for shards just acquired.
#[derive(Debug, Default)]
pub struct Recovery {
    /// The manifest's position.
    pub position: ManifestPosition,
    /// What is durable of each vehicle's incarnations; the one that moved last is at the end.
    pub watermarks: BTreeMap<VehicleId, Marks>,
    /// Rows above the snapshots, in order of commit, incarnation, seq and row.
    pub replay: BTreeMap<VehicleId, Vec<Row>>,
}

/// A lake.
#[derive(Clone)]
pub struct Lake {
    settings: LakeSettings,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) files: Files,
    pub(crate) metrics: LakeMetrics,
    pub(crate) known: Arc<Mutex<Known>>,
    pub(crate) horizon: Arc<Mutex<KnownHorizon>>,
    pub(crate) turns: Turns,
}

impl Lake {
    /// Opens, or makes, the lake in `settings.root`.
    ///
    /// # Errors
    /// When its folder cannot be used.
    pub async fn open(settings: LakeSettings, journal: Arc<dyn Journal>) -> Result<Self, LakeError> {
        let files = Files::open(&settings.root)?;
        files.explain().await?;
        Ok(Self {
            settings,
            journal,
            files,
            metrics: LakeMetrics::default(),
            known: Arc::default(),
            horizon: Arc::default(),
            turns: Turns::default(),
        })
    }

    /// The same in a bucket, in which its page is written: so what is wrong with keys, address or bucket is told now.
    ///
    /// # Errors
    /// When the bucket cannot be used.
    pub async fn open_s3(
        settings: LakeSettings,
        s3: &S3Settings,
        journal: Arc<dyn Journal>,
    ) -> Result<Self, LakeError> {
        let settings = LakeSettings { root: s3.address().into(), ..settings };
        let lake = Self::on_store(settings, journal, s3.store()?);
        lake.files.explain().await?;
        Ok(lake)
    }

    /// The same on another store than a folder; what it answers must be durable.
    pub fn on_store(settings: LakeSettings, journal: Arc<dyn Journal>, store: Arc<dyn ObjectStore>) -> Self {
        let files = Files::on_store(&settings.root, store);
        Self {
            settings,
            journal,
            files,
            metrics: LakeMetrics::default(),
            known: Arc::default(),
            horizon: Arc::default(),
            turns: Turns::default(),
        }
    }

    /// Its figures, for a registry.
    pub fn metrics(&self) -> &LakeMetrics {
        &self.metrics
    }

    /// Watermarks and rows to replay for shards just acquired: the epoch was raised first, then checkpoint and manifest
    /// are read, so nobody else can add to them.
    ///
    /// # Errors
    /// When a committed file is missing or damaged, or the journal fails.
    pub async fn recover(&self, owners: &[Owner]) -> Result<Recovery, LakeError> {
        let mut tries = Tries::of(self);
        let (mut recovery, from, files) = loop {
            tries.begin().await?;
            let listed = self.list_recovery(owners).await?;
            // Checkpoints and manifest of one moment: a file that was replaced in between is in neither.
            if tries.holds().await? {
                break listed;
            }
        };
        let tombstones = self.tombstones().await?;
        for ManifestRecord { position, entry } in files {
            let mut rows = self.rows(&entry).await?;
            rows.iter_mut().for_each(|row| tombstones.hide(row));
            take(&mut recovery, &from, position, rows);
        }
        Ok(recovery)
    }

    /// Watermarks of the checkpoints, from where on each shard's files are to be read, and these files.
    async fn list_recovery(
        &self,
        owners: &[Owner],
    ) -> Result<(Recovery, ReadFrom, Vec<ManifestRecord>), LakeError> {
        let mut recovery = Recovery::default();
        let mut from = ReadFrom::new();
        let mut files = Vec::new();
        let mut lowest = ManifestPosition::MAX;
        for owner in owners {
            let checkpoint = self.journal.checkpoint(owner.shard).await?;
            let (position, state) = watermarks::read(owner.shard, checkpoint.as_ref())?;
            recovery.watermarks.extend(state.marks);
            recovery.position = recovery.position.max(position);
            lowest = lowest.min(position).min(state.replay_from);
            from.insert(owner.shard, (position, state.replay_from));
        }
        let mut after = if owners.is_empty() { return Ok((recovery, from, files)) } else { lowest };
        loop {
            let page = self.journal.manifest(after, limits::MANIFEST_PAGE).await?;
            let Some(last) = page.last() else { return Ok((recovery, from, files)) };
            after = last.position;
            recovery.position = recovery.position.max(after);
            for ManifestRecord { position, entry } in page {
                let wanted = |(shard, _): &(ShardId, u32)| {
                    from.get(shard).is_some_and(|(marks, replay)| position > *marks || position > *replay)
                };
                // What is in history was covered by the checkpoints before it was moved there.
                let replayed = !entry.path.starts_with(HISTORY) && !is_reprocessed(&entry.path);
                if replayed && entry.rows.iter().any(wanted) {
                    files.push(ManifestRecord {
                        position,
                        entry: ManifestEntry { rows: Vec::new(), ..entry },
                    });
                }
            }
        }
    }

    /// What `pick` takes of each manifest record, all of one moment.
    pub(crate) async fn records<T>(
        &self,
        after: ManifestPosition,
        mut pick: impl FnMut(ManifestRecord) -> Option<T> + Send,
    ) -> Result<Vec<T>, LakeError> {
        let mut tries = Tries::of(self);
        loop {
            tries.begin().await?;
            let mut picked = Vec::new();
            let mut after = after;
            loop {
                let page = self.journal.manifest(after, limits::MANIFEST_PAGE).await?;
                let Some(last) = page.last() else { break };
                after = last.position;
                picked.extend(page.into_iter().filter_map(&mut pick));
            }
            if tries.holds().await? {
                return Ok(picked);
            }
        }
    }

    /// Starts the rounds for these owners; the recovery's watermarks seed its checkpoints.
    pub fn start_rounds(&self, owners: &[Owner], recovery: &Recovery, listener: SharedListener) -> Rounds {
        let mut marks: HashMap<ShardId, ShardMarks> = HashMap::new();
        for (vehicle, of_vehicle) in &recovery.watermarks {
            marks.entry(ShardId::of(vehicle)).or_default().0.insert(*vehicle, of_vehicle.clone());
        }
        let position = Arc::new(AtomicU64::new(recovery.position));
        let (sender, messages) = mpsc::channel(limits::WAITING_CONTRIBUTIONS_MAX);
        let writer = Writer {
            settings: self.settings.clone(),
            journal: Arc::clone(&self.journal),
            files: self.files.clone(),
            metrics: self.metrics.clone(),
            listener,
            owners: owners.iter().map(|owner| (owner.shard, owner.epoch)).collect(),
            marks,
            position: Arc::clone(&position),
            name: format!("{:016x}", rand::random::<u64>()),
            counter: 0,
        };
        let handle = RoundsHandle { messages: sender, position };
        Rounds { handle, task: tokio::spawn(writer.run(messages)) }
    }

    /// What is durable of an incarnation that no checkpoint carries any more.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn closed_watermark(
        &self,
        vehicle: &VehicleId,
        incarnation: Incarnation,
    ) -> Result<Option<Seq>, LakeError> {
        let key = watermarks::closed_key(vehicle, incarnation);
        let value = self.journal.closed(ShardId::of(vehicle), &key).await?;
        Ok(value.and_then(|bytes| bytes.try_into().ok()).map(Seq::from_le_bytes))
    }

    /// Rows of one vehicle in files committed after a position, in order; `after` is at least what a checkpoint of its
    /// shard says is covered, so what compaction moved to `history/` is not among them.
    ///
    /// # Errors
    /// When a committed file is missing or damaged, or the journal fails.
    pub async fn rows_of(&self, vehicle: &VehicleId, after: ManifestPosition) -> Result<Vec<Row>, LakeError> {
        let shard = ShardId::of(vehicle);
        let wanted = |entry: &ManifestEntry| {
            let replayed = !entry.path.starts_with(HISTORY) && !is_reprocessed(&entry.path);
            replayed && entry.rows.iter().any(|(s, _)| *s == shard)
        };
        let files = self.records(after, |record| wanted(&record.entry).then_some(record.entry)).await?;
        let mut found = Vec::new();
        let tombstones = self.tombstones().await?;
        for entry in files {
            let rows = self.rows(&entry).await?;
            found.extend(rows.into_iter().filter(|row| row.vehicle == *vehicle));
        }
        found.iter_mut().for_each(|row| tombstones.hide(row));
        Ok(found)
    }

    /// Every row of every committed file, each once; file after file, in the order in which they were committed.
    ///
    /// # Errors
    /// When a committed file is missing or damaged, or the journal fails.
    pub async fn for_each_row(&self, mut each: impl FnMut(&Row) + Send) -> Result<(), LakeError> {
        // Without its rows an entry is small enough to keep all of them.
        let slim = |record: ManifestRecord| Some(ManifestEntry { rows: Vec::new(), ..record.entry });
        for entry in self.records(0, slim).await? {
            self.rows(&entry).await?.iter().for_each(&mut each);
        }
        Ok(())
    }

    /// Every row of every file that was replaced or dropped and is still there for readers; a row may come more than once.
    ///
    /// # Errors
    /// When such a file is damaged, or the store or the journal fails.
    pub async fn for_each_replaced_row(&self, mut each: impl FnMut(&Row) + Send) -> Result<(), LakeError> {
        for ReplacedFile { path, .. } in replaced(&*self.journal).await? {
            let Some(bytes) = self.files.fetch(&path).await? else { continue };
            let rows = aside(move || file::decode(bytes)).await;
            let rows = rows.ok_or_else(|| LakeError::Damaged { path, what: "unreadable".into() })??;
            rows.iter().for_each(&mut each);
        }
        Ok(())
    }

    /// Moves files that were never committed to the trash; answers how many. Those with rows that are to be forgotten are
    /// deleted, here and there.
    ///
    /// # Errors
    /// When the store or the journal fails.
    pub async fn sweep(&self) -> Result<usize, LakeError> {
        let tombstones = self.tombstones().await?;
        if !tombstones.is_empty() {
            self.purge_orphans(&tombstones, i64::MIN, None, now_ms()).await?;
            self.purge_trash(&tombstones).await?;
        }
        self.files.sweep(&*self.journal, now_ms()).await
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.settings.root
    }

    /// The rows of one file of the manifest, in its order; also of one that has been replaced since, within its grace.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub async fn rows_in(&self, entry: &ManifestEntry) -> Result<Vec<Row>, LakeError> {
        self.rows(entry).await
    }

    async fn rows(&self, entry: &ManifestEntry) -> Result<Vec<Row>, LakeError> {
        let bytes = self.files.read(entry).await?;
        let rows = aside(move || file::decode(bytes)).await;
        rows.ok_or_else(|| LakeError::Damaged { path: entry.path.clone(), what: "unreadable".into() })?
    }
}

/// Above which positions a shard's files hold what its checkpoint's watermarks, and its snapshots, do not.
type ReadFrom = HashMap<ShardId, (ManifestPosition, ManifestPosition)>;

/// Takes a file's rows into a recovery.
fn take(recovery: &mut Recovery, from: &ReadFrom, position: ManifestPosition, rows: Vec<Row>) {
    for row in rows {
        let Some((marks, replay)) = from.get(&ShardId::of(&row.vehicle)) else { continue };
        if position > *marks {
            let of_vehicle = recovery.watermarks.entry(row.vehicle).or_default();
            watermarks::move_to(of_vehicle, row.incarnation, row.durable_to());
        }
        if position > *replay {
            recovery.replay.entry(row.vehicle).or_default().push(row);
        }
    }
}
