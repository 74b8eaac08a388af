//! Forgetting what erasures cover: in the twins, in their snapshots, in the index. The lake's files are the lake's.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use remuda_lake::{LakeError, Tombstones};
use remuda_model::VehicleId;
use tokio::sync::oneshot;

use super::fault::Fault;
use super::node::Node;
use super::orders::OrderAsk;
use super::warm::Warm;
use crate::vehicle::Vehicle;

// How long a vehicle's actor may take; one that takes longer does it when it is loaded again.
const ASK: Duration = Duration::from_secs(10);
// Vehicles asked at a time: each becomes an actor for a while.
const TOGETHER: usize = 64;

/// Has vehicles forget what the lake's tombstones cover.
#[derive(Clone)]
pub struct Forgetting(pub(crate) Arc<Node>);

impl Forgetting {
    /// Has one vehicle forget, or all of them; answers how many did. When it returns nobody is shown any of it, and
    /// snapshots are written without it, of a vehicle that is busy within its next snapshot. Those that do not answer
    /// forget when they are loaded again.
    ///
    /// # Errors
    /// When the lake cannot say what is covered.
    pub async fn forget(&self, vehicle: Option<VehicleId>) -> Result<usize, LakeError> {
        let node = &self.0;
        node.learn_forgotten().await?;
        let organization = node.settings.organization;
        let vehicles: Vec<VehicleId> = match vehicle {
            Some(vehicle) => node.index.get(&organization, &vehicle).map(|_| vehicle).into_iter().collect(),
            None => {
                let mut all = Vec::new();
                node.index.each(&organization, |vehicle, _, _| all.push(*vehicle));
                all
            }
        };
        let mut done = 0;
        for group in vehicles.chunks(TOGETHER) {
            let mut answers = Vec::with_capacity(group.len());
            for vehicle in group {
                if node.stopping.load(Relaxed) {
                    return Ok(done);
                }
                let (reply, answer) = oneshot::channel();
                match node.ask(*vehicle, OrderAsk::Forget { reply }) {
                    Ok(()) => answers.push((*vehicle, answer)),
                    Err(why) => tracing::warn!(vehicle_id = %vehicle, why, "a vehicle forgets later"),
                }
            }
            for (vehicle, answer) in answers {
                match tokio::time::timeout(ASK, answer).await {
                    Ok(Ok(())) => done += 1,
                    _ => tracing::warn!(vehicle_id = %vehicle, "a vehicle forgets when it is loaded again"),
                }
            }
        }
        Ok(done)
    }
}

impl Node {
    /// Reads what is to be forgotten.
    pub async fn learn_forgotten(&self) -> Result<(), LakeError> {
        let tombstones = self.lake.tombstones().await?;
        *self.forgotten.write() = tombstones;
        Ok(())
    }

    /// What is to be forgotten.
    pub fn forgotten(&self) -> Arc<Tombstones> {
        Arc::clone(&self.forgotten.read())
    }

    /// Takes it out of a vehicle that was read; whether there was any.
    pub fn forget_in(&self, id: &VehicleId, vehicle: &mut Vehicle) -> bool {
        vehicle.forget(&self.forgotten(), &self.settings.organization, id)
    }
}

impl Warm {
    /// Forgets what is covered; a vehicle with rows under way writes its snapshot with the next of them.
    pub(super) async fn forget(&mut self) -> Result<(), Fault> {
        let node = Arc::clone(&self.node);
        node.forget_in(&self.id, &mut self.vehicle);
        // One that was encoded before has it still, and so may the one on the disk.
        self.candidate = None;
        self.changed = true;
        self.snapshot_at =
            self.snapshot_at.checked_sub(node.settings.snapshot_interval).unwrap_or(self.snapshot_at);
        self.publish();
        if self.is_settled() && !self.snapshot_and_wait().await {
            return Err(Fault::Stopping);
        }
        Ok(())
    }
}
