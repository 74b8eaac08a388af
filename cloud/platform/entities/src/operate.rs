//! Readers of the feeds, reactors and projections alike, as an operator sees and mends them.

use async_trait::async_trait;
use remuda_eventsourcing::FeedPosition;
use remuda_model::ShardId;

use crate::projection::{Phase, Projected, Projection, Skipped, StoppedAt};
use crate::reactor::{Reacting, Reactor};

/// How a reader stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub name: &'static str,
    /// `reactor` or `projection`.
    pub kind: &'static str,
    /// Events that are durable and that it has not taken in.
    pub lag_events: u64,
    /// Events at which it stopped: at most one a shard, of a projection at most one.
    pub stopped: Vec<StoppedAt>,
    /// Shards whose next event is tried again by itself.
    pub retrying: usize,
    /// Why it is tried again, or why its store fails.
    pub reason: Option<String>,
}

/// A reader that an operator may let go on.
#[async_trait]
pub trait Operated: Send + Sync {
    /// How it stands.
    fn standing(&self) -> Standing;

    /// Tries again the events at which it stopped, of one shard or of all; answers how many.
    fn retry(&self, only: Option<ShardId>) -> usize;

    /// Passes the event over at which it stopped, for good; false when it did not stop there.
    ///
    /// # Errors
    /// When that cannot be written: then nothing was passed over.
    async fn skip(&self, shard: ShardId, position: FeedPosition, reason: &str) -> Result<bool, String>;

    /// Events that were passed over, at most `limit`.
    ///
    /// # Errors
    /// When they cannot be read.
    fn skipped(&self, limit: usize) -> Result<Vec<Skipped>, String>;

    /// Waits until all that is durable now was taken in.
    ///
    /// # Errors
    /// When it stopped at an event.
    async fn caught_up(&self) -> Result<(), String>;

    /// Stops it after the events under way, and saves how far it is.
    async fn stop(&self);
}

#[async_trait]
impl<R: Reactor> Operated for Reacting<R> {
    fn standing(&self) -> Standing {
        let status = self.status();
        Standing {
            name: status.name,
            kind: "reactor",
            lag_events: status.lag_events,
            stopped: status.stopped,
            retrying: status.retrying,
            reason: status.retrying_for,
        }
    }

    fn retry(&self, only: Option<ShardId>) -> usize {
        Self::retry(self, only)
    }

    async fn skip(&self, shard: ShardId, position: FeedPosition, reason: &str) -> Result<bool, String> {
        let (this, reason) = (self.clone(), reason.to_owned());
        // It waits for a disk.
        let skipped = tokio::task::spawn_blocking(move || Self::skip(&this, shard, position, &reason)).await;
        skipped.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }

    fn skipped(&self, limit: usize) -> Result<Vec<Skipped>, String> {
        Self::skipped(self, limit).map_err(|e| e.to_string())
    }

    async fn caught_up(&self) -> Result<(), String> {
        let caught_up = Self::caught_up(self).await;
        caught_up.map_err(|at| format!("{} stopped at {}: {}", R::NAME, at.event_type, at.reason))
    }

    async fn stop(&self) {
        Self::stop(self).await;
    }
}

#[async_trait]
impl<P: Projection> Operated for Projected<P> {
    fn standing(&self) -> Standing {
        let status = self.status();
        let (stopped, reason) = match status.phase {
            Phase::Stopped(at) => (Some(at), None),
            Phase::Failing { reason } => (None, Some(reason)),
            Phase::Building | Phase::Live => (None, None),
        };
        Standing {
            name: status.name,
            kind: "projection",
            lag_events: status.lag_events,
            stopped: stopped.into_iter().chain(status.rebuild_stopped).collect(),
            retrying: usize::from(reason.is_some()),
            reason,
        }
    }

    fn retry(&self, only: Option<ShardId>) -> usize {
        let stopped = self.stopped_at();
        let wanted = stopped.is_some_and(|at| only.is_none_or(|only| only == at.shard));
        usize::from(wanted && Self::retry(self))
    }

    async fn skip(&self, shard: ShardId, position: FeedPosition, reason: &str) -> Result<bool, String> {
        if self.stopped_at().is_none_or(|at| (at.shard, at.position) != (shard, position)) {
            return Ok(false);
        }
        let (this, reason) = (self.clone(), reason.to_owned());
        let skipped = tokio::task::spawn_blocking(move || Self::skip(&this, &reason)).await;
        skipped.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }

    fn skipped(&self, limit: usize) -> Result<Vec<Skipped>, String> {
        Self::skipped(self, limit).map_err(|e| e.to_string())
    }

    async fn caught_up(&self) -> Result<(), String> {
        Self::caught_up(self).await.map_err(|e| e.to_string())
    }

    async fn stop(&self) {
        Self::stop(self).await;
    }
}
