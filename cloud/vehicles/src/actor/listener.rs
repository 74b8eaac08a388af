//! What the rounds tell the shards.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use remuda_eventsourcing::ManifestPosition;
use remuda_lake::{Answer, RoundListener};
use remuda_model::ShardId;

use super::node::Node;
use super::shard::ShardMessage;

pub(crate) struct Listener(pub Arc<Node>);

impl RoundListener for Listener {
    fn answered(&self, shard: ShardId, position: ManifestPosition, answers: Vec<Answer>) {
        let slot = self.0.slot(shard);
        // The books first, and here: a checkpoint may be taken before any actor looks at its answer.
        slot.books.lock().answered(position, answers.iter().map(|a| (a.vehicle, a.verdict)));
        self.0.position.fetch_max(position, Relaxed);
        let queue = slot.queue.lock();
        if let Some(supervisor) = &queue.supervisor {
            // Gone means that its vehicles will be loaded again, from what is durable.
            let _ = supervisor.cast(ShardMessage::Answered { position, answers });
        }
    }

    fn replay_floor(&self, shard: ShardId) -> ManifestPosition {
        self.0.slot(shard).books.lock().replay_floor(self.0.position())
    }

    fn shard_lost(&self, shard: ShardId) {
        self.0.shard_lost(shard);
    }
}
