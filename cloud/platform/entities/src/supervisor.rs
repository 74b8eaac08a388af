//! Above the entities of one kind. What an entity's end means is settled where its place is cleared
//! ([`crate::actor::Tenancy`]); here it is only noted, and time passes.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use remuda_eventsourcing::Aggregate;

use crate::entities::Shared;

pub(crate) enum Order {
    /// Let the idle leave.
    Sweep,
    /// Let also those leave that were idle for a tenth of the time.
    MakeRoom,
}

pub(crate) struct Supervisor<A: Aggregate>(pub Arc<Shared<A>>);

impl<A: Aggregate> Actor for Supervisor<A> {
    type Msg = Order;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Order>, (): ()) -> Result<(), ActorProcessingErr> {
        // The timer ends with the actor.
        let every = (self.0.settings.idle / 4).max(Duration::from_millis(250));
        drop(myself.send_interval(every, || Order::Sweep));
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Order>, order: Order, (): &mut ()) -> Result<(), ActorProcessingErr> {
        let idle = self.0.settings.idle;
        match order {
            Order::Sweep => self.0.passivate(Some(idle)),
            Order::MakeRoom => self.0.passivate(Some(idle / 10)),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Order>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        // The default would end the supervisor, and all entities with it, when the first of them leaves.
        if let SupervisionEvent::ActorFailed(_, error) = event {
            tracing::error!(kind = A::TYPE, %error, "an entity's actor failed");
        }
        Ok(())
    }
}
