//! The vehicle domain of one node: start, intake, figures, stop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use parking_lot::RwLock;
use ractor::{Actor, ActorRef};
use remuda_contracts::alerts::AlertDesk;
use remuda_contracts::assistance::Reports;
use remuda_contracts::commands::CommandDesk;
use remuda_contracts::fleet::FleetView;
use remuda_contracts::geofences::GeofenceBook;
use remuda_contracts::marks::TripMarks;
use remuda_contracts::policies::PolicyBook;
use remuda_contracts::uplink::{Arrival, Intake, IntakeClosed};
use remuda_eventsourcing::{Journal, JournalError, Owner};
use remuda_lake::{Lake, LakeError, Rounds};
use remuda_model::{SHARDS, ShardId};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use super::alerts::{self, Watchful};
use super::forget::Forgetting;
use super::geofences::{self, Atlas, Homing, Map};
use super::listener::Listener;
use super::node::{Node, NodeMessage, NodeSupervisor, VehicleSettings};
use super::orders::{self, Desks, Orderly};
use super::policies::{self, Book, Shelf};
use super::recovery;
use super::reports::Questions;
use super::shard::ShardMessage;
use super::slot::{Admitted, Pushed, Slot};
use super::snapshots;
use super::view::View;
use super::watches::{Marks, Watches};
use crate::alert_index::AlertIndex;
use crate::error::Refusal;
use crate::figures::{Figures, FiguresNow};
use crate::index::Index;
use crate::limits;
use crate::metrics::VehicleMetrics;

// How often watchers hear of changes.
const BROADCAST: Duration = Duration::from_millis(250);
// Longest wait for actors to work off what they have; more means a disk that does not answer.
const SETTLE: Duration = Duration::from_secs(30);

/// Why the domain could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal did not answer.
    #[error("the vehicles' shards could not be taken from the journal")]
    Journal(#[from] JournalError),
    /// The lake did not answer.
    #[error("the vehicles' watermarks could not be recovered from the lake")]
    Lake(#[from] LakeError),
    /// The actor above the shards did not start.
    #[error("the node's supervisor did not start: {0}")]
    Actor(String),
}

/// The running domain.
pub struct VehicleSystem {
    /// Where doors hand over what arrives.
    pub intake: Arc<dyn Intake>,
    /// What the console shows.
    pub view: Arc<dyn FleetView>,
    /// What vehicles are to collect.
    pub policies: Arc<dyn PolicyBook>,
    /// Commands to vehicles.
    pub commands: Arc<dyn CommandDesk>,
    /// Alerts on vehicles.
    pub alerts: Arc<dyn AlertDesk>,
    /// What vehicles ask people.
    pub questions: Arc<dyn Reports>,
    /// Geofences.
    pub geofences: Arc<dyn GeofenceBook>,
    /// Told where vehicles belong; without it geofences of fleets and depots are nobody's.
    pub homing: Homing,
    /// Trips that vehicles watch themselves.
    pub marks: Arc<dyn TripMarks>,
    /// Has vehicles forget what erasures cover.
    pub forgetting: Forgetting,
    /// Figures, and the stop.
    pub handle: VehicleHandle,
}

/// Figures of the running domain, and its stop.
pub struct VehicleHandle {
    node: Arc<Node>,
    rounds: Rounds,
    root: ActorRef<NodeMessage>,
    tasks: Vec<JoinHandle<()>>,
}

impl VehicleSystem {
    /// Takes every shard, recovers what is durable, starts the rounds.
    pub async fn start(
        settings: VehicleSettings,
        journal: Arc<dyn Journal>,
        lake: Arc<Lake>,
        metrics: VehicleMetrics,
    ) -> Result<Self, StartError> {
        let shards: Vec<ShardId> = (0..SHARDS).filter_map(ShardId::new).collect();
        let mut taken = journal.acquire(&shards).await?;
        taken.sort_by_key(|(owner, _)| owner.shard);
        let owners: Vec<Owner> = taken.iter().map(|(owner, _)| *owner).collect();
        let recovered = lake.recover(&owners).await?;
        let (jobs, queue) = mpsc::channel(snapshots::QUEUE_MAX);
        let node = Arc::new(Node {
            journal,
            lake,
            rounds: OnceLock::new(),
            index: Index::new((settings.clock.0)(), metrics.online.clone()),
            alerts: AlertIndex::new(
                settings.organization,
                started_ns(),
                crate::alerts::limits::ENDED_LISTED_MAX,
                metrics.open_alerts.clone(),
            ),
            shelf: Shelf::default(),
            atlas: Atlas::default(),
            desks: Desks::new(settings.signer.0.clone()),
            watches: Watches::default(),
            forgotten: RwLock::default(),
            metrics,
            figures: Figures::default(),
            intake: Arc::new(Semaphore::new(settings.intake_bytes_max)),
            rows: Arc::new(Semaphore::new(settings.rows_bytes_max)),
            slots: taken.into_iter().map(|(owner, head)| Slot::new(owner, head)).collect(),
            snapshots: jobs,
            root: OnceLock::new(),
            stopping: AtomicBool::new(false),
            position: AtomicU64::new(0),
            questions: watch::Sender::new(0),
            marked: watch::Sender::new(0),
            settings,
        });
        let mut tasks = vec![tokio::spawn(snapshots::run(Arc::clone(&node), queue))];
        node.learn_forgotten().await?;
        let replayed = recovery::recover(&node, &recovered).await?;
        policies::load(&node).await?;
        geofences::load(&node).await?;
        orders::recover(&node).await?;
        let known = node.index.count(&node.settings.organization);
        tracing::info!(vehicles = known, replayed, position = recovered.position, "vehicles recovered");
        let spawned = NodeSupervisor::spawn(None, NodeSupervisor(Arc::clone(&node)), ()).await;
        let (root, _) = spawned.map_err(|error| StartError::Actor(error.to_string()))?;
        let _ = node.root.set(root.clone());
        let rounds = node.lake.start_rounds(&owners, &recovered, Arc::new(Listener(Arc::clone(&node))));
        let _ = node.rounds.set(rounds.handle());
        tasks.push(tokio::spawn(tick(Arc::clone(&node))));
        tasks.push(tokio::spawn(broadcast(Arc::clone(&node))));
        tasks.push(tokio::spawn(policies::push(Arc::clone(&node))));
        tasks.push(tokio::spawn(orders::sweep(Arc::clone(&node))));
        tasks.push(tokio::spawn(alerts::sweep(Arc::clone(&node))));
        tasks.push(tokio::spawn(geofences::sweep(Arc::clone(&node))));
        Ok(Self {
            intake: Arc::new(ShardIntake(Arc::clone(&node))),
            view: Arc::new(View(Arc::clone(&node))),
            policies: Arc::new(Book(Arc::clone(&node))),
            commands: Arc::new(Orderly(Arc::clone(&node))),
            alerts: Arc::new(Watchful(Arc::clone(&node))),
            questions: Arc::new(Questions(Arc::clone(&node))),
            marks: Arc::new(Marks(Arc::clone(&node))),
            geofences: Arc::new(Map(Arc::clone(&node))),
            homing: Homing(Arc::clone(&node)),
            forgetting: Forgetting(Arc::clone(&node)),
            handle: VehicleHandle { node, rounds, root, tasks },
        })
    }
}

/// Tells this start's list of alerts from that of the start before.
fn started_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_nanos() as u64) ^ (u64::from(std::process::id()) << 48)
}

/// Wakes idle-looking shards now and then.
async fn tick(node: Arc<Node>) {
    let period = (node.settings.idle / 8).clamp(Duration::from_millis(10), Duration::from_secs(10));
    let mut interval = tokio::time::interval(period);
    loop {
        interval.tick().await;
        for slot in &node.slots {
            if let Some(supervisor) = &slot.queue.lock().supervisor {
                let _ = supervisor.cast(ShardMessage::Tick);
            }
        }
    }
}

async fn broadcast(node: Arc<Node>) {
    let mut interval = tokio::time::interval(BROADCAST);
    loop {
        interval.tick().await;
        node.index.broadcast();
    }
}

/// The bounded intake of every shard.
struct ShardIntake(Arc<Node>);

#[async_trait]
impl Intake for ShardIntake {
    async fn offer(&self, shard: ShardId, arrival: Arrival) -> Result<(), IntakeClosed> {
        let node = &self.0;
        let slot = node.slot(shard);
        let length = match &arrival {
            Arrival::Payload { payload, .. } => payload.len(),
            _ => 0,
        };
        let permit = slot.admit(&node.intake, length + limits::ARRIVAL_COST).await.ok_or(IntakeClosed)?;
        let vehicle = *arrival.vehicle();
        match slot.push(Admitted { arrival, permit }) {
            Pushed::Waiting => {}
            Pushed::Activate => node.tell_root(NodeMessage::Activate(shard)),
            Pushed::Closed(arrival) => {
                node.refuse(&vehicle, Refusal::ShardLost);
                if let Arrival::Connected { downlink, .. } = arrival {
                    // Nobody would answer it, nor remember it when the shard is back.
                    downlink.kick("shard-lost");
                }
            }
        }
        Ok(())
    }
}

impl VehicleHandle {
    /// Figures since the start.
    pub fn figures(&self) -> FiguresNow {
        let figures = &self.node.figures;
        FiguresNow {
            vehicles_online: self.node.index.online(),
            frames_accepted: figures.accepted.load(Relaxed),
            frames_durable: figures.durable.load(Relaxed),
            samples_durable: figures.samples.load(Relaxed),
            decisions: figures.decisions.load(Relaxed),
            in_flight_bytes: self.node.in_flight() as u64,
            ack_p50_ms: figures.quantile(0.5),
            ack_p95_ms: figures.quantile(0.95),
        }
    }

    /// Stops: takes nothing more, works off what is there, commits the last round, snapshots, checkpoints.
    pub async fn stop(self) -> Result<(), LakeError> {
        let node = &self.node;
        node.stopping.store(true, Relaxed);
        node.intake.close();
        for slot in &node.slots {
            slot.close();
        }
        let rounds = self.rounds.handle();
        // What is queued becomes contributions; their answers become appends of what waited for them.
        self.settle(false).await;
        for _ in 0..2 {
            if rounds.flush().await.is_err() {
                tracing::warn!("the rounds ended before the vehicles did");
            }
            self.settle(false).await;
        }
        self.settle(true).await;
        let stopped = self.rounds.stop().await;
        let root = self.root.get_cell();
        root.drain_children_and_wait(Some(SETTLE)).await;
        if root.drain_and_wait(Some(SETTLE)).await.is_err() {
            tracing::warn!("the vehicles' supervisors did not end in time");
        }
        for task in &self.tasks {
            task.abort();
        }
        stopped
    }

    /// Waits until every actor has worked off what was queued for it before.
    async fn settle(&self, snapshot: bool) {
        let (guard, mut settled) = mpsc::channel::<()>(1);
        for slot in &self.node.slots {
            if let Some(supervisor) = &slot.queue.lock().supervisor {
                let _ = supervisor.cast(ShardMessage::Settle { snapshot, guard: guard.clone() });
            }
        }
        drop(guard);
        // Ends when the last guard is dropped, also by an actor that failed.
        if tokio::time::timeout(SETTLE, settled.recv()).await.is_err() {
            tracing::warn!("some vehicles' actors did not settle in time");
        }
    }
}
