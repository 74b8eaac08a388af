//! Where items come from: the lake and the journals, each at its head.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;
use remuda_eventsourcing::{FeedPosition, Journal, JournalError, ManifestPosition, NewEvent};
use remuda_lake::Lake;
use remuda_model::SHARDS;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::cursor::Cursor;
use crate::error::FeedError;
use crate::limits;

/// What an event's payload says, as JSON; `None` when this program does not know its type.
pub type EventJson = Arc<dyn Fn(&NewEvent) -> Option<Value> + Send + Sync>;

/// By shard.
type Heads = Arc<Vec<FeedPosition>>;

/// How far something has come, as it was seen last. It is looked at for those who read, at most once every
/// [`limits::LOOK_EVERY`] however many they are, and not at all while nobody does.
struct Head<T> {
    seen: RwLock<T>,
    looked: Mutex<Option<Instant>>,
}

impl<T: Clone> Head<T> {
    fn of(seen: T) -> Self {
        Self { seen: RwLock::new(seen), looked: Mutex::new(None) }
    }

    fn seen(&self) -> T {
        self.seen.read().clone()
    }

    async fn look<E, F: Future<Output = Result<T, E>>>(&self, read: impl FnOnce(T) -> F) -> Result<(), E> {
        let mut looked = self.looked.lock().await;
        if looked.is_some_and(|at| at.elapsed() < limits::LOOK_EVERY) {
            return Ok(());
        }
        let at = Instant::now();
        let now = read(self.seen()).await?;
        *self.seen.write() = now;
        *looked = Some(at);
        Ok(())
    }
}

/// One journal.
pub(crate) struct NamedJournal {
    pub name: &'static str,
    pub journal: Arc<dyn Journal>,
    heads: Head<Heads>,
}

impl NamedJournal {
    /// As they were seen last.
    pub fn heads(&self) -> Heads {
        self.heads.seen()
    }
}

/// What feeds read. One a node: it looks at the heads for all of them.
pub struct Source {
    pub(crate) lake: Lake,
    pub(crate) journals: Vec<NamedJournal>,
    pub(crate) payload: EventJson,
    lake_head: Head<ManifestPosition>,
}

async fn heads_of(journal: &dyn Journal) -> Result<Heads, JournalError> {
    let mut heads = vec![0; usize::from(SHARDS)];
    for (shard, head) in journal.heads().await? {
        heads[usize::from(shard.number())] = head;
    }
    Ok(Arc::new(heads))
}

impl Source {
    /// Of a lake and journals by their names, which stand in cursors and never change.
    pub fn new(
        lake: &Lake,
        journals: Vec<(&'static str, Arc<dyn Journal>)>,
        payload: EventJson,
    ) -> Arc<Self> {
        let none: Heads = Arc::new(vec![0; usize::from(SHARDS)]);
        let named = |(name, journal)| NamedJournal { name, journal, heads: Head::of(Arc::clone(&none)) };
        let journals = journals.into_iter().map(named).collect();
        Arc::new(Self { lake: lake.clone(), journals, payload, lake_head: Head::of(0) })
    }

    /// Looks how far journals and lake have come, unless somebody just did.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(crate) async fn look(&self, events: bool, telemetry: bool) -> Result<(), FeedError> {
        for named in self.journals.iter().filter(|_| events) {
            named.heads.look(|_| heads_of(&*named.journal)).await?;
        }
        if telemetry {
            self.lake_head.look(|known| self.lake.head_after(known)).await?;
        }
        Ok(())
    }

    /// How many events and commits of the lake lie after a cursor, as was seen last.
    pub(crate) fn after(&self, cursor: &Cursor, events: bool, telemetry: bool) -> u64 {
        let of = |named: &NamedJournal| -> u64 {
            let heads = named.heads();
            (0..SHARDS).map(|n| heads[usize::from(n)].saturating_sub(cursor.event(named.name, n))).sum()
        };
        let events: u64 = if events { self.journals.iter().map(of).sum() } else { 0 };
        let commits = if telemetry { self.lake_head.seen().saturating_sub(cursor.lake.commit) } else { 0 };
        events + commits
    }

    /// After everything that is durable now.
    ///
    /// # Errors
    /// When the journals cannot be read.
    pub async fn end(&self) -> Result<Cursor, FeedError> {
        let mut cursor = Cursor { lake: self.lake.end().await?, ..Cursor::default() };
        for named in &self.journals {
            for (shard, head) in named.journal.heads().await? {
                if head > 0 {
                    cursor.set_event(named.name, shard.number(), head);
                }
            }
        }
        Ok(cursor)
    }
}
