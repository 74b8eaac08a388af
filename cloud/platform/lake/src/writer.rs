//! The rounds task.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use remuda_eventsourcing::{CommitOutcome, Journal, ManifestEntry, ManifestPosition, NewEvent, Owner};
use remuda_model::{Epoch, ShardId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::aside::aside;
use crate::describe::Description;
use crate::error::LakeError;
use crate::files::{Files, Footer, fresh_path};
use crate::lake::LakeSettings;
use crate::metrics::LakeMetrics;
use crate::rounds::{Answer, Contribution, Message, SharedListener, Verdict};
use crate::row::Row;
use crate::watermarks::ShardMarks;
use crate::{file, limits};

/// Everything the task holds.
pub(crate) struct Writer {
    pub settings: LakeSettings,
    pub journal: Arc<dyn Journal>,
    pub files: Files,
    pub metrics: LakeMetrics,
    pub listener: SharedListener,
    pub owners: HashMap<ShardId, Epoch>,
    pub marks: HashMap<ShardId, ShardMarks>,
    pub position: Arc<AtomicU64>,
    /// Names this process in file names.
    pub name: String,
    pub counter: u64,
}

/// What waits for the next round.
#[derive(Default)]
struct Open {
    contributions: Vec<Contribution>,
    bytes: usize,
    flushes: Vec<oneshot::Sender<()>>,
}

impl Open {
    fn add(&mut self, contribution: Contribution) {
        self.bytes += contribution.bytes;
        self.contributions.push(contribution);
    }
}

/// How a round ended.
enum Ended {
    Committed(ManifestPosition),
    Refused(Vec<ShardId>),
}

impl Writer {
    pub async fn run(mut self, mut messages: mpsc::Receiver<Message>) -> Result<(), LakeError> {
        let interval = Duration::from_millis(self.settings.round_interval_ms);
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut open = Open::default();
        let mut checkpointed = Instant::now();
        loop {
            let due = tokio::select! {
                biased;
                _ = ticks.tick() => true,
                message = messages.recv() => match message {
                    Some(Message::Contribute(contribution)) => {
                        open.add(contribution);
                        open.bytes >= self.settings.round_bytes_max
                    }
                    Some(Message::Flush(done)) => {
                        open.flushes.push(done);
                        true
                    }
                    Some(Message::Own(owner)) => {
                        self.owners.insert(owner.shard, owner.epoch);
                        false
                    }
                    Some(Message::Stop) | None => break,
                },
            };
            if due {
                open = self.round(open).await;
                if checkpointed.elapsed() >= Duration::from_millis(self.settings.checkpoint_interval_ms) {
                    // An older checkpoint only makes recovery read more; the rounds go on.
                    if let Err(error) = self.checkpoint().await {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "the checkpoint was not written"
                        );
                    }
                    checkpointed = Instant::now();
                }
            }
        }
        // Whatever a refusal put back is tried until it is committed or its shards are lost.
        messages.close();
        while let Some(message) = messages.recv().await {
            match message {
                Message::Contribute(contribution) => open.add(contribution),
                Message::Flush(done) => open.flushes.push(done),
                Message::Own(_) | Message::Stop => {}
            }
        }
        while !open.contributions.is_empty() || !open.flushes.is_empty() {
            open = self.round(open).await;
        }
        self.checkpoint().await
    }

    /// Writes what is open; answers what is to go into the next round.
    async fn round(&mut self, mut open: Open) -> Open {
        self.drop_not_owned(&mut open);
        if !open.contributions.is_empty() {
            let begun = Instant::now();
            let ended = self.write(&mut open.contributions).await;
            self.metrics.round_seconds.observe(begun.elapsed().as_secs_f64());
            match ended {
                Ended::Committed(position) => {
                    self.position.store(position, Ordering::Release);
                    fail::fail_point!("round-before-answers", |_| std::process::abort());
                    self.answer(position, open.contributions, Verdict::Committed);
                    fail::fail_point!("round-after-answers", |_| std::process::abort());
                }
                Ended::Refused(lost) => {
                    self.metrics.refused.inc();
                    let (gone, kept) = open.contributions.into_iter().partition(|c| lost.contains(&c.shard));
                    self.answer(self.position.load(Ordering::Acquire), gone, Verdict::Dropped);
                    let lost = if forgets_set_back() { Vec::new() } else { lost };
                    lost.iter().for_each(|shard| self.listener.shard_lost(*shard));
                    // Still owned: into the next round, in front, with the flushes that wait for them.
                    let mut next = Open { flushes: open.flushes, ..Open::default() };
                    let kept: Vec<Contribution> = kept;
                    kept.into_iter().for_each(|c| next.add(c));
                    if next.contributions.is_empty() {
                        tell(&mut next.flushes);
                    }
                    return next;
                }
            }
        }
        tell(&mut open.flushes);
        Open::default()
    }

    /// Contributions of shards that were lost meanwhile are answered at once.
    fn drop_not_owned(&self, open: &mut Open) {
        let contributions = std::mem::take(&mut open.contributions);
        let (owned, gone): (Vec<_>, Vec<_>) =
            contributions.into_iter().partition(|c| self.owners.contains_key(&c.shard) && !c.rows.is_empty());
        open.contributions = owned;
        if !gone.is_empty() {
            self.answer(self.position.load(Ordering::Acquire), gone, Verdict::Dropped);
        }
    }

    /// Files, then the transaction, tried until the answer is definite.
    async fn write(&mut self, contributions: &mut [Contribution]) -> Ended {
        let counts: Vec<usize> = contributions.iter().map(|c| c.rows.len()).collect();
        let mut rows: Vec<Row> = contributions.iter_mut().flat_map(|c| std::mem::take(&mut c.rows)).collect();
        let decisions: Vec<(ShardId, NewEvent)> =
            contributions.iter().flat_map(|c| c.decisions.iter().map(|d| (c.shard, d.clone()))).collect();
        // Stable, so that each vehicle's rows stay in sequence.
        rows.sort_by_key(|row| (row.organization, row.vehicle));
        let rows = Arc::new(rows);
        let owners = self.owners_of(contributions);
        fail::fail_point!("round-before-files", |_| std::process::abort());
        let entry = self.write_file(&rows, &owners).await;
        fail::fail_point!("round-after-files", |_| std::process::abort());
        match self.commit(&owners, &entry, &decisions).await {
            Ok(position) => {
                for row in rows.iter() {
                    self.marks.entry(ShardId::of(&row.vehicle)).or_default().commit(row);
                }
                self.metrics.rows.inc_by(rows.len() as u64);
                self.metrics.bytes.inc_by(entry.bytes);
                self.metrics.files.inc();
                self.metrics.decisions.inc_by(decisions.len() as u64);
                Ended::Committed(position)
            }
            Err(fenced) => {
                if let Err(error) = self.files.discard(&entry.path, now_ms()).await {
                    tracing::warn!(%error, path = entry.path, "a refused file stays until the next sweep");
                }
                give_back(&rows, &counts, contributions);
                // No shard fenced, and refused all the same: a version does not follow. Whoever decided must reload.
                let lost = if fenced.is_empty() {
                    tracing::error!("a decision's version does not follow; its shards are reloaded");
                    decisions.iter().map(|(shard, _)| *shard).collect::<Vec<ShardId>>()
                } else {
                    fenced
                };
                // What already waits behind the dropped rows must not be committed without them.
                self.owners.retain(|shard, _| forgets_set_back() || !lost.contains(shard));
                Ended::Refused(lost)
            }
        }
    }

    fn owners_of(&self, contributions: &[Contribution]) -> Vec<Owner> {
        let mut shards: Vec<ShardId> = contributions.iter().map(|c| c.shard).collect();
        shards.sort_unstable();
        shards.dedup();
        let owner = |shard| self.owners.get(&shard).map(|epoch| Owner { shard, epoch: *epoch });
        shards.into_iter().filter_map(owner).collect()
    }

    /// Encodes and writes the round's file under a new name each try, until it is on the disk.
    async fn write_file(&mut self, rows: &Arc<Vec<Row>>, owners: &[Owner]) -> ManifestEntry {
        let mut pause = limits::RETRY_MS_MIN;
        loop {
            match self.try_write_file(rows, owners).await {
                Ok(entry) => return entry,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "a lake file was not written; vehicles keep their frames until it is"
                    );
                    self.metrics.retries.inc();
                    back_off(&mut pause).await;
                }
            }
        }
    }

    async fn try_write_file(
        &mut self,
        rows: &Arc<Vec<Row>>,
        owners: &[Owner],
    ) -> Result<ManifestEntry, LakeError> {
        self.counter += 1;
        let epoch = owners.iter().map(|o| o.epoch.0).max().unwrap_or_default();
        let mut entry = Description::of(rows).entry(String::new());
        entry.path = fresh_path(entry.receive_time_ms.1, &self.name, epoch, self.counter);
        let footer = Footer { writer: self.name.clone(), owners: owners.to_vec(), entry: entry.clone() };
        let footer = serde_json::to_string(&footer).map_err(|e| LakeError::Encode(e.to_string()))?;
        let shared = Arc::clone(rows);
        let bytes = aside(move || file::encode(&shared, footer)).await;
        let bytes = bytes.ok_or_else(|| LakeError::Encode("its thread panicked".into()))??;
        entry.bytes = bytes.len() as u64;
        entry.checksum = crc32c::crc32c(&bytes);
        self.files.create(&entry.path, bytes).await?;
        Ok(entry)
    }

    /// The transaction: position when committed, fenced shards when refused. An unknown answer is asked for again with
    /// the same entry, whose path makes the repetition harmless; meanwhile nothing is dropped or set back.
    async fn commit(
        &self,
        owners: &[Owner],
        entry: &ManifestEntry,
        decisions: &[(ShardId, NewEvent)],
    ) -> Result<ManifestPosition, Vec<ShardId>> {
        let mut pause = limits::RETRY_MS_MIN;
        loop {
            match self.journal.commit_file(owners, std::slice::from_ref(entry), decisions).await {
                CommitOutcome::Committed { position, .. } => return Ok(position),
                CommitOutcome::Refused { fenced } => return Err(fenced),
                CommitOutcome::Unknown => {
                    tracing::warn!(path = entry.path, "the answer of a commit was lost; asking again");
                    self.metrics.retries.inc();
                    back_off(&mut pause).await;
                }
            }
        }
    }

    fn answer(&self, position: ManifestPosition, contributions: Vec<Contribution>, verdict: Verdict) {
        let mut by_shard: BTreeMap<ShardId, Vec<Answer>> = BTreeMap::new();
        for Contribution { shard, vehicle, ticket, .. } in contributions {
            by_shard.entry(shard).or_default().push(Answer { vehicle, ticket, verdict });
        }
        by_shard.into_iter().for_each(|(shard, answers)| self.listener.answered(shard, position, answers));
    }

    /// Replaces the checkpoint of every shard still owned.
    async fn checkpoint(&mut self) -> Result<(), LakeError> {
        let position = self.position.load(Ordering::Acquire);
        let mut checkpoints = Vec::with_capacity(self.owners.len());
        for (&shard, &epoch) in &self.owners {
            let floor = self.listener.replay_floor(shard).min(position);
            let checkpoint = self.marks.entry(shard).or_default().checkpoint(position, floor)?;
            checkpoints.push((Owner { shard, epoch }, checkpoint));
        }
        checkpoints.sort_unstable_by_key(|(owner, _)| *owner);
        let count = checkpoints.len() as u64;
        let stale = self.journal.put_checkpoints(checkpoints).await?;
        self.metrics.checkpoints.inc_by(count - stale.len() as u64);
        self.marks.values_mut().for_each(ShardMarks::close);
        for shard in stale {
            self.owners.remove(&shard);
            self.listener.shard_lost(shard);
        }
        Ok(())
    }
}

/// The deliberate fault that shows that the proving ground bites: a shard goes on behind rows that were dropped.
fn forgets_set_back() -> bool {
    fail::fail_point!("forget-set-back", |_| true);
    false
}

/// Puts the rows of a refused round back to the contributions they came from; `counts` says how many each had. The
/// sort was stable, so a vehicle's rows stand in the order of its contributions.
fn give_back(rows: &[Row], counts: &[usize], contributions: &mut [Contribution]) {
    let mut by_vehicle: HashMap<_, std::collections::VecDeque<Row>> = HashMap::new();
    for row in rows {
        by_vehicle.entry(row.vehicle).or_default().push_back(row.clone());
    }
    for (contribution, count) in contributions.iter_mut().zip(counts) {
        if let Some(rows) = by_vehicle.get_mut(&contribution.vehicle) {
            contribution.rows = rows.drain(..(*count).min(rows.len())).collect();
        }
    }
}

/// Tells those who wait for the round; one that went away does not need to know.
fn tell(flushes: &mut Vec<oneshot::Sender<()>>) {
    for done in flushes.drain(..) {
        let _ = done.send(());
    }
}

async fn back_off(pause_ms: &mut u64) {
    tokio::time::sleep(Duration::from_millis(*pause_ms)).await;
    *pause_ms = (*pause_ms * 2).min(limits::RETRY_MS_MAX);
}

pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
