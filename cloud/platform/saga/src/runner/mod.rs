//! The runner: one task per saga under way, over a host that makes everything durable before its effects (I3).

mod call;
mod driver;
mod operate;
mod summary;

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use remuda_eventsourcing::{Aggregate, Context, Refusal as _};
use remuda_model::shard::fnv1a_64;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::aggregate::{Command, Saga, SagaRefusal, State};
use crate::definition::{DefinitionErrors, Definitions};
use crate::host::{Executed, HostError, SagaHost, SagaId};
use crate::limits;
use crate::metrics::SagaMetrics;
use crate::service::Services;
use driver::{Driver, Request};

pub use summary::{Status, StepSummary, Summary};

/// Numbers of a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Calls of one service at once, over all sagas: one that hangs does not keep the others waiting.
    pub calls_at_once: usize,
    /// Sagas under way at once; a start beyond is refused.
    pub sagas_at_once: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { calls_at_once: limits::CALLS_AT_ONCE, sagas_at_once: limits::SAGAS_AT_ONCE }
    }
}

/// Why something asked of the runner was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SagaError {
    /// No definition of this name.
    #[error("there is no saga definition \"{name}\"; there are: {known}")]
    UnknownDefinition {
        /// Asked for.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// The id, the input or the step's name is none.
    #[error("{0}")]
    Invalid(String),
    /// The saga says no.
    #[error("{text}")]
    Refused {
        /// Stable, kebab-case: [`SagaRefusal`]'s.
        code: String,
        /// For people.
        text: String,
    },
    /// Too many sagas are under way.
    #[error("{0} sagas are under way, as many as are taken; try again later")]
    Busy(usize),
    /// The node shuts down.
    #[error("this node is shutting down; ask another, or again")]
    Stopping,
    /// The journal could not answer.
    #[error("{0}")]
    Journal(String),
}

impl SagaError {
    /// Stable, kebab-case.
    pub fn code(&self) -> &str {
        match self {
            Self::UnknownDefinition { .. } => "unknown-definition",
            Self::Invalid(_) => "invalid",
            Self::Refused { code, .. } => code,
            Self::Busy(_) => "busy",
            Self::Stopping => "stopping",
            Self::Journal(_) => "journal",
        }
    }
}

impl From<HostError> for SagaError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Refused { code, text } => Self::Refused { code, text },
            other => Self::Journal(other.to_string()),
        }
    }
}

impl From<SagaRefusal> for SagaError {
    fn from(refusal: SagaRefusal) -> Self {
        Self::Refused { code: refusal.code().to_owned(), text: refusal.to_string() }
    }
}

/// Who wants something, and under which id, so that asking twice is asking once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    /// Such as `user/ada`.
    pub actor: String,
    /// Unique to the wish.
    pub request_id: String,
}

/// Which sagas a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these standings; all when empty.
    pub statuses: Vec<Status>,
    /// Only sagas of this definition.
    pub saga: Option<String>,
    /// At most so many, the newest first.
    pub limit: usize,
}

/// The runner. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Sagas {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    host: Arc<dyn SagaHost>,
    services: Services,
    definitions: Definitions,
    clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    metrics: SagaMetrics,
    settings: Settings,
    /// Room for calls, by service.
    calls: BTreeMap<&'static str, Semaphore>,
    loads: Semaphore,
    stopping: watch::Sender<bool>,
    active: Mutex<BTreeMap<SagaId, Active>>,
    ended: Mutex<VecDeque<Summary>>,
    /// Changes whenever a saga leaves.
    left: watch::Sender<u64>,
}

struct Active {
    requests: mpsc::Sender<Request>,
    shown: watch::Receiver<Summary>,
    task: Option<tokio::task::AbortHandle>,
}

impl Inner {
    pub(crate) fn now_ms(&self) -> i64 {
        (self.clock)()
    }

    /// A driver is done with its saga.
    fn close(&self, id: &SagaId, shown: &watch::Sender<Summary>) {
        let last = shown.borrow().clone();
        if last.status.is_ended() {
            let mut ended = self.ended.lock();
            if ended.len() >= limits::ENDED_REMEMBERED {
                ended.pop_front();
            }
            ended.push_back(last);
        } else {
            self.metrics.moved(last.status.standing(), None);
        }
        self.active.lock().remove(id);
        self.left.send_modify(|count| *count += 1);
    }
}

impl Sagas {
    /// A runner. Nothing runs before [`Sagas::resume`].
    ///
    /// # Errors
    /// All that definitions name and no service offers.
    pub fn new(
        host: Arc<dyn SagaHost>,
        services: Services,
        definitions: Definitions,
        settings: Settings,
        metrics: SagaMetrics,
        clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    ) -> Result<Self, DefinitionErrors> {
        definitions.check_services(&services)?;
        let at_once = settings.calls_at_once.clamp(1, Semaphore::MAX_PERMITS);
        let inner = Inner {
            host,
            calls: services.names().map(|name| (name, Semaphore::new(at_once))).collect(),
            services,
            definitions,
            clock,
            metrics,
            settings,
            loads: Semaphore::new(limits::RESUMED_AT_ONCE),
            stopping: watch::Sender::new(false),
            active: Mutex::new(BTreeMap::new()),
            ended: Mutex::new(VecDeque::new()),
            left: watch::Sender::new(0),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Goes on with every saga that has not ended: after a restart, or when shards were taken over. Those already under
    /// way here are left alone. Answers how many it took up.
    ///
    /// # Errors
    /// When the journal cannot say which they are.
    pub async fn resume(&self) -> Result<usize, SagaError> {
        let unended = self.inner.host.unended().await?;
        let taken = unended.into_iter().filter(|id| self.drive(id, None).is_some()).count();
        if taken > 0 {
            tracing::info!(sagas = taken, "going on with sagas");
        }
        Ok(taken)
    }

    /// Starts a saga, durably, and answers at once. The id makes it idempotent: started again with the same input, it
    /// answers how the first stands.
    ///
    /// # Errors
    /// For an unknown definition, an input that is no object or too large, an id that is another's, too many sagas.
    pub async fn start(
        &self,
        id: &SagaId,
        definition: &str,
        input: Value,
        by: &Requester,
    ) -> Result<Summary, SagaError> {
        if *self.inner.stopping.borrow() {
            return Err(SagaError::Stopping);
        }
        let Some(definition) = self.inner.definitions.newest(definition).cloned() else {
            let names: std::collections::BTreeSet<&str> =
                self.inner.definitions.iter().map(|d| d.name.as_str()).collect();
            let known = if names.is_empty() {
                "none".to_owned()
            } else {
                names.into_iter().collect::<Vec<_>>().join(", ")
            };
            return Err(SagaError::UnknownDefinition { name: definition.to_owned(), known });
        };
        check_id(&id.id)?;
        let Value::Object(fields) = &input else {
            return Err(SagaError::Invalid("the input must be a JSON object".to_owned()));
        };
        if let Some(step) = definition.steps.iter().find(|step| fields.contains_key(&step.name)) {
            let text =
                format!("the input has a field \"{}\", which is a step's name; rename the field", step.name);
            return Err(SagaError::Invalid(text));
        }
        let under_way = self.inner.active.lock().len();
        if under_way >= self.inner.settings.sagas_at_once {
            self.inner.metrics.on_start_refused();
            return Err(SagaError::Busy(under_way));
        }
        let seed = fnv1a_64(id.to_string().as_bytes());
        let command = Command::Start { definition, input: input.to_string(), seed };
        let context = Context {
            now_ms: self.inner.now_ms(),
            command_id: by.request_id.clone(),
            actor: by.actor.clone(),
            correlation_id: id.id.clone(),
        };
        let (this, id) = (self.clone(), id.clone());
        // Not to be broken off between the write and the first step, whatever becomes of whoever asked.
        let begun = tokio::spawn(async move { this.begin(id, command, context).await });
        begun.await.unwrap_or_else(|error| Err(SagaError::Journal(error.to_string())))
    }

    async fn begin(&self, id: SagaId, command: Command, context: Context) -> Result<Summary, SagaError> {
        match self.inner.host.execute(&id, command, context).await {
            Ok(Executed { events, repeated: false }) if !events.is_empty() => {
                let mut state = State::default();
                events.iter().for_each(|event| Saga::evolve(&mut state, event));
                let summary = Summary::of(&id, &state);
                self.inner.metrics.on_start();
                self.drive(&id, Some(state));
                Ok(summary)
            }
            Ok(_) => {
                // A repetition may find a saga that an earlier process began: then its steps may have been called.
                let state = self.inner.host.state(&id).await?;
                if !state.is_ended() {
                    self.drive(&id, None);
                }
                Ok(Summary::of(&id, &state))
            }
            Err(HostError::Failed(reason)) => {
                // It may have been written: then it must run.
                self.drive(&id, None);
                Err(SagaError::Journal(reason))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a saga its task, unless it has one. Only a state that a start has just written is handed over: then no step
    /// can have been called.
    fn drive(&self, id: &SagaId, begun: Option<State>) -> Option<()> {
        let mut active = self.inner.active.lock();
        if active.contains_key(id) || *self.inner.stopping.borrow() {
            return None;
        }
        let (requests, inbox) = mpsc::channel(limits::REQUESTS_WAITING);
        let first = Summary::of(id, &State::default());
        self.inner.metrics.moved(None, first.status.standing());
        let (shown, seen) = watch::channel(first);
        let driver = Driver::new(Arc::clone(&self.inner), id.clone(), inbox, shown);
        // Entered first: a driver that ends at once takes its entry out, for which it needs the lock held here.
        active.insert(id.clone(), Active { requests, shown: seen, task: None });
        let (this, broken) = (self.clone(), id.clone());
        let task = tokio::spawn(async move {
            if AssertUnwindSafe(driver.run(begun)).catch_unwind().await.is_err() {
                this.mend(broken).await;
            }
        });
        let task = task.abort_handle();
        if let Some(entry) = active.get_mut(id) {
            entry.task = Some(task);
        }
        Some(())
    }

    /// A driver that broke (a fault of ours) must not leave its saga alone: another takes it up after a while.
    async fn mend(&self, id: SagaId) {
        tracing::error!(saga_id = %id, "the task of a saga broke, another takes it up");
        tokio::time::sleep(Duration::from_millis(limits::RELOAD_MS_MAX)).await;
        if let Some(active) = self.inner.active.lock().remove(&id) {
            self.inner.metrics.moved(active.shown.borrow().status.standing(), None);
        }
        self.drive(&id, None);
        self.inner.left.send_modify(|count| *count += 1);
    }

    /// How many sagas are under way here.
    pub fn under_way(&self) -> usize {
        self.inner.active.lock().len()
    }

    /// Shuts down: nothing new begins, calls under way are heard and written down, then every task ends. The sagas go on
    /// at the next [`Sagas::resume`]. That takes as long as the slowest call, at most its deadline: whoever cannot wait so
    /// long gives this a time-out and then [`Sagas::kill`]s, which loses nothing.
    pub async fn drain(&self) {
        self.inner.stopping.send_replace(true);
        let mut left = self.inner.left.subscribe();
        // The sender is in `inner`, which is held here.
        let _ = left.wait_for(|_| self.inner.active.lock().is_empty()).await;
    }

    /// Ends every task where it stands, as a crash would.
    pub fn kill(&self) {
        self.inner.stopping.send_replace(true);
        for active in self.inner.active.lock().values() {
            if let Some(task) = &active.task {
                task.abort();
            }
        }
    }
}

fn check_id(id: &str) -> Result<(), SagaError> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b".-_:".contains(&b);
    if id.is_empty() || id.len() > limits::SAGA_ID_BYTES_MAX || !id.bytes().all(fits) {
        let shown: String = id.chars().take(120).collect();
        return Err(SagaError::Invalid(format!(
            "\"{shown}\" is no id of a saga: 1 to {} letters, digits, '.', '-', '_' or ':'",
            limits::SAGA_ID_BYTES_MAX
        )));
    }
    Ok(())
}
