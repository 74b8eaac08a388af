//! The vehicles' HTTPS port: a certificate for a token, and a new one for one that is about to end.
//!
//! One request a connection: a vehicle comes here once in months.

mod metrics;
mod requests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use remuda_identity::{Certified, Issuer, vehicle_of};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

pub use metrics::EnrolmentMetrics;

use crate::door::listen;
use crate::pace::{Bucket, PerMinute, subscriber};
use crate::tls::VehicleTls;
use crate::verifier::reason_of;

/// How the port works.
#[derive(Debug, Clone)]
pub struct EnrolmentSettings {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What vehicles are told of the door: `host:port`.
    pub door: String,
    /// Public half of the key that commands are signed with, hexadecimal; none: vehicles obey nobody.
    pub command_key: Option<String>,
    /// Connections at a time; further ones wait in the system's queue.
    pub connections_max: usize,
    /// How long a TLS handshake may take.
    pub tls_within: Duration,
    /// How long everything may take after that.
    pub request_within: Duration,
    /// Requests a second, and as many at once. Each costs a signature and a sync.
    pub requests_per_second: u32,
    /// Requests from one address in a minute that were refused; beyond, none of it is looked at.
    pub failures_per_minute: u32,
}

impl EnrolmentSettings {
    /// The usual numbers.
    pub fn new(listen: SocketAddr, door: String) -> Self {
        Self {
            listen,
            door,
            command_key: None,
            connections_max: 2_048,
            tls_within: Duration::from_secs(5),
            request_within: Duration::from_secs(15),
            requests_per_second: 500,
            failures_per_minute: 60,
        }
    }
}

/// Why the port does not open: one sentence.
#[derive(Debug, thiserror::Error)]
#[error(
    "the vehicles' HTTPS port cannot listen on {address}: {source}; choose another with enrolment.listen, or stop what listens there"
)]
pub struct EnrolmentError {
    /// Where.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// What every connection needs.
pub(crate) struct Shared {
    pub settings: EnrolmentSettings,
    pub tls: Arc<VehicleTls>,
    pub issuer: Arc<dyn Issuer>,
    pub metrics: EnrolmentMetrics,
    begun: Instant,
    pace: Mutex<Bucket>,
    failures: Mutex<PerMinute<IpAddr>>,
}

/// Addresses whose failures of the last minute are known.
const FAILURE_KEYS_MAX: usize = 65_536;
/// Headers of a request, bytes.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Pause after an accept that failed for want of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a stop waits for requests that are under way.
const STOP_WITHIN: Duration = Duration::from_secs(5);

impl Shared {
    /// Whether a request may be looked at now.
    fn may_ask(&self, peer: IpAddr) -> bool {
        let now = self.begun.elapsed();
        if self.failures.lock().count(&subscriber(peer), now) >= self.settings.failures_per_minute {
            return false;
        }
        let mut pace = self.pace.lock();
        let may = pace.even_at() <= now;
        if may {
            pace.take(1, self.settings.requests_per_second, now);
        }
        may
    }

    fn failed(&self, peer: IpAddr) {
        self.failures.lock().add(subscriber(peer), self.begun.elapsed());
    }
}

/// An open port. Dropping it closes it at once.
pub struct EnrolmentPort {
    address: SocketAddr,
    stopping: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl EnrolmentPort {
    /// Listens and serves.
    ///
    /// # Errors
    /// One sentence that says what to do.
    pub async fn bind(
        settings: EnrolmentSettings,
        tls: Arc<VehicleTls>,
        issuer: Arc<dyn Issuer>,
        metrics: EnrolmentMetrics,
    ) -> Result<Self, EnrolmentError> {
        let asked = settings.listen;
        let (listener, address) =
            listen(asked).map_err(|source| EnrolmentError { address: asked, source })?;
        let shared = Arc::new(Shared {
            settings,
            tls,
            issuer,
            metrics,
            begun: Instant::now(),
            pace: Mutex::default(),
            failures: Mutex::new(PerMinute::new(FAILURE_KEYS_MAX)),
        });
        let (stopping, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, shared, stopped));
        Ok(Self { address, stopping, accepting })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nobody any more, and lets what is under way end.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        // It cannot fail: it is aborted by our drop only.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for EnrolmentPort {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(shared.settings.connections_max));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit, listener.accept().await)
        };
        tokio::select! {
            // It changes once; a sender that is gone is a port that is gone.
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => {}
            (Ok(permit), accepted) = next => match accepted {
                Ok((stream, peer)) => {
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move {
                        serve(&shared, stream, peer).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a vehicle could not be accepted at the HTTPS port; if file handles ran out, raise ulimit -n");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
        connections.shutdown().await;
    }
}

async fn serve(shared: &Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let handshake = TlsAcceptor::from(shared.tls.enrolment()).accept(stream);
    let refused = match tokio::time::timeout(shared.settings.tls_within, handshake).await {
        Err(_) => "tls_timeout",
        Ok(Err(error)) => reason_of(&error),
        Ok(Ok(stream)) => {
            let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            // It was looked at in the handshake; one of an earlier handshake is looked at again when it is used.
            let certified: Option<Certified> = certificate.and_then(|der| vehicle_of(der).ok());
            let service = service_fn(|request| requests::answer(shared, request, certified.as_ref(), peer));
            let served = http1::Builder::new()
                .keep_alive(false)
                .max_buf_size(HEADER_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service);
            match tokio::time::timeout(shared.settings.request_within, served).await {
                Ok(Ok(())) => return,
                Ok(Err(_)) => "http_broken",
                Err(_) => "http_timeout",
            }
        }
    };
    tracing::info!(%peer, reason = refused, "a connection to the vehicles' HTTPS port failed");
    shared.metrics.refused(refused);
}
