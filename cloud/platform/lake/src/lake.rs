//! The lake of one node: opening, recovery, the start of its rounds, reading back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use remuda_eventsourcing::{Journal, ManifestEntry, ManifestPosition, ManifestRecord, Owner};
use remuda_model::{Incarnation, Seq, ShardId, VehicleId};
use tokio::sync::mpsc;

use crate::error::LakeError;
use crate::files::Files;
use crate::metrics::LakeMetrics;
use crate::rounds::{Rounds, RoundsHandle, SharedListener};
use crate::row::Row;
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
    pub watermarks: HashMap<VehicleId, Marks>,
    /// Rows above the snapshots, in order of commit, incarnation, seq and row.
    pub replay: HashMap<VehicleId, Vec<Row>>,
}

/// A lake.
#[derive(Clone)]
pub struct Lake {
    settings: LakeSettings,
    journal: Arc<dyn Journal>,
    files: Files,
    metrics: LakeMetrics,
}

impl Lake {
    /// Opens, or makes, the lake in `settings.root`.
    ///
    /// # Errors
    /// When its folder cannot be used.
    pub async fn open(settings: LakeSettings, journal: Arc<dyn Journal>) -> Result<Self, LakeError> {
        let files = Files::open(&settings.root)?;
        files.explain()?;
        Ok(Self { settings, journal, files, metrics: LakeMetrics::default() })
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
        let mut recovery = Recovery::default();
        let mut from: HashMap<ShardId, (ManifestPosition, ManifestPosition)> = HashMap::new();
        let mut lowest = ManifestPosition::MAX;
        for owner in owners {
            let checkpoint = self.journal.checkpoint(owner.shard).await?;
            let (position, state) = watermarks::read(owner.shard, checkpoint.as_ref())?;
            recovery.watermarks.extend(state.marks);
            recovery.position = recovery.position.max(position);
            lowest = lowest.min(position).min(state.replay_from);
            from.insert(owner.shard, (position, state.replay_from));
        }
        let mut after = if owners.is_empty() { return Ok(recovery) } else { lowest };
        loop {
            let page = self.journal.manifest(after, limits::MANIFEST_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.position;
            recovery.position = recovery.position.max(after);
            for ManifestRecord { position, entry } in page {
                let wanted = |(shard, _): &(ShardId, u32)| {
                    from.get(shard).is_some_and(|(marks, replay)| position > *marks || position > *replay)
                };
                if entry.rows.iter().any(wanted) {
                    take(&mut recovery, &from, position, self.rows(&entry).await?);
                }
            }
        }
        Ok(recovery)
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

    /// Rows of one vehicle in files committed after a position, in order.
    ///
    /// # Errors
    /// When a committed file is missing or damaged, or the journal fails.
    pub async fn rows_of(&self, vehicle: &VehicleId, after: ManifestPosition) -> Result<Vec<Row>, LakeError> {
        let shard = ShardId::of(vehicle);
        let mut found = Vec::new();
        let mut after = after;
        loop {
            let page = self.journal.manifest(after, limits::MANIFEST_PAGE).await?;
            let Some(last) = page.last() else { return Ok(found) };
            after = last.position;
            for record in page {
                if record.entry.rows.iter().any(|(s, _)| *s == shard) {
                    let rows = self.rows(&record.entry).await?;
                    found.extend(rows.into_iter().filter(|row| row.vehicle == *vehicle));
                }
            }
        }
    }

    /// Every row of every committed file, in order of commit.
    ///
    /// # Errors
    /// When a committed file is missing or damaged, or the journal fails.
    pub async fn for_each_row(&self, mut each: impl FnMut(&Row) + Send) -> Result<(), LakeError> {
        let mut after = 0;
        loop {
            let page = self.journal.manifest(after, limits::MANIFEST_PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.position;
            for record in page {
                self.rows(&record.entry).await?.iter().for_each(&mut each);
            }
        }
    }

    /// Moves files that were never committed to the trash; answers how many.
    ///
    /// # Errors
    /// When the store or the journal fails.
    pub async fn sweep(&self) -> Result<usize, LakeError> {
        self.files.sweep(&*self.journal, now_ms()).await
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.settings.root
    }

    async fn rows(&self, entry: &ManifestEntry) -> Result<Vec<Row>, LakeError> {
        let bytes = self.files.read(entry).await?;
        let rows = tokio::task::spawn_blocking(move || file::decode(bytes)).await;
        rows.map_err(|_| LakeError::Damaged { path: entry.path.clone(), what: "unreadable".into() })?
    }
}

/// Takes a file's rows into a recovery.
fn take(
    recovery: &mut Recovery,
    from: &HashMap<ShardId, (ManifestPosition, ManifestPosition)>,
    position: ManifestPosition,
    rows: Vec<Row>,
) {
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
