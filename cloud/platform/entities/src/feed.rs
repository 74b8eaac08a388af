//! Cursors over the feeds of all shards: every durable event once, in the order of its shard, without gaps.

use std::sync::Arc;

use remuda_eventsourcing::{Aggregate, Event, FeedPosition, JournalError, Unreadable};
use remuda_model::{SHARDS, ShardId};
use tokio::sync::watch;

use crate::limits;
use crate::memory::SHELL_EVENTS;
use crate::shards::Shards;

/// How far each shard's feed was read; as long as there are shards.
pub type Offsets = Vec<FeedPosition>;

/// Where a cursor begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// With the first event there is.
    Start,
    /// With the next that comes.
    Now,
    /// After these.
    After(Offsets),
}

/// A stored event and what it says.
pub struct Recorded<A: Aggregate> {
    /// The envelope.
    pub event: Arc<Event>,
    /// The fact.
    pub fact: A::Event,
}

impl<A: Aggregate> Recorded<A> {
    /// Decodes; `None` for another kind's event, and for the shell's own.
    ///
    /// # Errors
    /// When this program cannot read it.
    pub fn decode(event: &Arc<Event>) -> Result<Option<Self>, Unreadable> {
        let stored = &event.event;
        if stored.stream.aggregate_type != A::TYPE || stored.event_type.starts_with(SHELL_EVENTS) {
            return Ok(None);
        }
        let fact = A::decode(&stored.event_type, stored.schema_version, &stored.payload)?;
        Ok(Some(Self { event: Arc::clone(event), fact }))
    }
}

/// A cursor. Pulled, so that a slow reader costs no memory and misses nothing.
pub struct Feed {
    shards: Arc<Shards>,
    offsets: Offsets,
    changes: watch::Receiver<u64>,
    /// Aggregate types; all, when empty.
    only: Vec<&'static str>,
    /// The shard to look at next, so that a busy one does not keep the others waiting.
    next: u16,
}

impl Feed {
    /// A cursor over all shards.
    pub fn new(shards: &Arc<Shards>, from: From) -> Self {
        let heads = || (0..SHARDS).filter_map(ShardId::new).map(|shard| shards.head(shard)).collect();
        let mut offsets = match from {
            From::Start => Vec::new(),
            From::Now => heads(),
            From::After(offsets) => offsets,
        };
        offsets.resize(usize::from(SHARDS), 0);
        Self { shards: Arc::clone(shards), offsets, changes: shards.changes(), only: Vec::new(), next: 0 }
    }

    /// Leaves out what is not of this aggregate type.
    #[must_use]
    pub fn of_type(self, aggregate_type: &'static str) -> Self {
        self.of_types(&[aggregate_type])
    }

    /// Leaves out what is of no type of these; nothing, when there are none.
    #[must_use]
    pub fn of_types(mut self, aggregate_types: &[&'static str]) -> Self {
        self.only = aggregate_types.to_vec();
        self
    }

    /// How far it has read.
    pub fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// Events that are durable and not yet read.
    pub fn lag(&self) -> u64 {
        (0..SHARDS)
            .filter_map(ShardId::new)
            .map(|shard| self.shards.head(shard).saturating_sub(self.offsets[usize::from(shard.number())]))
            .sum()
    }

    /// The next events of one shard, in order, when there are any; waits until then. May answer none of them when all
    /// that came was of other types. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn next(&mut self) -> Result<Vec<Arc<Event>>, JournalError> {
        loop {
            self.ready().await;
            if let Some(events) = self.poll().await? {
                return Ok(events);
            }
        }
    }

    /// Waits until there is something to read.
    pub async fn ready(&mut self) {
        loop {
            // Before looking, so that what comes while looking is seen after.
            self.changes.mark_unchanged();
            if self.behind().is_some() {
                return;
            }
            // An end of the shards is not possible: this cursor holds them.
            let _ = self.changes.changed().await;
        }
    }

    /// The next shard with something to read.
    fn behind(&self) -> Option<ShardId> {
        (0..SHARDS)
            .map(|step| (self.next + step) % SHARDS)
            .filter_map(ShardId::new)
            .find(|shard| self.shards.head(*shard) > self.offsets[usize::from(shard.number())])
    }

    /// As [`Feed::next`], but `None` when there is nothing now.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn poll(&mut self) -> Result<Option<Vec<Arc<Event>>>, JournalError> {
        let Some(shard) = self.behind() else { return Ok(None) };
        let place = usize::from(shard.number());
        let mut events = self.shards.read_feed(shard, self.offsets[place], limits::PAGE).await?;
        self.next = (shard.number() + 1) % SHARDS;
        if let Some(last) = events.last() {
            self.offsets[place] = last.position;
        }
        if !self.only.is_empty() {
            events.retain(|event| self.only.contains(&event.event.stream.aggregate_type.as_str()));
        }
        Ok(Some(events))
    }
}
