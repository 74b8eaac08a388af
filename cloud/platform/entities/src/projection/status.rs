//! How a projection fares.

use remuda_eventsourcing::FeedPosition;
use remuda_model::ShardId;
use serde::Serialize;

/// What a store of a projection is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "phase")]
pub enum Phase {
    /// It has not caught up for the first time.
    Building,
    /// It follows.
    Live,
    /// It stopped at an event; somebody must retry or skip it.
    Stopped(StoppedAt),
    /// Its store or the journal fails; it tries again.
    Failing {
        /// Why.
        reason: String,
    },
}

/// The event that stopped a reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoppedAt {
    /// Its shard.
    pub shard: ShardId,
    /// Its place there.
    pub position: FeedPosition,
    /// Its type.
    pub event_type: String,
    /// Why it cannot be taken in.
    pub reason: String,
}

/// An event that somebody let a reader pass over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its shard.
    pub shard: ShardId,
    /// Its place there.
    pub position: FeedPosition,
    /// Why, and who said so.
    pub reason: String,
}

/// How a projection fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProjectionStatus {
    /// `Projection::NAME`.
    pub name: &'static str,
    /// Version of the data that serves; none, while the first is built.
    pub serving_version: Option<u32>,
    /// How the store fares that serves, or will be the first to.
    pub phase: Phase,
    /// Events it has not taken in.
    pub lag_events: u64,
    /// Events it has passed: taken in, or not for it.
    pub passed_events: u64,
    /// The store being built beside it: events it has passed, and those there are.
    pub rebuild: Option<(u64, u64)>,
    /// Why that one stopped, if it did.
    pub rebuild_stopped: Option<StoppedAt>,
}

impl ProjectionStatus {
    /// Share of the rebuild that is done, 0 to 1; 1 when there is none.
    pub fn rebuilt(&self) -> f64 {
        match self.rebuild {
            Some((passed, all)) if all > 0 => passed as f64 / all as f64,
            _ => 1.0,
        }
    }
}
