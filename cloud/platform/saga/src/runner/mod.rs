//! The runner: one task per saga under way, over a host that makes everything durable before its effects (I3).

mod call;
mod driver;
mod summary;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use remuda_eventsourcing::{Aggregate, Context, Refusal as _};
use remuda_model::OrganizationId;
use remuda_model::shard::fnv1a_64;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::aggregate::{Command, Saga, SagaRefusal, State};
use crate::definition::{DefinitionErrors, Definitions};
use crate::host::{Executed, HostError, Recorded, SagaHost, SagaId};
use crate::limits;
use crate::metrics::SagaMetrics;
use crate::service::Services;
use driver::{Driver, Request};

pub use summary::{Status, StepSummary, Summary};

/// Numbers of a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Steps called at once, over all sagas.
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
    calls: Semaphore,
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
        let inner = Inner {
            host,
            services,
            definitions,
            clock,
            metrics,
            settings,
            calls: Semaphore::new(settings.calls_at_once.clamp(1, Semaphore::MAX_PERMITS)),
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
        let task = tokio::spawn(driver.run(begun)).abort_handle();
        if let Some(entry) = active.get_mut(id) {
            entry.task = Some(task);
        }
        Some(())
    }

    /// Waits for a saga's end, or until it is stuck.
    ///
    /// # Errors
    /// When there is no such saga, or the node shuts down before.
    pub async fn wait(&self, id: &SagaId) -> Result<Summary, SagaError> {
        let shown = self.inner.active.lock().get(id).map(|active| active.shown.clone());
        if let Some(mut shown) = shown {
            let over = |summary: &Summary| summary.status.is_ended() || summary.status == Status::Stuck;
            if let Ok(summary) = shown.wait_for(over).await {
                return Ok(summary.clone());
            }
        }
        let summary = self.get(id).await?;
        if summary.status.is_ended() || summary.status == Status::Stuck {
            Ok(summary)
        } else {
            Err(SagaError::Stopping)
        }
    }

    /// How a saga stands.
    ///
    /// # Errors
    /// When there is none, or the journal cannot say.
    pub async fn get(&self, id: &SagaId) -> Result<Summary, SagaError> {
        let shown = self.inner.active.lock().get(id).map(|active| active.shown.borrow().clone());
        match shown {
            Some(summary) if summary.status != Status::Loading => Ok(summary),
            _ => {
                let state = self.inner.host.state(id).await?;
                if state.started.is_none() {
                    return Err(SagaRefusal::NotStarted.into());
                }
                Ok(Summary::of(id, &state))
            }
        }
    }

    /// A saga's events, for [`crate::timeline()`].
    ///
    /// # Errors
    /// When there is none, or the journal cannot say.
    pub async fn history(&self, id: &SagaId) -> Result<Vec<Recorded>, SagaError> {
        let history = self.inner.host.history(id).await?;
        if history.is_empty() { Err(SagaRefusal::NotStarted.into()) } else { Ok(history) }
    }

    /// Sagas of an organisation that are under way, and those that ended lately; the newest first.
    pub fn list(&self, organization: OrganizationId, filter: &Filter) -> Vec<Summary> {
        let mut all: Vec<Summary> =
            self.inner.active.lock().values().map(|active| active.shown.borrow().clone()).collect();
        all.extend(self.inner.ended.lock().iter().cloned());
        all.retain(|summary| {
            summary.id.organization == organization
                && (filter.statuses.is_empty() || filter.statuses.contains(&summary.status))
                && filter.saga.as_ref().is_none_or(|saga| *saga == summary.saga)
        });
        all.sort_by(|a, b| (b.started_ms, &b.id).cmp(&(a.started_ms, &a.id)));
        all.truncate(filter.limit);
        all
    }

    /// Its caller no longer wants it: what was done is undone. Answers when that is written.
    ///
    /// # Errors
    /// When it has completed, or there is none.
    pub async fn cancel(&self, id: &SagaId, reason: &str, by: &Requester) -> Result<Summary, SagaError> {
        self.request(id, Command::Cancel { reason: reason.to_owned(), uncalled: Vec::new() }, by).await
    }

    /// An operator has it undone, running or stuck.
    ///
    /// # Errors
    /// When it unwinds already or has ended, or no reason is given.
    pub async fn compensate(&self, id: &SagaId, reason: &str, by: &Requester) -> Result<Summary, SagaError> {
        self.request(id, Command::Compensate { reason: reason.to_owned(), uncalled: Vec::new() }, by).await
    }

    /// An operator has mended what it was stuck on: it is tried again, with all its tries.
    ///
    /// # Errors
    /// When it is not stuck, or no reason is given.
    pub async fn retry(&self, id: &SagaId, reason: &str, by: &Requester) -> Result<Summary, SagaError> {
        self.request(id, Command::Retry { reason: reason.to_owned() }, by).await
    }

    /// An operator takes off a step whose undo was given up (it was undone by hand, or need not be), or ends a timer.
    ///
    /// # Errors
    /// When the step is neither, or no reason is given.
    pub async fn skip(
        &self,
        id: &SagaId,
        step: &str,
        reason: &str,
        by: &Requester,
    ) -> Result<Summary, SagaError> {
        let state = self.inner.host.state(id).await?;
        let definition = state.definition().ok_or(SagaRefusal::NotStarted)?;
        let Some((step, _)) = definition.step_named(step) else {
            let known: Vec<&str> = definition.steps.iter().map(|s| s.name.as_str()).collect();
            let text = format!("the saga has no step \"{step}\"; it has: {}", known.join(", "));
            return Err(SagaError::Invalid(text));
        };
        self.request(id, Command::Skip { step, reason: reason.to_owned() }, by).await
    }

    async fn request(&self, id: &SagaId, command: Command, by: &Requester) -> Result<Summary, SagaError> {
        let context = Context {
            now_ms: self.inner.now_ms(),
            command_id: by.request_id.clone(),
            actor: by.actor.clone(),
            correlation_id: id.id.clone(),
        };
        loop {
            let requests = self.inner.active.lock().get(id).map(|active| active.requests.clone());
            if let Some(requests) = requests {
                let (reply, answer) = oneshot::channel();
                let (actor, request_id) = (by.actor.clone(), by.request_id.clone());
                let request = Request { command: command.clone(), actor, request_id, reply };
                if requests.send(request).await.is_ok()
                    && let Ok(answer) = answer.await
                {
                    return answer;
                }
                // Its task ended meanwhile; let it leave.
                tokio::task::yield_now().await;
            }
            if *self.inner.stopping.borrow() {
                return Err(SagaError::Stopping);
            }
            let state = self.inner.host.state(id).await?;
            if state.started.is_none() || state.is_ended() {
                // The machine knows what to say; there is nothing to write.
                Saga::decide(&state, &command, &context)?;
                return Ok(Summary::of(id, &state));
            }
            self.drive(id, None);
        }
    }

    /// How many sagas are under way here.
    pub fn under_way(&self) -> usize {
        self.inner.active.lock().len()
    }

    /// Shuts down: nothing new begins, calls under way are heard and written down, then every task ends. The sagas go on
    /// at the next [`Sagas::resume`].
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
