//! Rounds: rules were evaluated, now files, one transaction of decisions and manifest, then answers (I11).

use std::sync::Arc;

use remuda_eventsourcing::{ManifestPosition, NewEvent};
use remuda_model::{ShardId, VehicleId};

use crate::row::Row;

/// What one vehicle adds to the round that is open.
#[derive(Debug)]
pub struct Contribution {
    /// The vehicle's shard.
    pub shard: ShardId,
    /// The vehicle.
    pub vehicle: VehicleId,
    /// The actor's own number for this contribution; comes back in the answer.
    pub ticket: u64,
    /// Whole frames, in sequence.
    pub rows: Vec<Row>,
    /// What the rules decided on them; versions already assigned by the vehicle's actor.
    pub decisions: Vec<NewEvent>,
    /// Bytes this holds of the node's in-flight budget.
    pub bytes: usize,
}

/// What became of a contribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Rows and decisions are durable.
    Committed,
    /// Nothing of it was written and nothing will be: set `received` back to `durable` and reload.
    Dropped,
}

/// The answer to a contribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Its vehicle.
    pub vehicle: VehicleId,
    /// Its ticket.
    pub ticket: u64,
    /// What became of it.
    pub verdict: Verdict,
}

/// Gets a round's answers, a shard at a time, after the transaction is definite. Must not block.
pub trait RoundListener: Send + Sync + 'static {
    /// Answers of one shard, in the order of the contributions. `position` is the manifest's after the commit.
    fn answered(&self, shard: ShardId, position: ManifestPosition, answers: Vec<Answer>);
    /// The highest manifest position such that a snapshot covers every row of this shard at or below it: a
    /// checkpoint records it, and recovery replays the files above it.
    fn replay_floor(&self, shard: ShardId) -> ManifestPosition;
    /// The shard has a newer owner, or its commit cannot be made definite: stop it here and reload.
    fn shard_lost(&self, shard: ShardId);
}

/// A listener that can be shared.
pub type SharedListener = Arc<dyn RoundListener>;
