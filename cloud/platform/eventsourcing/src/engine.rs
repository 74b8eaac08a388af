//! One engine for every store: a writer thread that groups what waits, checks it, commits it, and answers.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use async_trait::async_trait;
use remuda_model::{Epoch, ShardId};
use tokio::sync::{mpsc, oneshot};

use crate::copying::Tap;
use crate::journal::{
    Appended, Caused, Checkpoint, CommitOutcome, Event, FeedPosition, Journal, JournalError, ManifestEntry,
    ManifestPosition, ManifestRecord, NewEvent, Note, NotePosition, Owner, ReplaceOutcome, ReplacedFile,
    Replacing, Snapshot, StreamId,
};
use crate::metrics::JournalMetrics;
use crate::points::Kinds;
use crate::progress::{Progress, Streams};
use crate::store::Store;
use crate::writes::{CheckpointHead, Ownership, View, decode};
use crate::{keys, limits};

type Reply<T> = oneshot::Sender<Result<T, JournalError>>;

pub(crate) enum Write {
    Acquire(Vec<ShardId>, Reply<Vec<(Owner, FeedPosition)>>),
    Append(Owner, FeedPosition, Vec<NewEvent>, Reply<Appended>),
    CommitFile(Vec<Owner>, Vec<ManifestEntry>, Vec<(ShardId, NewEvent)>, Reply<CommitOutcome>),
    Snapshots(Owner, Vec<(StreamId, Snapshot)>, Reply<bool>),
    Checkpoints(Vec<(Owner, Checkpoint)>, Reply<Vec<ShardId>>),
    AcquireReplacing(Reply<Epoch>),
    Replace(Epoch, Vec<String>, Vec<ManifestEntry>, Vec<Note>, i64, Reply<ReplaceOutcome>),
    Note(Vec<Note>, Reply<()>),
    ForgetReplaced(Vec<String>, Reply<()>),
}

/// What answers a caller once the group's fate is known. The argument is why the commit failed, if it did.
type Answer = Box<dyn FnOnce(Option<&str>) + Send>;

/// A journal over a store.
pub struct Engine<S: Store> {
    pub(crate) store: Arc<S>,
    pub(crate) tap: Arc<Tap>,
    progress: Arc<Progress>,
    writes: Option<mpsc::Sender<Write>>,
    writer: Option<JoinHandle<()>>,
    // Without a writer: every call is done where it is made.
    in_place: Option<JournalMetrics>,
}

impl<S: Store> Engine<S> {
    /// Starts the writer.
    pub(crate) fn start(store: S, metrics: JournalMetrics) -> Result<Self, JournalError> {
        let store = Arc::new(store);
        let (writes, queue) = mpsc::channel(limits::QUEUED_WRITES_MAX);
        let (tap, progress) = (Arc::new(Tap::default()), Arc::new(Progress::default()));
        let (of_writer, watched, told) = (Arc::clone(&store), Arc::clone(&tap), Arc::clone(&progress));
        let writer = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || run(&*of_writer, &watched, &told, queue, &metrics))
            .map_err(|e| JournalError::Io { operation: "starting its thread", source: Box::new(e) })?;
        Ok(Self { store, tap, progress, writes: Some(writes), writer: Some(writer), in_place: None })
    }

    /// Without a thread: a call is done when it is awaited, so that a simulation on one thread can be repeated. For
    /// stores that never wait.
    pub(crate) fn without_thread(store: S, metrics: JournalMetrics) -> Self {
        Self {
            store: Arc::new(store),
            tap: Arc::default(),
            progress: Arc::default(),
            writes: None,
            writer: None,
            in_place: Some(metrics),
        }
    }

    async fn write<T>(&self, make: impl FnOnce(Reply<T>) -> Write) -> Result<T, JournalError> {
        let (reply, answer) = oneshot::channel();
        let gone = || JournalError::Corrupt("its writer has ended; start the node again".into());
        if let Some(metrics) = &self.in_place {
            write_group(&*self.store, &self.tap, &self.progress, vec![make(reply)], &mut None, metrics);
            return answer.await.map_err(|_| gone())?;
        }
        let Some(writes) = &self.writes else { return Err(gone()) };
        writes.send(make(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Reads may wait for the disk, so they leave the runtime's threads. The store shows a batch before it is durable:
    /// what was seen is answered only when it is, and never after a failed write, or whoever reads it back takes for
    /// written what a power cut undoes (I1).
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&S) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        self.read_of(None, read).await
    }

    /// The same of a stream alone, if one is named: what a group writes elsewhere is not waited for.
    async fn read_of<T: Send + 'static>(
        &self,
        stream: Option<&StreamId>,
        read: impl FnOnce(&S) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        if self.in_place.is_some() {
            return read(&self.store);
        }
        let store = Arc::clone(&self.store);
        let found = match tokio::task::spawn_blocking(move || read(&store)).await {
            Ok(result) => result,
            Err(e) => Err(JournalError::Io { operation: "reading", source: Box::new(e) }),
        };
        self.progress.settled(stream).await?;
        found
    }
}

impl<S: Store> Drop for Engine<S> {
    fn drop(&mut self) {
        // The writer ends when its queue is empty and closed; waiting for it releases the files for the next opener.
        self.writes = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn run(
    store: &dyn Store,
    tap: &Tap,
    progress: &Progress,
    mut queue: mpsc::Receiver<Write>,
    metrics: &JournalMetrics,
) {
    let mut failed: Option<String> = None;
    while let Some(first) = queue.blocking_recv() {
        let mut group = vec![first];
        while group.len() < limits::GROUP_WRITES_MAX {
            let Ok(next) = queue.try_recv() else { break };
            group.push(next);
        }
        write_group(store, tap, progress, group, &mut failed, metrics);
    }
}

/// Checks a group of writes, commits what holds, answers all. `failed` says why nothing can be promised any more.
fn write_group(
    store: &dyn Store,
    tap: &Tap,
    progress: &Progress,
    group: Vec<Write>,
    failed: &mut Option<String>,
    metrics: &JournalMetrics,
) {
    let begun = Instant::now();
    let mut view = View::new(store);
    let size = group.len();
    let (kinds, streams) = (Kinds::of(&group), Streams::of(&group));
    let answers: Vec<Answer> = group.into_iter().map(|write| prepare(&mut view, write)).collect();
    // After a failed sync the kernel may call unwritten pages clean: nothing can be promised any more.
    if failed.is_none() {
        kinds.before_commit();
        progress.begins(streams);
        match tap.commit(store, view.batch()) {
            Ok(()) => progress.is_durable(),
            Err(e) => {
                tracing::error!(error = %e, "the journal cannot be written; stop the node, mend the disk, start again");
                progress.failed(&e);
                *failed = Some(e.to_string());
            }
        }
        kinds.after_commit();
    }
    metrics.group(size, view.batch().len(), begun.elapsed());
    answers.into_iter().for_each(|answer| answer(failed.as_deref()));
}

/// Checks a write, adds it to the group, and answers how to answer.
fn prepare(view: &mut View<'_>, write: Write) -> Answer {
    match write {
        Write::Acquire(shards, reply) => later(view.attempt(|v| v.acquire(&shards)), reply),
        Write::Append(owner, expected, events, reply) => {
            later(view.attempt(|v| v.append(owner, expected, &events)), reply)
        }
        Write::Snapshots(owner, snapshots, reply) => {
            later(view.attempt(|v| v.put_snapshots(owner, &snapshots)), reply)
        }
        Write::Checkpoints(checkpoints, reply) => {
            later(view.attempt(|v| v.put_checkpoints(&checkpoints)), reply)
        }
        Write::AcquireReplacing(reply) => later(view.attempt(|v| v.acquire_replacing()), reply),
        Write::ForgetReplaced(paths, reply) => later(view.attempt(|v| v.forget_replaced(&paths)), reply),
        Write::Note(notes, reply) => later(view.attempt(|v| v.note(&notes)), reply),
        Write::Replace(epoch, inputs, outputs, notes, now_ms, reply) => {
            let result = view.attempt(|v| v.replace_files(epoch, &inputs, &outputs, &notes, now_ms));
            Box::new(move |failed| {
                // As below: neither a failed commit nor a refusal beside one is definite.
                let result = if failed.is_some() { Ok(ReplaceOutcome::Unknown) } else { result };
                let _ = reply.send(result);
            })
        }
        Write::CommitFile(owners, entries, decisions, reply) => {
            let mut result = view.attempt(|v| v.commit_file(&owners, &entries, &decisions));
            if let Err(error @ JournalError::TooLarge { .. }) = &result {
                // Definite, and the same however often it is tried: whoever decided it must drop it.
                tracing::error!(%error, "a commit is refused");
                result = Ok(CommitOutcome::Refused { fenced: Vec::new() });
            }
            Box::new(move |failed| {
                // Whether a failed commit reached the disk is not known, and a refusal was read from memory that may be
                // ahead of the disk.
                let outcome =
                    if failed.is_some() || lose_answer() { Ok(CommitOutcome::Unknown) } else { result };
                let _ = reply.send(outcome);
            })
        }
    }
}

/// True when the fail point says that this commit's answer is to be lost.
fn lose_answer() -> bool {
    fail::fail_point!("commit-answer-lost", |_| true);
    false
}

fn later<T: Send + 'static>(result: Result<T, JournalError>, reply: Reply<T>) -> Answer {
    Box::new(move |failed| {
        let result = match failed {
            None => result,
            Some(why) => Err(JournalError::Io { operation: "committing", source: why.to_owned().into() }),
        };
        // A caller that went away does not need the answer.
        let _ = reply.send(result);
    })
}

#[async_trait]
impl<S: Store> Journal for Engine<S> {
    async fn acquire(&self, shards: &[ShardId]) -> Result<Vec<(Owner, FeedPosition)>, JournalError> {
        self.write(|reply| Write::Acquire(shards.to_vec(), reply)).await
    }

    async fn append(
        &self,
        owner: Owner,
        expected_head: FeedPosition,
        events: Vec<NewEvent>,
    ) -> Result<Appended, JournalError> {
        self.write(|reply| Write::Append(owner, expected_head, events, reply)).await
    }

    async fn commit_file(
        &self,
        owners: &[Owner],
        entries: &[ManifestEntry],
        decisions: &[(ShardId, NewEvent)],
    ) -> CommitOutcome {
        let (owners, entries, decisions) = (owners.to_vec(), entries.to_vec(), decisions.to_vec());
        match self.write(|reply| Write::CommitFile(owners, entries, decisions, reply)).await {
            Ok(outcome) => outcome,
            Err(e) => {
                tracing::error!(error = %e, "a commit has no answer");
                CommitOutcome::Unknown
            }
        }
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        from_version: u64,
        limit: usize,
    ) -> Result<Vec<Event>, JournalError> {
        let (prefix, from) = (keys::versions(stream), keys::version(stream, from_version));
        self.read_of(Some(stream), move |store| {
            let places = store.scan(&prefix, &from, limit)?;
            let events = places.into_iter().map(|(_, place)| {
                let (shard, position): (ShardId, FeedPosition) = decode(&place)?;
                let bytes = store.get(&keys::event(shard, position))?.ok_or_else(|| {
                    JournalError::Corrupt(format!(
                        "event {position} of {shard:?} is missing; restore the journal"
                    ))
                })?;
                Ok(Event { shard, position, event: decode(&bytes)? })
            });
            events.collect()
        })
        .await
    }

    async fn caused_by(
        &self,
        stream: &StreamId,
        causation_ids: Vec<String>,
    ) -> Result<Vec<Option<Caused>>, JournalError> {
        let names: Vec<Vec<u8>> = causation_ids.iter().map(|cause| keys::cause(stream, cause)).collect();
        self.read_of(Some(stream), move |store| {
            names.iter().map(|key| store.get(key)?.map(|bytes| decode(&bytes)).transpose()).collect()
        })
        .await
    }

    async fn read_feed(
        &self,
        shard: ShardId,
        after: FeedPosition,
        limit: usize,
    ) -> Result<Vec<Event>, JournalError> {
        self.read(move |store| {
            let entries = store.scan(&keys::events(shard), &keys::event(shard, after + 1), limit)?;
            let events = entries.into_iter().map(|(key, bytes)| {
                let position = keys::number_at_end(&key).unwrap_or_default();
                Ok(Event { shard, position, event: decode(&bytes)? })
            });
            events.collect()
        })
        .await
    }

    async fn heads(&self) -> Result<Vec<(ShardId, FeedPosition)>, JournalError> {
        self.read(|store| {
            let entries = store.scan(keys::OWNERS, keys::OWNERS, usize::MAX)?;
            let heads = entries.iter().map(|(key, bytes)| {
                let Ownership { head, .. } = decode(bytes)?;
                let shard = keys::shard_of(key)
                    .ok_or_else(|| JournalError::Corrupt("an owner has no shard".into()))?;
                Ok((shard, head))
            });
            heads.collect()
        })
        .await
    }

    async fn put_snapshots(
        &self,
        owner: Owner,
        snapshots: Vec<(StreamId, Snapshot)>,
    ) -> Result<bool, JournalError> {
        self.write(|reply| Write::Snapshots(owner, snapshots, reply)).await
    }

    async fn snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, JournalError> {
        let key = keys::snapshot(stream);
        self.read_of(Some(stream), move |store| {
            let bytes = store.get(&key)?;
            let named: Option<(StreamId, Snapshot)> = bytes.map(|b| decode(&b)).transpose()?;
            Ok(named.map(|(_, snapshot)| snapshot))
        })
        .await
    }

    async fn snapshots(
        &self,
        aggregate_type: &str,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<(StreamId, Snapshot)>, JournalError> {
        let prefix = keys::snapshots(aggregate_type);
        let from = after.map_or_else(
            || prefix.clone(),
            |stream| {
                let mut key = keys::snapshot(stream);
                key.push(0);
                key
            },
        );
        self.read(move |store| {
            store.scan(&prefix, &from, limit)?.iter().map(|(_, bytes)| decode(bytes)).collect()
        })
        .await
    }

    async fn put_checkpoints(
        &self,
        checkpoints: Vec<(Owner, Checkpoint)>,
    ) -> Result<Vec<ShardId>, JournalError> {
        self.write(|reply| Write::Checkpoints(checkpoints, reply)).await
    }

    async fn checkpoint(&self, shard: ShardId) -> Result<Option<Checkpoint>, JournalError> {
        self.read(move |store| {
            // One scan sees one state of the tree only if nobody writes between; the owner alone does, and asks before.
            let mut pieces =
                store.scan(&keys::checkpoint(shard), &keys::checkpoint(shard), usize::MAX)?.into_iter();
            let Some((_, head)) = pieces.next() else { return Ok(None) };
            let CheckpointHead { position, pieces: count } = decode(&head)?;
            let state: Vec<u8> = pieces.take(count as usize).flat_map(|(_, piece)| piece).collect();
            Ok(Some(Checkpoint { position, state, closed: Vec::new() }))
        })
        .await
    }

    async fn closed(&self, shard: ShardId, key: &[u8]) -> Result<Option<Vec<u8>>, JournalError> {
        let key = keys::closed(shard, key);
        self.read(move |store| store.get(&key)).await
    }

    async fn manifest(
        &self,
        after: ManifestPosition,
        limit: usize,
    ) -> Result<Vec<ManifestRecord>, JournalError> {
        self.read(move |store| {
            let entries = store.scan(keys::MANIFEST, &keys::manifest(after + 1), limit)?;
            let records = entries.into_iter().map(|(key, bytes)| {
                let position = keys::number_at_end(&key).unwrap_or_default();
                Ok(ManifestRecord { position, entry: decode(&bytes)? })
            });
            records.collect()
        })
        .await
    }

    async fn acquire_replacing(&self) -> Result<Epoch, JournalError> {
        self.write(Write::AcquireReplacing).await
    }

    async fn replacing(&self) -> Result<Replacing, JournalError> {
        self.read(|store| {
            let bytes = store.get(keys::REPLACING)?;
            Ok(bytes.map(|b| decode(&b)).transpose()?.unwrap_or_default())
        })
        .await
    }

    async fn replace_files(
        &self,
        epoch: Epoch,
        inputs: &[String],
        outputs: &[ManifestEntry],
        notes: &[Note],
        now_ms: i64,
    ) -> ReplaceOutcome {
        let (inputs, outputs, notes) = (inputs.to_vec(), outputs.to_vec(), notes.to_vec());
        match self.write(|reply| Write::Replace(epoch, inputs, outputs, notes, now_ms, reply)).await {
            Ok(outcome) => outcome,
            Err(error @ JournalError::TooLarge { .. }) => {
                // Definite: nothing was written, and nothing would be the next time.
                tracing::error!(%error, "a replacement is refused");
                ReplaceOutcome::Refused { missing: Vec::new() }
            }
            Err(error) => {
                tracing::error!(%error, "a replacement has no answer");
                ReplaceOutcome::Unknown
            }
        }
    }

    async fn note(&self, notes: &[Note]) -> Result<(), JournalError> {
        let notes = notes.to_vec();
        self.write(|reply| Write::Note(notes, reply)).await
    }

    async fn notes(
        &self,
        trail: &str,
        after: NotePosition,
        limit: usize,
    ) -> Result<Vec<(NotePosition, Vec<u8>)>, JournalError> {
        let (prefix, from) = (keys::notes(trail), keys::note(trail, after.saturating_add(1)));
        self.read(move |store| {
            let entries = store.scan(&prefix, &from, limit)?.into_iter();
            Ok(entries.map(|(key, bytes)| (keys::number_at_end(&key).unwrap_or_default(), bytes)).collect())
        })
        .await
    }

    async fn replaced(&self, after: Option<&str>, limit: usize) -> Result<Vec<ReplacedFile>, JournalError> {
        let from = after.map_or_else(
            || keys::REPLACED.to_vec(),
            |path| {
                let mut key = keys::replaced(path);
                key.push(0);
                key
            },
        );
        self.read(move |store| {
            store.scan(keys::REPLACED, &from, limit)?.iter().map(|(_, bytes)| decode(bytes)).collect()
        })
        .await
    }

    async fn forget_replaced(&self, paths: &[String]) -> Result<(), JournalError> {
        let paths = paths.to_vec();
        self.write(|reply| Write::ForgetReplaced(paths, reply)).await
    }

    async fn epochs(&self) -> Result<Vec<Owner>, JournalError> {
        self.read(|store| {
            let entries = store.scan(keys::OWNERS, keys::OWNERS, usize::MAX)?;
            let owners = entries.iter().map(|(key, bytes)| {
                let Ownership { epoch, .. } = decode(bytes)?;
                let shard = keys::shard_of(key)
                    .ok_or_else(|| JournalError::Corrupt("an owner has no shard".into()))?;
                Ok(Owner { shard, epoch })
            });
            owners.collect()
        })
        .await
    }
}
