//! The fleet as others see it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use remuda_contracts::fleet::{FleetChange, FleetView, TwinView, VehicleSummary};
use remuda_model::{OrganizationId, ShardId, VehicleId};
use tokio::sync::{broadcast, oneshot};

use super::node::Node;
use super::recovery::{read_events, restore};
use super::shard::ShardMessage;
use super::show::view_of;
use crate::event::stream_of;
use crate::vehicle::Vehicle;

// How long an actor may take to show its twin before the snapshot is shown instead.
const ASK: Duration = Duration::from_secs(1);

/// Reads index, actors and snapshots.
pub(crate) struct View(pub Arc<Node>);

impl View {
    /// From the actor's memory, if there is an actor.
    async fn ask(&self, vehicle: &VehicleId) -> Option<TwinView> {
        let supervisor = self.0.slot(ShardId::of(vehicle)).queue.lock().supervisor.clone()?;
        let (reply, answer) = oneshot::channel();
        supervisor.cast(ShardMessage::Query { vehicle: *vehicle, reply }).ok()?;
        tokio::time::timeout(ASK, answer).await.ok()?.ok()
    }
}

#[async_trait]
impl FleetView for View {
    async fn twin(&self, organization: &OrganizationId, vehicle: &VehicleId) -> Option<TwinView> {
        let summary = self.0.index.get(organization, vehicle)?;
        if let Some(view) = self.ask(vehicle).await {
            return Some(view);
        }
        let (node, stream) = (&self.0, stream_of(*organization, vehicle));
        let mut stored = match node.journal.snapshot(&stream).await {
            Ok(snapshot) => restore(node, vehicle, snapshot.as_ref()).0,
            Err(error) => {
                tracing::warn!(vehicle_id = %vehicle, %error, "a snapshot could not be read for a view");
                Vehicle::default()
            }
        };
        // What was decided since, such as by an operator while no node ran.
        if let Err(error) = read_events(node, &stream, &mut stored).await {
            tracing::warn!(vehicle_id = %vehicle, %error, "a stream could not be read for a view");
        }
        let desired = self.0.shelf.desired(&summary.vehicle);
        Some(view_of(&stored, summary, desired))
    }

    fn list(
        &self,
        organization: &OrganizationId,
        after: Option<&VehicleId>,
        limit: usize,
        matches: &(dyn Fn(&VehicleSummary) -> bool + Sync),
    ) -> Vec<VehicleSummary> {
        self.0.index.list(organization, after, limit, matches)
    }

    fn count(&self, organization: &OrganizationId) -> usize {
        self.0.index.count(organization)
    }

    fn changes(&self) -> broadcast::Receiver<FleetChange> {
        self.0.index.changes()
    }
}
