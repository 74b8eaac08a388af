//! Why an entity did not do what was asked.

use remuda_eventsourcing::{JournalError, Unreadable};

/// Why there is no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The domain says no. Final: the same command id gets the same answer.
    #[error("{text}")]
    Refused {
        /// Stable, kebab-case: the refusal's code.
        code: String,
        /// For people.
        text: String,
    },
    /// Somebody else was faster: the entity is not at the version that was expected. Nothing happened.
    #[error("it is at version {current}, not {expected}; read it again")]
    VersionMismatch {
        /// What the caller knew.
        expected: u64,
        /// What it is.
        current: u64,
    },
    /// The command cannot be asked like this. Nothing happened.
    #[error("{what} {why}")]
    Invalid {
        /// Which part of it.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Too much is waiting. Nothing happened; ask again later.
    #[error("{what} is full; ask again later")]
    Overloaded {
        /// Which queue.
        what: &'static str,
    },
    /// Whether it happened is not known. Ask again with the same command id: it happens once.
    #[error("{reason}; ask again with the same command id")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// The entity's past cannot be read by this program.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

impl AskError {
    /// Stable and machine-readable, kebab-case: the refusal's own code, or what kind of trouble it is.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            Self::VersionMismatch { .. } => "version-mismatch",
            Self::Invalid { .. } => "invalid",
            Self::Overloaded { .. } => "overloaded",
            Self::Unavailable { .. } => "unavailable",
            Self::Unreadable(_) => "unreadable",
        }
    }

    /// Whether the same command may succeed later (with the same command id).
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Overloaded { .. } | Self::Unavailable { .. })
    }

    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }
}

impl From<&JournalError> for AskError {
    fn from(error: &JournalError) -> Self {
        Self::unavailable(error.to_string())
    }
}

/// Why an append of a shard has no success. Whether it was written is known only for `Conflict`: it was not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Not this node's shard, or no longer.
    #[error("shard {0} belongs to another writer")]
    NotOwner(u16),
    /// The shard was taken anew since the entity read its past.
    #[error("the shard was taken anew")]
    Stale,
    /// The version does not follow: the entity is behind its own stream.
    #[error("the version does not follow")]
    Conflict,
    /// The journal did not answer.
    #[error("{0}")]
    Journal(String),
    /// Too much is waiting for this shard.
    #[error("the shard's queue is full")]
    Full,
}
