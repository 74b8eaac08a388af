//! The trait every engine implements.

use async_trait::async_trait;
use remuda_model::{Epoch, OrganizationId, ShardId};
use serde::{Deserialize, Serialize};

/// Position of an event in its shard's feed, gap-free from 1; 0 = before the first.
pub type FeedPosition = u64;
/// Position of a record in the manifest, ascending from 1; 0 = before the first.
pub type ManifestPosition = u64;

/// Position of a note in its trail, gap-free from 1; 0 = before the first.
pub type NotePosition = u64;

/// A stream of events: one aggregate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId {
    /// Whose (D20).
    pub organization: OrganizationId,
    /// Kind of aggregate, such as `vehicle`.
    pub aggregate_type: String,
    /// Its id.
    pub aggregate_id: String,
}

/// An event to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewEvent {
    /// Unique; the idempotency key of its effects (I3). Deterministic where a cause can be replayed.
    pub event_id: [u8; 16],
    /// Its stream.
    pub stream: StreamId,
    /// Its version in the stream, from 1; the engine refuses a gap or a repetition.
    pub version: u64,
    /// Such as `vehicle.alert-raised`.
    pub event_type: String,
    /// Version of the payload's form.
    pub schema_version: u16,
    /// When it was decided, ms since 1970 UTC.
    pub time_ms: i64,
    /// What caused it, such as `rule/harsh-braking/{incarnation}/{seq}`.
    pub causation_id: String,
    /// What it belongs to.
    pub correlation_id: String,
    /// Who did it.
    pub actor: String,
    /// postcard, by the domain.
    pub payload: Vec<u8>,
}

/// An event as it stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its shard.
    pub shard: ShardId,
    /// Its place in the shard's feed.
    pub position: FeedPosition,
    /// What was written.
    pub event: NewEvent,
}

/// A shard and the epoch under which its writer owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owner {
    /// Shard.
    pub shard: ShardId,
    /// Epoch of the writer.
    pub epoch: Epoch,
}

/// What an append did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// Durable; the shard's new head.
    Committed {
        /// Position of the last event.
        head: FeedPosition,
    },
    /// A newer owner has the shard: stop it here.
    Fenced {
        /// The epoch in force.
        current: Epoch,
    },
    /// Same epoch but another head, or a version that does not follow: a fault of ours. Stop the shard, reload.
    Conflict {
        /// The shard's head.
        head: FeedPosition,
    },
}

/// The events of one cause in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caused {
    /// Version of the first.
    pub first: u64,
    /// Version of the last.
    pub last: u64,
}

/// What `commit_file` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Entries and decisions are durable, all of them; new heads of the shards that had decisions.
    Committed {
        /// Position of the last entry.
        position: ManifestPosition,
        /// Shard and its new head.
        heads: Vec<(ShardId, FeedPosition)>,
    },
    /// Nothing was written: these shards have newer owners, or a decision's version does not follow.
    Refused {
        /// Shards no longer owned; empty when a version did not follow.
        fenced: Vec<ShardId>,
    },
    /// The answer was lost. Retry the same call until it is definite: entries already there mean success.
    Unknown,
}

/// One committed file of the lake. At most 10 KB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// Path below the lake's root; unique for ever.
    pub path: String,
    /// Registry revision of its columns.
    pub schema: u16,
    /// CRC32C of the whole file.
    pub checksum: u32,
    /// Its length.
    pub bytes: u64,
    /// Rows of every kind per shard, ascending by shard.
    pub rows: Vec<(ShardId, u32)>,
    /// Earliest and latest sample time, ns since 1970 UTC; equal zeros when unknown.
    pub sample_time_ns: (i64, i64),
    /// Earliest and latest receive time, ms since 1970 UTC.
    pub receive_time_ms: (i64, i64),
}

/// A manifest entry with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRecord {
    /// Its place.
    pub position: ManifestPosition,
    /// The file.
    pub entry: ManifestEntry,
}

/// The right to replace files: who has it, and how often it was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacing {
    /// Epoch in force; 0 = nobody ever had it.
    pub epoch: Epoch,
    /// Replacements so far: a list of the manifest read while it did not change is of one moment.
    pub count: u64,
}

/// What `replace_files` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplaceOutcome {
    /// The inputs have left the manifest and the outputs are in it, durably.
    Committed {
        /// Position of the last output; the manifest's head when there are none.
        position: ManifestPosition,
    },
    /// Nothing was written: a newer epoch is in force, or these inputs are not in the manifest.
    Refused {
        /// Inputs that are not there; empty when the epoch is stale.
        missing: Vec<String>,
    },
    /// The answer was lost. Retry the same call until it is definite.
    Unknown,
}

/// A file that left the manifest because others replaced it, and that a reader may still be reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplacedFile {
    /// Path below the lake's root.
    pub path: String,
    /// When, ms since 1970 UTC.
    pub since_ms: i64,
}

/// A line of an audit trail: what must be provable later, such as that something was erased. Trails are appended to and
/// read, never changed; they need no shard and no epoch, so who may be writing twice (a lost answer, a crash) gives what
/// it writes an id of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Which trail, such as `lake-erasures`; without NUL.
    pub trail: String,
    /// By whoever owns the trail; under 100 KB.
    pub bytes: Vec<u8>,
}

/// State of one aggregate at a version. Under 100 KB (sled keeps larger values outside its synced file).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Stream version it includes.
    pub version: u64,
    /// postcard, by the domain.
    pub state: Vec<u8>,
}

/// Numbers of one shard as of a manifest position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Manifest position at which the numbers were taken: files after it are not in them.
    pub position: ManifestPosition,
    /// postcard, by the lake.
    pub state: Vec<u8>,
    /// Facts that leave `state` for good, key and value, kept beside it in the same atomic write: the incarnations of
    /// vehicles that will say nothing more.
    pub closed: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Why the journal could not answer. None of them means "not written" unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The files are damaged; the text says how to restore.
    #[error("the journal is damaged: {0}")]
    Corrupt(String),
    /// Another process has it open.
    #[error("the journal at {0} is in use by another process; stop that process first")]
    InUse(String),
    /// The disk or database failed.
    #[error("the journal failed while {operation}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A value over its limit.
    #[error("{what} has {bytes} bytes, more than the {max} the journal takes")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How much.
        bytes: usize,
        /// How much it may have.
        max: usize,
    },
}

/// The journal. Every write is durable when it answers, and fenced by epoch.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Takes ownership of shards: raises each epoch by one and answers (shard, new epoch, head), durably.
    async fn acquire(&self, shards: &[ShardId]) -> Result<Vec<(Owner, FeedPosition)>, JournalError>;

    /// Appends to a shard's feed. `expected_head` is the writer's own idea of it. Concurrent calls are committed in
    /// groups.
    async fn append(
        &self,
        owner: Owner,
        expected_head: FeedPosition,
        events: Vec<NewEvent>,
    ) -> Result<Appended, JournalError>;

    /// Commits files and the decisions they caused, all or nothing (UPLINK section 4). `owners` lists every shard
    /// with rows or decisions; a decision's shard is `ShardId` beside it. An entry whose path is already there makes
    /// the call a repetition: answers `Committed` and writes nothing.
    async fn commit_file(
        &self,
        owners: &[Owner],
        entries: &[ManifestEntry],
        decisions: &[(ShardId, NewEvent)],
    ) -> CommitOutcome;

    /// A stream's events from `from_version` (inclusive), at most `limit`.
    async fn read_stream(
        &self,
        stream: &StreamId,
        from_version: u64,
        limit: usize,
    ) -> Result<Vec<Event>, JournalError>;

    /// For each of these causation ids (of at most 256 bytes), which of the stream's events have it: those of the first
    /// [`Journal::append`] that had any; decisions of [`Journal::commit_file`] need not be found. What a command did is
    /// known by this for ever.
    async fn caused_by(
        &self,
        stream: &StreamId,
        causation_ids: Vec<String>,
    ) -> Result<Vec<Option<Caused>>, JournalError> {
        let mut found = vec![None; causation_ids.len()];
        let mut next = 1;
        loop {
            let page = self.read_stream(stream, next, 256).await?;
            let Some(last) = page.last() else { return Ok(found) };
            next = last.event.version + 1;
            for Event { event, .. } in page {
                for (cause, found) in causation_ids.iter().zip(&mut found) {
                    if *cause != event.causation_id {
                        continue;
                    }
                    let before = found.get_or_insert(Caused { first: event.version, last: event.version });
                    if before.last + 1 == event.version {
                        before.last = event.version;
                    }
                }
            }
        }
    }

    /// A shard's events after `after`, at most `limit`, without gaps.
    async fn read_feed(
        &self,
        shard: ShardId,
        after: FeedPosition,
        limit: usize,
    ) -> Result<Vec<Event>, JournalError>;

    /// The head of each shard's feed, of every shard ever acquired; it may be behind what was appended meanwhile.
    async fn heads(&self) -> Result<Vec<(ShardId, FeedPosition)>, JournalError> {
        let mut heads = Vec::new();
        for Owner { shard, .. } in self.epochs().await? {
            let mut head = 0;
            while let Some(last) = self.read_feed(shard, head, 256).await?.last() {
                head = last.position;
            }
            heads.push((shard, head));
        }
        Ok(heads)
    }

    /// Replaces a stream's snapshot; refused (false) under a stale epoch.
    async fn put_snapshots(
        &self,
        owner: Owner,
        snapshots: Vec<(StreamId, Snapshot)>,
    ) -> Result<bool, JournalError>;

    /// A stream's snapshot.
    async fn snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, JournalError>;

    /// All snapshots of an aggregate type, for rebuilding indexes at start-up; pages by `after`.
    async fn snapshots(
        &self,
        aggregate_type: &str,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<(StreamId, Snapshot)>, JournalError>;

    /// Replaces shards' checkpoints in one write; a shard with a stale epoch is left out and answered.
    async fn put_checkpoints(
        &self,
        checkpoints: Vec<(Owner, Checkpoint)>,
    ) -> Result<Vec<ShardId>, JournalError>;

    /// A shard's newest checkpoint; its `closed` is empty, ask [`Journal::closed`].
    async fn checkpoint(&self, shard: ShardId) -> Result<Option<Checkpoint>, JournalError>;

    /// A fact that left a checkpoint of this shard (`Checkpoint::closed`).
    async fn closed(&self, shard: ShardId, key: &[u8]) -> Result<Option<Vec<u8>>, JournalError>;

    /// Manifest records after `after`, in order, at most `limit`.
    async fn manifest(
        &self,
        after: ManifestPosition,
        limit: usize,
    ) -> Result<Vec<ManifestRecord>, JournalError>;

    /// Takes the right to replace files: raises its epoch by one and answers it, durably. Whoever had it is refused.
    async fn acquire_replacing(&self) -> Result<Epoch, JournalError>;

    /// Who may replace files, and how often files were replaced.
    async fn replacing(&self) -> Result<Replacing, JournalError>;

    /// Takes `inputs` (paths) out of the manifest and puts `outputs` into it, all or nothing: only under the epoch in
    /// force, and only if every input is still there. The inputs stay in the list of replaced files, and a `commit_file`
    /// of one of them is still a repetition, until [`Journal::forget_replaced`]. `notes` are written with it, or not at
    /// all. A call whose outputs are there already (without outputs: whose inputs are all replaced) is a repetition.
    async fn replace_files(
        &self,
        epoch: Epoch,
        inputs: &[String],
        outputs: &[ManifestEntry],
        notes: &[Note],
        now_ms: i64,
    ) -> ReplaceOutcome;

    /// Appends to audit trails, all or nothing.
    async fn note(&self, notes: &[Note]) -> Result<(), JournalError>;

    /// A trail's notes after `after`, in order, at most `limit`.
    async fn notes(
        &self,
        trail: &str,
        after: NotePosition,
        limit: usize,
    ) -> Result<Vec<(NotePosition, Vec<u8>)>, JournalError>;

    /// Replaced files by path, after `after`, at most `limit`.
    async fn replaced(&self, after: Option<&str>, limit: usize) -> Result<Vec<ReplacedFile>, JournalError>;

    /// Forgets replaced files that are gone from the disk; a path that is not in the list is passed over.
    async fn forget_replaced(&self, paths: &[String]) -> Result<(), JournalError>;

    /// The epoch in force for each shard ever acquired.
    async fn epochs(&self) -> Result<Vec<Owner>, JournalError>;
}
