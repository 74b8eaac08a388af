//! The listener and what its connections share.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use remuda_contracts::uplink::Intake;
use remuda_model::VehicleId;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::connection;
use crate::identity::Authenticator;
use crate::metrics::{ByReason, DoorMetrics};
use crate::registry::Registry;

/// How a door works.
#[derive(Debug, Clone)]
pub struct DoorSettings {
    /// Address and port; port 0 takes a free one. Plain TCP: loopback only.
    pub listen: SocketAddr,
    /// Most connections at a time; further ones wait in the system's queue.
    pub connections_max: usize,
    /// Handshakes at a time.
    pub handshakes_max: usize,
    /// How long a vehicle may take to read what is written to it.
    pub write_within: Duration,
    /// Bounds of the MQTT session.
    pub session: remuda_mqtt::Limits,
}

impl DoorSettings {
    /// The usual numbers.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            connections_max: 100_000,
            handshakes_max: 1_024,
            write_within: Duration::from_secs(10),
            session: remuda_mqtt::Limits::default(),
        }
    }
}

/// Why a door does not open: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Plain TCP to the world.
    #[error(
        "the vehicles' door speaks plain TCP and listens on loopback only, not on {0}; use an address such as 127.0.0.1:1883"
    )]
    NotLoopback(SocketAddr),
    /// Somebody else has the port.
    #[error(
        "the vehicles' door cannot listen on {0}: the port is in use; stop what listens there or choose another with door.listen"
    )]
    InUse(SocketAddr),
    /// A port of the system's.
    #[error(
        "the vehicles' door may not listen on {0}: ports below 1024 need privileges; choose a higher one with door.listen"
    )]
    NotPermitted(SocketAddr),
    /// Anything else.
    #[error("the vehicles' door cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// What the door does with who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Open,
    Paused,
    Stopping,
}

/// What every connection needs.
pub(crate) struct Shared {
    pub settings: DoorSettings,
    pub authenticator: Arc<dyn Authenticator>,
    pub intake: Arc<dyn Intake>,
    pub metrics: DoorMetrics,
    pub registry: Registry,
    pub handshakes: Arc<Semaphore>,
    pub mode: watch::Receiver<Mode>,
}

/// An open door. Dropping it closes it at once, without a word to anybody; see [`Door::stop`].
pub struct Door {
    address: SocketAddr,
    shared: Arc<Shared>,
    mode: watch::Sender<Mode>,
    accepting: JoinHandle<()>,
}

/// How long a stop waits for connections to end.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Pause after an accept that failed for want of file handles: without it the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between two warnings of failed accepts.
const ACCEPT_WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// Connections the system keeps for us while we do not accept.
const BACKLOG: u32 = 4_096;

impl Door {
    /// Listens and accepts.
    ///
    /// # Errors
    /// One sentence that says what to do.
    pub async fn bind(
        settings: DoorSettings,
        authenticator: Arc<dyn Authenticator>,
        intake: Arc<dyn Intake>,
        metrics: DoorMetrics,
    ) -> Result<Self, DoorError> {
        let asked = settings.listen;
        if !asked.ip().is_loopback() {
            return Err(DoorError::NotLoopback(asked));
        }
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => DoorError::InUse(asked),
            io::ErrorKind::PermissionDenied => DoorError::NotPermitted(asked),
            _ => DoorError::Listen { address: asked, source },
        };
        let listener = listen(asked).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let handshakes = Arc::new(Semaphore::new(settings.handshakes_max));
        let (mode, watched) = watch::channel(Mode::Open);
        let registry = Registry::default();
        let shared = Arc::new(Shared {
            settings,
            authenticator,
            intake,
            metrics,
            registry,
            handshakes,
            mode: watched,
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, mode, accepting })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops or goes on accepting; connections that are open stay.
    pub fn pause(&self, paused: bool) {
        self.mode.send_replace(if paused { Mode::Paused } else { Mode::Open });
    }

    /// Ends a vehicle's connection at once; false when it has none. It may come back.
    pub fn kick(&self, vehicle: &VehicleId, reason: &'static str) -> bool {
        self.shared.registry.kick(vehicle, reason)
    }

    /// Ends a vehicle's connection at once and keeps it out from now on; false when the list of those is full and
    /// the vehicle may come back.
    #[must_use]
    pub fn deny(&self, vehicle: VehicleId) -> bool {
        self.shared.registry.deny(vehicle)
    }

    /// Takes a vehicle off the list of those kept out.
    pub fn allow(&self, vehicle: &VehicleId) {
        self.shared.registry.allow(vehicle);
    }

    /// Accepts nobody any more, lets what is queued for vehicles go out, ends the connections, waits for their ends.
    pub async fn stop(mut self) {
        self.mode.send_replace(Mode::Stopping);
        self.shared.registry.close();
        // It cannot fail: it is aborted by our drop only, and what it runs is joined, not unwrapped.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket =
        if address.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until the door stops, then waits for the connections. Owns their tasks: none outlives it.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut mode = shared.mode.clone();
    let mut connections = JoinSet::new();
    let mut warned: Option<Instant> = None;
    loop {
        let now = *mode.borrow_and_update();
        if now == Mode::Stopping {
            break;
        }
        // Beyond the limit they wait in the system's queue.
        let room = now == Mode::Open && connections.len() < shared.settings.connections_max;
        tokio::select! {
            changed = mode.changed() => if changed.is_err() { return },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    // A fault of ours. It cost one connection; its vehicle comes back and takes the place over.
                    shared.metrics.closes.get_or_create(&ByReason { reason: "panicked" }).inc();
                    tracing::error!(%error, "a vehicle's connection failed");
                }
            }
            accepted = listener.accept(), if room => match accepted {
                Ok((stream, peer)) => {
                    shared.metrics.accepts.inc();
                    // Without it, small answers wait for the peer's delayed ACK: 40 ms a connect.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(connection::serve(Arc::clone(&shared), stream, peer));
                }
                Err(error) => {
                    shared.metrics.refused("accept_failed");
                    if warned.is_none_or(|at| at.elapsed() > ACCEPT_WARNING_INTERVAL) {
                        tracing::warn!(%error, "a connection could not be accepted; if file handles ran out, raise ulimit -n");
                        warned = Some(Instant::now());
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
        tracing::warn!(
            open = connections.len(),
            "some vehicles' connections did not end in time; they are dropped"
        );
        connections.shutdown().await;
    }
}
