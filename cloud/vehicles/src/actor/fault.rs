//! Why a vehicle's actor ends before its time.

use remuda_eventsourcing::JournalError;
use remuda_lake::LakeError;

/// Why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The journal did not answer: what it holds must be read again.
    #[error("the journal failed while {0}")]
    Journal(&'static str, #[source] JournalError),
    /// The lake did not answer.
    #[error("the lake failed while rows were read again")]
    Lake(#[source] LakeError),
    /// A contribution was dropped: what is in memory is ahead of what is durable.
    #[error("a contribution was dropped")]
    Dropped,
    /// The shard is no longer owned here.
    #[error("the shard is not owned here any more")]
    Lost,
    /// The stream and the actor disagree about what comes next.
    #[error("the stream does not follow: {0}")]
    Conflict(&'static str),
    /// The node takes no more contributions.
    #[error("the node is stopping")]
    Stopping,
}

impl Fault {
    /// Stable code for metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Journal(..) => "journal",
            Self::Lake(_) => "lake",
            Self::Dropped => "dropped",
            Self::Lost => "lost",
            Self::Conflict(_) => "conflict",
            Self::Stopping => "stopping",
        }
    }

    /// Is it this vehicle's own doing? Only then it counts towards parking.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }
}
