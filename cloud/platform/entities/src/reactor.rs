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
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_eventsourcing::store::Store;
use remuda_eventsourcing::{Context, Event, FeedPosition, JournalError, Unreadable};
use remuda_model::{SHARDS, ShardId};
use serde::Serialize;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use crate::error::AskError;
use crate::feed::Offsets;
use crate::limits;
use crate::projection::generation::{note_offsets, read_offsets, read_skips, skip_entry};
use crate::projection::view::Batch;
use crate::projection::{Place, Skipped, StoppedAt};
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
    /// Why the first of them is.
    pub retrying_for: Option<String>,
}

struct Inner<R: Reactor> {
    shards: Arc<Shards>,
    reactor: R,
    store: Arc<dyn Store>,
    offsets: Mutex<Offsets>,
    /// Sum of the offsets.
    passed: AtomicU64,
    /// Some offset is not in the store.
    unsaved: AtomicBool,
    /// What the store holds. Whoever writes to the store holds it.
    written: Mutex<Offsets>,
    stopped: Mutex<BTreeMap<u16, StoppedAt>>,
    /// Shards whose next event is tried again, and when. They hold no worker meanwhile.
    resting: Mutex<BTreeMap<u16, Rest>>,
    resume: Notify,
    stop: watch::Sender<bool>,
    moved: watch::Sender<u64>,
}

/// A shard whose next event is tried again.
struct Rest {
    reason: String,
    wait: Duration,
    until: Instant,
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
        passed: AtomicU64::new(offsets.iter().sum()),
        unsaved: AtomicBool::new(false),
        written: Mutex::new(offsets.clone()),
        offsets: Mutex::new(offsets),
        stopped: Mutex::default(),
        resting: Mutex::default(),
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
        let (ready, next_due) = inner.ready();
        for shard in ready {
            let place = usize::from(shard.number());
            if working < limits::REACTIONS_MAX && !busy[place] {
                (busy[place], working) = (true, working + 1);
                tokio::spawn(work(Arc::clone(&inner), shard, done.clone()));
            }
        }
        inner.shards.metrics().reader(R::NAME, inner.lag(), 0);
        let unsaved = inner.unsaved.load(Ordering::Acquire);
        if unsaved && synced.elapsed() >= limits::SYNC_EVERY {
            Inner::save(&inner).await;
            synced = Instant::now();
        }
        let rest = if unsaved { limits::SYNC_EVERY } else { Duration::MAX };
        let rest = rest.min(next_due.unwrap_or(Duration::MAX));
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
            inner.passed(event.shard, event.position);
        }
    }
}

/// Handles one event; false when the shard rests or stops there, or the reactor stops.
async fn handle<R: Reactor>(inner: &Arc<Inner<R>>, event: &Arc<Event>) -> bool {
    if *inner.stop.borrow() {
        return false;
    }
    let number = event.shard.number();
    // A task of its own: a reaction that panics must stop its shard, not vanish.
    let (of, about) = (Arc::clone(inner), Arc::clone(event));
    let result = tokio::spawn(async move { of.reactor.react(&about).await }).await;
    let reason = match result {
        Ok(Ok(())) => {
            inner.resting.lock().remove(&number);
            inner.shards.metrics().reader(R::NAME, inner.lag(), 1);
            return true;
        }
        Ok(Err(ReactError::Retry(reason))) => {
            tracing::warn!(reactor = R::NAME, shard = number, reason, "a reaction is tried again");
            let mut resting = inner.resting.lock();
            let before = resting.get(&number).map(|rest| rest.wait);
            let wait = before.map_or(limits::REACTION_WAIT_MIN, |wait| wait * 2);
            let wait = wait.min(limits::REACTION_WAIT_MAX);
            resting.insert(number, Rest { reason, wait, until: Instant::now() + wait });
            return false;
        }
        Ok(Err(ReactError::Poisoned(reason))) => reason,
        Err(_) => "the reactor panicked".to_owned(),
    };
    let (shard, position, event_type) = (event.shard, event.position, event.event.event_type.clone());
    tracing::error!(reactor = R::NAME, %shard, position, event_type, reason, "a reactor's shard stopped at an event");
    inner.resting.lock().remove(&number);
    inner.stopped.lock().insert(number, StoppedAt { shard, position, event_type, reason });
    inner.shards.metrics().reader_stopped(R::NAME, true);
    inner.moved.send_modify(|count| *count += 1);
    false
}

impl<R: Reactor> Inner<R> {
    /// Shards with something new that neither stopped nor rest; and when the first of those that rest is due.
    fn ready(&self) -> (Vec<ShardId>, Option<Duration>) {
        let now = Instant::now();
        let (mut due, mut waiting, mut next) = (Vec::new(), Vec::new(), None::<Duration>);
        for (shard, rest) in &*self.resting.lock() {
            let left = rest.until.saturating_duration_since(now);
            if left.is_zero() {
                due.push(*shard);
            } else {
                waiting.push(*shard);
                next = Some(next.map_or(left, |next| next.min(left)));
            }
        }
        let (offsets, stopped) = (self.offsets.lock(), self.stopped.lock());
        let ready = (0..SHARDS)
            .filter_map(ShardId::new)
            .filter(|shard| self.shards.head(*shard) > offsets[usize::from(shard.number())])
            .filter(|shard| !stopped.contains_key(&shard.number()))
            .filter(|shard| waiting.binary_search(&shard.number()).is_err());
        // What is new goes before what failed: many that fail must not take all places.
        let (failed, mut ready): (Vec<ShardId>, Vec<ShardId>) =
            ready.partition(|shard| due.binary_search(&shard.number()).is_ok());
        ready.extend(failed);
        (ready, next)
    }

    /// A shard was read up to there.
    fn passed(&self, shard: ShardId, position: FeedPosition) {
        let mut offsets = self.offsets.lock();
        let place = &mut offsets[usize::from(shard.number())];
        self.passed.fetch_add(position.saturating_sub(*place), Ordering::AcqRel);
        *place = position;
        drop(offsets);
        self.unsaved.store(true, Ordering::Release);
        self.moved.send_modify(|count| *count += 1);
    }

    fn lag(&self) -> u64 {
        self.shards.heads().saturating_sub(self.passed.load(Ordering::Acquire))
    }

    async fn save(inner: &Arc<Self>) {
        let of = Arc::clone(inner);
        let saved = tokio::task::spawn_blocking(move || of.save_now()).await;
        if let Ok(Err(error)) = saved {
            // Handled events are handled again after a crash; that is what at least once means.
            tracing::warn!(reactor = R::NAME, %error, "how far a reactor is was not saved");
        }
    }

    fn save_now(&self) -> Result<(), JournalError> {
        let mut written = self.written.lock();
        // Before the offsets are read: what is passed meanwhile is saved the next time.
        self.unsaved.store(false, Ordering::Release);
        let now = self.offsets.lock().clone();
        let mut batch = Batch::new();
        let saved = note_offsets(&mut batch, &written, &now)
            .and_then(|()| self.store.commit(&batch))
            .and_then(|()| self.store.sync());
        match saved {
            Ok(()) => *written = now,
            Err(_) => self.unsaved.store(true, Ordering::Release),
        }
        saved
    }

    /// Writes that an event is passed over, with the offset after it; only then is it passed.
    fn skip_now(&self, at: &StoppedAt, reason: &str) -> Result<bool, JournalError> {
        let mut written = self.written.lock();
        let number = at.shard.number();
        if self.stopped.lock().get(&number).is_none_or(|now| now.position != at.position) {
            return Ok(false);
        }
        let mut after = written.clone();
        after[usize::from(number)] = at.position;
        let mut batch = Batch::from([skip_entry(at, reason)]);
        note_offsets(&mut batch, &written, &after)?;
        self.store.commit(&batch)?;
        self.store.sync()?;
        *written = after;
        self.passed(at.shard, at.position);
        self.stopped.lock().remove(&number);
        Ok(true)
    }

    fn go_on(&self) {
        let left = !self.stopped.lock().is_empty();
        self.shards.metrics().reader_stopped(R::NAME, left);
        self.resume.notify_one();
    }
}

impl<R: Reactor> Reacting<R> {
    /// How it fares.
    pub fn status(&self) -> ReactorStatus {
        let inner = &self.0;
        let (retrying, retrying_for) = {
            let resting = inner.resting.lock();
            (resting.len(), resting.values().next().map(|rest| rest.reason.clone()))
        };
        let stopped = inner.stopped.lock().values().cloned().collect();
        ReactorStatus { name: R::NAME, lag_events: inner.lag(), stopped, retrying, retrying_for }
    }

    /// Tries the events again at which shards stopped, of one shard or of all; answers how many.
    pub fn retry(&self, only: Option<ShardId>) -> usize {
        // Not while one of them is being skipped.
        let _writing = self.0.written.lock();
        let again = {
            let mut stopped = self.0.stopped.lock();
            let before = stopped.len();
            stopped.retain(|shard, _| only.is_some_and(|only| only.number() != *shard));
            before - stopped.len()
        };
        // Those that rest need not wait either: whatever was in their way may be mended.
        let now = Instant::now();
        self.0.resting.lock().values_mut().for_each(|rest| rest.until = now);
        self.0.go_on();
        again
    }

    /// Passes the event over at which a shard stopped, for good, and keeps why; false when it did not stop, or not there.
    /// Writes to the disk.
    ///
    /// # Errors
    /// When that cannot be written: then nothing was passed over.
    pub fn skip(&self, shard: ShardId, position: FeedPosition, reason: &str) -> Result<bool, JournalError> {
        let inner = &self.0;
        let Some(at) = inner.stopped.lock().get(&shard.number()).cloned() else { return Ok(false) };
        if at.position != position || !inner.skip_now(&at, reason)? {
            return Ok(false);
        }
        tracing::warn!(reactor = R::NAME, %shard, position, reason, "an event is passed over");
        inner.go_on();
        Ok(true)
    }

    /// Events that were passed over, with the reasons, at most `limit`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn skipped(&self, limit: usize) -> Result<Vec<Skipped>, JournalError> {
        read_skips(&*self.0.store, limit)
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
