//! A vehicle's actor: loads on its first message, then one message a batch.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use remuda_contracts::fleet::TwinView;
use remuda_contracts::uplink::{ConnectionGeneration, Downlink};
use remuda_eventsourcing::ManifestPosition;
use remuda_lake::{Answer, Verdict};
use remuda_model::{ConnectionId, ShardId, VehicleId};
use tokio::sync::{mpsc, oneshot};

use super::fault::Fault;
use super::node::Node;
use super::orders::Asked;
use super::recovery;
use super::shard::ShardMessage;
use super::slot::Admitted;
use super::warm::Warm;

/// A vehicle's actor.
pub(crate) struct VehicleActor {
    pub node: Arc<Node>,
    pub shard: ShardId,
    pub vehicle: VehicleId,
    pub supervisor: ActorRef<ShardMessage>,
}

/// What the supervisor remembered of the connection.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub generation: ConnectionGeneration,
    pub downlink: Downlink,
    pub greeted: Option<ConnectionId>,
}

/// What a vehicle's actor is told.
pub(crate) enum VehicleMessage {
    /// A batch, in order of arrival.
    Arrivals(Vec<Admitted>),
    /// A round's answers to its contributions, in order.
    Answered { position: ManifestPosition, answers: Vec<(u64, Verdict)> },
    /// Show the twin.
    Query(oneshot::Sender<TwinView>),
    /// Send the policy it should follow, if it follows another one.
    OfferPolicy,
    /// Send what it is to watch of its trip, if it watches something else.
    OfferWatch,
    /// Something about the vehicle's orders.
    Order(Box<Asked>),
    /// Be loaded, and ask the vehicle to greet if it has not.
    Wake,
    /// Prepare to end: snapshot, then say so with this number.
    Passivate(u32),
    /// Snapshot if `snapshot`, then drop the guard.
    Settle { snapshot: bool, guard: mpsc::Sender<()> },
}

/// Cold until the first message, so that starting it is cheap and a load that fails is an actor that fails.
pub(crate) enum VehiclePhase {
    Cold(Option<Connection>),
    Warm(Box<Warm>),
}

impl Actor for VehicleActor {
    type Msg = VehicleMessage;
    type State = VehiclePhase;
    type Arguments = Option<Connection>;

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        connection: Option<Connection>,
    ) -> Result<VehiclePhase, ActorProcessingErr> {
        Ok(VehiclePhase::Cold(connection))
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: VehicleMessage,
        phase: &mut VehiclePhase,
    ) -> Result<(), ActorProcessingErr> {
        if let VehiclePhase::Cold(connection) = phase {
            // Boxed, here and below: an idle actor's task is as large as its largest future.
            let loaded = Box::pin(recovery::load(&self.node, self.shard, self.vehicle)).await?;
            *phase = VehiclePhase::Warm(Box::new(Warm::new(
                Arc::clone(&self.node),
                self.shard,
                self.vehicle,
                loaded,
                connection.take(),
            )));
        }
        let VehiclePhase::Warm(warm) = phase else { return Ok(()) };
        Box::pin(self.work(warm, message)).await?;
        Ok(())
    }
}

impl VehicleActor {
    async fn work(&self, warm: &mut Warm, message: VehicleMessage) -> Result<(), Fault> {
        match message {
            VehicleMessage::Arrivals(arrivals) => warm.arrivals(arrivals).await?,
            VehicleMessage::Answered { position, answers } => warm.answered(position, &answers).await?,
            VehicleMessage::Query(reply) => {
                // The asker may have given up.
                let _ = reply.send(warm.view());
            }
            VehicleMessage::OfferPolicy => warm.offer_policy(),
            VehicleMessage::OfferWatch => warm.offer_watch(),
            VehicleMessage::Order(asked) => warm.order_ask(*asked).await?,
            VehicleMessage::Wake => warm.greet_again(),
            VehicleMessage::Passivate(sent) => {
                if warm.is_settled() && warm.snapshot_and_wait().await {
                    let greeted = warm.greeted();
                    let vehicle = self.vehicle;
                    // A supervisor that is gone takes its actors with it.
                    let _ = self.supervisor.cast(ShardMessage::Settled { vehicle, sent, greeted });
                }
            }
            VehicleMessage::Settle { snapshot, guard } => {
                if snapshot && warm.is_settled() {
                    warm.snapshot_and_wait().await;
                }
                drop(guard);
            }
        }
        Ok(())
    }
}

/// A round's answers of one shard, by vehicle, in order.
pub(crate) fn by_vehicle(answers: &[Answer]) -> Vec<(VehicleId, Vec<(u64, Verdict)>)> {
    let mut grouped: Vec<(VehicleId, Vec<(u64, Verdict)>)> = Vec::new();
    for answer in answers {
        let item = (answer.ticket, answer.verdict);
        match grouped.iter_mut().find(|(vehicle, _)| *vehicle == answer.vehicle) {
            Some((_, list)) => list.push(item),
            None => grouped.push((answer.vehicle, vec![item])),
        }
    }
    grouped
}
