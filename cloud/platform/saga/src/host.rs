//! Where sagas are kept: what the runner needs of the journal.

use std::fmt;

use async_trait::async_trait;
use remuda_eventsourcing::{Context, Refusal as _};
use remuda_model::OrganizationId;

use crate::aggregate::{Command, SagaEvent, SagaRefusal, State};

/// A saga's name in the whole platform.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SagaId {
    /// Whose.
    pub organization: OrganizationId,
    /// Its id, such as the booking's.
    pub id: String,
}

impl SagaId {
    /// Of this organisation.
    pub fn new(organization: OrganizationId, id: impl Into<String>) -> Self {
        Self { organization, id: id.into() }
    }
}

impl fmt::Display for SagaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.organization, self.id)
    }
}

/// Why a host could not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The saga says no.
    #[error("{text}")]
    Refused {
        /// Stable, kebab-case: [`SagaRefusal`]'s.
        code: String,
        /// For people.
        text: String,
    },
    /// Its events cannot be read by this program: a newer one wrote them, or they are damaged.
    #[error("{0}")]
    Unreadable(String),
    /// Another node has the saga's shard.
    #[error("another node owns the saga")]
    Elsewhere,
    /// Nobody knows whether it was written: load the saga and see.
    #[error("{0}")]
    Failed(String),
}

impl From<SagaRefusal> for HostError {
    fn from(refusal: SagaRefusal) -> Self {
        Self::Refused { code: refusal.code().to_owned(), text: refusal.to_string() }
    }
}

/// An event of a saga's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// From 1.
    pub version: u64,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
    /// Who.
    pub actor: String,
    /// What.
    pub event: SagaEvent,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// The facts that followed; none where it was so already.
    pub events: Vec<SagaEvent>,
    /// It was done before, by an earlier call with the same command id; these are the facts of then.
    pub repeated: bool,
}

/// Keeps sagas. Everything it answers is durable.
#[async_trait]
pub trait SagaHost: Send + Sync + 'static {
    /// Decides, appends, and answers what followed. A command id seen before is not decided again.
    async fn execute(&self, id: &SagaId, command: Command, context: Context) -> Result<Executed, HostError>;

    /// What is known of a saga; the default where there is none.
    async fn state(&self, id: &SagaId) -> Result<State, HostError>;

    /// All events of a saga, in order.
    async fn history(&self, id: &SagaId) -> Result<Vec<Recorded>, HostError>;

    /// Every saga that began and has not ended, of all organisations: those to go on with after a restart.
    async fn unended(&self) -> Result<Vec<SagaId>, HostError>;
}
