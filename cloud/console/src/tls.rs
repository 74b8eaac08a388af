//! TLS on the console's port: one configuration at a time, made anew when a file changes; and client certificates.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use axum::extract::Request;
use axum::http::header::{HOST, HeaderName, ORIGIN};
use axum::middleware::Next;
use axum::response::Response;
use parking_lot::{Mutex, RwLock};
use remuda_access::{CertificateRefusal, ClientCertificate};
use tokio::task::JoinHandle;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime,
};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{self, CertificateError, RootCertStore, ServerConfig, version};

/// Where key and certificates are. All PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleTlsFiles {
    /// The server's certificate and those up to the root.
    pub certificate: PathBuf,
    /// Its key; may be the same file.
    pub key: PathBuf,
    /// By what client certificates are known; none: no client is asked for one.
    pub clients: Option<ClientTrust>,
}

/// By what client certificates are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTrust {
    /// The authorities' certificates.
    pub roots: PathBuf,
    /// What they took back: one revocation list of each authority that issues certificates. None: nothing.
    pub revoked: Option<PathBuf>,
}

/// Why the console has no TLS: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleTlsError {
    /// A file cannot be read.
    #[error(
        "the file {file} cannot be read: {source}; correct its path in [console.tls], or its permissions"
    )]
    Read {
        /// Which.
        file: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("the file {file} does not hold {what} in PEM; put the right file there")]
    Pem {
        /// Which.
        file: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The parts do not fit together.
    #[error("the file {file} cannot be used for the console's TLS: {problem}")]
    Unusable {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// What is in force until a file changes.
struct Current {
    config: Arc<ServerConfig>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    /// Which it is, counted up.
    generation: u64,
}

/// What tells that a file is another one.
type Stamp = Option<(SystemTime, u64)>;

/// The TLS of the console's port.
pub struct ConsoleTls {
    files: ConsoleTlsFiles,
    current: RwLock<Current>,
    /// Of the files that were read last, usable or not: a broken one is complained about once.
    stamps: Mutex<[Stamp; 4]>,
}

impl std::fmt::Debug for ConsoleTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsoleTls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl ConsoleTls {
    /// Reads the files.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn open(files: ConsoleTlsFiles) -> Result<Arc<Self>, ConsoleTlsError> {
        let stamps = Mutex::new(stamps_of(&files));
        let current = RwLock::new(read_all(&files, 0)?);
        Ok(Arc::new(Self { files, current, stamps }))
    }

    /// Reads the files again if one of them has changed; answers whether. Connections stay open; their client certificates are
    /// verified again with their next request.
    ///
    /// # Errors
    /// One sentence that names the file; what was in force stays so.
    pub fn reload(&self) -> Result<bool, ConsoleTlsError> {
        let mut stamps = self.stamps.lock();
        let now = stamps_of(&self.files);
        if *stamps == now {
            return Ok(false);
        }
        *stamps = now;
        let generation = self.current.read().generation + 1;
        let current = read_all(&self.files, generation)?;
        *self.current.write() = current;
        Ok(true)
    }

    /// Looks every second whether a file has changed, until it is aborted.
    pub(crate) fn follow(self: &Arc<Self>) -> JoinHandle<()> {
        let tls = Arc::clone(self);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(LOOK_EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let looking = Arc::clone(&tls);
                match tokio::task::spawn_blocking(move || looking.reload()).await {
                    Ok(Ok(true)) => tracing::info!("the console took new certificates"),
                    Ok(Err(error)) => tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the console's new certificates cannot be used; the old ones stay"
                    ),
                    // A panic was reported, and the next look tries again.
                    Ok(Ok(false)) | Err(_) => {}
                }
            }
        })
    }

    /// For the next handshake.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().config)
    }

    /// The certificate that a client has shown. A handshake that took up an earlier one did not look at it again, so it counts as
    /// not verified yet.
    pub(crate) fn shown(chain: Option<&[CertificateDer<'_>]>) -> Option<Arc<ShownCertificate>> {
        let chain: Vec<_> = chain?.iter().map(|one| one.clone().into_owned()).collect();
        let read = ClientCertificate::read(chain.first()?);
        Some(Arc::new(ShownCertificate { chain, read, verified: AtomicU64::new(NEVER) }))
    }

    /// What a client's certificate says, if it holds now: verified once by what is in force, and not expired since.
    ///
    /// # Errors
    /// Why it does not hold any more.
    pub(crate) fn holds<'a>(
        &self,
        shown: &'a ShownCertificate,
    ) -> Result<&'a ClientCertificate, CertificateRefusal> {
        let now = UnixTime::now();
        let read = shown.read.as_ref().ok_or(CertificateRefusal::Unknown)?;
        if read.expired(now) {
            return Err(CertificateRefusal::Expired);
        }
        let (clients, generation) = {
            let current = self.current.read();
            (current.clients.clone(), current.generation)
        };
        if shown.verified.load(Ordering::Acquire) != generation {
            let clients = clients.ok_or(CertificateRefusal::Foreign)?;
            let [leaf, between @ ..] = &shown.chain[..] else { return Err(CertificateRefusal::Foreign) };
            clients.verify_client_cert(leaf, between, now).map_err(|error| match error {
                rustls::Error::InvalidCertificate(CertificateError::Revoked) => CertificateRefusal::Revoked,
                rustls::Error::InvalidCertificate(
                    CertificateError::Expired | CertificateError::ExpiredContext { .. },
                ) => CertificateRefusal::Expired,
                _ => CertificateRefusal::Foreign,
            })?;
            shown.verified.store(generation, Ordering::Release);
        }
        Ok(read)
    }
}

/// No generation.
const NEVER: u64 = u64::MAX;

/// The certificate that the client of a connection has shown.
#[derive(Debug)]
pub(crate) struct ShownCertificate {
    chain: Vec<CertificateDer<'static>>,
    /// None when it says nothing that can be read.
    read: Option<ClientCertificate>,
    /// The generation that found it good.
    verified: AtomicU64,
}

/// Where a connection comes from, and what its client has shown.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub address: Option<SocketAddr>,
    pub certificate: Option<Arc<ShownCertificate>>,
}

/// Takes a client's certificate from requests that a page of another site makes its browser send: a browser shows a certificate to
/// whoever asks, as it does with cookies. A token it does not know, so that one counts.
pub(crate) async fn own_pages_only(mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = request.uri().authority().map(|authority| authority.as_str()).or_else(|| text(&HOST));
    let of_another = match (text(&SEC_FETCH_SITE), text(&ORIGIN)) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => origin.split_once("://").map(|(_, site)| site) != host,
        (None, None) => false,
    };
    if of_another && let Some(peer) = request.extensions_mut().get_mut::<Peer>() {
        peer.certificate = None;
    }
    next.run(request).await
}

/// Whose page has made a browser send a request.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The stable reason why a handshake failed.
pub(crate) fn reason_of(error: &io::Error) -> &'static str {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return "tls_gone";
    };
    match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            CertificateError::Revoked => "certificate_revoked",
            // An authority of the same name, with another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => "certificate_foreign",
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate_expired",
            _ => "certificate_bad",
        },
        rustls::Error::AlertReceived(_) => "tls_alert",
        _ => "tls_failed",
    }
}

fn stamps_of(files: &ConsoleTlsFiles) -> [Stamp; 4] {
    let stamp = |file: Option<&PathBuf>| {
        let meta = fs::metadata(file?).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    let clients = files.clients.as_ref();
    [
        stamp(Some(&files.certificate)),
        stamp(Some(&files.key)),
        stamp(clients.map(|clients| &clients.roots)),
        stamp(clients.and_then(|clients| clients.revoked.as_ref())),
    ]
}

fn unusable<E: std::fmt::Display>(file: &Path) -> impl FnOnce(E) -> ConsoleTlsError {
    let file = file.to_owned();
    move |problem| ConsoleTlsError::Unusable { file, problem: problem.to_string() }
}

fn read_all(files: &ConsoleTlsFiles, generation: u64) -> Result<Current, ConsoleTlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
        .map_err(|_| ConsoleTlsError::Pem { file: files.key.clone(), what: "a private key" })?;
    // Checks that key and certificate belong together, so that half of a change is not taken.
    let certified = CertifiedKey::from_der(chain, key, &provider).map_err(unusable(&files.certificate))?;
    let clients = files.clients.as_ref().map(|trust| verifier(trust, &provider)).transpose()?;
    let config =
        server_config(&provider, certified, clients.clone()).map_err(unusable(&files.certificate))?;
    Ok(Current { config: Arc::new(config), clients, generation })
}

fn verifier(
    trust: &ClientTrust,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, ConsoleTlsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(&trust.roots)? {
        roots.add(root).map_err(unusable(&trust.roots))?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .allow_unauthenticated();
    if let Some(file) = &trust.revoked {
        let text = read(file)?;
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&text).collect();
        let lists = lists.ok().filter(|lists| !lists.is_empty());
        let what = "certificate revocation lists";
        let lists = lists.ok_or_else(|| ConsoleTlsError::Pem { file: file.clone(), what })?;
        // Of whom no list tells, that is not known to be good: their certificates are refused.
        builder = builder.with_crls(lists).only_check_end_entity_revocation();
    }
    builder.build().map_err(unusable(&trust.roots))
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    certified: CertifiedKey,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&version::TLS13])?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(certified));
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // What a returning client needs is in its ticket. New keys with each configuration, so that nobody comes in by a root that
    // is no longer trusted.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(config)
}

fn read(file: &Path) -> Result<Vec<u8>, ConsoleTlsError> {
    fs::read(file).map_err(|source| ConsoleTlsError::Read { file: file.into(), source })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ConsoleTlsError> {
    let text = read(file)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    read.ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| ConsoleTlsError::Pem { file: file.into(), what: "certificates" })
}
