//! The external broker: the configuration's section, and opening it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use remuda_contracts::uplink::Intake;
use remuda_identity::Register;
use remuda_ingress::DoorMetrics;
use remuda_ingress::external::{
    BrokerError, BrokerHealth, BrokerLogin, BrokerMetrics, BrokerSettings, BrokerTlsError, ExternalBroker,
    broker_tls,
};
use remuda_observability::Metrics;
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;

/// An external MQTT broker through which vehicles come in (docs/external-brokers.md).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Broker {
    /// `host:port` of its MQTT 3.1.1 listener. Empty: there is none, and vehicles come to the node's own door.
    pub address: String,
    /// Opens the node's own door beside the broker.
    pub beside_door: bool,
    /// The user as whom the node logs in. Empty: without a login.
    pub username: String,
    /// File with that user's password on its first line.
    pub password_file: Option<PathBuf>,
    /// Certificates of the authorities that the broker's certificate may come from, PEM. None: plain TCP, for a broker
    /// on this machine only.
    pub ca_file: Option<PathBuf>,
    /// The node's own certificate for the broker, PEM.
    pub cert_file: Option<PathBuf>,
    /// Its private key, PEM.
    pub key_file: Option<PathBuf>,
    /// The node's client ids begin with it: 1 to 32 letters, digits and hyphens.
    pub client_id: String,
    /// Connections that receive, 1 to 16. With 1 a single filter is subscribed, with more each has its share of the
    /// 1,024 shards, with a filter each.
    pub connections: u16,
    /// A ping is sent after so long without traffic, s, 5 to 600.
    pub keep_alive_s: u16,
    /// A vehicle that says nothing for so long is asked whether it is there, s, 5 to 86,400.
    pub silence_s: u64,
    /// Most vehicles known at a time, 1 to 1,000,000; beyond, the longest silent ones are forgotten until they speak.
    pub vehicles_max: usize,
}

impl Default for Broker {
    fn default() -> Self {
        let usual = BrokerSettings::new("", 0);
        Self {
            address: String::new(),
            beside_door: false,
            username: String::new(),
            password_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            client_id: usual.client_id,
            connections: usual.connections,
            keep_alive_s: usual.keep_alive.as_secs() as u16,
            silence_s: usual.silence.as_secs(),
            vehicles_max: usual.vehicles_max,
        }
    }
}

/// Why the broker cannot be used: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum BrokerStartError {
    /// The password's file.
    #[error("broker.password_file {file}: {reason}")]
    Password {
        /// Which file.
        file: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file of its TLS.
    #[error("TLS to the external broker: {0}")]
    Tls(#[from] BrokerTlsError),
    /// The broker itself.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl Broker {
    /// Vehicles come in through a broker.
    pub fn is_used(&self) -> bool {
        !self.address.is_empty()
    }

    /// Vehicles may come to the node's own door.
    pub fn leaves_door_open(&self) -> bool {
        !self.is_used() || self.beside_door
    }

    fn host_and_port(&self) -> Option<(&str, u16)> {
        let (host, port) = self.address.rsplit_once(':')?;
        // An IPv6 address is written in brackets.
        let host = host.strip_prefix('[').map_or(Some(host), |host| host.strip_suffix(']'))?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        (!host.is_empty()).then_some((host, port))
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first value that cannot be.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, value: &str, must| Err(ConfigError::Range { key, value: value.to_owned(), must });
        let named = |file: &Option<PathBuf>| {
            file.as_deref().map_or("(none)", |f| f.to_str().unwrap_or("(odd)")).to_owned()
        };
        if !self.is_used() {
            return Ok(());
        }
        let Some((host, _)) = self.host_and_port() else {
            return wrong("broker.address", &self.address, "host:port, such as broker.example:8883");
        };
        let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if self.ca_file.is_none() && !here {
            return wrong(
                "broker.address",
                &self.address,
                "on this machine, since it is reached by plain TCP; for TLS name the broker's authority with broker.ca_file",
            );
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            return wrong(
                "broker.key_file",
                &named(&self.key_file),
                "named if and only if broker.cert_file is",
            );
        }
        if self.cert_file.is_some() && self.ca_file.is_none() {
            return wrong("broker.ca_file", "(none)", "named, since broker.cert_file is shown over TLS only");
        }
        if self.password_file.is_some() && self.username.is_empty() {
            return wrong("broker.username", "empty", "the user whose password is in broker.password_file");
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if self.client_id.is_empty() || self.client_id.len() > 32 || !self.client_id.chars().all(plain) {
            return wrong("broker.client_id", &self.client_id, "1 to 32 letters, digits and hyphens");
        }
        let ranges: [(&'static str, u64, u64, u64, &'static str); 4] = [
            ("broker.connections", self.connections.into(), 1, 16, "1 to 16"),
            ("broker.keep_alive_s", self.keep_alive_s.into(), 5, 600, "5 to 600"),
            ("broker.silence_s", self.silence_s, 5, 86_400, "5 to 86400"),
            ("broker.vehicles_max", self.vehicles_max as u64, 1, 1_000_000, "1 to 1000000"),
        ];
        match ranges.iter().find(|(_, value, low, high, _)| value < low || value > high) {
            Some((key, value, _, _, must)) => wrong(key, &value.to_string(), must),
            None => Ok(()),
        }
    }

    fn settings(&self) -> Result<BrokerSettings, BrokerStartError> {
        let (host, port) = self.host_and_port().unwrap_or_default();
        let login = match (&self.password_file, self.username.is_empty()) {
            (_, true) => None,
            (None, false) => Some(String::new()),
            (Some(file), false) => Some(password(file)?),
        };
        let own = self.cert_file.as_deref().zip(self.key_file.as_deref());
        let tls = self.ca_file.as_deref().map(|ca| broker_tls(ca, own)).transpose()?;
        Ok(BrokerSettings {
            login: login.map(|password| BrokerLogin { username: self.username.clone(), password }),
            tls,
            client_id: self.client_id.clone(),
            connections: self.connections,
            keep_alive: Duration::from_secs(self.keep_alive_s.into()),
            silence: Duration::from_secs(self.silence_s),
            vehicles_max: self.vehicles_max,
            ..BrokerSettings::new(host, port)
        })
    }
}

fn password(file: &Path) -> Result<String, BrokerStartError> {
    let wrong = |reason: String| BrokerStartError::Password { file: file.into(), reason };
    let text = std::fs::read_to_string(file).map_err(|e| wrong(format!("it cannot be read: {e}")))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(wrong("its first line must be the password".to_owned())),
    }
}

/// Opens the broker of the configuration, if it names one.
pub(crate) async fn open(
    config: &Broker,
    register: &Arc<Register>,
    intake: Arc<dyn Intake>,
    door_metrics: DoorMetrics,
    metrics: &Metrics,
    health: &OnceLock<BrokerHealth>,
) -> Result<Option<ExternalBroker>, BrokerStartError> {
    if !config.is_used() {
        return Ok(None);
    }
    let broker_metrics = BrokerMetrics::default();
    metrics.register(|registry| broker_metrics.register(registry));
    let (settings, register) = (config.settings()?, Some(Arc::clone(register)));
    let broker = ExternalBroker::open(settings, register, intake, door_metrics, broker_metrics).await?;
    if let Err(trouble) = broker.health().now() {
        tracing::warn!("{trouble}; the node serves, and goes on trying");
    }
    // Set once: a node has one broker.
    let _ = health.set(broker.health());
    Ok(Some(broker))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(change: impl FnOnce(&mut Broker)) -> Result<(), String> {
        let mut broker = Broker { address: "127.0.0.1:1884".into(), ..Broker::default() };
        change(&mut broker);
        broker.check().map_err(|e| e.to_string())
    }

    #[test]
    fn each_wrong_value_is_named_with_what_it_must_be() {
        assert_eq!(checked(|_| {}), Ok(()));
        assert_eq!(checked(|b| b.address = "[::1]:1884".into()), Ok(()));
        assert_eq!(Broker::default().check().map_err(|e| e.to_string()), Ok(()));
        type Case = (fn(&mut Broker), &'static str);
        let cases: [Case; 9] = [
            (|b| b.address = "broker".into(), "host:port"),
            (|b| b.address = "127.0.0.1:0".into(), "host:port"),
            (|b| b.address = "10.0.0.7:1883".into(), "broker.ca_file"),
            (|b| b.cert_file = Some("c".into()), "broker.key_file"),
            (|b| (b.cert_file, b.key_file) = (Some("c".into()), Some("k".into())), "broker.ca_file"),
            (|b| b.password_file = Some("p".into()), "broker.username"),
            (|b| b.client_id = "a/b".into(), "broker.client_id"),
            (|b| b.connections = 0, "1 to 16"),
            (|b| b.silence_s = 1, "5 to 86400"),
        ];
        for (change, sentence) in cases {
            let told = checked(change).expect_err(sentence);
            assert!(told.contains(sentence), "{told}");
        }
    }

    #[test]
    fn the_password_comes_from_its_file_and_is_not_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("password");
        let broker = Broker {
            address: "localhost:1884".into(),
            username: "cloud".into(),
            password_file: Some(file.clone()),
            ..Broker::default()
        };
        let missing = broker.settings().expect_err("missing").to_string();
        assert!(missing.contains("broker.password_file") && missing.contains("read"), "{missing}");
        std::fs::write(&file, "hush-hush\n").expect("written");
        let settings = broker.settings().expect("there");
        assert_eq!(settings.login.as_ref().map(|login| login.password.as_str()), Some("hush-hush"));
        assert!(!format!("{settings:?} {broker:?}").contains("hush"));
    }
}
