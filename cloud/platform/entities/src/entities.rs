//! All entities of one kind on a node, and the way to ask them.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ractor::{Actor, ActorRef, ActorRuntime};
use remuda_eventsourcing::{Aggregate, Context, JournalError, StreamId, shard_of};
use remuda_model::{OrganizationId, ShardId};
use tokio::sync::{Semaphore, oneshot};

use crate::actor::{EntityActor, Tenancy};
use crate::error::AskError;
use crate::failures::Failures;
use crate::feed::{Feed, From, Recorded};
use crate::limits;
use crate::mailbox::{Letter, Mailbox, Posted};
use crate::metrics::{EntityMetrics, outcome_of};
use crate::shards::Shards;
use crate::supervisor::{Order, Supervisor};

/// Settings of one kind of entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Without a message for this long an entity leaves the memory.
    pub idle: Duration,
    /// A snapshot is written after so many events.
    pub snapshot_every: u64,
    /// Refusals are remembered in the journal (by entities that have events), so that a copy of a refused command is
    /// refused also after a restart.
    pub durable_refusals: bool,
    /// Entities in memory at most.
    pub active_max: usize,
    /// First wait after an entity broke; doubles each time, up to a minute.
    pub backoff: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            idle: limits::IDLE,
            snapshot_every: limits::SNAPSHOT_EVERY,
            durable_refusals: true,
            active_max: limits::ACTIVE_MAX,
            backoff: limits::BACKOFF_MIN,
        }
    }
}

/// What a command did; durable.
pub struct Outcome<A: Aggregate> {
    /// Version of the entity after it.
    pub version: u64,
    /// Its events; none when it was so already.
    pub events: Vec<A::Event>,
    /// The command had been asked before, and this is what it did then.
    pub repeated: bool,
}

impl<A: Aggregate> std::fmt::Debug for Outcome<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { version, events, repeated } = self;
        f.debug_struct("Outcome")
            .field("version", version)
            .field("events", events)
            .field("repeated", repeated)
            .finish()
    }
}

impl<A: Aggregate> PartialEq for Outcome<A> {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && self.events == other.events && self.repeated == other.repeated
    }
}

/// A look at an entity.
pub struct Seen<A: Aggregate> {
    /// Its version; 0 = nothing has happened to it.
    pub version: u64,
    /// Its state at that version.
    pub state: A::State,
}

impl<A: Aggregate> std::fmt::Debug for Seen<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seen").field("version", &self.version).field("state", &self.state).finish()
    }
}

/// Which entity.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub organization: OrganizationId,
    pub id: Box<str>,
    pub shard: ShardId,
}

impl Key {
    pub fn stream<A: Aggregate>(&self) -> StreamId {
        stream_of::<A>(&self.organization, &self.id)
    }
}

fn stream_of<A: Aggregate>(organization: &OrganizationId, id: &str) -> StreamId {
    StreamId { organization: *organization, aggregate_type: A::TYPE.into(), aggregate_id: id.into() }
}

/// Locks of the map of active entities: so many that askers on a few cores seldom meet.
const STRIPES: usize = 64;

type Stripe<A> = Mutex<HashMap<Arc<Key>, Arc<Mailbox<A>>>>;

pub(crate) struct Shared<A: Aggregate> {
    pub shards: Arc<Shards>,
    pub settings: Settings,
    pub activations: Semaphore,
    pub snapshots: Arc<Semaphore>,
    stripes: Vec<Stripe<A>>,
    active: AtomicUsize,
    in_flight: Semaphore,
    failures: Failures,
    draining: AtomicBool,
    begun: Instant,
}

impl<A: Aggregate> Shared<A> {
    pub fn metrics(&self) -> &EntityMetrics {
        self.shards.metrics()
    }

    fn stripe(&self, key: &Key) -> &Stripe<A> {
        &self.stripes[usize::from(key.shard.number()) % STRIPES]
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_secs()
    }

    /// An entity's actor is gone, or going.
    pub fn left(&self, key: &Arc<Key>, mailbox: &Arc<Mailbox<A>>, failed: bool) {
        let removed = {
            let mut stripe = self.stripe(key).lock();
            let own = stripe.get(key).is_some_and(|there| Arc::ptr_eq(there, mailbox));
            own.then(|| stripe.remove(key)).flatten()
        };
        if removed.is_some() {
            self.active.fetch_sub(1, Ordering::Relaxed);
            self.metrics().active(A::TYPE, -1);
        }
        if failed && !self.draining.load(Ordering::Relaxed) {
            self.metrics().failed(A::TYPE);
            let wait = self.failures.failed(key, self.settings.backoff);
            tracing::error!(kind = A::TYPE, id = %key.id, wait_ms = wait.as_millis() as u64, "an entity broke");
        }
    }

    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// Asks those to leave that were idle for so long; all, without a time.
    pub fn passivate(&self, idle: Option<Duration>) {
        let before = idle.map_or(u64::MAX, |idle| self.now().saturating_sub(idle.as_secs()));
        for stripe in &self.stripes {
            let some: Vec<Arc<Mailbox<A>>> = stripe.lock().values().cloned().collect();
            some.iter().for_each(|mailbox| mailbox.passivate(before));
        }
        self.failures.forget_old();
    }
}

/// All entities of one kind. Cheap to clone.
///
/// An entity is an actor that lives while it is used: the first message reads its past, and it leaves the memory when
/// nothing has been asked of it for a while.
pub struct Entities<A: Aggregate> {
    shared: Arc<Shared<A>>,
    supervisor: ActorRef<Order>,
}

impl<A: Aggregate> Clone for Entities<A> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), supervisor: self.supervisor.clone() }
    }
}

impl<A: Aggregate> Entities<A> {
    /// Starts the supervisor; no entity yet. Once a kind and node: an entity must have one actor.
    ///
    /// # Errors
    /// When a setting is out of range or the supervisor does not start; the text says why.
    pub async fn start(shards: &Arc<Shards>, settings: Settings) -> Result<Self, String> {
        let Settings { idle, snapshot_every, active_max, .. } = settings;
        if idle < Duration::from_secs(1) || snapshot_every == 0 || active_max == 0 {
            return Err(format!(
                "{} entities: idle must be 1 s or more, snapshot_every and active_max 1 or more",
                A::TYPE
            ));
        }
        let shared = Arc::new(Shared {
            shards: Arc::clone(shards),
            settings,
            activations: Semaphore::new(limits::ACTIVATIONS_MAX),
            snapshots: Arc::new(Semaphore::new(limits::SNAPSHOTS_MAX)),
            stripes: (0..STRIPES).map(|_| Mutex::new(HashMap::new())).collect(),
            active: AtomicUsize::new(0),
            in_flight: Semaphore::new(limits::IN_FLIGHT_MAX),
            failures: Failures::default(),
            draining: AtomicBool::new(false),
            begun: Instant::now(),
        });
        let supervisor: Supervisor<A> = Supervisor(Arc::clone(&shared));
        let (supervisor, _) = Actor::spawn(None, supervisor, ()).await.map_err(|e| e.to_string())?;
        Ok(Self { shared, supervisor })
    }

    /// Asks an entity to do something; durable when it answers. The same `context.command_id` is the same command again
    /// and gets the same answer, also after a restart:
    ///
    /// - a command that caused events: for ever, with these events;
    /// - a refusal by an entity that has events: for ever (unless `durable_refusals` is off);
    /// - a command that caused nothing (it was so already), and a refusal by an entity without events: while the entity is
    ///   in memory and among its last 16 outcomes. Later it is decided anew, so such a command must be one that may be.
    ///
    /// Dropping the future does not take the command back.
    ///
    /// # Errors
    /// [`AskError`]; after `Unavailable`, ask again with the same command id.
    pub async fn ask(
        &self,
        organization: &OrganizationId,
        id: &str,
        command: A::Command,
        context: Context,
    ) -> Result<Outcome<A>, AskError> {
        self.ask_at(organization, id, None, command, context).await
    }

    /// As [`Entities::ask`], but only if the entity is at version `expected`: for who decided by what they had read.
    ///
    /// # Errors
    /// As [`Entities::ask`], and `VersionMismatch`.
    pub async fn ask_at(
        &self,
        organization: &OrganizationId,
        id: &str,
        expected: Option<u64>,
        command: A::Command,
        context: Context,
    ) -> Result<Outcome<A>, AskError> {
        let begun = Instant::now();
        let result = self.asked(organization, id, expected, command, context).await;
        let outcome = match &result {
            Ok(Outcome { repeated: true, .. }) => "repeated",
            Ok(_) => "accepted",
            Err(error) => outcome_of(error),
        };
        self.shared.metrics().asked(A::TYPE, outcome, begun.elapsed());
        result
    }

    async fn asked(
        &self,
        organization: &OrganizationId,
        id: &str,
        expected: Option<u64>,
        command: A::Command,
        context: Context,
    ) -> Result<Outcome<A>, AskError> {
        for (what, text, max) in [
            ("the command id", &context.command_id, limits::TEXT_BYTES_MAX),
            ("the actor", &context.actor, limits::TEXT_BYTES_MAX),
        ] {
            checked(what, text, max)?;
        }
        if context.correlation_id.len() > limits::TEXT_BYTES_MAX {
            let why = format!("has more than {} bytes", limits::TEXT_BYTES_MAX);
            return Err(AskError::Invalid { what: "the correlation id", why });
        }
        let (reply, answer) = oneshot::channel();
        self.post(organization, id, Letter::Ask { command, context, expected, reply }, answer).await
    }

    /// An entity's state: every command that was answered before is in it.
    ///
    /// # Errors
    /// [`AskError`], never `Refused`.
    pub async fn read(&self, organization: &OrganizationId, id: &str) -> Result<Seen<A>, AskError> {
        let (reply, answer) = oneshot::channel();
        self.post(organization, id, Letter::Read(reply), answer).await
    }

    async fn post<T>(
        &self,
        organization: &OrganizationId,
        id: &str,
        letter: Letter<A>,
        answer: oneshot::Receiver<Result<T, AskError>>,
    ) -> Result<T, AskError> {
        checked("the id", id, limits::ID_BYTES_MAX)?;
        let shared = &self.shared;
        let Ok(_permit) = shared.in_flight.try_acquire() else {
            return Err(AskError::Overloaded { what: "the queue of commands" });
        };
        let shard = shard_of(&stream_of::<A>(organization, id));
        let key = Arc::new(Key { organization: *organization, id: id.into(), shard });
        let mut letter = letter;
        loop {
            match self.mailbox(&key)?.post(letter, shared.now()) {
                Posted::Taken => break,
                Posted::Full => return Err(AskError::Overloaded { what: "the entity's queue" }),
                Posted::Closed(back) => letter = back,
            }
            // It is leaving at this moment; its place is free in the next.
            tokio::task::yield_now().await;
        }
        answer.await.unwrap_or_else(|_| Err(AskError::unavailable("the entity broke while it decided")))
    }

    /// The mailbox of an entity, which is started if it is not there.
    fn mailbox(&self, key: &Arc<Key>) -> Result<Arc<Mailbox<A>>, AskError> {
        let shared = &self.shared;
        if let Some(there) = shared.stripe(key).lock().get(key) {
            return Ok(Arc::clone(there));
        }
        if shared.draining.load(Ordering::Relaxed) {
            return Err(AskError::unavailable("the node is stopping"));
        }
        if let Some(wait) = shared.failures.waits(key) {
            let reason = format!("the entity broke and rests for {} ms", wait.as_millis());
            return Err(AskError::unavailable(reason));
        }
        if shared.active() >= shared.settings.active_max {
            // Make room for the next: those that were idle for a tenth of the time leave early.
            let _ = self.supervisor.cast(Order::MakeRoom);
            return Err(AskError::Overloaded { what: "the memory for entities" });
        }
        let mailbox = {
            let mut stripe = shared.stripe(key).lock();
            if let Some(there) = stripe.get(key) {
                return Ok(Arc::clone(there));
            }
            let mailbox = Arc::new(Mailbox::new(shared.now()));
            stripe.insert(Arc::clone(key), Arc::clone(&mailbox));
            mailbox
        };
        shared.active.fetch_add(1, Ordering::Relaxed);
        shared.metrics().active(A::TYPE, 1);
        let tenancy = Tenancy {
            shared: Arc::clone(shared),
            key: Arc::clone(key),
            mailbox: Arc::clone(&mailbox),
            leaving: false,
        };
        // Without waiting: an asker that goes away between two steps must not leave a mailbox that nobody empties.
        let actor = EntityActor::<A>(PhantomData);
        match ActorRuntime::spawn_linked_instant(None, actor, tenancy, self.supervisor.get_cell()) {
            Ok((actor, _)) => mailbox.opened_by(actor),
            Err(error) => {
                shared.left(key, &mailbox, true);
                return Err(AskError::unavailable(error.to_string()));
            }
        }
        Ok(mailbox)
    }

    /// Follows what happens to the entities of this kind, each event when it is durable, in the order of its shard, none
    /// left out: a cursor over the feeds, which holds no queue however slow its reader is.
    pub fn follow(&self, from: From) -> Feed {
        Feed::new(&self.shared.shards, from).of_type(A::TYPE)
    }

    /// A stored event of this kind, decoded; `None` for the shell's own.
    ///
    /// # Errors
    /// When this program cannot read it.
    pub fn decode(
        event: &Arc<remuda_eventsourcing::Event>,
    ) -> Result<Option<Recorded<A>>, remuda_eventsourcing::Unreadable> {
        Recorded::decode(event)
    }

    /// A stream's events, the whole history of an entity, at most `limit` from version `from` on.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn history(
        &self,
        organization: &OrganizationId,
        id: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<remuda_eventsourcing::Event>, JournalError> {
        let stream = stream_of::<A>(organization, id);
        self.shared.shards.journal().read_stream(&stream, from, limit).await
    }

    /// Entities in memory.
    pub fn active(&self) -> usize {
        self.shared.active()
    }

    /// The shards beneath.
    pub fn shards(&self) -> &Arc<Shards> {
        &self.shared.shards
    }

    /// Stops: no new entity starts, those there answer what waits, write their snapshots and leave. At most 10 s.
    pub async fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
        let begun = Instant::now();
        while self.active() > 0 && begun.elapsed() < limits::DRAIN {
            self.shared.passivate(None);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if self.active() > 0 {
            tracing::warn!(
                kind = A::TYPE,
                left = self.active(),
                "entities were still busy when the node stopped"
            );
        }
        // Snapshots under way.
        let _ = self.shared.snapshots.acquire_many(limits::SNAPSHOTS_MAX as u32).await;
        let _ = self.supervisor.drain_and_wait(Some(limits::DRAIN)).await;
    }
}

/// A text that becomes part of keys.
fn checked(what: &'static str, text: &str, max: usize) -> Result<(), AskError> {
    let invalid = |why: String| Err(AskError::Invalid { what, why });
    match text {
        "" => invalid("is empty".into()),
        _ if text.len() > max => invalid(format!("has {} bytes, more than {max}", text.len())),
        _ if text.contains(char::is_control) => invalid("has a control character".into()),
        _ => Ok(()),
    }
}
