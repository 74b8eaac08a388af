//! Rounds: rules were evaluated, now files, one transaction of decisions and manifest, then answers (I11).
//!
//! One task a node; rounds are strictly one after the other. What arrives while a round is written waits for the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use remuda_eventsourcing::{ManifestPosition, NewEvent, Owner};
use remuda_model::{ShardId, VehicleId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::error::LakeError;
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

/// The rounds task takes nothing any more: the node is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lake takes no more rows; the node is stopping")]
pub struct RoundsClosed;

pub(crate) enum Message {
    Contribute(Contribution),
    Flush(oneshot::Sender<()>),
    Own(Owner),
    Stop,
}

/// The way into the rounds task. Cheap to clone.
#[derive(Clone)]
pub struct RoundsHandle {
    pub(crate) messages: mpsc::Sender<Message>,
    pub(crate) position: Arc<AtomicU64>,
}

impl RoundsHandle {
    /// Adds to the round that is open; waits while too much waits already.
    ///
    /// # Errors
    /// When the rounds have ended.
    pub async fn contribute(&self, contribution: Contribution) -> Result<(), RoundsClosed> {
        self.messages.send(Message::Contribute(contribution)).await.map_err(|_| RoundsClosed)
    }

    /// Commits what was contributed before; returns when its answers were delivered.
    ///
    /// # Errors
    /// When the rounds have ended.
    pub async fn flush(&self) -> Result<(), RoundsClosed> {
        let (done, wait) = oneshot::channel();
        self.messages.send(Message::Flush(done)).await.map_err(|_| RoundsClosed)?;
        wait.await.map_err(|_| RoundsClosed)
    }

    /// Takes contributions of a shard again that was dropped though it is still owned: once all of them were answered
    /// and its vehicles know what is durable. Its watermarks were never lost.
    ///
    /// # Errors
    /// When the rounds have ended.
    pub async fn own(&self, owner: Owner) -> Result<(), RoundsClosed> {
        self.messages.send(Message::Own(owner)).await.map_err(|_| RoundsClosed)
    }

    /// The manifest's position after the last commit.
    pub fn position(&self) -> ManifestPosition {
        self.position.load(Ordering::Acquire)
    }
}

/// How long a stop waits for the last round.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// The running rounds task.
pub struct Rounds {
    pub(crate) handle: RoundsHandle,
    pub(crate) task: JoinHandle<Result<(), LakeError>>,
}

impl Rounds {
    /// The way in.
    pub fn handle(&self) -> RoundsHandle {
        self.handle.clone()
    }

    /// Commits the last round, writes the last checkpoint, ends; waits at most a minute for a disk that does not answer.
    ///
    /// # Errors
    /// When the last round or checkpoint could not be written; nothing that was answered is in danger.
    pub async fn stop(self) -> Result<(), LakeError> {
        // A task that has ended already has nothing to be told.
        let _ = self.handle.messages.send(Message::Stop).await;
        let mut task = self.task;
        match tokio::time::timeout(STOP_WITHIN, &mut task).await {
            Ok(ended) => ended.map_err(|_| LakeError::Closed)?,
            Err(_) => {
                // A disk that answers nothing any more: vehicles keep what was not acknowledged.
                task.abort();
                Err(LakeError::Stuck)
            }
        }
    }
}
