//! What a write does to the tree: checks, and the batch it becomes. Pure but for reads through [`View`].

use std::collections::BTreeMap;

use remuda_model::{Epoch, ShardId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::journal::{
    Appended, Caused, Checkpoint, CommitOutcome, FeedPosition, JournalError, ManifestEntry, ManifestPosition,
    NewEvent, Note, NotePosition, Owner, ReplaceOutcome, ReplacedFile, Replacing, Snapshot, StreamId,
};
use crate::store::Store;
use crate::{keys, limits};

/// Who owns a shard, and how far its feed goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// Epoch in force; 0 = never acquired.
    pub epoch: Epoch,
    /// Position of its last event.
    pub head: FeedPosition,
}

/// A checkpoint's first piece.
#[derive(Debug, Serialize, Deserialize)]
pub struct CheckpointHead {
    /// Manifest position of the numbers.
    pub position: u64,
    /// Pieces that follow.
    pub pieces: u32,
}

/// The store as it will be once the group under way is committed.
pub struct View<'a> {
    store: &'a dyn Store,
    /// Accepted writes of the group.
    batch: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// What the write under way would add.
    scratch: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// A write that was refused changed nothing.
type Refusable<T> = Result<T, JournalError>;

impl<'a> View<'a> {
    /// Nothing pending.
    pub fn new(store: &'a dyn Store) -> Self {
        Self { store, batch: BTreeMap::new(), scratch: BTreeMap::new() }
    }

    /// Takes one write into the group, or, when it fails half way, leaves nothing of it behind.
    pub fn attempt<T>(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let result = write(self);
        let scratch = std::mem::take(&mut self.scratch);
        if result.is_ok() {
            // Not `append`: that builds the whole map anew for every write of the group.
            self.batch.extend(scratch);
        }
        result
    }

    /// What the group writes.
    pub fn batch(&self) -> &BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        &self.batch
    }

    fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Refusable<Option<T>> {
        match self.scratch.get(key).or_else(|| self.batch.get(key)) {
            Some(pending) => pending.as_deref().map(decode).transpose(),
            None => self.store.get(key)?.as_deref().map(decode).transpose(),
        }
    }

    fn put<T: Serialize>(&mut self, key: Vec<u8>, what: &'static str, value: &T) -> Refusable<()> {
        let bytes = encode(value)?;
        within(what, bytes.len(), limits::VALUE_BYTES_MAX)?;
        self.scratch.insert(key, Some(bytes));
        Ok(())
    }

    /// Who owns a shard.
    pub fn ownership(&self, shard: ShardId) -> Refusable<Ownership> {
        Ok(self.get(&keys::owner(shard))?.unwrap_or_default())
    }

    /// Raises epochs.
    pub fn acquire(&mut self, shards: &[ShardId]) -> Refusable<Vec<(Owner, FeedPosition)>> {
        let mut owned = Vec::with_capacity(shards.len());
        for &shard in shards {
            let Ownership { epoch, head } = self.ownership(shard)?;
            let epoch = Epoch(epoch.0 + 1);
            self.put(keys::owner(shard), "an owner", &Ownership { epoch, head })?;
            owned.push((Owner { shard, epoch }, head));
        }
        Ok(owned)
    }

    /// Appends to a shard's feed.
    pub fn append(
        &mut self,
        owner: Owner,
        expected: FeedPosition,
        events: &[NewEvent],
    ) -> Refusable<Appended> {
        let Ownership { epoch, head } = self.ownership(owner.shard)?;
        if epoch != owner.epoch {
            return Ok(Appended::Fenced { current: epoch });
        }
        if head != expected || !self.versions_follow(events.iter())? {
            return Ok(Appended::Conflict { head });
        }
        let head = self.write_events(owner.shard, Ownership { epoch, head }, events.iter())?;
        self.index_causes(events)?;
        Ok(Appended::Committed { head })
    }

    /// Commits files with their decisions.
    pub fn commit_file(
        &mut self,
        owners: &[Owner],
        entries: &[ManifestEntry],
        decisions: &[(ShardId, NewEvent)],
    ) -> Refusable<CommitOutcome> {
        let mut position: ManifestPosition = self.get(keys::MANIFEST_HEAD)?.unwrap_or(0);
        let mut shards: Vec<ShardId> = decisions.iter().map(|(shard, _)| *shard).collect();
        shards.sort_unstable();
        shards.dedup();
        // An entry that is there already: this is a call whose answer was lost, and it holds whoever owns the shard now.
        if let Some(first) = entries.first()
            && let Some(at) = self.get::<u64>(&keys::path(&first.path))?
        {
            let heads =
                shards.iter().map(|s| Ok((*s, self.ownership(*s)?.head))).collect::<Refusable<_>>()?;
            return Ok(CommitOutcome::Committed { position: at + entries.len() as u64 - 1, heads });
        }
        let mut fenced = Vec::new();
        for owner in owners {
            if self.ownership(owner.shard)?.epoch != owner.epoch {
                fenced.push(owner.shard);
            }
        }
        let listed = |shard: &ShardId| owners.iter().any(|owner| owner.shard == *shard);
        let follow = self.versions_follow(decisions.iter().map(|(_, event)| event))?;
        if !fenced.is_empty() || !follow || !shards.iter().all(listed) {
            return Ok(CommitOutcome::Refused { fenced });
        }
        position = self.write_entries(position, entries)?;
        let mut heads = Vec::with_capacity(shards.len());
        for shard in shards {
            let own = self.ownership(shard)?;
            let events = decisions.iter().filter(|(s, _)| *s == shard).map(|(_, event)| event);
            heads.push((shard, self.write_events(shard, own, events)?));
        }
        Ok(CommitOutcome::Committed { position, heads })
    }

    fn write_entries(
        &mut self,
        head: ManifestPosition,
        entries: &[ManifestEntry],
    ) -> Refusable<ManifestPosition> {
        let mut position = head;
        for entry in entries {
            within("a manifest entry", encode(entry)?.len(), limits::ENTRY_BYTES_MAX)?;
            position += 1;
            self.put(keys::manifest(position), "a manifest entry", entry)?;
            self.put(keys::path(&entry.path), "a path", &position)?;
        }
        self.put(keys::MANIFEST_HEAD.to_vec(), "the manifest's head", &position)?;
        Ok(position)
    }

    /// Raises the epoch under which files are replaced.
    pub fn acquire_replacing(&mut self) -> Refusable<Epoch> {
        let Replacing { epoch, count } = self.get(keys::REPLACING)?.unwrap_or_default();
        let epoch = Epoch(epoch.0 + 1);
        self.put(keys::REPLACING.to_vec(), "an epoch", &Replacing { epoch, count })?;
        Ok(epoch)
    }

    /// Replaces files in the manifest.
    pub fn replace_files(
        &mut self,
        epoch: Epoch,
        inputs: &[String],
        outputs: &[ManifestEntry],
        notes: &[Note],
        now_ms: i64,
    ) -> Refusable<ReplaceOutcome> {
        let head: ManifestPosition = self.get(keys::MANIFEST_HEAD)?.unwrap_or(0);
        let done = match outputs.first() {
            Some(first) => self
                .get::<ManifestPosition>(&keys::path(&first.path))?
                .map(|at| at + outputs.len() as ManifestPosition - 1),
            None => self.all_replaced(inputs)?.then_some(head),
        };
        if let Some(position) = done {
            return Ok(ReplaceOutcome::Committed { position });
        }
        let Replacing { epoch: current, count } = self.get(keys::REPLACING)?.unwrap_or_default();
        if current != epoch {
            return Ok(ReplaceOutcome::Refused { missing: Vec::new() });
        }
        let mut places = Vec::with_capacity(inputs.len());
        let mut missing = Vec::new();
        for path in inputs {
            match self.place_in_manifest(path)? {
                Some(position) => places.push(position),
                None => missing.push(path.clone()),
            }
        }
        if !missing.is_empty() {
            return Ok(ReplaceOutcome::Refused { missing });
        }
        for (path, position) in inputs.iter().zip(places) {
            self.scratch.insert(keys::manifest(position), None);
            let replaced = ReplacedFile { path: path.clone(), since_ms: now_ms };
            self.put(keys::replaced(path), "a replaced file", &replaced)?;
        }
        self.put(keys::REPLACING.to_vec(), "an epoch", &Replacing { epoch, count: count + 1 })?;
        self.note(notes)?;
        Ok(ReplaceOutcome::Committed { position: self.write_entries(head, outputs)? })
    }

    /// Appends to trails.
    pub fn note(&mut self, notes: &[Note]) -> Refusable<()> {
        for Note { trail, bytes } in notes {
            within("a note", bytes.len(), limits::VALUE_BYTES_MAX)?;
            let head: NotePosition = self.get(&keys::notes_head(trail))?.unwrap_or(0);
            self.put(keys::notes_head(trail), "a trail's end", &(head + 1))?;
            self.scratch.insert(keys::note(trail, head + 1), Some(bytes.clone()));
        }
        Ok(())
    }

    fn all_replaced(&self, paths: &[String]) -> Refusable<bool> {
        for path in paths {
            if self.get::<ReplacedFile>(&keys::replaced(path))?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Where a file stands in the manifest; `None` when it never did, or was replaced.
    fn place_in_manifest(&self, path: &str) -> Refusable<Option<ManifestPosition>> {
        let Some(position) = self.get::<ManifestPosition>(&keys::path(path))? else { return Ok(None) };
        let entry: Option<ManifestEntry> = self.get(&keys::manifest(position))?;
        Ok(entry.map(|_| position))
    }

    /// Forgets files that were replaced.
    pub fn forget_replaced(&mut self, paths: &[String]) -> Refusable<()> {
        for path in paths {
            if self.get::<ReplacedFile>(&keys::replaced(path))?.is_some() {
                self.scratch.insert(keys::replaced(path), None);
                self.scratch.insert(keys::path(path), None);
            }
        }
        Ok(())
    }

    /// Whether each event's version is the one after its stream's last.
    fn versions_follow<'e>(&self, events: impl Iterator<Item = &'e NewEvent>) -> Refusable<bool> {
        let mut last: BTreeMap<&StreamId, u64> = BTreeMap::new();
        for event in events {
            let before = match last.get(&event.stream) {
                Some(before) => *before,
                None => self.get(&keys::last_version(&event.stream))?.unwrap_or(0),
            };
            if event.version != before + 1 {
                return Ok(false);
            }
            last.insert(&event.stream, event.version);
        }
        Ok(true)
    }

    fn write_events<'e>(
        &mut self,
        shard: ShardId,
        own: Ownership,
        events: impl Iterator<Item = &'e NewEvent>,
    ) -> Refusable<FeedPosition> {
        let mut head = own.head;
        for event in events {
            head += 1;
            self.put(keys::event(shard, head), "an event", event)?;
            self.put(keys::version(&event.stream, event.version), "an index entry", &(shard, head))?;
            self.put(keys::last_version(&event.stream), "a version", &event.version)?;
        }
        self.put(keys::owner(shard), "an owner", &Ownership { head, ..own })?;
        Ok(head)
    }

    /// Notes where each cause's events are, so that a command that comes again is found (the first append counts).
    fn index_causes(&mut self, events: &[NewEvent]) -> Refusable<()> {
        let mut causes: BTreeMap<(&StreamId, &str), Caused> = BTreeMap::new();
        for NewEvent { stream, causation_id, version, .. } in events {
            let cause =
                causes.entry((stream, causation_id)).or_insert(Caused { first: *version, last: *version });
            cause.last = *version;
        }
        for ((stream, causation_id), caused) in causes {
            let key = keys::cause(stream, causation_id);
            if causation_id.len() <= limits::INDEXED_CAUSE_BYTES_MAX && self.get::<Caused>(&key)?.is_none() {
                self.put(key, "an index entry", &caused)?;
            }
        }
        Ok(())
    }

    /// Replaces snapshots; false under a stale epoch.
    pub fn put_snapshots(&mut self, owner: Owner, snapshots: &[(StreamId, Snapshot)]) -> Refusable<bool> {
        if self.ownership(owner.shard)?.epoch != owner.epoch {
            return Ok(false);
        }
        for (stream, snapshot) in snapshots {
            // The stream's name is kept in the value, so that a page of snapshots needs no parsing of keys.
            self.put(keys::snapshot(stream), "a snapshot", &(stream, snapshot))?;
        }
        Ok(true)
    }

    /// Replaces checkpoints; answers the shards with stale epochs.
    pub fn put_checkpoints(&mut self, checkpoints: &[(Owner, Checkpoint)]) -> Refusable<Vec<ShardId>> {
        let mut stale = Vec::new();
        for (owner, checkpoint) in checkpoints {
            let shard = owner.shard;
            if self.ownership(shard)?.epoch != owner.epoch {
                stale.push(shard);
                continue;
            }
            let before: Option<CheckpointHead> = self.get(&keys::checkpoint_piece(shard, 0))?;
            let pieces = checkpoint.state.chunks(limits::CHECKPOINT_PIECE_BYTES).len() as u32;
            let head = CheckpointHead { position: checkpoint.position, pieces };
            self.put(keys::checkpoint_piece(shard, 0), "a checkpoint", &head)?;
            for (i, piece) in (1..).zip(checkpoint.state.chunks(limits::CHECKPOINT_PIECE_BYTES)) {
                self.scratch.insert(keys::checkpoint_piece(shard, i), Some(piece.to_vec()));
            }
            for gone in pieces..before.map_or(0, |b| b.pieces) {
                self.scratch.insert(keys::checkpoint_piece(shard, gone + 1), None);
            }
            for (name, value) in &checkpoint.closed {
                within("a closed fact", value.len(), limits::VALUE_BYTES_MAX)?;
                self.scratch.insert(keys::closed(shard, name), Some(value.clone()));
            }
        }
        Ok(stale)
    }
}

fn within(what: &'static str, bytes: usize, max: usize) -> Refusable<()> {
    if bytes > max { Err(JournalError::TooLarge { what, bytes, max }) } else { Ok(()) }
}

/// A value's bytes.
pub fn encode<T: Serialize>(value: &T) -> Refusable<Vec<u8>> {
    postcard::to_allocvec(value)
        .map_err(|e| JournalError::Io { operation: "encoding a value", source: Box::new(e) })
}

/// A value out of its bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Refusable<T> {
    postcard::from_bytes(bytes).map_err(|e| {
        JournalError::Corrupt(format!(
            "a value does not decode ({e}); restore the journal from its last export"
        ))
    })
}
