//! The listener and what its connections share.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use remuda_contracts::uplink::Intake;
use remuda_model::VehicleId;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::connection;
use crate::identity::Authenticator;
use crate::metrics::DoorMetrics;
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

/// What every connection needs.
pub(crate) struct Shared {
    pub settings: DoorSettings,
    pub authenticator: Arc<dyn Authenticator>,
    pub intake: Arc<dyn Intake>,
    pub metrics: DoorMetrics,
    pub registry: Registry,
    pub handshakes: Arc<Semaphore>,
}

/// An open door.
pub struct Door {
    address: SocketAddr,
    shared: Arc<Shared>,
    open: Arc<Semaphore>,
    paused: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

/// How long a stop waits for connections to end.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Pause after an accept that failed for want of file handles: without it the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
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
            _ => DoorError::Listen { address: asked, source },
        };
        let listener = listen(asked).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let open = Arc::new(Semaphore::new(settings.connections_max));
        let handshakes = Arc::new(Semaphore::new(settings.handshakes_max));
        let registry = Registry::default();
        let shared = Arc::new(Shared { settings, authenticator, intake, metrics, registry, handshakes });
        let (paused, pause) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared), Arc::clone(&open), pause));
        Ok(Self { address, shared, open, paused, accepting })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops or goes on accepting; connections that are open stay.
    pub fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Ends a vehicle's connection; false when it has none.
    pub fn kick(&self, vehicle: &VehicleId, reason: &'static str) -> bool {
        self.shared.registry.kick(vehicle, reason)
    }

    /// Accepts nobody any more, lets what is queued for vehicles go out, ends the connections, waits for their ends.
    pub async fn stop(self) {
        self.accepting.abort();
        self.shared.registry.kick_all("stopping");
        let all = u32::try_from(self.shared.settings.connections_max).unwrap_or(u32::MAX);
        // A connection holds a permit; having all of them means that none is left.
        if tokio::time::timeout(STOP_WITHIN, self.open.acquire_many(all)).await.is_err() {
            tracing::warn!("some vehicles' connections did not end in time; they are dropped");
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket =
        if address.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    open: Arc<Semaphore>,
    mut pause: watch::Receiver<bool>,
) {
    let mut warned = false;
    loop {
        // The door itself holds the sender: it ends with the door, and this task with it.
        if pause.wait_for(|paused| !paused).await.is_err() {
            return;
        }
        let Ok(permit) = Arc::clone(&open).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                shared.metrics.accepts.inc();
                // Without it, small answers wait for the peer's delayed ACK: 40 ms a connect.
                let _ = stream.set_nodelay(true);
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    connection::serve(shared, stream, peer).await;
                    drop(permit);
                });
                warned = false;
            }
            Err(error) => {
                if !warned {
                    tracing::warn!(%error, "a connection could not be accepted; if file handles ran out, raise ulimit -n");
                    warned = true;
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
