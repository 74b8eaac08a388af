//! TLS on the console's port: one configuration at a time, made anew when a file changes; and client certificates.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{HOST, HeaderName, ORIGIN};
use parking_lot::{Mutex, RwLock};
use remuda_access::{CertificateRefusal, ClientCertificate};
use remuda_identity::pem::{self, PemError};
use remuda_identity::{Complaint, Followed};
use tokio::task::JoinHandle;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
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
    /// What they took back: a revocation list of each authority above a client's certificate, the root among them. None: nothing.
    pub revoked: Option<PathBuf>,
}

/// Why the console has no TLS: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleTlsError {
    /// A file does not give what it should.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The parts do not fit together.
    #[error("the file {file} cannot be used for the console's TLS: {problem}")]
    Unusable {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Neither the server's files nor those about clients can be used.
    #[error("{server}; and {clients}")]
    Both {
        /// What is wrong with the server's.
        server: Box<ConsoleTlsError>,
        /// What is wrong with those about clients.
        clients: Box<ConsoleTlsError>,
    },
}

/// Who verifies client certificates.
type Verifier = Arc<dyn ClientCertVerifier>;

/// The TLS of the console's port.
pub struct ConsoleTls {
    files: ConsoleTlsFiles,
    server: Followed<CertifiedKey>,
    /// Apart from the server's files: a renewal that went wrong must not keep a revocation out.
    clients: Option<Followed<Verifier>>,
    /// Of both.
    config: RwLock<Arc<ServerConfig>>,
    /// The generations that it was made of. Held as long as files are looked at.
    made_of: Mutex<Generations>,
}

/// Of the server's certificate, and of the trust in clients.
type Generations = (u64, Option<u64>);

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
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pair = [files.certificate.clone(), files.key.clone()];
        let server = Followed::open(pair, || certified(&files, &provider))?;
        let clients = match &files.clients {
            None => None,
            Some(trust) => {
                let followed = [Some(trust.roots.clone()), trust.revoked.clone()].into_iter().flatten();
                Some(Followed::open(followed, || verifier(trust, &provider))?)
            }
        };
        let config = server_config(&provider, &server, clients.as_ref());
        let config = RwLock::new(Arc::new(config.map_err(unusable(&files.certificate))?));
        let made_of = Mutex::new(generations(&server, clients.as_ref()));
        Ok(Arc::new(Self { files, server, clients, config, made_of }))
    }

    /// Reads the server's files again if one of them has changed or could not be used, and so those about clients; answers whether
    /// something new is in force. Connections stay open; their client certificates are verified again with their next request.
    ///
    /// # Errors
    /// One sentence that names the file. What was in force of the same files stays so; of the others the new is taken.
    pub fn reload(&self) -> Result<bool, ConsoleTlsError> {
        let mut made_of = self.made_of.lock();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let server = self.server.reload(|| certified(&self.files, &provider));
        let clients = match (&self.clients, &self.files.clients) {
            (Some(clients), Some(trust)) => clients.reload(|| verifier(trust, &provider)),
            _ => Ok(false),
        };
        let of = generations(&self.server, self.clients.as_ref());
        let new = of != *made_of;
        if new {
            let config = server_config(&provider, &self.server, self.clients.as_ref());
            *self.config.write() = Arc::new(config.map_err(unusable(&self.files.certificate))?);
            *made_of = of;
        }
        match (server, clients) {
            (Ok(_), Ok(_)) => Ok(new),
            (Err(server), Err(clients)) => {
                Err(ConsoleTlsError::Both { server: Box::new(server), clients: Box::new(clients) })
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// Looks every second whether a file has changed, until it is aborted.
    pub(crate) fn follow(self: &Arc<Self>) -> JoinHandle<()> {
        let tls = Arc::clone(self);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(LOOK_EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut complaint = Complaint::default();
            loop {
                ticks.tick().await;
                let looking = Arc::clone(&tls);
                // A panic was reported, and the next look tries again.
                let Ok(looked) = tokio::task::spawn_blocking(move || looking.reload()).await else {
                    continue;
                };
                let new = complaint.is_new(&looked);
                match looked {
                    Ok(true) => tracing::info!("the console took new certificates"),
                    Err(error) if new => tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "files of the console's TLS cannot be used; what they said before stays in force"
                    ),
                    Ok(false) | Err(_) => {}
                }
            }
        })
    }

    /// For the next handshake.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read())
    }

    /// The host by which the server's certificate can be checked by whoever connects to `address`: that, or the first of its names.
    pub(crate) fn host(&self, address: IpAddr) -> Option<String> {
        let mut names = pem::hosts_of(self.server.current().0.cert.first()?);
        let own = names.iter().position(|name| *name == address.to_string()).unwrap_or(0);
        (own < names.len()).then(|| names.swap_remove(own))
    }

    /// The certificate that a client has shown. A handshake that took up an earlier one did not look at it again, so it counts as
    /// not verified yet.
    pub(crate) fn shown(
        self: &Arc<Self>,
        chain: Option<&[CertificateDer<'_>]>,
    ) -> Option<Arc<ShownCertificate>> {
        let chain: Vec<_> = chain?.iter().map(|one| one.clone().into_owned()).collect();
        let read = ClientCertificate::read(chain.first()?);
        let verified = AtomicU64::new(NEVER);
        Some(Arc::new(ShownCertificate { tls: Arc::clone(self), chain, read, verified }))
    }
}

/// No generation.
const NEVER: u64 = u64::MAX;

/// The certificate that the client of a connection has shown.
#[derive(Debug)]
pub(crate) struct ShownCertificate {
    tls: Arc<ConsoleTls>,
    chain: Vec<CertificateDer<'static>>,
    /// None when it says nothing that can be read.
    read: Option<ClientCertificate>,
    /// The generation that found it good.
    verified: AtomicU64,
}

impl ShownCertificate {
    /// What it says, if it holds now: verified once by what is in force, and not expired since.
    ///
    /// # Errors
    /// Why it does not hold any more.
    pub(crate) fn holds(&self) -> Result<&ClientCertificate, CertificateRefusal> {
        let now = UnixTime::now();
        let read = self.read.as_ref().ok_or(CertificateRefusal::Unknown)?;
        if read.expired(now) {
            return Err(CertificateRefusal::Expired);
        }
        let clients = self.tls.clients.as_ref().ok_or(CertificateRefusal::Foreign)?;
        let (verifier, generation) = clients.current();
        if self.verified.load(Ordering::Acquire) != generation {
            let [leaf, between @ ..] = &self.chain[..] else { return Err(CertificateRefusal::Foreign) };
            verifier.verify_client_cert(leaf, between, now).map_err(|error| match error {
                rustls::Error::InvalidCertificate(CertificateError::Revoked) => CertificateRefusal::Revoked,
                rustls::Error::InvalidCertificate(
                    CertificateError::Expired | CertificateError::ExpiredContext { .. },
                ) => CertificateRefusal::Expired,
                _ => CertificateRefusal::Foreign,
            })?;
            self.verified.store(generation, Ordering::Release);
        }
        Ok(read)
    }

    /// Comes to its end when it does not hold any more, a second later at most.
    pub(crate) async fn ends(self: Arc<Self>) -> CertificateRefusal {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            if let Err(refusal) = self.holds() {
                return refusal;
            }
        }
    }
}

/// Where a connection comes from, and what its client has shown.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub address: Option<SocketAddr>,
    pub certificate: Option<Arc<ShownCertificate>>,
}

/// Takes a client's certificate from requests that a page of another site makes its browser send: a browser shows a certificate to
/// whoever asks, as it does with cookies. A token it does not know, so that one counts.
pub(crate) fn own_pages_only(request: &mut Request) {
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
            // An authority above it has no list.
            CertificateError::UnknownRevocationStatus => "certificate_unlisted",
            // An authority of the same name, with another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => "certificate_foreign",
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate_expired",
            _ => "certificate_bad",
        },
        rustls::Error::AlertReceived(_) => "tls_alert",
        _ => "tls_failed",
    }
}

fn generations(server: &Followed<CertifiedKey>, clients: Option<&Followed<Verifier>>) -> Generations {
    (server.current().1, clients.map(|clients| clients.current().1))
}

fn unusable<E: std::fmt::Display>(file: &Path) -> impl FnOnce(E) -> ConsoleTlsError {
    let file = file.to_owned();
    move |problem| ConsoleTlsError::Unusable { file, problem: problem.to_string() }
}

fn certified(files: &ConsoleTlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, ConsoleTlsError> {
    let (chain, key) = (pem::certificates(&files.certificate)?, pem::key(&files.key)?);
    // Checks that key and certificate belong together, so that half of a change is not taken.
    CertifiedKey::from_der(chain, key, provider).map_err(unusable(&files.certificate))
}

fn verifier(trust: &ClientTrust, provider: &Arc<CryptoProvider>) -> Result<Verifier, ConsoleTlsError> {
    let mut roots = RootCertStore::empty();
    for root in pem::certificates(&trust.roots)? {
        roots.add(root).map_err(unusable(&trust.roots))?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .allow_unauthenticated();
    if let Some(file) = &trust.revoked {
        // Also of authorities between: one that was taken back vouches for nobody. Of whom no list tells, that is not known to be
        // good: their certificates are refused.
        builder = builder.with_crls(pem::revocation_lists(file)?);
    }
    builder.build().map_err(unusable(&trust.roots))
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    server: &Followed<CertifiedKey>,
    clients: Option<&Followed<Verifier>>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&version::TLS13])?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::clone(&clients.current().0)),
        None => builder.with_no_client_auth(),
    };
    let certified = CertifiedKey::clone(&server.current().0);
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // What a returning client needs is in its ticket. New keys with each configuration, so that nobody comes in by a root that
    // is no longer trusted.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(config)
}
