//! The journal: its real engine, behind a network that delays, loses answers and does things late.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parking_lot::Mutex;
use remuda_eventsourcing::{
    Appended, Checkpoint, CommitOutcome, Event, FeedPosition, Journal, JournalError, ManifestEntry,
    ManifestPosition, ManifestRecord, MemoryJournal, NewEvent, Note, NotePosition, Owner, ReplaceOutcome,
    ReplacedFile, Replacing, Snapshot, StreamId,
};
use remuda_lake::{Row, file};
use remuda_model::{Epoch, ShardId};

use crate::clock;
use crate::ground::Ground;
use crate::plan::Sabotage;
use crate::store::FaultyStore;

type Result<T> = std::result::Result<T, JournalError>;

/// A commit that was answered *unknown* and is still under way, or was answered too early.
struct Late {
    at_ms: u64,
    owners: Vec<Owner>,
    entries: Vec<ManifestEntry>,
    decisions: Vec<(ShardId, NewEvent)>,
    /// Forgotten when this process crashes.
    of: Option<u64>,
}

/// See the module. One for all processes of a world; each speaks through its own handle.
pub(crate) struct Engine {
    ground: Arc<Ground>,
    inner: MemoryJournal,
    store: FaultyStore,
    late: Mutex<Vec<Late>>,
}

impl Engine {
    /// Empty.
    pub fn new(ground: Arc<Ground>, store: FaultyStore) -> Arc<Self> {
        Arc::new(Self { ground, inner: MemoryJournal::in_place(), store, late: Mutex::default() })
    }

    /// The next time at which something late comes true.
    pub fn next_late_ms(&self) -> Option<u64> {
        self.late.lock().iter().map(|late| late.at_ms).min()
    }

    /// What is late comes true.
    pub fn late(&self) {
        loop {
            let mut waiting = self.late.lock();
            let Some(at) = waiting.iter().position(|late| late.at_ms <= clock::now_ms()) else { return };
            let Late { owners, entries, decisions, .. } = waiting.remove(at);
            drop(waiting);
            self.ground.note(format_args!("journal: a late commit arrives"));
            self.commit(&owners, &entries, &decisions);
        }
    }

    /// A process crashed: what it only believed to be written is gone.
    pub fn crashed(&self, process: u64) {
        self.late.lock().retain(|late| late.of != Some(process));
    }

    /// Does it, checks it, keeps the books.
    fn commit(
        &self,
        owners: &[Owner],
        entries: &[ManifestEntry],
        decisions: &[(ShardId, NewEvent)],
    ) -> CommitOutcome {
        let outcome = self.inner.commit_file(owners, entries, decisions).now_or_never();
        let outcome = outcome.unwrap_or(CommitOutcome::Unknown);
        self.ground.note(format_args!("journal: commit {}", outcome_name(&outcome)));
        if matches!(outcome, CommitOutcome::Committed { .. }) {
            let mut truth = self.ground.truth.lock();
            for entry in entries {
                if truth.knows(&entry.path) {
                    continue;
                }
                let events: Vec<NewEvent> = decisions.iter().map(|(_, event)| event.clone()).collect();
                let checked = self.rows(entry).and_then(|rows| truth.committed(&entry.path, rows, &events));
                if let Err(what) = checked {
                    self.ground.broken(what);
                }
            }
        }
        outcome
    }

    fn rows(&self, entry: &ManifestEntry) -> std::result::Result<Vec<Row>, String> {
        let path = Path::from(entry.path.as_str());
        let got = async { self.store.files().get(&path).await?.bytes().await }.now_or_never();
        let bytes = got.and_then(std::result::Result::ok).ok_or("a file is committed that is not there")?;
        file::decode(bytes).map_err(|error| format!("a committed file does not decode: {error}"))
    }
}

fn outcome_name(outcome: &CommitOutcome) -> String {
    match outcome {
        CommitOutcome::Committed { position, .. } => format!("committed at {position}"),
        CommitOutcome::Refused { fenced } => format!("refused, {} fenced", fenced.len()),
        CommitOutcome::Unknown => "unknown".into(),
    }
}

/// A process's way to the journal.
pub(crate) struct FaultyJournal {
    pub engine: Arc<Engine>,
    pub process: u64,
}

impl FaultyJournal {
    fn ground(&self) -> &Ground {
        &self.engine.ground
    }

    async fn before(&self, operation: &'static str) -> Result<()> {
        self.ground().dawdle(self.ground().plan.journal_ms.clone()).await;
        self.maybe("journal fails before", operation)
    }

    async fn after(&self, operation: &'static str) -> Result<()> {
        self.maybe("journal fails after", operation)?;
        self.ground().dawdle(self.ground().plan.journal_ms.clone()).await;
        Ok(())
    }

    fn maybe(&self, name: &'static str, operation: &'static str) -> Result<()> {
        if self.ground().fault(name, self.ground().plan.journal_fails) {
            return Err(JournalError::Io { operation, source: name.into() });
        }
        Ok(())
    }

    fn put_off(
        &self,
        of: Option<u64>,
        (owners, entries, decisions): (&[Owner], &[ManifestEntry], &[(ShardId, NewEvent)]),
    ) {
        let at_ms = clock::now_ms() + self.ground().roll(1..3_000);
        let (owners, entries, decisions) = (owners.to_vec(), entries.to_vec(), decisions.to_vec());
        self.engine.late.lock().push(Late { at_ms, owners, entries, decisions, of });
    }

    fn is_late(&self, entries: &[ManifestEntry]) -> bool {
        self.engine.late.lock().iter().any(|late| late.entries == entries)
    }
}

#[async_trait]
impl Journal for FaultyJournal {
    async fn acquire(&self, shards: &[ShardId]) -> Result<Vec<(Owner, FeedPosition)>> {
        self.before("acquiring").await?;
        let acquired = self.engine.inner.acquire(shards).await?;
        self.after("acquiring").await?;
        Ok(acquired)
    }

    async fn append(&self, owner: Owner, head: FeedPosition, events: Vec<NewEvent>) -> Result<Appended> {
        self.before("appending").await?;
        let appended = self.engine.inner.append(owner, head, events.clone()).await?;
        self.ground().note(format_args!("journal: append of {} {appended:?}", events.len()));
        if matches!(appended, Appended::Committed { .. }) {
            let mut truth = self.ground().truth.lock();
            if let Err(what) = events.iter().try_for_each(|event| truth.event(event)) {
                self.ground().broken(what);
            }
        }
        self.after("appending").await?;
        Ok(appended)
    }

    async fn commit_file(
        &self,
        owners: &[Owner],
        entries: &[ManifestEntry],
        decisions: &[(ShardId, NewEvent)],
    ) -> CommitOutcome {
        let (ground, plan) = (self.ground(), &self.ground().plan);
        ground.dawdle(plan.journal_ms.clone()).await;
        // Nothing may come true after a refusal.
        if !self.is_late(entries)
            && !ground.truth.lock().knows(&entries[0].path)
            && ground.fault("commit refused", plan.commit_refused)
        {
            return CommitOutcome::Refused { fenced: Vec::new() };
        }
        if ground.fault("commit late", plan.commit_late) {
            self.put_off(None, (owners, entries, decisions));
            return CommitOutcome::Unknown;
        }
        if ground.fault("commit lost", plan.commit_unknown / 2) {
            return CommitOutcome::Unknown;
        }
        if plan.sabotage == Some(Sabotage::CommitNotDurable) {
            self.put_off(Some(self.process), (owners, entries, decisions));
            return CommitOutcome::Committed { position: 0, heads: Vec::new() };
        }
        let outcome = self.engine.commit(owners, entries, decisions);
        if ground.fault("commit's answer lost", plan.commit_unknown / 2) {
            return CommitOutcome::Unknown;
        }
        ground.dawdle(plan.journal_ms.clone()).await;
        outcome
    }

    async fn read_stream(&self, stream: &StreamId, from_version: u64, limit: usize) -> Result<Vec<Event>> {
        self.before("reading").await?;
        self.engine.inner.read_stream(stream, from_version, limit).await
    }

    async fn read_feed(&self, shard: ShardId, after: FeedPosition, limit: usize) -> Result<Vec<Event>> {
        self.before("reading").await?;
        self.engine.inner.read_feed(shard, after, limit).await
    }

    async fn put_snapshots(&self, owner: Owner, snapshots: Vec<(StreamId, Snapshot)>) -> Result<bool> {
        self.before("snapshotting").await?;
        let put = self.engine.inner.put_snapshots(owner, snapshots).await?;
        self.after("snapshotting").await?;
        Ok(put)
    }

    async fn snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>> {
        self.before("reading").await?;
        self.engine.inner.snapshot(stream).await
    }

    async fn snapshots(
        &self,
        aggregate_type: &str,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<(StreamId, Snapshot)>> {
        self.before("reading").await?;
        self.engine.inner.snapshots(aggregate_type, after, limit).await
    }

    async fn put_checkpoints(&self, checkpoints: Vec<(Owner, Checkpoint)>) -> Result<Vec<ShardId>> {
        self.before("checkpointing").await?;
        let stale = self.engine.inner.put_checkpoints(checkpoints).await?;
        self.ground().note(format_args!("journal: checkpoints, {} stale", stale.len()));
        self.after("checkpointing").await?;
        Ok(stale)
    }

    async fn checkpoint(&self, shard: ShardId) -> Result<Option<Checkpoint>> {
        // 1,024 of them at a start: without a delay each.
        self.engine.inner.checkpoint(shard).await
    }

    async fn closed(&self, shard: ShardId, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.before("reading").await?;
        self.engine.inner.closed(shard, key).await
    }

    async fn manifest(&self, after: ManifestPosition, limit: usize) -> Result<Vec<ManifestRecord>> {
        self.before("reading").await?;
        self.engine.inner.manifest(after, limit).await
    }

    async fn acquire_replacing(&self) -> Result<Epoch> {
        self.before("acquiring").await?;
        let epoch = self.engine.inner.acquire_replacing().await?;
        self.after("acquiring").await?;
        Ok(epoch)
    }

    async fn replacing(&self) -> Result<Replacing> {
        // Asked beside every list of the manifest: without a delay of its own.
        self.engine.inner.replacing().await
    }

    async fn replace_files(
        &self,
        epoch: Epoch,
        inputs: &[String],
        outputs: &[ManifestEntry],
        notes: &[Note],
        now_ms: i64,
    ) -> ReplaceOutcome {
        let (ground, plan) = (self.ground(), &self.ground().plan);
        if ground.fault("replacement lost", plan.commit_unknown / 2) {
            return ReplaceOutcome::Unknown;
        }
        let outcome = self.engine.inner.replace_files(epoch, inputs, outputs, notes, now_ms).await;
        if ground.fault("replacement's answer lost", plan.commit_unknown / 2) {
            return ReplaceOutcome::Unknown;
        }
        outcome
    }

    async fn note(&self, notes: &[Note]) -> Result<()> {
        self.before("noting").await?;
        self.engine.inner.note(notes).await?;
        self.after("noting").await
    }

    async fn notes(
        &self,
        trail: &str,
        after: NotePosition,
        limit: usize,
    ) -> Result<Vec<(NotePosition, Vec<u8>)>> {
        self.before("reading").await?;
        self.engine.inner.notes(trail, after, limit).await
    }

    async fn replaced(&self, after: Option<&str>, limit: usize) -> Result<Vec<ReplacedFile>> {
        self.before("reading").await?;
        self.engine.inner.replaced(after, limit).await
    }

    async fn forget_replaced(&self, paths: &[String]) -> Result<()> {
        self.before("forgetting").await?;
        self.engine.inner.forget_replaced(paths).await?;
        self.after("forgetting").await
    }

    async fn epochs(&self) -> Result<Vec<Owner>> {
        self.before("reading").await?;
        self.engine.inner.epochs().await
    }
}
