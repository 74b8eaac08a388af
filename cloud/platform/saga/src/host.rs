//! Where sagas are kept: what the runner needs of the journal.

use std::fmt;

use async_trait::async_trait;
use remuda_eventsourcing::Context;
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
    #[error(transparent)]
    Refused(#[from] SagaRefusal),
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
    /// What is known after it.
    pub state: State,
    /// Whether this call wrote something: false for a repetition, and where it was so already.
    pub written: bool,
}

/// Keeps sagas. Everything it answers is durable.
#[async_trait]
pub trait SagaHost: Send + Sync + 'static {
    /// Decides, appends, and answers the state after it. A command id seen before is not decided again.
    async fn execute(&self, id: &SagaId, command: Command, context: Context) -> Result<Executed, HostError>;

    /// What is known of a saga; the default where there is none.
    async fn state(&self, id: &SagaId) -> Result<State, HostError>;

    /// All events of a saga, in order.
    async fn history(&self, id: &SagaId) -> Result<Vec<Recorded>, HostError>;

    /// Every saga that began and has not ended, of all organisations: those to go on with after a restart.
    async fn unended(&self) -> Result<Vec<SagaId>, HostError>;
}
