//! How far the writer has come: what the store shows, and what is durable of it.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::engine::Write;
use crate::journal::{JournalError, StreamId};

/// The streams that a group writes to, as far as 1,024 bits tell them apart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams([u64; 16]);

impl Streams {
    pub fn of(group: &[Write]) -> Self {
        let mut streams = Self::default();
        for write in group {
            match write {
                Write::Append(_, _, events, _) => events.iter().for_each(|event| streams.add(&event.stream)),
                Write::CommitFile(_, _, decisions, _) => {
                    decisions.iter().for_each(|(_, event)| streams.add(&event.stream));
                }
                Write::Snapshots(_, snapshots, _) => {
                    snapshots.iter().for_each(|(stream, _)| streams.add(stream));
                }
                Write::Acquire(..)
                | Write::Checkpoints(..)
                | Write::AcquireReplacing(..)
                | Write::Replace(..)
                | Write::Note(..)
                | Write::ForgetReplaced(..) => {}
            }
        }
        streams
    }

    fn place(stream: &StreamId) -> (usize, u64) {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(stream);
        ((hash % 16) as usize, 1 << (hash / 16 % 64))
    }

    fn add(&mut self, stream: &StreamId) {
        let (word, bit) = Self::place(stream);
        self.0[word] |= bit;
    }

    /// Never false for one that is written to.
    fn may_have(&self, stream: &StreamId) -> bool {
        let (word, bit) = Self::place(stream);
        self.0[word] & bit != 0
    }
}

#[derive(Debug, Clone, Default)]
struct Durable {
    /// Groups that are on the disk.
    groups: u64,
    /// Why none will follow.
    failed: Option<String>,
}

/// What the store may show.
#[derive(Debug, Default)]
struct Shown {
    /// Groups whose batch the store may show.
    groups: u64,
    /// What the last of them writes to.
    streams: Streams,
}

/// Shared by the writer and whoever reads.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    shown: Mutex<Shown>,
    durable: watch::Sender<Durable>,
}

impl Progress {
    /// The writer is about to hand the batch of a group that writes to these streams to the store.
    pub fn begins(&self, streams: Streams) {
        let mut shown = self.shown.lock();
        *shown = Shown { groups: shown.groups + 1, streams };
    }

    /// The last group begun is durable.
    pub fn is_durable(&self) {
        let groups = self.shown.lock().groups;
        self.durable.send_modify(|durable| durable.groups = groups);
    }

    /// The last group begun is not, and nobody knows what of it is.
    pub fn failed(&self, error: &JournalError) {
        self.durable.send_modify(|durable| durable.failed = Some(error.to_string()));
    }

    /// Waits until all that the store has shown so far is durable; of one stream, when no other was read.
    ///
    /// # Errors
    /// When it never will be: the store's memory may be ahead of the disk until the node starts again.
    pub async fn settled(&self, of: Option<&StreamId>) -> Result<(), JournalError> {
        let groups = {
            let shown = self.shown.lock();
            // One group is under way at a time: those before the last are durable, or nothing follows.
            let elsewhere = of.is_some_and(|stream| !shown.streams.may_have(stream));
            if elsewhere { shown.groups.saturating_sub(1) } else { shown.groups }
        };
        let mut durable = self.durable.subscribe();
        let reached = durable.wait_for(|durable| durable.groups >= groups || durable.failed.is_some()).await;
        // The sender is ours: it is there as long as we are.
        match reached.ok().and_then(|durable| durable.failed.clone()) {
            None => Ok(()),
            Some(reason) => Err(JournalError::Io {
                operation: "reading after a failed write; stop the node, mend the disk, start again",
                source: reason.into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use parking_lot::Mutex;
    use remuda_model::{Epoch, OrganizationId, ShardId};
    use tokio::sync::oneshot;

    use super::Streams;
    use crate::engine::{Engine, Write};
    use crate::journal::{Appended, Journal, JournalError, NewEvent, Owner, Snapshot, StreamId};
    use crate::metrics::JournalMetrics;
    use crate::store::{Entry, MemoryStore, Store};

    /// Shows a batch at once, as sled does, and says when it is told to whether it is durable.
    struct Slow {
        memory: MemoryStore,
        shown: Sender<()>,
        synced: Mutex<Receiver<bool>>,
    }

    impl Store for Slow {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, JournalError> {
            self.memory.get(key)
        }

        fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Entry>, JournalError> {
            self.memory.scan(prefix, from, limit)
        }

        fn commit(&self, batch: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Result<(), JournalError> {
            self.memory.commit(batch)?;
            let _ = self.shown.send(());
            if self.synced.lock().recv().unwrap_or(false) {
                return Ok(());
            }
            Err(JournalError::Io { operation: "syncing", source: "the disk is gone".into() })
        }
    }

    struct Bench {
        journal: Arc<Engine<Slow>>,
        shown: Receiver<()>,
        sync: Sender<bool>,
    }

    fn bench() -> Bench {
        let ((shows, shown), (sync, synced)) = (channel(), channel());
        let slow = Slow { memory: MemoryStore::default(), shown: shows, synced: Mutex::new(synced) };
        let journal = Arc::new(Engine::start(slow, JournalMetrics::default()).expect("a thread"));
        Bench { journal, shown, sync }
    }

    fn stream() -> StreamId {
        vehicle("CAR1")
    }

    fn vehicle(id: &str) -> StreamId {
        StreamId {
            organization: OrganizationId::default(),
            aggregate_type: "vehicle".into(),
            aggregate_id: id.into(),
        }
    }

    fn event(stream: StreamId) -> NewEvent {
        NewEvent {
            event_id: [1; 16],
            stream,
            version: 1,
            event_type: "vehicle.reported".into(),
            schema_version: 1,
            time_ms: 0,
            causation_id: String::new(),
            correlation_id: String::new(),
            actor: String::new(),
            payload: vec![],
        }
    }

    fn appends(streams: &[StreamId]) -> Write {
        let owner = Owner { shard: ShardId::new(7).expect("a shard"), epoch: Epoch(1) };
        Write::Append(owner, 0, streams.iter().cloned().map(event).collect(), oneshot::channel().0)
    }

    #[test]
    fn a_group_has_every_stream_that_it_writes_to_and_hardly_any_other() {
        let all: Vec<StreamId> = (0..400).map(|n| vehicle(&format!("CAR{n}"))).collect();
        let owner = Owner { shard: ShardId::new(7).expect("a shard"), epoch: Epoch(1) };
        let snapshot = Snapshot { version: 1, state: vec![] };
        let snapshots = vec![(all[41].clone(), snapshot)];
        let decisions = vec![(owner.shard, event(all[42].clone()))];
        let group = [
            appends(&all[..20]),
            appends(&all[20..41]),
            Write::Snapshots(owner, snapshots, oneshot::channel().0),
            Write::CommitFile(vec![owner], vec![], decisions, oneshot::channel().0),
        ];
        let streams = Streams::of(&group);
        assert!(all[..43].iter().all(|stream| streams.may_have(stream)));
        let taken_for = all[43..].iter().filter(|stream| streams.may_have(stream)).count();
        assert!(taken_for < 40, "{taken_for} of 357");
    }

    /// An append whose batch the store shows and whose sync hangs.
    async fn hanging(bench: &Bench) -> tokio::task::JoinHandle<Result<Appended, JournalError>> {
        let shard = ShardId::new(7).expect("a shard");
        bench.sync.send(true).expect("the store is there");
        let owner = bench.journal.acquire(&[shard]).await.expect("taken")[0].0;
        bench.shown.recv().expect("the taking");
        let journal = Arc::clone(&bench.journal);
        let append = tokio::spawn(async move { journal.append(owner, 0, vec![event(stream())]).await });
        tokio::task::block_in_place(|| bench.shown.recv()).expect("the append");
        append
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_shown_and_not_durable_is_not_answered() {
        let bench = bench();
        let append = hanging(&bench).await;
        let journal = Arc::clone(&bench.journal);
        let read = tokio::spawn(async move { journal.read_stream(&stream(), 1, 10).await });
        // It has seen the event long before this ends, and must not say so.
        for _ in 0..200 {
            tokio::task::yield_now().await;
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(!read.is_finished(), "a read told what a power cut would undo");
        let (streams, journal) = (Streams::of(&[appends(&[stream()])]), &bench.journal);
        let other = (2..).map(|n| vehicle(&format!("CAR{n}"))).find(|other| !streams.may_have(other));
        let other = other.expect("another place");
        assert_eq!(journal.read_stream(&other, 1, 10).await.expect("it need not wait"), []);
        assert_eq!(journal.snapshot(&other).await.expect("it need not wait"), None);
        assert_eq!(journal.caused_by(&other, vec!["c".into()]).await.expect("it need not wait"), [None]);
        bench.sync.send(true).expect("the store is there");
        assert_eq!(read.await.expect("no panic").expect("read").len(), 1);
        assert_eq!(append.await.expect("no panic").expect("appended"), Appended::Committed { head: 1 });
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn after_a_failed_write_nothing_is_read_back() {
        let bench = bench();
        let append = hanging(&bench).await;
        bench.sync.send(false).expect("the store is there");
        assert!(append.await.expect("no panic").is_err());
        // The store's memory has the event; the disk may not.
        for _ in 0..2 {
            let refused = bench.journal.read_stream(&stream(), 1, 10).await;
            let sentence = refused.expect_err("it is in memory only").to_string();
            assert!(sentence.contains("start again"), "{sentence}");
        }
        assert!(bench.journal.snapshot(&stream()).await.is_err());
    }
}
