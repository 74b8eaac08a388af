//! What all shards of a node share, and the actor above them.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::RwLock;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use remuda_eventsourcing::{Journal, ManifestPosition};
use remuda_lake::{Lake, RoundsHandle, Tombstones};
use remuda_model::{OrganizationId, ShardId, VehicleId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::geofences::Atlas;
use super::orders::{Asked, CommandSigner, Desks};
use super::policies::Shelf;
use super::room::Room;
use super::shard::{ShardMessage, ShardSupervisor};
use super::slot::{Pushed, Slot};
use super::snapshots::SnapshotJob;
use super::watches::Watches;
use crate::alert_index::AlertIndex;
use crate::error::Refusal;
use crate::figures::Figures;
use crate::index::Index;
use crate::limits;
use crate::metrics::{ReasonLabel, VehicleMetrics};
use crate::rules::RuleSettings;

/// Settings of the vehicle domain.
#[derive(Debug, Clone, PartialEq)]
pub struct VehicleSettings {
    /// Whose vehicles these are.
    pub organization: OrganizationId,
    /// Settings of the rules.
    pub rules: RuleSettings,
    /// A vehicle without a message for this long has its actor passivated.
    pub idle: Duration,
    /// A changed vehicle is snapshotted at most this often.
    pub snapshot_interval: Duration,
    /// First wait before a failed actor is started again; doubles each time.
    pub restart_backoff: Duration,
    /// How long an actor must hold for its failures to be forgotten, and a parked vehicle rests.
    pub quiet: Duration,
    /// How often vehicles let go of geofences of a fleet or depot that is no longer theirs, when they say nothing themselves.
    pub homes_interval: Duration,
    /// Payload bytes that may wait for evaluation, node-wide.
    pub intake_bytes_max: usize,
    /// Decoded rows that may wait for their round, node-wide, bytes.
    pub rows_bytes_max: usize,
    /// The server's wall clock.
    pub clock: WallClock,
    /// Signs commands to vehicles; without it none can be given.
    pub signer: Signer,
}

/// The key that commands to vehicles are signed with, or none.
#[derive(Clone, Default)]
pub struct Signer(pub Option<Arc<dyn CommandSigner>>);

impl PartialEq for Signer {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            (None, None) => true,
            _ => false,
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Signer" } else { "no signer" })
    }
}

/// Where the server's time comes from: ms since 1970 UTC.
#[derive(Clone, Copy)]
pub struct WallClock(pub fn() -> i64);

impl Default for WallClock {
    fn default() -> Self {
        Self(super::now_ms)
    }
}

impl PartialEq for WallClock {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}

impl Default for VehicleSettings {
    fn default() -> Self {
        Self {
            organization: OrganizationId::default(),
            rules: RuleSettings::default(),
            idle: limits::IDLE,
            snapshot_interval: limits::SNAPSHOT_INTERVAL,
            restart_backoff: limits::RESTART_BACKOFF,
            quiet: limits::QUIET,
            homes_interval: limits::HOMES_INTERVAL,
            intake_bytes_max: limits::INTAKE_BYTES_MAX,
            rows_bytes_max: limits::ROWS_BYTES_MAX,
            clock: WallClock::default(),
            signer: Signer::default(),
        }
    }
}

/// What all shards share.
pub(crate) struct Node {
    pub settings: VehicleSettings,
    pub journal: Arc<dyn Journal>,
    pub lake: Arc<Lake>,
    /// Set once the rounds run, before the first arrival.
    pub rounds: OnceLock<RoundsHandle>,
    pub index: Index,
    pub alerts: AlertIndex,
    pub shelf: Shelf,
    pub atlas: Atlas,
    pub desks: Desks,
    pub watches: Watches,
    /// What erasures cover.
    pub forgotten: RwLock<Arc<Tombstones>>,
    pub metrics: VehicleMetrics,
    pub figures: Figures,
    pub intake: Arc<Semaphore>,
    pub rows: Arc<Semaphore>,
    pub slots: Vec<Slot>,
    pub snapshots: mpsc::Sender<SnapshotJob>,
    pub root: OnceLock<ActorRef<NodeMessage>>,
    pub stopping: AtomicBool,
    /// The manifest's position by the last answers of any shard.
    pub position: AtomicU64,
    /// Moves when a vehicle has said something of a question to people.
    pub questions: watch::Sender<u64>,
    /// Moves when a vehicle has said something of its trip.
    pub marked: watch::Sender<u64>,
}

impl Node {
    /// A shard's slot; there is one for each of the 1,024.
    pub fn slot(&self, shard: ShardId) -> &Slot {
        &self.slots[usize::from(shard.number())]
    }

    /// Tells the actor above the shards.
    pub fn tell_root(&self, message: NodeMessage) {
        if let Some(root) = self.root.get() {
            // It only ends with the node.
            let _ = root.cast(message);
        }
    }

    /// Hands an ask to its shard, and starts the shard if nobody is there.
    pub fn push_ask(&self, asked: Asked) -> Result<(), &'static str> {
        let shard = ShardId::of(&asked.vehicle);
        match self.slot(shard).push_ask(asked) {
            Some(Pushed::Activate) => self.tell_root(NodeMessage::Activate(shard)),
            Some(_) => {}
            None => return Err("the vehicle's shard is not served here at the moment"),
        }
        Ok(())
    }

    /// Server time, ms since 1970 UTC.
    pub fn now_ms(&self) -> i64 {
        (self.settings.clock.0)()
    }

    /// The manifest's position by the last answers.
    pub fn position(&self) -> ManifestPosition {
        self.position.load(Relaxed)
    }

    /// Counts what was refused before it reached the vehicle's actor.
    pub fn refuse(&self, vehicle: &VehicleId, refusal: Refusal) {
        tracing::debug!(%vehicle, reason = refusal.code(), "an arrival was refused");
        self.metrics.refused(refusal, 1);
    }

    /// What one lane may have in flight: a fair share of what is free, in wire bytes.
    pub fn credit(&self) -> u32 {
        let active = self.figures.active.load(Relaxed).max(1) as usize;
        let rows_free = self.rows.available_permits() / limits::WIRE_EXPANSION;
        let free = rows_free.min(self.intake.available_permits());
        // Twice the share, since most vehicles use little of theirs; what is over is dropped and asked for again.
        let share = 2 * free / active;
        share.min(remuda_wire::limits::CREDIT_BYTES_DEFAULT as usize) as u32
    }

    /// Room in the rows' budget for a vehicle that holds so much of it already ([`Room`]).
    pub fn admit_rows(&self, held: usize, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let room = Room {
            max: self.settings.rows_bytes_max,
            free: self.rows.available_permits(),
            there: usize::try_from(self.index.online()).unwrap_or(usize::MAX),
        };
        if !room.admits(held, bytes) {
            return None;
        }
        Arc::clone(&self.rows).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
    }

    /// Bytes in flight.
    pub fn in_flight(&self) -> usize {
        let used = |max: usize, semaphore: &Semaphore| max.saturating_sub(semaphore.available_permits());
        used(self.settings.intake_bytes_max, &self.intake) + used(self.settings.rows_bytes_max, &self.rows)
    }

    /// Stops a shard here: a newer owner has it, or what was written is not known.
    pub fn shard_lost(&self, shard: ShardId) {
        let slot = self.slot(shard);
        let supervisor = {
            let mut queue = slot.queue.lock();
            if std::mem::replace(&mut queue.closed, true) {
                return;
            }
            queue.waiting.clear();
            // Whoever waits for an answer hears that there is none.
            queue.asks.clear();
            queue.supervisor.take()
        };
        tracing::error!(%shard, epoch = slot.owner().epoch.0, "the shard is stopped here");
        self.metrics.shards_lost.inc();
        if let Some(supervisor) = supervisor {
            // Queued messages must not be worked on: nothing of them may be written or acked.
            supervisor.stop(Some("shard lost".to_owned()));
        }
        self.tell_root(NodeMessage::Lost(shard));
    }
}

/// What the node's actor is told.
pub(crate) enum NodeMessage {
    /// Start a shard's supervisor.
    Activate(ShardId),
    /// A shard was stopped; see whether it can be loaded again.
    Lost(ShardId),
}

/// The actor above the shards.
pub(crate) struct NodeSupervisor(pub Arc<Node>);

#[derive(Default)]
pub(crate) struct NodeState {
    running: HashMap<ActorId, ShardId>,
    failures: HashMap<ShardId, u32>,
}

impl Actor for NodeSupervisor {
    type Msg = NodeMessage;
    type State = NodeState;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Self::Msg>, (): ()) -> Result<NodeState, ActorProcessingErr> {
        Ok(NodeState::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: NodeMessage,
        state: &mut NodeState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            NodeMessage::Activate(shard) => self.activate(&myself, shard, state).await,
            NodeMessage::Lost(shard) => {
                let node = Arc::clone(&self.0);
                tokio::spawn(async move { super::recovery::reload(&node, shard).await });
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut NodeState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, ..) => {
                self.ended(&cell.get_id(), state);
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                let Some(shard) = self.ended(&cell.get_id(), state) else { return Ok(()) };
                tracing::error!(%shard, %error, "a shard's supervisor failed; its vehicles are loaded again");
                self.0.metrics.actor_failures.get_or_create(&ReasonLabel { reason: "shard" }).inc();
                let failures = state.failures.entry(shard).or_default();
                *failures += 1;
                let wait = self.0.settings.restart_backoff * 2u32.saturating_pow((*failures).min(10));
                let slot = self.0.slot(shard);
                if *failures > limits::FAILURES_MAX {
                    self.0.shard_lost(shard);
                    return Ok(());
                }
                {
                    let mut queue = slot.queue.lock();
                    queue.supervisor = None;
                    queue.starting = true;
                }
                myself.send_after(wait, move || NodeMessage::Activate(shard));
            }
            _ => {}
        }
        Ok(())
    }
}

impl NodeSupervisor {
    fn ended(&self, id: &ActorId, state: &mut NodeState) -> Option<ShardId> {
        let shard = state.running.remove(id)?;
        self.0.metrics.shards_active.set(state.running.len() as i64);
        Some(shard)
    }

    async fn activate(&self, myself: &ActorRef<NodeMessage>, shard: ShardId, state: &mut NodeState) {
        let handler = ShardSupervisor { node: Arc::clone(&self.0), shard };
        let spawned = ShardSupervisor::spawn_linked(None, handler, (), myself.get_cell()).await;
        let mut queue = self.0.slot(shard).queue.lock();
        queue.starting = false;
        match spawned {
            Ok((supervisor, _)) => {
                state.running.insert(supervisor.get_id(), shard);
                self.0.metrics.shards_active.set(state.running.len() as i64);
                let _ = supervisor.cast(ShardMessage::Wake);
                queue.supervisor = Some(supervisor);
            }
            // Its start does nothing that can fail; the next arrival tries again.
            Err(error) => tracing::error!(%shard, %error, "a shard's supervisor did not start"),
        }
    }
}
