//! The TLS of the vehicles' ports: one configuration at a time, made anew when a file changes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, RwLock};
use remuda_identity::Register;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig, version};

use crate::verifier::VehicleVerifier;

/// Where the server's key and certificates are. All PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate and those up to the root.
    pub certificate: PathBuf,
    /// Its key; may be the same file.
    pub key: PathBuf,
    /// The roots by which vehicles are known, one or more.
    pub trust: PathBuf,
}

/// Why the vehicles' ports have no TLS: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("the file {file} cannot be read: {source}; correct its path in [identity], or its permissions")]
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
    #[error("the certificate {file} cannot be used: {problem}")]
    Unusable {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// The configurations of the two ports.
struct Configs {
    door: Arc<ServerConfig>,
    enrolment: Arc<ServerConfig>,
}

/// What tells that a file is another one.
type Stamp = Option<(SystemTime, u64)>;

/// The TLS of the vehicles' ports. A connection keeps the configuration it began with.
pub struct VehicleTls {
    files: TlsFiles,
    register: Arc<Register>,
    configs: RwLock<Configs>,
    /// Of the files that were read last, usable or not: a broken one is complained about once.
    stamps: Mutex<[Stamp; 3]>,
}

impl std::fmt::Debug for VehicleTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VehicleTls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// How often files and the register are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl VehicleTls {
    /// Reads the files.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn open(files: TlsFiles, register: Arc<Register>) -> Result<Arc<Self>, TlsError> {
        let stamps = Mutex::new(stamps_of(&files));
        let configs = RwLock::new(configs_of(&files, &register)?);
        Ok(Arc::new(Self { files, register, configs, stamps }))
    }

    /// Reads the files again if one of them has changed; answers whether. What is open stays open.
    ///
    /// # Errors
    /// One sentence that names the file; the configuration is the one before.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let mut stamps = self.stamps.lock();
        let now = stamps_of(&self.files);
        if *stamps == now {
            return Ok(false);
        }
        *stamps = now;
        let configs = configs_of(&self.files, &self.register)?;
        *self.configs.write() = configs;
        Ok(true)
    }

    /// Looks every second whether a file has changed or another process wrote to the register, until it is aborted.
    pub fn follow(self: &Arc<Self>) -> JoinHandle<()> {
        let tls = Arc::clone(self);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(LOOK_EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut register_failed = false;
            loop {
                ticks.tick().await;
                let looking = Arc::clone(&tls);
                // It cannot be told off here: a panic in it was reported, and the next look tries again.
                let Ok((reloaded, refreshed)) =
                    tokio::task::spawn_blocking(move || (looking.reload(), looking.register.refresh())).await
                else {
                    continue;
                };
                match reloaded {
                    Ok(false) => {}
                    Ok(true) => tracing::info!("the vehicles' ports took new certificates"),
                    Err(error) => {
                        tracing::warn!(%error, "new certificates cannot be used; the old ones stay")
                    }
                }
                if let Err(error) = &refreshed
                    && !register_failed
                {
                    tracing::warn!(%error, "the register of vehicles cannot be read; what was known stays");
                }
                register_failed = refreshed.is_err();
            }
        })
    }

    /// The register that decides who is admitted.
    pub fn register(&self) -> &Arc<Register> {
        &self.register
    }

    /// For MQTT: a client certificate is required.
    pub(crate) fn door(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.configs.read().door)
    }

    /// For HTTPS: who has no client certificate yet may come in.
    pub(crate) fn enrolment(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.configs.read().enrolment)
    }
}

fn stamps_of(files: &TlsFiles) -> [Stamp; 3] {
    let stamp = |file: &PathBuf| {
        let meta = fs::metadata(file).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    [stamp(&files.certificate), stamp(&files.key), stamp(&files.trust)]
}

fn configs_of(files: &TlsFiles, register: &Arc<Register>) -> Result<Configs, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates(&files.certificate)?;
    let key = read(&files.key)?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|_| TlsError::Pem { file: files.key.clone(), what: "a private key" })?;
    let unusable = |file: &Path| {
        let file = file.to_owned();
        move |problem: rustls::Error| TlsError::Unusable { file, problem: problem.to_string() }
    };
    // Checks that key and certificate belong together, so that half of a change is not taken.
    let certified = CertifiedKey::from_der(chain, key, &provider).map_err(unusable(&files.certificate))?;
    let mut roots = RootCertStore::empty();
    for root in certificates(&files.trust)? {
        roots.add(root).map_err(unusable(&files.trust))?;
    }
    let roots = Arc::new(roots);
    let verifier = |optional: bool| {
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let builder = if optional { builder.allow_unauthenticated() } else { builder };
        let inner = builder
            .build()
            .map_err(|e| TlsError::Unusable { file: files.trust.clone(), problem: e.to_string() })?;
        Ok(VehicleVerifier::new(inner, Arc::clone(register)))
    };
    // By then vehicles know the root: it need not be sent to each of them at each connect.
    let short = CertifiedKey::new(without_root(&certified.cert), Arc::clone(&certified.key));
    let door = server_config(&provider, verifier(false)?, short).map_err(unusable(&files.certificate))?;
    let mut enrolment =
        server_config(&provider, verifier(true)?, certified).map_err(unusable(&files.certificate))?;
    enrolment.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Configs { door: Arc::new(door), enrolment: Arc::new(enrolment) })
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    verifier: VehicleVerifier,
    certified: CertifiedKey,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(Only(Arc::new(certified))));
    // What a returning vehicle needs is in its ticket: nothing is kept here for those who are away. New keys with each
    // configuration, so that nobody comes in by a root that is no longer trusted.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// The same certificate for whatever name the client asked.
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl rustls::server::ResolvesServerCert for Only {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn without_root(chain: &[CertificateDer<'static>]) -> Vec<CertificateDer<'static>> {
    match chain {
        [leaf, between @ .., _root] => std::iter::once(leaf).chain(between).cloned().collect(),
        _ => chain.to_vec(),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|source| TlsError::Read { file: file.into(), source })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(file)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    read.ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| TlsError::Pem { file: file.into(), what: "certificates" })
}
