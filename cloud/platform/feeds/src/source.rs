//! Where items come from: the lake and the journals, each at its head.

use std::sync::Arc;

use remuda_eventsourcing::{FeedPosition, Journal, JournalError, ManifestPosition, NewEvent};
use remuda_lake::Lake;
use remuda_model::SHARDS;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cursor::Cursor;
use crate::error::FeedError;
use crate::limits;

/// What an event's payload says, as JSON; `None` when this program does not know its type.
pub type EventJson = Arc<dyn Fn(&NewEvent) -> Option<Value> + Send + Sync>;

type Heads = Arc<Vec<FeedPosition>>;

/// One journal.
pub(crate) struct NamedJournal {
    pub name: &'static str,
    pub journal: Arc<dyn Journal>,
    heads: watch::Receiver<Heads>,
    task: JoinHandle<()>,
}

impl Drop for NamedJournal {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl NamedJournal {
    pub fn heads(&self) -> Heads {
        Arc::clone(&self.heads.borrow())
    }
}

/// What feeds read. One a node: it looks at the journals' heads for all of them.
pub struct Source {
    pub(crate) lake: Lake,
    pub(crate) journals: Vec<NamedJournal>,
    pub(crate) payload: EventJson,
    lake_head: watch::Receiver<ManifestPosition>,
    lake_task: JoinHandle<()>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.lake_task.abort();
    }
}

async fn follow_lake(lake: Lake, head: watch::Sender<ManifestPosition>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(limits::LOOK_EVERY) => {}
            () = head.closed() => return,
        }
        let known = *head.borrow();
        // Who reads the lake finds the same error, and tells it.
        if let Ok(now) = lake.head_after(known).await {
            head.send_if_modified(|known| std::mem::replace(known, now) != now);
        }
    }
}

async fn heads_of(journal: &dyn Journal) -> Result<Heads, JournalError> {
    let mut heads = vec![0; usize::from(SHARDS)];
    for (shard, head) in journal.heads().await? {
        heads[usize::from(shard.number())] = head;
    }
    Ok(Arc::new(heads))
}

async fn follow(journal: Arc<dyn Journal>, heads: watch::Sender<Heads>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(limits::LOOK_EVERY) => {}
            () = heads.closed() => return,
        }
        match heads_of(&*journal).await {
            Ok(now) => {
                heads.send_if_modified(|known| {
                    let changed = **known != *now;
                    if changed {
                        *known = now;
                    }
                    changed
                });
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a journal's heads cannot be read; feeds wait"
                )
            }
        }
    }
}

impl Source {
    /// Of a lake and journals by their names, which stand in cursors and never change.
    ///
    /// # Errors
    /// When a journal cannot be read.
    pub async fn start(
        lake: &Lake,
        journals: Vec<(&'static str, Arc<dyn Journal>)>,
        payload: EventJson,
    ) -> Result<Arc<Self>, FeedError> {
        let mut named = Vec::with_capacity(journals.len());
        for (name, journal) in journals {
            let (sender, heads) = watch::channel(heads_of(&*journal).await?);
            let task = tokio::spawn(follow(Arc::clone(&journal), sender));
            named.push(NamedJournal { name, journal, heads, task });
        }
        let (sender, lake_head) = watch::channel(lake.head_after(0).await?);
        let lake_task = tokio::spawn(follow_lake(lake.clone(), sender));
        Ok(Arc::new(Self { lake: lake.clone(), journals: named, payload, lake_head, lake_task }))
    }

    /// How many events and commits of the lake lie after a cursor.
    pub(crate) fn after(&self, cursor: &Cursor, events: bool, telemetry: bool) -> u64 {
        let of = |named: &NamedJournal| -> u64 {
            let heads = named.heads();
            (0..SHARDS).map(|n| heads[usize::from(n)].saturating_sub(cursor.event(named.name, n))).sum()
        };
        let events: u64 = if events { self.journals.iter().map(of).sum() } else { 0 };
        let commits = if telemetry { self.lake_head.borrow().saturating_sub(cursor.lake.commit) } else { 0 };
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
