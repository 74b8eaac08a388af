//! The listener and what its connections share.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use remuda_contracts::uplink::Intake;
use remuda_identity::Certified;
use remuda_model::VehicleId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::attempts::Attempts;
use crate::connection::{self, Caller};
use crate::identity::{Authenticator, CertifiedVehicles, unix_ms};
use crate::metrics::{ByReason, DoorMetrics};
use crate::pace::VehicleLimits;
use crate::refusals::Refusals;
use crate::registry::Registry;
use crate::tls::VehicleTls;

/// An entrance over TLS.
#[derive(Debug, Clone)]
pub struct TlsEntrance {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Certificates, and the register that decides who is admitted.
    pub tls: Arc<VehicleTls>,
}

/// How a door works.
#[derive(Debug, Clone)]
pub struct DoorSettings {
    /// Where vehicles come in over TLS, with certificates.
    pub tls: Option<TlsEntrance>,
    /// Where simulators come in over plain TCP: loopback only. Port 0 takes a free one.
    pub plain_listen: Option<SocketAddr>,
    /// How long a TLS handshake may take.
    pub tls_within: Duration,
    /// Most connections at a time; further ones wait in the system's queue.
    pub connections_max: usize,
    /// Handshakes at a time.
    pub handshakes_max: usize,
    /// How long a vehicle may take to read what is written to it.
    pub write_within: Duration,
    /// Bounds of the MQTT session.
    pub session: remuda_mqtt::Limits,
    /// What one vehicle may do to the door.
    pub vehicle: VehicleLimits,
}

impl DoorSettings {
    /// The usual numbers, for a door of plain TCP on loopback.
    pub fn new(plain_listen: SocketAddr) -> Self {
        Self { plain_listen: Some(plain_listen), ..Self::closed() }
    }

    /// The usual numbers, for a door of TLS.
    pub fn secured(entrance: TlsEntrance) -> Self {
        Self { tls: Some(entrance), ..Self::closed() }
    }

    fn closed() -> Self {
        Self {
            tls: None,
            plain_listen: None,
            tls_within: Duration::from_secs(5),
            connections_max: 100_000,
            handshakes_max: 1_024,
            write_within: Duration::from_secs(10),
            session: remuda_mqtt::Limits::default(),
            vehicle: VehicleLimits::default(),
        }
    }
}

/// Why a door does not open: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Plain TCP to the world.
    #[error(
        "vehicles come over plain TCP on loopback only, not on {0}; use door.listen for TLS, or an address such as 127.0.0.1:1883 for door.plain_listen"
    )]
    NotLoopback(SocketAddr),
    /// Somebody else has the port.
    #[error(
        "the vehicles' door cannot listen on {0}: the port is in use; stop what listens there or choose another with door.listen or door.plain_listen"
    )]
    InUse(SocketAddr),
    /// A port of the system's.
    #[error(
        "the vehicles' door may not listen on {0}: ports below 1024 need privileges; choose a higher one with door.listen or door.plain_listen"
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
    pub intake: Arc<dyn Intake>,
    pub metrics: DoorMetrics,
    pub registry: Registry,
    pub handshakes: Arc<Semaphore>,
    pub mode: watch::Receiver<Mode>,
    pub refusals: Refusals,
    pub attempts: Attempts,
}

impl Shared {
    /// Why the register refuses a vehicle, if it does.
    pub fn refuses(&self, vehicle: &VehicleId, certified: Option<&Certified>) -> Option<&'static str> {
        let register = self.settings.tls.as_ref()?.tls.register();
        match certified {
            Some(holder) if holder.not_after_ms <= unix_ms() => Some("certificate_expired"),
            Some(holder) => register.admits(holder).err().map(|no| no.code()),
            None => register.is_revoked(vehicle).then_some("vehicle_revoked"),
        }
    }
}

/// An open door. Dropping it closes it at once, without a word to anybody; see [`Door::stop`].
pub struct Door {
    addresses: Addresses,
    shared: Arc<Shared>,
    mode: watch::Sender<Mode>,
    accepting: JoinHandle<()>,
    reviewing: JoinHandle<()>,
}

#[derive(Clone, Copy)]
struct Addresses {
    tls: Option<SocketAddr>,
    plain: Option<SocketAddr>,
}

/// Between two looks at certificates that have ended while their vehicle was connected.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);
/// How long a stop waits for connections to end.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Pause after an accept that failed for want of file handles: without it the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between two warnings of failed accepts.
const ACCEPT_WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// Connections the system keeps for us while we do not accept.
const BACKLOG: u32 = 4_096;

impl Door {
    /// Listens and accepts. Over plain TCP, `authenticator` says who a vehicle is; over TLS, its certificate does.
    ///
    /// # Errors
    /// One sentence that says what to do.
    pub async fn bind(
        settings: DoorSettings,
        authenticator: Arc<dyn Authenticator>,
        intake: Arc<dyn Intake>,
        metrics: DoorMetrics,
    ) -> Result<Self, DoorError> {
        if let Some(asked) = settings.plain_listen.filter(|asked| !asked.ip().is_loopback()) {
            return Err(DoorError::NotLoopback(asked));
        }
        let plain = settings.plain_listen.map(enter).transpose()?;
        let tls = settings.tls.as_ref().map(|entrance| enter(entrance.listen)).transpose()?;
        let address = |entrance: &Option<(TcpListener, SocketAddr)>| entrance.as_ref().map(|(_, at)| *at);
        let addresses = Addresses { tls: address(&tls), plain: address(&plain) };
        let handshakes = Arc::new(Semaphore::new(settings.handshakes_max));
        let (mode, watched) = watch::channel(Mode::Open);
        let registry = Registry::default();
        let refusals = Refusals::new(metrics.clone());
        let attempts = Attempts::new(settings.vehicle);
        let shared = Arc::new(Shared {
            settings,
            intake,
            metrics,
            registry,
            handshakes,
            mode: watched,
            refusals,
            attempts,
        });
        let entrances = Entrances {
            tls: tls.zip(shared.settings.tls.as_ref()).map(|((listener, _), entrance)| {
                let gate = CertifiedVehicles::new(Arc::clone(entrance.tls.register()));
                (listener, Arc::clone(&entrance.tls), Arc::new(gate) as Arc<dyn Authenticator>)
            }),
            plain: plain.map(|(listener, _)| (listener, authenticator)),
        };
        let accepting = tokio::spawn(accept(entrances, Arc::clone(&shared)));
        let reviewing = tokio::spawn(review(Arc::clone(&shared)));
        Ok(Self { addresses, shared, mode, accepting, reviewing })
    }

    /// Where it listens for TLS.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.addresses.tls
    }

    /// Where it listens for plain TCP.
    pub fn plain_addr(&self) -> Option<SocketAddr> {
        self.addresses.plain
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
        self.reviewing.abort();
    }
}

/// Listens, and answers where.
pub(crate) fn listen(asked: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket =
        if asked.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(asked)?;
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn enter(asked: SocketAddr) -> Result<(TcpListener, SocketAddr), DoorError> {
    listen(asked).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => DoorError::InUse(asked),
        io::ErrorKind::PermissionDenied => DoorError::NotPermitted(asked),
        _ => DoorError::Listen { address: asked, source },
    })
}

/// Ends the connections of those whom the register refuses, as soon as it does, and whose certificates have ended.
async fn review(shared: Arc<Shared>) {
    let Some(mut refusals) = shared.settings.tls.as_ref().map(|entrance| entrance.tls.register().refusals())
    else {
        return;
    };
    let mut ticks = tokio::time::interval(EXPIRY_INTERVAL);
    let refuses = |vehicle: &VehicleId, certified: Option<&Certified>| shared.refuses(vehicle, certified);
    loop {
        tokio::select! {
            refused = refusals.recv() => match refused {
                Ok(vehicle) => shared.registry.review(Some(&[vehicle]), refuses),
                Err(RecvError::Lagged(_)) => shared.registry.review(None, refuses),
                Err(RecvError::Closed) => return,
            },
            _ = ticks.tick() => shared.registry.review(None, refuses),
        }
    }
}

/// The listeners, and who decides at each.
struct Entrances {
    tls: Option<(TcpListener, Arc<VehicleTls>, Arc<dyn Authenticator>)>,
    plain: Option<(TcpListener, Arc<dyn Authenticator>)>,
}

impl Entrances {
    /// Whoever comes next, and whether over TLS.
    async fn next(&self) -> (bool, io::Result<(TcpStream, SocketAddr)>) {
        let over_tls = async {
            match &self.tls {
                Some((listener, ..)) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        let plain = async {
            match &self.plain {
                Some((listener, _)) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = over_tls => (true, accepted),
            accepted = plain => (false, accepted),
        }
    }

    /// Serves somebody on a task of its own.
    fn serve(
        &self,
        over_tls: bool,
        stream: TcpStream,
        peer: SocketAddr,
        shared: &Arc<Shared>,
        connections: &mut JoinSet<()>,
    ) {
        let shared = Arc::clone(shared);
        match (&self.tls, &self.plain) {
            (Some((_, tls, gate)), _) if over_tls => {
                connections.spawn(connection::serve_tls(
                    shared,
                    Arc::clone(tls),
                    Arc::clone(gate),
                    stream,
                    peer,
                ));
            }
            (_, Some((_, gate))) => {
                let caller = Caller { peer, certified: None };
                connections.spawn(connection::serve(shared, Arc::clone(gate), stream, caller));
            }
            // Nobody comes in where nobody listens.
            (_, None) => {}
        }
    }
}

/// Accepts until the door stops, then waits for the connections. Owns their tasks: none outlives it.
async fn accept(entrances: Entrances, shared: Arc<Shared>) {
    let mut mode = shared.mode.clone();
    let mut connections = JoinSet::new();
    let mut warned: Option<Instant> = None;
    let telling = Arc::clone(&shared);
    // One of this task's futures, so that it ends when the door does.
    let mut telling = Box::pin(async move { telling.refusals.tell_on(&*telling.intake).await });
    loop {
        let now = *mode.borrow_and_update();
        if now == Mode::Stopping {
            break;
        }
        // Beyond the limit they wait in the system's queue.
        let room = now == Mode::Open && connections.len() < shared.settings.connections_max;
        tokio::select! {
            // In this order: whoever was told to wait is not let in because both are there at once.
            biased;
            changed = mode.changed() => if changed.is_err() { return },
            () = &mut telling => {}
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    // A fault of ours. It cost one connection; its vehicle comes back and takes the place over.
                    shared.metrics.closes.get_or_create(&ByReason { reason: "panicked" }).inc();
                    tracing::error!(%error, "a vehicle's connection failed");
                }
            }
            (over_tls, accepted) = entrances.next(), if room => match accepted {
                Ok((stream, peer)) => {
                    shared.metrics.accepts.inc();
                    // Before anything is read, so that it costs us nothing more.
                    if !shared.attempts.may_try(peer.ip()) {
                        shared.metrics.refused("failure_rate");
                        continue;
                    }
                    // Without it, small answers wait for the peer's delayed ACK: 40 ms a connect.
                    let _ = stream.set_nodelay(true);
                    entrances.serve(over_tls, stream, peer, &shared, &mut connections);
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
    drop(entrances);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
        tracing::warn!(
            open = connections.len(),
            "some vehicles' connections did not end in time; they are dropped"
        );
        connections.shutdown().await;
    }
    shared.refusals.tell(&*shared.intake).await;
}
