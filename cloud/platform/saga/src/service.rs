//! What a saga may ask of others: services with actions, each idempotent.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use remuda_entities::AskError;
use remuda_model::OrganizationId;
use serde_json::Value;

/// An action that a service offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionSpec {
    /// Such as `reserve-vehicle`.
    pub name: &'static str,
    /// The action that undoes it; a definition must then name it. None for one that leaves nothing behind, or that is
    /// itself an undoing.
    pub undone_by: Option<&'static str>,
}

impl ActionSpec {
    /// An action that must be undone when the saga fails.
    pub const fn undone_by(name: &'static str, by: &'static str) -> Self {
        Self { name, undone_by: Some(by) }
    }

    /// An action that leaves nothing behind, or that undoes another.
    pub const fn plain(name: &'static str) -> Self {
        Self { name, undone_by: None }
    }
}

/// What a call may know.
#[derive(Debug, Clone, PartialEq)]
pub struct StepContext {
    /// Whose saga it is.
    pub organization: OrganizationId,
    /// The saga's id, such as the booking's. Names what the action makes: do and undo of a step see the same.
    pub saga_id: String,
    /// Name of the saga's definition.
    pub saga: String,
    /// Name of the step.
    pub step: String,
    /// Which try this is, from 1.
    pub attempt: u16,
    /// When the caller stops waiting, ms since 1970 UTC. The outcome then counts as unknown.
    pub deadline_ms: i64,
    /// A JSON object: the saga's input, and the output of every step of an earlier stage below the step's name. An undo
    /// also sees the output of its own step, where one is known.
    pub data: Value,
}

/// Why a call did not succeed. What it is decides what happens next, so choose with care.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The service says no, and nothing was done. Not tried again: the saga unwinds (an undo: it is stuck).
    #[error("refused ({code}): {detail}")]
    Refused {
        /// Stable and machine-readable, kebab-case.
        code: String,
        /// For people.
        detail: String,
    },
    /// It did not work this time, and nothing was done. Tried again.
    #[error("failed for now: {0}")]
    Transient(String),
    /// Nobody knows whether it was done. Tried again with the same key; when that does not help, undone as if it had been
    /// done.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

impl StepError {
    /// A no.
    pub fn refused(code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Refused { code: code.into(), detail: detail.into() }
    }
}

/// What an unsuccessful ask of an aggregate means to a saga.
impl From<AskError> for StepError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused { code, text } => Self::refused(code, text),
            AskError::Invalid { .. } => Self::refused("invalid", error.to_string()),
            AskError::Overloaded { .. } | AskError::VersionMismatch { .. } => {
                Self::Transient(error.to_string())
            }
            AskError::Unavailable { .. } | AskError::Unreadable(_) => Self::Unknown(error.to_string()),
        }
    }
}

/// Somebody who does steps.
///
/// The contract, which [`crate::testing::stock`] checks: a call with a key seen before answers what the first answered and
/// does nothing more (`{saga}/{step}/do`, `{saga}/{step}/undo`); an undo whose do never came does nothing, succeeds, and
/// bars the do that comes late.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Such as `vehicle-service`.
    fn name(&self) -> &'static str;

    /// What it offers.
    fn actions(&self) -> &'static [ActionSpec];

    /// Does an action, or undoes one. The answer becomes part of the data of later steps.
    ///
    /// # Errors
    /// [`StepError`] says what is known of the outcome.
    async fn call(&self, action: &str, key: &str, context: &StepContext) -> Result<Value, StepError>;
}

/// The services there are, by name.
#[derive(Clone, Default)]
pub struct Services {
    known: BTreeMap<&'static str, Arc<dyn Service>>,
}

impl Services {
    /// These.
    pub fn new(services: impl IntoIterator<Item = Arc<dyn Service>>) -> Self {
        Self { known: services.into_iter().map(|service| (service.name(), service)).collect() }
    }

    /// With one more; one of the same name is replaced.
    #[must_use]
    pub fn with(mut self, service: Arc<dyn Service>) -> Self {
        self.known.insert(service.name(), service);
        self
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Service>> {
        self.known.get(name)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.known.keys().copied()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Service>> {
        self.known.values()
    }

    /// The service, if it is there and has this action.
    pub fn offering(&self, service: &str, action: &str) -> Option<&Arc<dyn Service>> {
        self.get(service).filter(|s| s.actions().iter().any(|spec| spec.name == action))
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.known.keys()).finish()
    }
}

/// Key of a step's doing: the same for every try.
pub fn do_key(saga_id: &str, step: &str) -> String {
    format!("{saga_id}/{step}/do")
}

/// Key of a step's undoing: the same for every try.
pub fn undo_key(saga_id: &str, step: &str) -> String {
    format!("{saga_id}/{step}/undo")
}
