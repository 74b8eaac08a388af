//! Reactors, also called process managers: what must follow from an event is asked of somebody, at least once.
//!
//! A reactor reads the feeds of all shards and keeps how far it is. Events of one shard are handled in their order, those
//! of different shards at the same time. After a crash the last events are handled again, so what a reactor asks for
//! carries an id made from the event ([`command_id`]): whoever is asked does it once.
//!
//! ```text
//! #[async_trait]
//! impl Reactor for BillCompletedTrips {
//!     const NAME: &'static str = "bill-completed-trips";
//!     const READS: &'static [&'static str] = &["trip"];
//!     async fn react(&self, event: &Event) -> Result<(), ReactError> {
//!         let Some(TripEvent::Completed { .. }) = fact::<Trip>(event)? else { return Ok(()) };
//!         let context = reaction::<Self>(event, "bill", now_ms());
//!         match self.bills.ask(&event.event.stream.organization, id, Bill { .. }, context).await {
//!             Ok(_) => Ok(()),
//!             Err(AskError::Refused { code, .. }) if code == "already-billed" => Ok(()),
//!             Err(error) => Err(error.into()),         // transient: tried again; else: stops this shard, visibly
//!         }
//!     }
//! }
//! let billing = react(&shards, &Place::folder("data/projections"), BillCompletedTrips { bills }).await?;
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_eventsourcing::store::Store;
use remuda_eventsourcing::{Context, Event, JournalError, Unreadable};
use remuda_model::{SHARDS, ShardId};
use serde::Serialize;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use crate::error::AskError;
use crate::feed::Offsets;
use crate::limits;
use crate::projection::generation::{note_offsets, read_offsets, skip_entry};
use crate::projection::view::Batch;
use crate::projection::{Place, StoppedAt};
use crate::shards::Shards;

/// Does what must follow from events.
#[async_trait]
pub trait Reactor: Send + Sync + 'static {
    /// Folder and metrics label; kebab-case, never renamed: under another name everything would be done again.
    const NAME: &'static str;
    /// Aggregate types that it reads; all, when empty.
    const READS: &'static [&'static str];

    /// Handles one event, perhaps not for the first time.
    ///
    /// # Errors
    /// `Retry` is tried again, for ever, with growing waits; `Poisoned` stops the event's shard, visibly, until somebody
    /// retries or skips the event.
    async fn react(&self, event: &Event) -> Result<(), ReactError>;
}

/// Why an event was not handled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReactError {
    /// It may work later.
    #[error("{0}")]
    Retry(String),
    /// It never will.
    #[error("{0}")]
    Poisoned(String),
}

impl From<AskError> for ReactError {
    fn from(error: AskError) -> Self {
        if error.is_transient() { Self::Retry(error.to_string()) } else { Self::Poisoned(error.to_string()) }
    }
}

impl From<Unreadable> for ReactError {
    fn from(error: Unreadable) -> Self {
        Self::Poisoned(error.to_string())
    }
}

/// The id of what follows from an event; `purpose` tells several of one event apart.
pub fn command_id(event: &Event, purpose: &str) -> String {
    let id: String = event.event.event_id.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("event/{id}/{purpose}")
}

/// The context of a command that follows from an event: same correlation, an id made from the event.
pub fn reaction<R: Reactor>(event: &Event, purpose: &str, now_ms: i64) -> Context {
    Context {
        now_ms,
        command_id: command_id(event, purpose),
        actor: format!("policy/{}", R::NAME),
        correlation_id: event.event.correlation_id.clone(),
    }
}

/// How a reactor fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReactorStatus {
    /// `Reactor::NAME`.
    pub name: &'static str,
    /// Events it has not handled.
    pub lag_events: u64,
    /// Shards that stopped at an event.
    pub stopped: Vec<StoppedAt>,
    /// Shards whose next event is being tried again.
    pub retrying: usize,
}

struct Inner<R: Reactor> {
    shards: Arc<Shards>,
    reactor: R,
    store: Arc<dyn Store>,
    offsets: Mutex<Offsets>,
    written: Mutex<Offsets>,
    stopped: Mutex<BTreeMap<u16, StoppedAt>>,
    retrying: Mutex<BTreeMap<u16, String>>,
    resume: Notify,
    stop: watch::Sender<bool>,
    moved: watch::Sender<u64>,
}

/// A running reactor. Cheap to clone.
pub struct Reacting<R: Reactor>(Arc<Inner<R>>, Arc<Mutex<Option<JoinHandle<()>>>>);

impl<R: Reactor> Clone for Reacting<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), Arc::clone(&self.1))
    }
}

/// Starts a reactor where it left off; the very first time with the first event there is.
///
/// # Errors
/// When its offsets cannot be read: they are not made anew, since everything would be done again.
pub async fn react<R: Reactor>(
    shards: &Arc<Shards>,
    place: &Place,
    reactor: R,
) -> Result<Reacting<R>, JournalError> {
    let place = place.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let store = place.open(R::NAME, "offsets")?;
        let offsets = read_offsets(&*store)?;
        Ok::<_, JournalError>((store, offsets))
    });
    let (store, mut offsets) = opened
        .await
        .map_err(|e| JournalError::Io { operation: "opening a reactor", source: Box::new(e) })??;
    if shards.are_behind(&offsets) {
        tracing::error!(
            reactor = R::NAME,
            "it handled more than the journal holds, which was restored; it goes on"
        );
        for (shard, offset) in (0..SHARDS).filter_map(ShardId::new).zip(&mut offsets) {
            *offset = (*offset).min(shards.head(shard));
        }
    }
    let inner = Arc::new(Inner {
        shards: Arc::clone(shards),
        reactor,
        store,
        written: Mutex::new(offsets.clone()),
        offsets: Mutex::new(offsets),
        stopped: Mutex::default(),
        retrying: Mutex::default(),
        resume: Notify::new(),
        stop: watch::Sender::new(false),
        moved: watch::Sender::new(0),
    });
    let task = tokio::spawn(run(Arc::clone(&inner)));
    Ok(Reacting(inner, Arc::new(Mutex::new(Some(task)))))
}

/// Starts a worker for each shard that has something new, up to a bound.
async fn run<R: Reactor>(inner: Arc<Inner<R>>) {
    let (done, mut ended) = mpsc::channel::<ShardId>(limits::REACTIONS_MAX);
    let mut busy = vec![false; usize::from(SHARDS)];
    let mut working = 0;
    let mut changes = inner.shards.changes();
    let mut stop = inner.stop.subscribe();
    let mut synced = Instant::now();
    while !*stop.borrow() {
        changes.mark_unchanged();
        for shard in inner.behind() {
            let place = usize::from(shard.number());
            if working < limits::REACTIONS_MAX && !busy[place] {
                (busy[place], working) = (true, working + 1);
                tokio::spawn(work(Arc::clone(&inner), shard, done.clone()));
            }
        }
        inner.shards.metrics().reader(R::NAME, inner.lag(), 0);
        let unsaved = *inner.offsets.lock() != *inner.written.lock();
        if unsaved && synced.elapsed() >= limits::SYNC_EVERY {
            Inner::save(&inner).await;
            synced = Instant::now();
        }
        let rest = if unsaved { limits::SYNC_EVERY } else { Duration::MAX };
        tokio::select! {
            _ = changes.changed() => {}
            _ = stop.changed() => {}
            () = inner.resume.notified() => {}
            () = tokio::time::sleep(rest) => {}
            Some(shard) = ended.recv() => {
                (busy[usize::from(shard.number())], working) = (false, working - 1);
            }
        }
    }
    // Workers see the stop after the event under way.
    while working > 0 && ended.recv().await.is_some() {
        working -= 1;
    }
    Inner::save(&inner).await;
}

/// Says that a worker ended, however it did.
struct Ended(mpsc::Sender<ShardId>, ShardId);

impl Drop for Ended {
    fn drop(&mut self) {
        // As many places as workers.
        let _ = self.0.try_send(self.1);
    }
}

/// Handles what is new in a shard.
async fn work<R: Reactor>(inner: Arc<Inner<R>>, shard: ShardId, done: mpsc::Sender<ShardId>) {
    let _ended = Ended(done, shard);
    let place = usize::from(shard.number());
    loop {
        let after = inner.offsets.lock()[place];
        let events = match inner.shards.read_feed(shard, after, limits::PAGE).await {
            Ok(events) if events.is_empty() => return,
            Ok(events) => events,
            Err(error) => {
                tracing::error!(reactor = R::NAME, %shard, %error, "a feed cannot be read");
                tokio::time::sleep(limits::BACKOFF_MIN).await;
                return;
            }
        };
        for event in events {
            let wanted =
                R::READS.is_empty() || R::READS.contains(&event.event.stream.aggregate_type.as_str());
            if wanted && !handle(&inner, &event).await {
                return;
            }
            inner.offsets.lock()[place] = event.position;
            inner.moved.send_modify(|count| *count += 1);
        }
    }
}

/// Handles one event; false when the shard stops there, or the reactor does.
async fn handle<R: Reactor>(inner: &Arc<Inner<R>>, event: &Arc<Event>) -> bool {
    let mut stop = inner.stop.subscribe();
    let mut wait = limits::REACTION_WAIT_MIN;
    let number = event.shard.number();
    while !*stop.borrow() {
        // A task of its own: a reaction that panics must stop its shard, not vanish.
        let (of, about) = (Arc::clone(inner), Arc::clone(event));
        let result = tokio::spawn(async move { of.reactor.react(&about).await }).await;
        let reason = match result {
            Ok(Ok(())) => {
                inner.retrying.lock().remove(&number);
                inner.shards.metrics().reader(R::NAME, inner.lag(), 1);
                return true;
            }
            Ok(Err(ReactError::Retry(reason))) => {
                tracing::warn!(reactor = R::NAME, shard = number, reason, "a reaction is tried again");
                inner.retrying.lock().insert(number, reason);
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    _ = stop.changed() => {}
                }
                wait = (wait * 2).min(limits::REACTION_WAIT_MAX);
                continue;
            }
            Ok(Err(ReactError::Poisoned(reason))) => reason,
            Err(_) => "the reactor panicked".to_owned(),
        };
        let (shard, position, event_type) = (event.shard, event.position, event.event.event_type.clone());
        tracing::error!(reactor = R::NAME, %shard, position, event_type, reason, "a reactor's shard stopped at an event");
        inner.retrying.lock().remove(&number);
        inner.stopped.lock().insert(number, StoppedAt { shard, position, event_type, reason });
        inner.shards.metrics().reader_stopped(R::NAME, true);
        inner.moved.send_modify(|count| *count += 1);
        return false;
    }
    false
}

impl<R: Reactor> Inner<R> {
    /// Shards with something new that are not stopped.
    fn behind(&self) -> Vec<ShardId> {
        let (offsets, stopped) = (self.offsets.lock(), self.stopped.lock());
        (0..SHARDS)
            .filter_map(ShardId::new)
            .filter(|shard| self.shards.head(*shard) > offsets[usize::from(shard.number())])
            .filter(|shard| !stopped.contains_key(&shard.number()))
            .collect()
    }

    fn lag(&self) -> u64 {
        let offsets = self.offsets.lock();
        (0..SHARDS)
            .filter_map(ShardId::new)
            .map(|shard| self.shards.head(shard).saturating_sub(offsets[usize::from(shard.number())]))
            .sum()
    }

    async fn save(inner: &Arc<Self>) {
        let of = Arc::clone(inner);
        let saved = tokio::task::spawn_blocking(move || of.save_now(Batch::new())).await;
        if let Ok(Err(error)) = saved {
            // Handled events are handled again after a crash; that is what at least once means.
            tracing::warn!(reactor = R::NAME, %error, "how far a reactor is was not saved");
        }
    }

    fn save_now(&self, mut batch: Batch) -> Result<(), JournalError> {
        let now = self.offsets.lock().clone();
        let mut written = self.written.lock();
        note_offsets(&mut batch, &written, &now)?;
        self.store.commit(&batch)?;
        self.store.sync()?;
        *written = now;
        Ok(())
    }
}

impl<R: Reactor> Reacting<R> {
    /// How it fares.
    pub fn status(&self) -> ReactorStatus {
        let inner = &self.0;
        ReactorStatus {
            name: R::NAME,
            lag_events: inner.lag(),
            stopped: inner.stopped.lock().values().cloned().collect(),
            retrying: inner.retrying.lock().len(),
        }
    }

    /// Tries the events again at which shards stopped; answers how many.
    pub fn retry(&self) -> usize {
        let count = std::mem::take(&mut *self.0.stopped.lock()).len();
        self.0.shards.metrics().reader_stopped(R::NAME, false);
        self.0.resume.notify_one();
        count
    }

    /// Passes the event over at which a shard stopped, for good, and keeps why; false when it did not stop.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn skip(&self, shard: ShardId, reason: &str) -> Result<bool, JournalError> {
        let inner = &self.0;
        let Some(at) = inner.stopped.lock().get(&shard.number()).cloned() else { return Ok(false) };
        inner.offsets.lock()[usize::from(shard.number())] = at.position;
        inner.save_now(Batch::from([skip_entry(&at, reason)]))?;
        let left = {
            let mut stopped = inner.stopped.lock();
            stopped.remove(&shard.number());
            stopped.len()
        };
        inner.shards.metrics().reader_stopped(R::NAME, left > 0);
        tracing::warn!(reactor = R::NAME, %shard, position = at.position, reason, "an event is passed over");
        inner.resume.notify_one();
        Ok(true)
    }

    /// Waits until all that is durable now has been handled.
    ///
    /// # Errors
    /// When a shard stopped at an event, with that.
    pub async fn caught_up(&self) -> Result<(), StoppedAt> {
        let inner = &self.0;
        let heads: Vec<u64> =
            (0..SHARDS).filter_map(ShardId::new).map(|shard| inner.shards.head(shard)).collect();
        let mut moved = inner.moved.subscribe();
        loop {
            moved.mark_unchanged();
            if inner.offsets.lock().iter().zip(&heads).all(|(offset, head)| offset >= head) {
                return Ok(());
            }
            if let Some(at) = inner.stopped.lock().values().next() {
                return Err(at.clone());
            }
            let _ = moved.changed().await;
        }
    }

    /// Stops it after the events under way, and saves how far it is.
    pub async fn stop(&self) {
        self.0.stop.send_replace(true);
        let task = self.1.lock().take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}
