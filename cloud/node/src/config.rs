//! Configuration: defaults < file < environment (`REMUDA__SECTION__KEY`) < flags. Unknown keys are errors.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

use crate::access::{AccountConfig, OidcConfig, access, parts_have_records};
pub use crate::backup::Backup;
pub use crate::broker::Broker;
use crate::business::BusinessConfig;
use crate::console_tls::{self, ConsoleTlsConfig};
use crate::feeds::FeedsConfig;
use crate::identity;
pub use crate::identity::{Enrolment, Identities};
pub use crate::lake_config::Lake;
use crate::operations::CommandsConfig;

/// Everything a node can be told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of everything durable: `journal/`, `lake/`, `identity/`.
    pub data_dir: PathBuf,
    /// The vehicles' door.
    pub door: Door,
    /// The vehicles' HTTPS port.
    pub enrolment: Enrolment,
    /// Certificates.
    pub identity: Identities,
    /// An external broker, instead of that door or beside it.
    pub broker: Broker,
    /// The people's door.
    pub console: Console,
    /// The ride business.
    pub business: BusinessConfig,
    /// What one person may not do alone.
    pub commands: CommandsConfig,
    /// The lake.
    pub lake: Lake,
    /// The vehicle actors.
    pub vehicles: Vehicles,
    /// Logs.
    pub log: Log,
    /// The map that the console draws.
    pub map: Map,
    /// Backups.
    pub backup: Backup,
    /// Feeds to customers' systems.
    pub feeds: FeedsConfig,
}

/// The vehicles' door.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Door {
    /// Address and port for MQTT over TLS with vehicles' certificates; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Address and port for MQTT over plain TCP, on loopback only: for simulators and tests. None: there is none.
    pub plain_listen: Option<SocketAddr>,
    /// Who a vehicle is over plain TCP: `enrolled` (its secret of `remuda vehicles enroll`) or `trust-loopback` (it is
    /// who it says).
    pub identity: Identity,
    /// Most connections at a time.
    pub connections_max: usize,
    /// Messages a second of one vehicle, 1 to 100,000; beyond, the door reads it no faster.
    pub messages_per_second: u32,
    /// Bytes a second of one vehicle, 65,536 to 1,073,741,824; beyond, the door reads it no faster.
    pub bytes_per_second: u32,
    /// Longest MQTT packet, bytes, 131,584 (a payload of 128 KiB with its topic) to 1,048,576.
    pub packet_bytes_max: usize,
    /// Logins of one vehicle in a minute, 1 to 10,000; further ones are turned away.
    pub logins_per_minute: u32,
    /// Connections of one address in a minute that fail by its own fault, 10 to 10,000,000; then it is not listened to.
    pub failures_per_minute: u32,
}

/// How the plain door knows a vehicle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// By the secret of its enrolment.
    Enrolled,
    /// By its own word, from this machine only.
    TrustLoopback,
}

/// The people's door.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether plain text may leave this machine: where a proxy in front ends TLS.
    pub allow_plain_text: bool,
    /// The token of the node's administrator. Empty: a random one is made at start-up and printed.
    pub token: String,
    /// Calls a second that one caller may make, 1 to 1,000,000.
    pub calls_per_second: u32,
    /// Calls that one caller may make at once, 1 to 1,000,000.
    pub calls_burst: u32,
    /// TLS on this port.
    pub tls: ConsoleTlsConfig,
    /// Accounts with tokens or certificates of their own, for machines and small teams.
    pub accounts: Vec<AccountConfig>,
    /// The issuer of people's tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc: Option<OidcConfig>,
}

/// The vehicle actors.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Vehicles {
    /// Bytes in flight (received, not durable) on the whole node, 1 MiB to 4 GiB. Credit is granted out of it.
    pub in_flight_bytes_max: usize,
    /// An actor that hears nothing this long is passivated, s, 1 to 86,400.
    pub idle_s: u64,
}

/// Logs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` or `json`.
    pub format: String,
    /// Such as `info` or `warn,remuda_lake=debug`.
    pub filter: String,
}

/// The map that the console draws.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Map {
    /// OpenStreetMap extract, `.osm.pbf`, `.osm` or `.osm.gz`. None: no roads are drawn.
    pub file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "remuda-data".into(),
            door: Door::default(),
            enrolment: Enrolment::default(),
            identity: Identities::default(),
            broker: Broker::default(),
            console: Console::default(),
            business: BusinessConfig::default(),
            commands: CommandsConfig::default(),
            lake: Lake::default(),
            vehicles: Vehicles::default(),
            log: Log::default(),
            map: Map::default(),
            backup: Backup::default(),
            feeds: FeedsConfig::default(),
        }
    }
}

impl Default for Door {
    fn default() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 8883));
        let usual = remuda_ingress::DoorSettings::new(listen);
        let limits = usual.vehicle;
        Self {
            listen,
            plain_listen: None,
            identity: Identity::Enrolled,
            connections_max: 100_000,
            messages_per_second: limits.messages_per_second,
            bytes_per_second: limits.bytes_per_second,
            packet_bytes_max: usual.session.packet_bytes_max,
            logins_per_minute: limits.logins_per_minute,
            failures_per_minute: limits.failures_per_minute,
        }
    }
}

impl Default for Console {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7070)),
            allow_plain_text: false,
            token: String::new(),
            calls_per_second: 2_000,
            calls_burst: 4_000,
            tls: ConsoleTlsConfig::default(),
            accounts: Vec::new(),
            oidc: None,
        }
    }
}

impl Default for Vehicles {
    fn default() -> Self {
        Self { in_flight_bytes_max: 64 << 20, idle_s: 120 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: "text".into(), filter: "info".into() }
    }
}

/// Why a configuration is refused: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// An account or an issuer that cannot be used.
    #[error("{0}")]
    Access(String),
    /// The file is not there or cannot be read.
    #[error("the configuration file {file} cannot be read: {reason}; name an existing file with --config")]
    File {
        /// Its path.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// A key is unknown, or a value has the wrong type.
    #[error("the configuration is wrong: {0}")]
    Shape(String),
    /// A value is out of its range.
    #[error("the configuration is wrong: {key} is {value}, it must be {must}")]
    Range {
        /// `section.key`.
        key: &'static str,
        /// What it is.
        value: String,
        /// What it must be.
        must: &'static str,
    },
}

impl Config {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// One sentence that names the key and says what to do.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            let text = std::fs::read_to_string(file)
                .map_err(|e| ConfigError::File { file: file.into(), reason: e.to_string() })?;
            figment = figment.merge(Toml::string(&text));
        }
        figment = figment.merge(Env::prefixed("REMUDA__").split("__"));
        let config: Self = figment.extract().map_err(|e| ConfigError::Shape(one_line(&e)))?;
        config.check()?;
        Ok(config)
    }

    /// Checks every value's range.
    ///
    /// # Errors
    /// The first value that is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.lake.check()?;
        let in_flight = self.vehicles.in_flight_bytes_max;
        within("vehicles.in_flight_bytes_max", in_flight, 1 << 20, 4 << 30, "1048576 to 4294967296")?;
        within("vehicles.idle_s", self.vehicles.idle_s, 1, 86_400, "1 to 86400")?;
        let door = &self.door;
        within("door.connections_max", door.connections_max, 1, 1_000_000, "1 to 1000000")?;
        within("door.messages_per_second", door.messages_per_second, 1, 100_000, "1 to 100000")?;
        within("door.bytes_per_second", door.bytes_per_second, 1 << 16, 1 << 30, "65536 to 1073741824")?;
        within("door.packet_bytes_max", door.packet_bytes_max, 131_584, 1 << 20, "131584 to 1048576")?;
        within("door.logins_per_minute", door.logins_per_minute, 1, 10_000, "1 to 10000")?;
        within("door.failures_per_minute", door.failures_per_minute, 10, 10_000_000, "10 to 10000000")?;
        self.broker.check()?;
        self.backup.check()?;
        self.feeds.check()?;
        identity::check(&self.enrolment, &self.identity)?;
        if let Some(plain) = self.door.plain_listen.filter(|plain| !plain.ip().is_loopback()) {
            return Err(ConfigError::Range {
                key: "door.plain_listen",
                value: plain.to_string(),
                must: "a loopback address such as 127.0.0.1:1883; vehicles elsewhere come over TLS, to door.listen",
            });
        }
        console_tls::check(&self.console)?;
        let console = &self.console;
        within("console.calls_per_second", console.calls_per_second, 1, 1_000_000, "1 to 1000000")?;
        within("console.calls_burst", console.calls_burst, 1, 1_000_000, "1 to 1000000")?;
        self.business.check(self.feeds.reaches_private())?;
        self.commands.check()?;
        access(&self.console).map_err(ConfigError::Access)?;
        parts_have_records(&self.console, self.business.enabled).map_err(ConfigError::Access)?;
        if !self.console.token.is_empty() && self.console.token.len() < 16 {
            return Err(ConfigError::Range {
                key: "console.token",
                value: "too short".into(),
                must: "at least 16 characters, or empty for a random one",
            });
        }
        if !["text", "json"].contains(&self.log.format.as_str()) {
            return Err(ConfigError::Range {
                key: "log.format",
                value: self.log.format.clone(),
                must: "text or json",
            });
        }
        Ok(())
    }

    /// The configuration as a file, secrets left out.
    pub fn to_toml(&self) -> String {
        let mut shown = self.clone();
        if !shown.console.token.is_empty() {
            shown.console.token = "(hidden)".into();
        }
        toml::to_string(&shown).unwrap_or_default()
    }
}

/// Checks that a value is in its range.
pub(crate) fn within<T: PartialOrd + ToString>(
    key: &'static str,
    value: T,
    low: T,
    high: T,
    must: &'static str,
) -> Result<(), ConfigError> {
    if value < low || value > high {
        return Err(ConfigError::Range { key, value: value.to_string(), must });
    }
    Ok(())
}

fn one_line(error: &figment::Error) -> String {
    let sentences: Vec<String> = error
        .clone()
        .into_iter()
        .map(|e| {
            let key = e.path.join(".");
            let of = if key.is_empty() { String::new() } else { format!(" (at {key})") };
            format!("{}{of}", e.kind)
        })
        .collect();
    sentences.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("remuda.toml");
        std::fs::write(&file, text).expect("written");
        Config::load(Some(&file))
    }

    #[test]
    fn the_defaults_hold() {
        assert!(Config::default().check().is_ok());
        let printed = Config::default().to_toml();
        assert_eq!(load(&printed).expect("what is printed can be read").to_toml(), printed);
    }

    #[test]
    fn an_unknown_key_is_named() {
        let sentence =
            load("[door]\nlisten = \"127.0.0.1:0\"\nlissten = 3\n").expect_err("unknown").to_string();
        assert!(sentence.contains("lissten") && sentence.contains("door"), "{sentence}");
    }

    #[test]
    fn compaction_is_switched_off_by_zero_only() {
        assert!(load("[lake]\ncompact_interval_s = 0\nhistory_days = 0\n").is_ok());
        let sentence = load("[lake]\ncompact_interval_s = 90000\n").expect_err("too rare").to_string();
        assert!(
            sentence.contains("lake.compact_interval_s is 90000") && sentence.contains("0 (never)"),
            "{sentence}"
        );
    }

    #[test]
    fn a_value_out_of_range_is_named() {
        let sentence = load("[lake]\nround_interval_ms = 0\n").expect_err("zero").to_string();
        assert!(
            sentence.contains("lake.round_interval_ms") && sentence.contains("10 to 60000"),
            "{sentence}"
        );
    }

    #[test]
    fn the_doors_limits_have_ranges() {
        for (text, key) in [
            ("messages_per_second = 0", "door.messages_per_second"),
            ("bytes_per_second = 1000", "door.bytes_per_second"),
            ("packet_bytes_max = 65536", "door.packet_bytes_max"),
            ("logins_per_minute = 0", "door.logins_per_minute"),
            ("failures_per_minute = 5", "door.failures_per_minute"),
        ] {
            let sentence = load(&format!("[door]\n{text}\n")).expect_err(key).to_string();
            assert!(sentence.contains(key), "{sentence}");
        }
    }

    #[test]
    fn plain_tcp_stays_at_home() {
        let sentence =
            load("[door]\nplain_listen = \"0.0.0.0:1883\"\n").expect_err("not loopback").to_string();
        assert!(sentence.contains("loopback") && sentence.contains("door.plain_listen"), "{sentence}");
        assert!(load("[door]\nlisten = \"0.0.0.0:8883\"\n").is_ok(), "TLS may go out");
    }

    #[test]
    fn identity_is_checked_at_the_start() {
        for (text, key) in [
            ("[enrolment]\ntoken_valid_h = 0\n", "enrolment.token_valid_h"),
            ("[enrolment]\ndoor_address = \"fleet.example\"\n", "enrolment.door_address"),
            ("[identity]\nserver_names = []\n", "identity.server_names"),
            ("[identity]\ncertificate_valid_days = 1000\n", "identity.certificate_valid_days"),
            ("[identity]\nkey_file = \"k.pem\"\n", "identity.key_file"),
        ] {
            let sentence = load(text).expect_err("refused").to_string();
            assert!(sentence.contains(key), "{sentence}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let sentence = Config::load(Some(Path::new("nowhere.toml"))).expect_err("missing").to_string();
        assert!(sentence.contains("nowhere.toml") && sentence.contains("--config"), "{sentence}");
    }

    #[test]
    fn the_token_is_not_printed() {
        let config = load("[console]\ntoken = \"0123456789abcdef\"\n").expect("fine");
        assert!(!config.to_toml().contains("0123456789abcdef"));
    }
}
