//! A shard's place in the node: cheap while nobody speaks to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use ractor::ActorRef;
use remuda_contracts::uplink::Arrival;
use remuda_eventsourcing::{Appended, FeedPosition, Journal, JournalError, NewEvent, Owner};
use remuda_model::{Epoch, ShardId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::books::Books;
use super::orders::Asked;
use super::shard::ShardMessage;
use crate::limits;

// Tries of an append that met the head of a round's decisions; each needs another round in between.
const APPEND_TRIES: usize = 8;

/// An arrival with what it holds of the budgets.
pub(crate) struct Admitted {
    pub arrival: Arrival,
    pub permit: Permit,
}

/// Bytes held of a shard's budget and of the node's; given back when dropped.
pub(crate) struct Permit {
    _shard: OwnedSemaphorePermit,
    _node: OwnedSemaphorePermit,
}

/// What waits for a shard's supervisor.
#[derive(Default)]
pub(crate) struct Queue {
    /// Bounded by the shard's bytes.
    pub waiting: Vec<Admitted>,
    /// Bounded by the node's count of asks.
    pub asks: Vec<Asked>,
    pub supervisor: Option<ActorRef<ShardMessage>>,
    pub starting: bool,
    /// Not owned here, or failing: arrivals are refused.
    pub closed: bool,
}

/// A shard.
pub(crate) struct Slot {
    pub shard: ShardId,
    epoch: AtomicU64,
    pub queue: Mutex<Queue>,
    space: Arc<Semaphore>,
    pub books: Mutex<Books>,
    writer: tokio::sync::Mutex<Writer>,
    decisions: AtomicU64,
}

#[derive(Default)]
struct Writer {
    head: FeedPosition,
    // Of the decisions ever contributed, those known to be behind `head`.
    accounted: u64,
}

/// What to do after a push.
pub(crate) enum Pushed {
    /// Nothing: the supervisor was told before.
    Waiting,
    /// There is no supervisor yet.
    Activate,
    /// The shard is closed here; the arrival comes back.
    Closed(Arrival),
}

impl Slot {
    pub fn new(owner: Owner, head: FeedPosition) -> Self {
        Self {
            shard: owner.shard,
            epoch: AtomicU64::new(owner.epoch.0),
            queue: Mutex::default(),
            space: Arc::new(Semaphore::new(limits::SHARD_BYTES_MAX)),
            books: Mutex::default(),
            writer: tokio::sync::Mutex::new(Writer { head, accounted: 0 }),
            decisions: AtomicU64::new(0),
        }
    }

    /// The shard and its epoch here.
    pub fn owner(&self) -> Owner {
        Owner { shard: self.shard, epoch: Epoch(self.epoch.load(Relaxed)) }
    }

    /// Waits until `bytes` fit the shard and the node; `None` when the node is stopping.
    pub async fn admit(&self, node: &Arc<Semaphore>, bytes: usize) -> Option<Permit> {
        let bytes = bytes.min(limits::SHARD_BYTES_MAX) as u32;
        let shard = Arc::clone(&self.space).acquire_many_owned(bytes).await.ok()?;
        let node = Arc::clone(node).acquire_many_owned(bytes).await.ok()?;
        Some(Permit { _shard: shard, _node: node })
    }

    /// Wakes whoever waits in [`Self::admit`], with `None`.
    pub fn close(&self) {
        self.space.close();
    }

    /// Queues an ask about a vehicle's orders; like [`Self::push`]. `None` when the shard is closed here.
    pub fn push_ask(&self, asked: Asked) -> Option<Pushed> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return None;
        }
        queue.asks.push(asked);
        if let Some(supervisor) = &queue.supervisor {
            let _ = supervisor.cast(ShardMessage::Wake);
            return Some(Pushed::Waiting);
        }
        Some(if std::mem::replace(&mut queue.starting, true) { Pushed::Waiting } else { Pushed::Activate })
    }

    /// Queues an arrival and wakes the supervisor if it has nothing queued.
    pub fn push(&self, admitted: Admitted) -> Pushed {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Pushed::Closed(admitted.arrival);
        }
        queue.waiting.push(admitted);
        if let Some(supervisor) = &queue.supervisor {
            // A supervisor that just died is replaced by the node's, which looks at the queue.
            if queue.waiting.len() == 1 {
                let _ = supervisor.cast(ShardMessage::Wake);
            }
            return Pushed::Waiting;
        }
        if std::mem::replace(&mut queue.starting, true) { Pushed::Waiting } else { Pushed::Activate }
    }

    /// Notes that a round will write this many decisions behind the shard's head.
    pub fn contributing(&self, decisions: usize) {
        self.decisions.fetch_add(decisions as u64, Relaxed);
    }

    /// Appends behind the head. Rounds move the head too: what they may have written is looked past, anything else is
    /// a conflict.
    pub async fn append(
        &self,
        journal: &dyn Journal,
        events: Vec<NewEvent>,
    ) -> Result<Appended, JournalError> {
        let mut writer = self.writer.lock().await;
        let mut answer = Appended::Conflict { head: writer.head };
        for _ in 0..APPEND_TRIES {
            let contributed = self.decisions.load(Relaxed);
            answer = journal.append(self.owner(), writer.head, events.clone()).await?;
            match answer {
                Appended::Committed { head } => {
                    writer.head = head;
                    break;
                }
                Appended::Fenced { .. } => break,
                Appended::Conflict { head } => {
                    let moved = head.wrapping_sub(writer.head);
                    let allowed = contributed.saturating_sub(writer.accounted);
                    let explained = head > writer.head && moved <= allowed;
                    // Adopted in any case, since the epoch is the fence; unexplained, the caller reloads first.
                    writer.head = head;
                    writer.accounted += moved.min(allowed);
                    if !explained {
                        break;
                    }
                }
            }
        }
        Ok(answer)
    }
}
