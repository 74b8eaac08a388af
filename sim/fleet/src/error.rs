//! Why a fleet cannot run, in one sentence each.

use remuda_edge_agent::{OutboxError, RunError};

use crate::limits::{RATE_HZ_MAX, VEHICLES_MAX};
use crate::sockets::TooFewHandles;

/// Why a fleet cannot run.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A rate nobody can keep.
    #[error("a rate of {rate} per second is not possible; give one above 0 and up to {RATE_HZ_MAX}")]
    Rate {
        /// What was asked for.
        rate: f64,
    },
    /// A count nobody can run.
    #[error("{vehicles} vehicles are not possible; give 1 to {VEHICLES_MAX}")]
    Vehicles {
        /// What was asked for.
        vehicles: usize,
    },
    /// Too few file handles.
    #[error(transparent)]
    Handles(#[from] TooFewHandles),
    /// The outboxes cannot be opened or written.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// An agent ended.
    #[error(transparent)]
    Agent(#[from] RunError),
    /// A task panicked.
    #[error("the simulation broke off; the message above says where")]
    Broken,
}
