//! Writes snapshots in groups, so that a node of many vehicles syncs its disk rarely.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use remuda_eventsourcing::{ManifestPosition, Snapshot, StreamId};
use remuda_model::{ShardId, VehicleId};
use tokio::sync::{mpsc, oneshot};

use super::node::Node;

/// Jobs that may wait for the writer; an actor waits beyond that.
pub(crate) const QUEUE_MAX: usize = 4_096;
// Jobs in one group.
const GROUP_MAX: usize = 1_024;
// How long a group is gathered; twins are snapshotted once a minute.
const GATHER: Duration = Duration::from_millis(100);

/// One snapshot to write.
pub(crate) struct SnapshotJob {
    pub shard: ShardId,
    pub vehicle: VehicleId,
    pub stream: StreamId,
    pub snapshot: Snapshot,
    pub covered_to: ManifestPosition,
    /// Told whether it is durable.
    pub done: Option<oneshot::Sender<bool>>,
}

/// Runs until every sender is gone.
pub(crate) async fn run(node: Arc<Node>, mut jobs: mpsc::Receiver<SnapshotJob>) {
    let mut group = Vec::new();
    while jobs.recv_many(&mut group, GROUP_MAX).await > 0 {
        // Somebody waits: write at once. Nobody does: gather more.
        if group.iter().all(|job| job.done.is_none()) {
            tokio::time::sleep(GATHER).await;
            while group.len() < GROUP_MAX {
                match jobs.try_recv() {
                    Ok(job) => group.push(job),
                    Err(_) => break,
                }
            }
        }
        let mut shards: BTreeMap<ShardId, Vec<SnapshotJob>> = BTreeMap::new();
        for job in group.drain(..) {
            shards.entry(job.shard).or_default().push(job);
        }
        // Side by side, so that the journal groups them.
        let writes =
            shards.into_iter().map(|(shard, jobs)| tokio::spawn(write(Arc::clone(&node), shard, jobs)));
        for write in writes.collect::<Vec<_>>() {
            // A panic in the journal's client was logged by the runtime; the rows stay uncovered.
            let _ = write.await;
        }
    }
}

async fn write(node: Arc<Node>, shard: ShardId, jobs: Vec<SnapshotJob>) {
    let slot = node.slot(shard);
    let mut snapshots = Vec::with_capacity(jobs.len());
    let mut covered = Vec::with_capacity(jobs.len());
    for job in jobs {
        snapshots.push((job.stream, job.snapshot));
        covered.push((job.vehicle, job.covered_to, job.done));
    }
    let count = snapshots.len() as u64;
    let written = match node.journal.put_snapshots(slot.owner(), snapshots).await {
        Ok(true) => true,
        Ok(false) => {
            node.shard_lost(shard);
            false
        }
        Err(error) => {
            tracing::error!(%shard, %error, "snapshots were not written; recovery will replay more rows");
            node.metrics.snapshot_failures.inc_by(count);
            false
        }
    };
    for (vehicle, covered_to, done) in covered {
        if written {
            node.metrics.snapshots.inc();
            slot.books.lock().snapshotted(&vehicle, covered_to);
        }
        if let Some(done) = done {
            // Whoever asked may have ended.
            let _ = done.send(written);
        }
    }
}
