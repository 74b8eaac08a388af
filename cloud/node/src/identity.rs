//! Identity of vehicles: the configuration's sections, and opening register, authority and TLS.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use remuda_identity::{CaError, CommandKey, CommandKeyError, EmbeddedCa, Register, RegisterError};
use remuda_ingress::{
    EnrolmentError, EnrolmentMetrics, EnrolmentPort, EnrolmentSettings, TlsError, TlsFiles, VehicleTls,
};
use remuda_observability::Metrics;
use remuda_vehicles::{CommandSigner, Signer};
use serde::{Deserialize, Serialize};

use crate::config::{Config, ConfigError};
use crate::console_tls::TlsMode;

/// The vehicles' HTTPS port, where they get and renew their certificates.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Enrolment {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where vehicles are told to find the door, `host:port`. Empty: where it listens.
    pub door_address: String,
    /// How long an enrolment token is valid, h, 1 to 2,160.
    pub token_valid_h: u32,
}

impl Default for Enrolment {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8884)),
            door_address: String::new(),
            token_valid_h: 24,
        }
    }
}

impl Enrolment {
    /// How long a token is valid, ms.
    pub fn token_valid_ms(&self) -> i64 {
        i64::from(self.token_valid_h) * 3_600_000
    }
}

/// Certificates.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Identities {
    /// Names and addresses by which vehicles reach this node; they stand in its certificate.
    pub server_names: Vec<String>,
    /// How long a vehicle's certificate is valid, days, 1 to 825. It renews when a third is left.
    pub certificate_valid_days: u32,
    /// The server's certificate chain, PEM, with its root as the last. None: one of the embedded authority's.
    pub certificate_file: Option<PathBuf>,
    /// Its key, PEM.
    pub key_file: Option<PathBuf>,
    /// The roots by which vehicles are known, PEM. None: those of the embedded authority, `identity/ca.pem`.
    pub trust_file: Option<PathBuf>,
}

impl Default for Identities {
    fn default() -> Self {
        Self {
            server_names: ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
            certificate_valid_days: 90,
            certificate_file: None,
            key_file: None,
            trust_file: None,
        }
    }
}

/// Checks both sections.
pub(crate) fn check(enrolment: &Enrolment, identities: &Identities) -> Result<(), ConfigError> {
    let range = |key, value: String, must| Err(ConfigError::Range { key, value, must });
    if !(1..=2_160).contains(&enrolment.token_valid_h) {
        return range("enrolment.token_valid_h", enrolment.token_valid_h.to_string(), "1 to 2160");
    }
    let door = &enrolment.door_address;
    let host_and_port = |text: &str| {
        text.rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0))
    };
    if !door.is_empty() && !host_and_port(door) {
        return range("enrolment.door_address", door.clone(), "host:port, or empty");
    }
    if !(1..=825).contains(&identities.certificate_valid_days) {
        let days = identities.certificate_valid_days.to_string();
        return range("identity.certificate_valid_days", days, "1 to 825");
    }
    let names = &identities.server_names;
    if names.is_empty() || names.len() > 32 || names.iter().any(|name| name.is_empty() || name.len() > 253) {
        return range("identity.server_names", format!("{names:?}"), "1 to 32 names or addresses");
    }
    if identities.certificate_file.is_some() != identities.key_file.is_some() {
        let must = "named together with identity.key_file, or neither";
        return range("identity.certificate_file", "alone".into(), must);
    }
    Ok(())
}

/// Why vehicles' identities cannot be kept: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The register.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The authority.
    #[error(transparent)]
    Authority(#[from] CaError),
    /// The key that signs commands.
    #[error(transparent)]
    CommandKey(#[from] CommandKeyError),
    /// The server's certificate.
    #[error("identity.server_names: {0}")]
    Server(String),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTPS port.
    #[error(transparent)]
    Port(#[from] EnrolmentError),
}

/// Register, authority and TLS of a node. Dropping it stops what looks for changes.
pub(crate) struct Keeper {
    pub register: Arc<Register>,
    pub authority: Arc<EmbeddedCa>,
    pub tls: Arc<VehicleTls>,
    /// The embedded authority's certificate for this node, and its key, where one is in use.
    pub server_file: Option<PathBuf>,
    command_key: Arc<CommandKey>,
    following: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.following.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Keeper {
    /// What signs commands to vehicles.
    pub fn signer(&self) -> Signer {
        Signer(Some(Arc::new(KeySigner(Arc::clone(&self.command_key)))))
    }
}

struct KeySigner(Arc<CommandKey>);

impl CommandSigner for KeySigner {
    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(bytes)
    }
}

/// How often the server's own certificate is looked at.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(3_600);

/// Opens the register and the authority of the data folder; both are made when they are not there.
pub(crate) fn open(config: &Config) -> Result<(Register, EmbeddedCa), IdentityError> {
    let folder = config.data_dir.join("identity");
    let valid = Duration::from_secs(u64::from(config.identity.certificate_valid_days) * 86_400);
    // First the authority: it makes the folder that others cannot look into.
    let authority = EmbeddedCa::open(&folder, valid, SystemTime::now())?;
    Ok((Register::open(&folder)?, authority))
}

/// Opens everything and keeps looking at it.
pub(crate) fn keep(config: &Config) -> Result<Keeper, IdentityError> {
    let (register, authority) = open(config)?;
    let (register, authority) = (Arc::new(register), Arc::new(authority));
    let trust = config.identity.trust_file.clone().unwrap_or_else(|| authority.trust_file());
    let own = config.identity.certificate_file.clone().zip(config.identity.key_file.clone());
    let mut following = Vec::new();
    let mut server_file = None;
    if own.is_none() || config.console.tls.mode == TlsMode::Embedded {
        let names = config.identity.server_names.clone();
        let kept = authority.keep_server_certificate(&names, SystemTime::now());
        server_file = Some(kept.map_err(IdentityError::Server)?.0);
        following.push(tokio::spawn(renew(Arc::clone(&authority), names)));
    }
    let files = match (own, &server_file) {
        (Some((certificate, key)), _) => TlsFiles { certificate, key, trust },
        (None, Some(file)) => TlsFiles { certificate: file.clone(), key: file.clone(), trust },
        // Made above.
        (None, None) => return Err(IdentityError::Server("there is no certificate".to_owned())),
    };
    let tls = VehicleTls::open(files, Arc::clone(&register))?;
    following.push(tls.follow());
    let command_key = Arc::new(CommandKey::open(&config.data_dir.join("identity"))?);
    Ok(Keeper { register, authority, tls, server_file, command_key, following })
}

/// Renews the server's own certificate in time; the TLS that follows its file takes it.
async fn renew(authority: Arc<EmbeddedCa>, names: Vec<String>) {
    let mut ticks = tokio::time::interval(RENEWAL_INTERVAL);
    loop {
        ticks.tick().await;
        let (authority, names) = (Arc::clone(&authority), names.clone());
        let kept =
            tokio::task::spawn_blocking(move || authority.keep_server_certificate(&names, SystemTime::now()));
        match kept.await {
            Ok(Ok((_, false))) | Err(_) => {}
            Ok(Ok((file, true))) => {
                tracing::info!(file = %file.display(), "the server's certificate was renewed")
            }
            Ok(Err(error)) => tracing::warn!(
                error,
                "the server's certificate could not be renewed; it is tried again in an hour"
            ),
        }
    }
}

/// Opens the HTTPS port.
pub(crate) async fn open_port(
    config: &Config,
    keeper: &Keeper,
    door: Option<SocketAddr>,
    metrics: &Metrics,
) -> Result<EnrolmentPort, IdentityError> {
    let counted = EnrolmentMetrics::default();
    metrics.register(|registry| counted.register(registry));
    let settings = EnrolmentSettings {
        command_key: Some(keeper.command_key.public_hex()),
        ..EnrolmentSettings::new(config.enrolment.listen, door_address(config, door))
    };
    let issuer = Arc::clone(&keeper.authority);
    Ok(EnrolmentPort::bind(settings, Arc::clone(&keeper.tls), issuer, counted).await?)
}

/// What vehicles are told of the door.
fn door_address(config: &Config, door: Option<SocketAddr>) -> String {
    let told = &config.enrolment.door_address;
    match door {
        _ if !told.is_empty() => told.clone(),
        // Listening on every address is not an address.
        Some(at) if at.ip().is_unspecified() => {
            let name = config.identity.server_names.first().map_or("localhost", String::as_str);
            match name.parse::<std::net::IpAddr>() {
                Ok(ip) => SocketAddr::new(ip, at.port()).to_string(),
                Err(_) => format!("{name}:{}", at.port()),
            }
        }
        Some(at) => at.to_string(),
        None => config.broker.address.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vehicles_are_told_an_address_they_can_reach() {
        let mut config = Config::default();
        let at = |text: &str| Some(text.parse().expect("an address"));
        assert_eq!(door_address(&config, at("127.0.0.1:7")), "127.0.0.1:7");
        assert_eq!(door_address(&config, at("0.0.0.0:7")), "localhost:7");
        config.identity.server_names = vec!["::1".into()];
        assert_eq!(door_address(&config, at("[::]:7")), "[::1]:7");
        config.enrolment.door_address = "fleet.example:8883".into();
        assert_eq!(door_address(&config, at("0.0.0.0:7")), "fleet.example:8883");
    }
}
