//! How far the writer has come: what the store shows, and what is durable of it.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::journal::JournalError;

#[derive(Debug, Clone, Default)]
struct Durable {
    /// Groups that are on the disk.
    groups: u64,
    /// Why none will follow.
    failed: Option<String>,
}

/// Shared by the writer and whoever reads.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Groups whose batch the store may show.
    begun: AtomicU64,
    durable: watch::Sender<Durable>,
}

impl Progress {
    /// The writer is about to hand a group's batch to the store.
    pub fn begins(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    /// The last group begun is durable.
    pub fn is_durable(&self) {
        let groups = self.begun.load(Ordering::SeqCst);
        self.durable.send_modify(|durable| durable.groups = groups);
    }

    /// The last group begun is not, and nobody knows what of it is.
    pub fn failed(&self, error: &JournalError) {
        self.durable.send_modify(|durable| durable.failed = Some(error.to_string()));
    }

    /// Waits until all that the store has shown so far is durable.
    ///
    /// # Errors
    /// When it never will be: the store's memory may be ahead of the disk until the node starts again.
    pub async fn settled(&self) -> Result<(), JournalError> {
        let shown = self.begun.load(Ordering::SeqCst);
        let mut durable = self.durable.subscribe();
        let reached = durable.wait_for(|durable| durable.groups >= shown || durable.failed.is_some()).await;
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
    use remuda_model::{OrganizationId, ShardId};

    use crate::engine::Engine;
    use crate::journal::{Appended, Journal, JournalError, NewEvent, StreamId};
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
        StreamId {
            organization: OrganizationId::default(),
            aggregate_type: "vehicle".into(),
            aggregate_id: "CAR1".into(),
        }
    }

    fn event() -> NewEvent {
        NewEvent {
            event_id: [1; 16],
            stream: stream(),
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

    /// An append whose batch the store shows and whose sync hangs.
    async fn hanging(bench: &Bench) -> tokio::task::JoinHandle<Result<Appended, JournalError>> {
        let shard = ShardId::new(7).expect("a shard");
        bench.sync.send(true).expect("the store is there");
        let owner = bench.journal.acquire(&[shard]).await.expect("taken")[0].0;
        bench.shown.recv().expect("the taking");
        let journal = Arc::clone(&bench.journal);
        let append = tokio::spawn(async move { journal.append(owner, 0, vec![event()]).await });
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
