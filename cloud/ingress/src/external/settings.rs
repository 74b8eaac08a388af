//! What the node must know of the broker.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use remuda_model::{SHARDS, ShardId};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// How an external broker is reached and used.
#[derive(Debug, Clone)]
pub struct BrokerSettings {
    /// Name or address of its host; with TLS its certificate must name it.
    pub host: String,
    /// Port of its MQTT listener.
    pub port: u16,
    /// User name and password; none where a certificate says enough.
    pub login: Option<BrokerLogin>,
    /// TLS; none is plain TCP.
    pub tls: Option<Arc<ClientConfig>>,
    /// The node's client ids begin with it; a random part follows, so that no two nodes take each other's place.
    pub client_id: String,
    /// Connections that receive. One subscribes with a single filter, several divide the shards among them.
    pub connections: u16,
    /// A ping is sent after so long without traffic.
    pub keep_alive: Duration,
    /// A vehicle that says nothing for so long is asked whether it is there.
    pub silence: Duration,
    /// Most vehicles known at a time; beyond, the longest silent ones are forgotten.
    pub vehicles_max: usize,
}

impl BrokerSettings {
    /// The usual numbers.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            login: None,
            tls: None,
            client_id: "remuda".to_owned(),
            connections: 1,
            keep_alive: Duration::from_secs(30),
            silence: Duration::from_secs(600),
            vehicles_max: 100_000,
        }
    }

    /// The filters of a receiving connection.
    pub(crate) fn filters(&self, connection: u16) -> Vec<String> {
        if self.connections <= 1 {
            return vec!["remuda/v1/+/up/+/+".to_owned()];
        }
        self.shards(connection).map(|shard| format!("remuda/v1/+/up/{shard}/+")).collect()
    }

    /// The shards of a receiving connection.
    pub(crate) fn shards(&self, connection: u16) -> impl Iterator<Item = ShardId> {
        (connection..SHARDS).step_by(usize::from(self.connections.max(1))).filter_map(ShardId::new)
    }
}

/// As whom the node logs in at the broker.
#[derive(Clone)]
pub struct BrokerLogin {
    /// User name.
    pub username: String,
    /// Password; never shown.
    pub password: String,
}

impl fmt::Debug for BrokerLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerLogin").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A file of the broker's TLS that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {reason}")]
pub struct BrokerTlsError {
    /// Which file.
    pub file: PathBuf,
    /// Why, and what to do.
    pub reason: String,
}

/// TLS towards the broker: trust in the authorities of `ca_file`, and the node's own certificate where it has one
/// (certificate and key file, PEM).
///
/// # Errors
/// The file that cannot be read or holds something else.
pub fn broker_tls(ca_file: &Path, own: Option<(&Path, &Path)>) -> Result<Arc<ClientConfig>, BrokerTlsError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(ca_file)? {
        roots.add(authority).map_err(|e| wrong(ca_file, format!("not an authority's certificate: {e}")))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong(ca_file, e.to_string()))?
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key_file)) => {
            let key = PrivateKeyDer::from_pem_file(key_file)
                .map_err(|e| wrong(key_file, format!("holds no private key in PEM: {e}")))?;
            builder
                .with_client_auth_cert(certificates(certificate)?, key)
                .map_err(|e| wrong(certificate, format!("does not belong to the key: {e}")))?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, BrokerTlsError> {
    let pem = fs::read(file).map_err(|e| wrong(file, format!("cannot be read: {e}")))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(wrong(file, "holds no certificate in PEM".to_owned())),
        Err(e) => Err(wrong(file, format!("holds no certificate in PEM: {e}"))),
    }
}

fn wrong(file: &Path, reason: String) -> BrokerTlsError {
    BrokerTlsError { file: file.to_path_buf(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_divide_the_shards() {
        let mut settings = BrokerSettings::new("localhost", 1883);
        assert_eq!(settings.filters(0), ["remuda/v1/+/up/+/+"]);
        settings.connections = 3;
        let mut all: Vec<String> = (0..3).flat_map(|connection| settings.filters(connection)).collect();
        assert!(settings.filters(2).contains(&"remuda/v1/+/up/2/+".to_owned()));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), usize::from(SHARDS));
    }

    #[test]
    fn a_password_is_not_shown() {
        let login = BrokerLogin { username: "cloud".into(), password: "hush-hush".into() };
        let settings = BrokerSettings { login: Some(login), ..BrokerSettings::new("localhost", 1883) };
        let shown = format!("{settings:?}");
        assert!(shown.contains("cloud") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    fn a_wrong_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        let missing = broker_tls(&file, None).expect_err("missing").to_string();
        assert!(missing.contains("ca.pem") && missing.contains("read"), "{missing}");
        fs::write(&file, "nothing").expect("written");
        let empty = broker_tls(&file, None).expect_err("empty").to_string();
        assert!(empty.contains("no certificate"), "{empty}");
    }
}
