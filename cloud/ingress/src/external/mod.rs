//! The other door: an external broker, through rumqttc (DESIGN D12, docs/external-brokers.md). It carries the same
//! guarantees as our own, since none of them rests on a broker: a message that is dropped is sent again, until the
//! cloud says that it is durable (docs/uplink.md).
//!
//! One connection publishes to the vehicles, one or several receive. A broker does not say who connects: connections
//! are made up from what vehicles say, see `sessions`. The broker alone knows who a vehicle is: it must let each write
//! to its own `up` topics only. Deliberately absent: anything retained, queued or persistent at the broker.

mod backoff;
mod check;
mod downlink;
mod link;
mod metrics;
mod sessions;
mod settings;
mod state;
mod uplink;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use remuda_contracts::uplink::Intake;
use remuda_identity::Register;
use remuda_model::VehicleId;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use metrics::BrokerMetrics;
pub use settings::{BrokerLogin, BrokerSettings, BrokerTlsError, broker_tls};
pub use state::BrokerHealth;

use crate::door::Mode;
use crate::metrics::DoorMetrics;
use crate::refusals::Refusals;
use crate::registry::DENIED_MAX;
use downlink::DownQueue;
use link::Lost;
use sessions::Sessions;
use state::{Check, Leg, StateSender};
use uplink::Uplink;

/// How long a start waits for a broker that does not answer; then it goes on trying beside the node.
const START_WITHIN: Duration = Duration::from_secs(10);
/// How long a stop waits for the connections' ends.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Messages of self-tests that may wait to be looked at.
const PROBES_MAX: usize = 16;

/// Why a broker cannot be used: one sentence.
#[derive(Debug, thiserror::Error)]
#[error("the external broker {address} cannot be used: {reason}")]
pub struct BrokerError {
    /// `host:port`.
    pub address: String,
    /// What is wrong, and what to change.
    pub reason: String,
}

/// What every connection needs.
pub(crate) struct Shared {
    settings: BrokerSettings,
    /// `host:port`.
    address: String,
    /// Of this start of this node; the client ids begin with it.
    name: String,
    register: Option<Arc<Register>>,
    intake: Arc<dyn Intake>,
    door: DoorMetrics,
    metrics: BrokerMetrics,
    refusals: Refusals,
    state: StateSender,
    down: Arc<DownQueue>,
    mode: watch::Sender<Mode>,
    denied: Mutex<HashSet<VehicleId>>,
}

impl Shared {
    /// The broker lets in whom it knows; who is kept out here says nothing that is heard.
    fn is_denied(&self, vehicle: &VehicleId) -> bool {
        let revoked = self.register.as_ref().is_some_and(|register| register.is_revoked(vehicle));
        revoked || self.denied.lock().contains(vehicle)
    }

    fn lost(&self, leg: usize, lost: &Lost) {
        let Lost { code, sentence, definite } = lost;
        self.metrics.lost(code);
        let known =
            matches!(&self.state.subscribe().borrow().legs[leg], Leg::Away { why, .. } if why == sentence);
        if known {
            tracing::debug!(broker = %self.address, reason = code, "the external broker is still away");
        } else {
            tracing::warn!(broker = %self.address, reason = code, "the external broker is away: {sentence}");
        }
        self.state.leg(leg, Leg::Away { why: sentence.clone(), definite: *definite });
    }
}

/// A door through an external broker. Dropping it closes it at once; see [`ExternalBroker::stop`].
pub struct ExternalBroker {
    shared: Arc<Shared>,
    sessions: Vec<Arc<Mutex<Sessions>>>,
    tasks: JoinSet<()>,
}

impl ExternalBroker {
    /// Connects, subscribes, and sends messages of every size round. A broker that is not there is waited for beside
    /// the node: then this returns after ten seconds, and [`ExternalBroker::health`] tells more. Nothing is taken of
    /// vehicles that are revoked in `register`; those that are not in it are the broker's to know.
    ///
    /// # Errors
    /// What somebody must change at the broker or in the configuration: one sentence.
    pub async fn open(
        settings: BrokerSettings,
        register: Option<Arc<Register>>,
        intake: Arc<dyn Intake>,
        door: DoorMetrics,
        metrics: BrokerMetrics,
    ) -> Result<Self, BrokerError> {
        let connections = settings.connections.max(1);
        let (down, queue) = DownQueue::new(door.clone());
        let shared = Arc::new(Shared {
            address: format!("{}:{}", settings.host, settings.port),
            name: format!("{}-{:08x}", settings.client_id, rand::random::<u32>()),
            settings,
            register,
            intake,
            refusals: Refusals::new(door.clone()),
            door,
            metrics,
            state: StateSender::new(usize::from(connections) + 1),
            down,
            mode: watch::Sender::new(Mode::Open),
            denied: Mutex::default(),
        });
        let (probes, arrived) = mpsc::channel(PROBES_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(downlink::run(Arc::clone(&shared), queue));
        tasks.spawn(check::run(Arc::clone(&shared), arrived));
        tasks.spawn(show_refusals(Arc::clone(&shared)));
        let BrokerSettings { silence, vehicles_max, .. } = shared.settings;
        let each = vehicles_max.div_ceil(usize::from(connections));
        let sessions: Vec<_> =
            (0..connections).map(|_| Arc::new(Mutex::new(Sessions::new(silence, each)))).collect();
        for (connection, sessions) in (0..connections).zip(&sessions) {
            let (shared, sessions, probes) = (Arc::clone(&shared), Arc::clone(sessions), probes.clone());
            tasks.spawn(Uplink { shared, connection, sessions, probes }.run());
        }
        if let Some(register) = &shared.register {
            tasks.spawn(review(Arc::clone(&shared), Arc::clone(register), sessions.clone()));
        }
        let broker = Self { shared, sessions, tasks };
        broker.begin().await?;
        Ok(broker)
    }

    async fn begin(&self) -> Result<(), BrokerError> {
        let mut state = self.shared.state.subscribe();
        let known = |state: &state::State| state.check == Check::Passed || state.definite().is_some();
        // Connected, it takes as long as the check takes.
        let connected = state.wait_for(|state| known(state) || state.is_connected());
        let within = tokio::time::timeout(START_WITHIN, connected).await.is_ok();
        if within {
            // Away again in the middle of the check: waited for beside the node.
            let settled = |state: &state::State| known(state) || !state.is_connected();
            // The sender lives in what `self` holds.
            let _ = state.wait_for(settled).await;
        }
        let now = state.borrow();
        if let Some(reason) = now.definite() {
            let address = self.shared.address.clone();
            return Err(BrokerError { address, reason: reason.to_owned() });
        }
        Ok(())
    }

    /// `host:port` of the broker.
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// Answers at any time whether the broker is there and does what it must.
    pub fn health(&self) -> BrokerHealth {
        BrokerHealth { address: self.shared.address.clone(), state: self.shared.state.subscribe() }
    }

    /// Takes nobody new, or everybody again; vehicles that are known stay.
    pub fn pause(&self, paused: bool) {
        self.shared.mode.send_replace(if paused { Mode::Paused } else { Mode::Open });
    }

    /// Forgets a vehicle's connection; false when it has none. What it says next begins a new one. Its connection to
    /// the broker is the broker's.
    pub fn kick(&self, vehicle: &VehicleId) -> bool {
        self.sessions.iter().any(|sessions| sessions.lock().kick(vehicle))
    }

    /// Forgets a vehicle's connection and takes nothing of it from now on; false when the list of those is full.
    #[must_use]
    pub fn deny(&self, vehicle: VehicleId) -> bool {
        let mut denied = self.shared.denied.lock();
        let room = denied.len() < DENIED_MAX || denied.contains(&vehicle);
        if room {
            denied.insert(vehicle);
        }
        drop(denied);
        self.kick(&vehicle);
        room
    }

    /// Takes a vehicle off the list of those kept out.
    pub fn allow(&self, vehicle: &VehicleId) {
        self.shared.denied.lock().remove(vehicle);
    }

    /// Takes nothing any more, lets what is queued for vehicles go out, tells the shards that the vehicles are gone.
    pub async fn stop(mut self) {
        self.shared.mode.send_replace(Mode::Stopping);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
            tracing::warn!("the connections to the external broker did not end in time; they are dropped");
        }
        self.tasks.shutdown().await;
    }
}

/// Tells the shards what was refused of their vehicles, until the door stops.
async fn show_refusals(shared: Arc<Shared>) {
    let mut mode = shared.mode.subscribe();
    tokio::select! {
        () = shared.refusals.tell_on(&*shared.intake) => {}
        // A sender that is gone is a door that is gone.
        _ = mode.wait_for(|mode| *mode == Mode::Stopping) => {}
    }
}

/// Forgets the connections of vehicles as soon as they are revoked, until the door stops.
async fn review(shared: Arc<Shared>, register: Arc<Register>, sessions: Vec<Arc<Mutex<Sessions>>>) {
    let mut refusals = register.refusals();
    let mut mode = shared.mode.subscribe();
    loop {
        let refused = tokio::select! {
            refused = refusals.recv() => refused,
            _ = mode.wait_for(|mode| *mode == Mode::Stopping) => return,
        };
        for some in &sessions {
            let some = some.lock();
            match &refused {
                Ok(vehicle) if register.is_revoked(vehicle) => {
                    some.kick(vehicle);
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => some.kick_all(|vehicle| register.is_revoked(vehicle)),
                Err(RecvError::Closed) => return,
            }
        }
    }
}
