//! The TLS of the vehicles' ports: one configuration at a time, made anew when a file changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use remuda_identity::pem::{self, PemError};
use remuda_identity::{Complaint, Followed, Register};
use tokio::task::JoinHandle;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
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
    /// A file does not give what it should.
    #[error(transparent)]
    Pem(#[from] PemError),
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

/// The TLS of the vehicles' ports. A connection keeps the configuration it began with.
pub struct VehicleTls {
    files: TlsFiles,
    register: Arc<Register>,
    configs: Followed<Configs>,
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
        let followed = [&files.certificate, &files.key, &files.trust].map(Clone::clone);
        let configs = Followed::open(followed, || configs_of(&files, &register))?;
        Ok(Arc::new(Self { files, register, configs }))
    }

    /// Reads the files again if one of them has changed, or could not be used; answers whether there is a new configuration. What is
    /// open stays open.
    ///
    /// # Errors
    /// One sentence that names the file; the configuration is the one before.
    pub fn reload(&self) -> Result<bool, TlsError> {
        self.configs.reload(|| configs_of(&self.files, &self.register))
    }

    /// Looks every second whether a file has changed or another process wrote to the register, until it is aborted.
    pub fn follow(self: &Arc<Self>) -> JoinHandle<()> {
        let tls = Arc::clone(self);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(LOOK_EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let (mut unusable, mut unreadable) = (Complaint::default(), Complaint::default());
            loop {
                ticks.tick().await;
                let looking = Arc::clone(&tls);
                // It cannot be told off here: a panic in it was reported, and the next look tries again.
                let Ok((reloaded, refreshed)) =
                    tokio::task::spawn_blocking(move || (looking.reload(), looking.register.refresh())).await
                else {
                    continue;
                };
                if unusable.is_new(&reloaded)
                    && let Err(error) = &reloaded
                {
                    tracing::warn!(%error, "new certificates cannot be used; the old ones stay");
                }
                if reloaded.is_ok_and(|new| new) {
                    tracing::info!("the vehicles' ports took new certificates");
                }
                if unreadable.is_new(&refreshed)
                    && let Err(error) = &refreshed
                {
                    tracing::warn!(%error, "the register of vehicles cannot be read; what was known stays");
                }
            }
        })
    }

    /// The register that decides who is admitted.
    pub fn register(&self) -> &Arc<Register> {
        &self.register
    }

    /// For MQTT: a client certificate is required.
    pub(crate) fn door(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.configs.current().0.door)
    }

    /// For HTTPS: who has no client certificate yet may come in.
    pub(crate) fn enrolment(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.configs.current().0.enrolment)
    }
}

fn configs_of(files: &TlsFiles, register: &Arc<Register>) -> Result<Configs, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = pem::certificates(&files.certificate)?;
    let key = pem::key(&files.key)?;
    let unusable = |file: &Path| {
        let file = file.to_owned();
        move |problem: rustls::Error| TlsError::Unusable { file, problem: problem.to_string() }
    };
    // Checks that key and certificate belong together, so that half of a change is not taken.
    let certified = CertifiedKey::from_der(chain, key, &provider).map_err(unusable(&files.certificate))?;
    let mut roots = RootCertStore::empty();
    for root in pem::certificates(&files.trust)? {
        roots.add(root).map_err(unusable(&files.trust))?;
    }
    let roots = Arc::new(roots);
    let verifier = |optional: bool| {
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let builder = if optional { builder.allow_unauthenticated() } else { builder };
        let inner = builder
            .build()
            .map_err(|e| TlsError::Unusable { file: files.trust.clone(), problem: e.to_string() })?;
        Ok::<_, TlsError>(VehicleVerifier::new(inner, Arc::clone(register)))
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
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    // What a returning vehicle needs is in its ticket: nothing is kept here for those who are away. New keys with each
    // configuration, so that nobody comes in by a root that is no longer trusted.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(config)
}

fn without_root(chain: &[CertificateDer<'static>]) -> Vec<CertificateDer<'static>> {
    match chain {
        [leaf, between @ .., _root] => std::iter::once(leaf).chain(between).cloned().collect(),
        _ => chain.to_vec(),
    }
}
