//! A shard's supervisor: groups what arrives by vehicle, keeps one actor per active vehicle, starts failed ones again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use remuda_contracts::fleet::{Presence, TwinView};
use remuda_contracts::uplink::Arrival;
use remuda_eventsourcing::ManifestPosition;
use remuda_lake::Answer;
use remuda_model::{ConnectionId, ShardId, VehicleId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::fault::Fault;
use super::node::Node;
use super::orders::Asked;
use super::slot::Admitted;
use super::vehicle::{Connection, VehicleActor, VehicleMessage, by_vehicle};
use crate::error::Refusal;
use crate::limits;
use crate::metrics::ReasonLabel;

// Longest wait before a failed actor is started again.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// A shard's supervisor.
pub(crate) struct ShardSupervisor {
    pub node: Arc<Node>,
    pub shard: ShardId,
}

/// What a shard is told.
pub(crate) enum ShardMessage {
    /// The slot's queue is not empty.
    Wake,
    /// A round answered.
    Answered { position: ManifestPosition, answers: Vec<Answer> },
    /// A vehicle's actor snapshotted itself for passivation; `sent` is the supervisor's own number.
    Settled { vehicle: VehicleId, sent: u32, greeted: Option<ConnectionId> },
    /// Show a twin; dropped when the vehicle has no actor.
    Query { vehicle: VehicleId, reply: oneshot::Sender<TwinView> },
    /// These vehicles may be behind with their policies.
    OfferPolicy(Vec<VehicleId>),
    /// What these vehicles are to watch may have changed.
    OfferWatch(Vec<VehicleId>),
    /// Time to look for idle vehicles.
    Tick,
    /// A failed vehicle may be started again.
    Retry(VehicleId),
    /// Pass on to every actor, after everything before.
    Settle { snapshot: bool, guard: mpsc::Sender<()> },
}

/// One vehicle of the shard.
struct Entry {
    actor: Option<ActorRef<VehicleMessage>>,
    connection: Option<Connection>,
    /// Counts messages, so that a passivation that crosses one is seen.
    sent: u32,
    heard: Instant,
    trouble: Option<Box<Trouble>>,
}

/// A vehicle whose actor failed.
struct Trouble {
    failures: u32,
    last: Instant,
    parked: bool,
    waiting: bool,
}

/// The vehicles of a shard; own map, since the names and groups of ractor are shared by the whole process.
pub(crate) struct ShardState {
    node: Arc<Node>,
    entries: BTreeMap<VehicleId, Entry>,
}

impl Drop for ShardState {
    /// However the supervisor ends, nobody else knows how to answer these vehicles: let them connect again.
    fn drop(&mut self) {
        for (vehicle, entry) in &self.entries {
            if let Some(connection) = &entry.connection {
                connection.downlink.kick("shard-restart");
                self.node.index.presence(self.node.settings.organization, *vehicle, Presence::Offline);
            }
        }
    }
}

impl Actor for ShardSupervisor {
    type Msg = ShardMessage;
    type State = ShardState;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Self::Msg>, (): ()) -> Result<ShardState, ActorProcessingErr> {
        Ok(ShardState { node: Arc::clone(&self.node), entries: BTreeMap::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: ShardMessage,
        state: &mut ShardState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ShardMessage::Wake => Box::pin(self.dispatch(&myself, state)).await,
            ShardMessage::Answered { position, answers } => {
                for (vehicle, answers) in by_vehicle(&answers) {
                    let entry = state.entries.get_mut(&vehicle);
                    if let Some(actor) = entry.and_then(|entry| entry.actor.as_ref()) {
                        // An actor that just failed loads what is durable.
                        let _ = actor.cast(VehicleMessage::Answered { position, answers });
                    }
                }
            }
            ShardMessage::Settled { vehicle, sent, greeted } => self.passivate(vehicle, sent, greeted, state),
            ShardMessage::Query { vehicle, reply } => {
                let actor = state.entries.get(&vehicle).and_then(|entry| entry.actor.as_ref());
                if let Some(actor) = actor {
                    let _ = actor.cast(VehicleMessage::Query(reply));
                }
            }
            ShardMessage::OfferPolicy(vehicles) => {
                for vehicle in vehicles {
                    let offer = VehicleMessage::OfferPolicy;
                    Box::pin(self.offer(&myself, vehicle, offer, state)).await;
                }
            }
            ShardMessage::OfferWatch(vehicles) => {
                for vehicle in vehicles {
                    Box::pin(self.offer(&myself, vehicle, VehicleMessage::OfferWatch, state)).await;
                }
            }
            ShardMessage::Tick => self.tick(&myself, state),
            ShardMessage::Retry(vehicle) => Box::pin(self.retry(&myself, vehicle, state)).await,
            ShardMessage::Settle { snapshot, guard } => {
                for actor in state.entries.values().filter_map(|entry| entry.actor.as_ref()) {
                    let _ = actor.cast(VehicleMessage::Settle { snapshot, guard: guard.clone() });
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut ShardState,
    ) -> Result<(), ActorProcessingErr> {
        // The default would end the shard with the first actor that ends, also a passivated one.
        match event {
            SupervisionEvent::ActorFailed(cell, error) => self.failed(&myself, cell.get_id(), &error, state),
            SupervisionEvent::ActorTerminated(cell, ..) => {
                if let Some((_, entry)) = find(state, cell.get_id()) {
                    entry.actor = None;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn find(state: &mut ShardState, id: ActorId) -> Option<(&VehicleId, &mut Entry)> {
    state.entries.iter_mut().find(|(_, entry)| entry.actor.as_ref().is_some_and(|actor| actor.get_id() == id))
}

impl ShardSupervisor {
    /// Takes the whole queue; one message a vehicle.
    async fn dispatch(&self, myself: &ActorRef<ShardMessage>, state: &mut ShardState) {
        let (waiting, asks) = {
            let mut queue = self.node.slot(self.shard).queue.lock();
            (std::mem::take(&mut queue.waiting), std::mem::take(&mut queue.asks))
        };
        let mut order: Vec<(VehicleId, Vec<Admitted>)> = Vec::new();
        let mut places: HashMap<VehicleId, usize> = HashMap::new();
        for admitted in waiting {
            let vehicle = *admitted.arrival.vehicle();
            let place = *places.entry(vehicle).or_insert(order.len());
            if place == order.len() {
                order.push((vehicle, Vec::new()));
            }
            order[place].1.push(admitted);
        }
        for (vehicle, arrivals) in order {
            self.deliver(myself, vehicle, arrivals, state).await;
        }
        for asked in asks {
            self.ask(myself, asked, state).await;
        }
    }

    /// Hands an ask to the vehicle's actor; who asks a vehicle in trouble gets no answer, and asks again.
    async fn ask(&self, myself: &ActorRef<ShardMessage>, asked: Asked, state: &mut ShardState) {
        let entry = state.entries.entry(asked.vehicle).or_insert_with(Entry::new);
        if entry.trouble.as_deref().is_some_and(|trouble| trouble.waiting) {
            return;
        }
        entry.heard = Instant::now();
        entry.sent = entry.sent.wrapping_add(1);
        if entry.actor.is_none() {
            let connection = entry.connection.clone();
            self.start(myself, asked.vehicle, connection, entry).await;
        }
        if let Some(actor) = &entry.actor {
            let _ = actor.cast(VehicleMessage::Order(Box::new(asked)));
        }
    }

    async fn deliver(
        &self,
        myself: &ActorRef<ShardMessage>,
        vehicle: VehicleId,
        arrivals: Vec<Admitted>,
        state: &mut ShardState,
    ) {
        let entry = state.entries.entry(vehicle).or_insert_with(Entry::new);
        entry.heard = Instant::now();
        let before = entry.connection.clone();
        for Admitted { arrival, .. } in &arrivals {
            entry.note(arrival);
        }
        if let Some(trouble) = entry.trouble.as_deref().filter(|trouble| trouble.waiting) {
            let refusal = if trouble.parked { Refusal::Parked } else { Refusal::Restarting };
            for _ in &arrivals {
                self.node.refuse(&vehicle, refusal);
            }
            if entry.connection.is_none() {
                self.node.index.presence(self.node.settings.organization, vehicle, Presence::Offline);
            }
            return;
        }
        entry.sent = entry.sent.wrapping_add(1);
        if entry.actor.is_none() {
            self.start(myself, vehicle, before, entry).await;
        }
        if let Some(actor) = &entry.actor {
            // An actor that fails right now loses the batch; the vehicle sends it again.
            let _ = actor.cast(VehicleMessage::Arrivals(arrivals));
        }
    }

    async fn start(
        &self,
        myself: &ActorRef<ShardMessage>,
        vehicle: VehicleId,
        connection: Option<Connection>,
        entry: &mut Entry,
    ) {
        let handler = VehicleActor {
            node: Arc::clone(&self.node),
            shard: self.shard,
            vehicle,
            supervisor: myself.clone(),
        };
        match VehicleActor::spawn_linked(None, handler, connection, myself.get_cell()).await {
            Ok((actor, _)) => entry.actor = Some(actor),
            // Its start does nothing that can fail; the next arrival tries again.
            Err(error) => tracing::error!(vehicle_id = %vehicle, %error, "a vehicle's actor did not start"),
        }
    }

    /// Has a connected vehicle's actor offer what it may be behind with; one that is not healthy hears of it when it greets.
    async fn offer(
        &self,
        myself: &ActorRef<ShardMessage>,
        vehicle: VehicleId,
        offer: VehicleMessage,
        state: &mut ShardState,
    ) {
        let Some(entry) = state.entries.get_mut(&vehicle) else { return };
        if entry.connection.is_none() || entry.trouble.as_deref().is_some_and(|trouble| trouble.waiting) {
            return;
        }
        entry.sent = entry.sent.wrapping_add(1);
        entry.heard = Instant::now();
        if entry.actor.is_none() {
            let connection = entry.connection.clone();
            self.start(myself, vehicle, connection, entry).await;
        }
        if let Some(actor) = &entry.actor {
            let _ = actor.cast(offer);
        }
    }

    fn tick(&self, myself: &ActorRef<ShardMessage>, state: &mut ShardState) {
        let idle = self.node.settings.idle;
        let quiet = self.node.settings.quiet;
        state.entries.retain(|_, entry| {
            let healed = |t: &Trouble| !t.waiting && t.last.elapsed() >= quiet;
            if entry.trouble.as_deref().is_some_and(healed) {
                entry.trouble = None;
            }
            entry.actor.is_some() || entry.connection.is_some() || entry.trouble.is_some()
        });
        for entry in state.entries.values() {
            if let Some(actor) = entry.actor.as_ref().filter(|_| entry.heard.elapsed() >= idle) {
                let _ = actor.cast(VehicleMessage::Passivate(entry.sent));
            }
        }
        if state.entries.is_empty() {
            let mut queue = self.node.slot(self.shard).queue.lock();
            if queue.waiting.is_empty() && queue.asks.is_empty() {
                queue.supervisor = None;
                let _ = myself.drain();
            }
        }
    }

    fn passivate(
        &self,
        vehicle: VehicleId,
        sent: u32,
        greeted: Option<ConnectionId>,
        state: &mut ShardState,
    ) {
        let Some(entry) = state.entries.get_mut(&vehicle).filter(|entry| entry.sent == sent) else { return };
        if let Some(actor) = entry.actor.take() {
            // Drained, not stopped: nothing is queued, and were it, it would not be lost.
            let _ = actor.drain();
            self.node.metrics.passivations.inc();
        }
        if let Some(connection) = &mut entry.connection {
            connection.greeted = greeted;
        }
    }

    fn failed(
        &self,
        myself: &ActorRef<ShardMessage>,
        id: ActorId,
        error: &ActorProcessingErr,
        state: &mut ShardState,
    ) {
        let Some((vehicle, entry)) = find(state, id) else { return };
        let vehicle = *vehicle;
        entry.actor = None;
        if let Some(connection) = &mut entry.connection {
            connection.greeted = None;
        }
        let fault = error.downcast_ref::<Fault>();
        let reason = fault.map_or("panic", Fault::code);
        self.node.metrics.actor_failures.get_or_create(&ReasonLabel { reason }).inc();
        if matches!(fault, Some(Fault::Stopping | Fault::Lost)) {
            return;
        }
        let quiet = self.node.settings.quiet;
        let trouble = entry.trouble.get_or_insert_with(|| {
            Box::new(Trouble { failures: 0, last: Instant::now(), parked: false, waiting: false })
        });
        if trouble.last.elapsed() >= quiet && !trouble.parked {
            trouble.failures = 0;
        }
        trouble.failures += 1;
        trouble.last = Instant::now();
        trouble.waiting = true;
        let is_own = fault.is_none_or(Fault::is_own);
        let was_parked = trouble.parked;
        trouble.parked = is_own && trouble.failures >= limits::FAILURES_MAX;
        let wait = if trouble.parked {
            quiet
        } else {
            let backoff = self.node.settings.restart_backoff;
            backoff.saturating_mul(2u32.saturating_pow(trouble.failures - 1)).min(BACKOFF_MAX)
        };
        let failures = trouble.failures;
        if trouble.parked && !was_parked {
            self.node.metrics.parked.inc();
            tracing::error!(vehicle_id = %vehicle, %error, failures, "the vehicle's actor failed again and again; it is parked");
        } else {
            tracing::warn!(vehicle_id = %vehicle, %error, failures, "the vehicle's actor failed; it is started again");
        }
        self.node.index.presence(self.node.settings.organization, vehicle, Presence::Offline);
        myself.send_after(wait, move || ShardMessage::Retry(vehicle));
    }

    async fn retry(&self, myself: &ActorRef<ShardMessage>, vehicle: VehicleId, state: &mut ShardState) {
        let Some(entry) = state.entries.get_mut(&vehicle) else { return };
        let Some(trouble) = entry.trouble.as_deref_mut().filter(|trouble| trouble.waiting) else { return };
        trouble.waiting = false;
        if std::mem::take(&mut trouble.parked) {
            // One more try; the next failure parks it again.
            self.node.metrics.parked.dec();
        }
        entry.sent = entry.sent.wrapping_add(1);
        entry.heard = Instant::now();
        let connection = entry.connection.clone();
        self.start(myself, vehicle, connection, entry).await;
        if let Some(actor) = &entry.actor {
            let _ = actor.cast(VehicleMessage::Wake);
        }
    }
}

impl Entry {
    fn new() -> Self {
        Self { actor: None, connection: None, sent: 0, heard: Instant::now(), trouble: None }
    }

    /// Keeps the newest connection, so that an actor that starts anew can answer.
    fn note(&mut self, arrival: &Arrival) {
        match arrival {
            Arrival::Connected { generation, downlink, .. } => {
                if self.connection.as_ref().is_none_or(|c| c.generation <= *generation) {
                    let (generation, downlink) = (*generation, downlink.clone());
                    self.connection = Some(Connection { generation, downlink, greeted: None });
                }
            }
            Arrival::Disconnected { generation, .. } => {
                if self.connection.as_ref().is_some_and(|c| c.generation == *generation) {
                    self.connection = None;
                }
            }
            Arrival::Payload { .. } | Arrival::Refused { .. } => {}
        }
    }
}
