//! Configuration: defaults < file < environment (`REMUDA__SECTION__KEY`) < flags. Unknown keys are errors.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

/// Everything a node can be told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of everything durable: `journal/`, `lake/`, `identity/`.
    pub data_dir: PathBuf,
    /// The vehicles' door.
    pub door: Door,
    /// The people's door.
    pub console: Console,
    /// The lake's rounds.
    pub lake: Lake,
    /// The vehicle actors.
    pub vehicles: Vehicles,
    /// Logs.
    pub log: Log,
    /// The map that the console draws.
    pub map: Map,
}

/// The vehicles' door.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Door {
    /// Address and port; port 0 takes a free one. Plain TCP, so only a loopback address is accepted.
    pub listen: SocketAddr,
    /// Who a vehicle is: `enrolled` (its enrolment secret) or `trust-loopback` (it is who it says; simulators only).
    pub identity: Identity,
    /// Most connections at a time.
    pub connections_max: usize,
}

/// How the door knows a vehicle.
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
    /// The token that people and tools show. Empty: a random one is made at start-up and printed.
    pub token: String,
}

/// The lake's rounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lake {
    /// Longest time between commits, ms, 10 to 60,000.
    pub round_interval_ms: u64,
    /// A round is closed early at this size, bytes, 64 KiB to 1 GiB.
    pub round_bytes_max: usize,
    /// Time between checkpoints, ms, 100 to 3,600,000.
    pub checkpoint_interval_ms: u64,
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
            console: Console::default(),
            lake: Lake::default(),
            vehicles: Vehicles::default(),
            log: Log::default(),
            map: Map::default(),
        }
    }
}

impl Default for Door {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 1883)),
            identity: Identity::Enrolled,
            connections_max: 100_000,
        }
    }
}

impl Default for Console {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 7070)), token: String::new() }
    }
}

impl Default for Lake {
    fn default() -> Self {
        Self { round_interval_ms: 1_000, round_bytes_max: 32 << 20, checkpoint_interval_ms: 60_000 }
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
        fn within<T: PartialOrd + ToString>(
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
        within("lake.round_interval_ms", self.lake.round_interval_ms, 10, 60_000, "10 to 60000")?;
        within("lake.round_bytes_max", self.lake.round_bytes_max, 64 << 10, 1 << 30, "65536 to 1073741824")?;
        let checkpoint = self.lake.checkpoint_interval_ms;
        within("lake.checkpoint_interval_ms", checkpoint, 100, 3_600_000, "100 to 3600000")?;
        let in_flight = self.vehicles.in_flight_bytes_max;
        within("vehicles.in_flight_bytes_max", in_flight, 1 << 20, 4 << 30, "1048576 to 4294967296")?;
        within("vehicles.idle_s", self.vehicles.idle_s, 1, 86_400, "1 to 86400")?;
        within("door.connections_max", self.door.connections_max, 1, 1_000_000, "1 to 1000000")?;
        if !self.door.listen.ip().is_loopback() {
            return Err(ConfigError::Range {
                key: "door.listen",
                value: self.door.listen.to_string(),
                must: "a loopback address such as 127.0.0.1:1883, since the door speaks plain TCP",
            });
        }
        if !self.console.listen.ip().is_loopback() {
            return Err(ConfigError::Range {
                key: "console.listen",
                value: self.console.listen.to_string(),
                must: "a loopback address such as 127.0.0.1:7070, since the console speaks plain TCP",
            });
        }
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
    fn a_value_out_of_range_is_named() {
        let sentence = load("[lake]\nround_interval_ms = 0\n").expect_err("zero").to_string();
        assert!(
            sentence.contains("lake.round_interval_ms") && sentence.contains("10 to 60000"),
            "{sentence}"
        );
    }

    #[test]
    fn plain_tcp_stays_at_home() {
        let sentence = load("[door]\nlisten = \"0.0.0.0:1883\"\n").expect_err("not loopback").to_string();
        assert!(sentence.contains("loopback"), "{sentence}");
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
