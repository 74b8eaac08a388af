//! The one writer of each shard: appends of its entities queue, and each write takes all that waits (I4).
//!
//! While a shard's write is under way, its next ones gather; writes of different shards share the journal's sync. A write
//! whose fate is not known makes the shard be taken anew, under a new epoch: whatever of the old one is still under way is
//! fenced, and entities that were read under it read again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use remuda_eventsourcing::{
    Appended, Event, FeedPosition, Journal, JournalError, NewEvent, Owner, Snapshot, StreamId,
};
use remuda_model::{Epoch, SHARDS, ShardId};
use tokio::sync::{oneshot, watch};

use crate::error::AppendError;
use crate::limits;
use crate::metrics::EntityMetrics;

struct Pending {
    epoch: u64,
    events: Vec<NewEvent>,
    reply: oneshot::Sender<Result<(), AppendError>>,
}

#[derive(Default)]
struct Writer {
    owner: Option<Owner>,
    head: FeedPosition,
    queue: VecDeque<Pending>,
    writing: bool,
    /// The last events, the newest at `head`.
    recent: VecDeque<Arc<Event>>,
    /// A write's fate is not known since then.
    lost: Option<Instant>,
}

#[derive(Default)]
struct Shard {
    writer: Mutex<Writer>,
    /// Epoch under which it is owned; 0 = it is not.
    epoch: AtomicU64,
    /// Position of the last event that is durable.
    head: AtomicU64,
}

/// The shards of a node's business journal. All [`crate::Entities`] of a node share one.
pub struct Shards {
    journal: Arc<dyn Journal>,
    shards: Vec<Shard>,
    /// Sum of all heads; moves with each of them, wrapping.
    heads: AtomicU64,
    changes: watch::Sender<u64>,
    metrics: EntityMetrics,
}

impl Shards {
    /// Takes all 1,024 shards of this journal: whoever had them is fenced.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub async fn take_all(
        journal: Arc<dyn Journal>,
        metrics: EntityMetrics,
    ) -> Result<Arc<Self>, JournalError> {
        let shards: Vec<ShardId> = (0..SHARDS).filter_map(ShardId::new).collect();
        Self::take(journal, &shards, metrics).await
    }

    /// Takes these shards.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub async fn take(
        journal: Arc<dyn Journal>,
        shards: &[ShardId],
        metrics: EntityMetrics,
    ) -> Result<Arc<Self>, JournalError> {
        let owned = journal.acquire(shards).await?;
        let all = (0..SHARDS).map(|_| Shard::default()).collect();
        let (heads, changes) = (AtomicU64::new(0), watch::Sender::new(0));
        let this = Arc::new(Self { journal, shards: all, heads, changes, metrics });
        for (owner, head) in owned {
            this.own(owner, head);
        }
        Ok(this)
    }

    /// The journal beneath.
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    /// Epoch under which a shard is owned here, if it is.
    pub fn epoch(&self, shard: ShardId) -> Option<Epoch> {
        let epoch = self.shard(shard).epoch.load(Ordering::Acquire);
        (epoch != 0).then_some(Epoch(epoch))
    }

    /// Position of a shard's last durable event.
    pub fn head(&self, shard: ShardId) -> FeedPosition {
        self.shard(shard).head.load(Ordering::Acquire)
    }

    /// Durable events of all shards together.
    pub(crate) fn heads(&self) -> u64 {
        self.heads.load(Ordering::Acquire)
    }

    fn set_head(&self, place: &Shard, head: FeedPosition) {
        let before = place.head.swap(head, Ordering::AcqRel);
        // Wrapping: a journal that was restored has a lower head than before.
        self.heads.fetch_add(head.wrapping_sub(before), Ordering::AcqRel);
    }

    /// Whether a reader has read what is not there: the journal was restored to an earlier time.
    pub(crate) fn are_behind(&self, offsets: &[FeedPosition]) -> bool {
        let shards = (0..SHARDS).filter_map(ShardId::new).zip(offsets);
        shards.into_iter().any(|(shard, offset)| self.head(shard) < *offset)
    }

    /// Tells when a head has moved; what is watched is only a count.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn metrics(&self) -> &EntityMetrics {
        &self.metrics
    }

    fn shard(&self, shard: ShardId) -> &Shard {
        &self.shards[usize::from(shard.number())]
    }

    fn own(&self, owner: Owner, head: FeedPosition) {
        let shard = self.shard(owner.shard);
        let mut writer = shard.writer.lock();
        writer.recent.clear();
        writer.head = head;
        writer.owner = Some(owner);
        writer.lost = None;
        self.set_head(shard, head);
        shard.epoch.store(owner.epoch.0, Ordering::Release);
        drop(writer);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Events of a shard after `after`, at most `limit`, in order and without gaps, and only what is durable: who acts on
    /// them acts on facts (I3).
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn read_feed(
        &self,
        shard: ShardId,
        after: FeedPosition,
        limit: usize,
    ) -> Result<Vec<Arc<Event>>, JournalError> {
        let head = {
            let writer = self.shard(shard).writer.lock();
            if writer.head <= after {
                return Ok(Vec::new());
            }
            let kept_after = writer.head - writer.recent.len() as u64;
            if kept_after <= after {
                let from = (after - kept_after) as usize;
                return Ok(writer.recent.iter().skip(from).take(limit).cloned().collect());
            }
            writer.head
        };
        // A store shows what was applied a moment before it is synced: only up to the head is it durable.
        let mut events = self.journal.read_feed(shard, after, limit).await?;
        events.retain(|event| event.position <= head);
        Ok(events.into_iter().map(Arc::new).collect())
    }

    /// Appends events of one entity that was read under `epoch`; durable when it answers.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn append(
        self: &Arc<Self>,
        shard: ShardId,
        epoch: Epoch,
        events: Vec<NewEvent>,
    ) -> Result<(), AppendError> {
        let (reply, answer) = oneshot::channel();
        {
            let mut writer = self.shard(shard).writer.lock();
            let Some(owner) = writer.owner else { return Err(AppendError::NotOwner(shard.number())) };
            if owner.epoch != epoch {
                return Err(AppendError::Stale);
            }
            if writer.queue.len() >= limits::SHARD_APPENDS_MAX {
                return Err(AppendError::Full);
            }
            writer.queue.push_back(Pending { epoch: epoch.0, events, reply });
            if !writer.writing {
                writer.writing = true;
                // A task of its own: an asker that goes away must not take the write of others with it.
                tokio::spawn(write(Arc::clone(self), shard));
            }
        }
        answer.await.unwrap_or_else(|_| Err(AppendError::Journal("the shard's writer ended".into())))
    }

    /// Writes a snapshot; false when the shard is no longer owned under `epoch`.
    pub(crate) async fn snapshot(
        &self,
        shard: ShardId,
        epoch: Epoch,
        stream: StreamId,
        snapshot: Snapshot,
    ) -> Result<bool, JournalError> {
        self.journal.put_snapshots(Owner { shard, epoch }, vec![(stream, snapshot)]).await
    }

    /// Gives a shard up: another has it, or its journal's fate is not known.
    fn give_up(&self, shard: ShardId, lost: bool) {
        let place = self.shard(shard);
        let mut writer = place.writer.lock();
        place.epoch.store(0, Ordering::Release);
        writer.owner = None;
        writer.lost = lost.then(Instant::now);
    }

    /// Takes a shard again whose write's fate was not known, when the last try is long enough ago.
    pub(crate) fn revive(self: &Arc<Self>, shard: ShardId) {
        let lost = self.shard(shard).writer.lock().lost;
        if lost.is_some_and(|since| since.elapsed() > limits::REACQUIRE_PAUSE) {
            self.take_again(shard);
        }
    }

    fn take_again(self: &Arc<Self>, shard: ShardId) {
        {
            let mut writer = self.shard(shard).writer.lock();
            if writer.owner.is_some() || writer.lost.is_none() {
                return;
            }
            writer.lost = Some(Instant::now());
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            match this.journal.acquire(&[shard]).await {
                Ok(owned) => owned.into_iter().for_each(|(owner, head)| this.own(owner, head)),
                Err(error) => tracing::error!(%error, %shard, "a shard cannot be taken again"),
            }
        });
    }
}

/// Takes what waits for a shard, writes it, answers; until nothing waits.
async fn write(shards: Arc<Shards>, shard: ShardId) {
    loop {
        let (owner, head, batch) = {
            let mut writer = shards.shard(shard).writer.lock();
            let mut batch = Vec::new();
            let mut events = 0;
            while let Some(pending) = writer.queue.front() {
                if !batch.is_empty() && events + pending.events.len() > limits::APPEND_EVENTS_MAX {
                    break;
                }
                events += pending.events.len();
                batch.extend(writer.queue.pop_front());
            }
            if batch.is_empty() {
                writer.writing = false;
                writer.queue = VecDeque::new();
                return;
            }
            (writer.owner, writer.head, batch)
        };
        let Some(owner) = owner else {
            answer(batch, &Err(AppendError::NotOwner(shard.number())));
            continue;
        };
        let (batch, stale): (Vec<_>, Vec<_>) = batch.into_iter().partition(|p| p.epoch == owner.epoch.0);
        answer(stale, &Err(AppendError::Stale));
        write_batch(&shards, owner, head, batch).await;
    }
}

async fn write_batch(shards: &Arc<Shards>, owner: Owner, head: FeedPosition, batch: Vec<Pending>) {
    match append(shards, owner, head, &batch).await {
        Err(AppendError::Conflict) if batch.len() > 1 => {
            // One of them is behind its stream; the others must not suffer for it.
            for pending in batch {
                let head = shards.shard(owner.shard).writer.lock().head;
                let one = vec![pending];
                let result = append(shards, owner, head, &one).await;
                answer(one, &result);
            }
        }
        result => answer(batch, &result),
    }
}

async fn append(
    shards: &Arc<Shards>,
    owner: Owner,
    head: FeedPosition,
    batch: &[Pending],
) -> Result<(), AppendError> {
    let events: Vec<NewEvent> = batch.iter().flat_map(|pending| pending.events.iter().cloned()).collect();
    if events.is_empty() {
        return Ok(());
    }
    let shard = owner.shard;
    shards.metrics.append(batch.len());
    match shards.journal.append(owner, head, events.clone()).await {
        Ok(Appended::Committed { head: new }) => {
            let place = shards.shard(shard);
            let mut writer = place.writer.lock();
            for (position, event) in (head + 1..).zip(events) {
                writer.recent.push_back(Arc::new(Event { shard, position, event }));
            }
            let surplus = writer.recent.len().saturating_sub(limits::RECENT_EVENTS);
            writer.recent.drain(..surplus);
            writer.head = new;
            shards.set_head(place, new);
            drop(writer);
            shards.changes.send_modify(|count| *count += 1);
            Ok(())
        }
        Ok(Appended::Fenced { current }) => {
            tracing::warn!(%shard, epoch = owner.epoch.0, current = current.0, "another writer has the shard");
            shards.give_up(shard, false);
            Err(AppendError::NotOwner(shard.number()))
        }
        Ok(Appended::Conflict { head: actual }) if actual == head => Err(AppendError::Conflict),
        Ok(Appended::Conflict { head: actual }) => {
            tracing::error!(%shard, expected = head, actual, "a shard has another head than its only writer knows");
            shards.give_up(shard, true);
            shards.take_again(shard);
            Err(AppendError::Journal("the shard is taken anew".into()))
        }
        Err(error) => {
            tracing::error!(%error, %shard, "whether an append was written is not known");
            shards.give_up(shard, true);
            shards.take_again(shard);
            Err(AppendError::Journal(error.to_string()))
        }
    }
}

fn answer(batch: Vec<Pending>, result: &Result<(), AppendError>) {
    for pending in batch {
        // An asker that went away does not need the answer.
        let _ = pending.reply.send(result.clone());
    }
}
