//! The agent's configuration: defaults < `agent.toml` < environment `REMUDA_AGENT__KEY` < flags; unknown keys are
//! errors. What enrolment gave stands apart, readable by its owner only: `identity/`, or for the plain door of a machine
//! that runs everything, `identity.toml` with a secret.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use remuda_edge_agent_core::{Policy, limits};
use remuda_model::{OrganizationId, VehicleId};
use serde::{Deserialize, Serialize};

use crate::identity::{self, Credentials, Folder, FolderError, Identity, IdentityError};

/// Name of the file with the secret for a plain door, in the data directory.
pub const IDENTITY_FILE: &str = "identity.toml";
/// Folder of the outbox, in the data directory.
pub const OUTBOX_FOLDER: &str = "outbox";

/// Why a configuration cannot be used: one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not there, no TOML, an unknown key, a wrong type.
    #[error(
        "the configuration {file} cannot be used: {source}; correct it, or write a new one with remuda-agent enroll"
    )]
    File {
        /// Which.
        file: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<figment::Error>,
    },
    /// A key has a value that makes no sense.
    #[error("{key} in the configuration {must}")]
    Value {
        /// Which.
        key: &'static str,
        /// What it must be.
        must: String,
    },
    /// A file it names cannot be read.
    #[error("{file} cannot be read: {source}; {advice}")]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// The secret's file is none. The parser's own message may quote the secret's line.
    #[error("{0} is no identity: {msg}; enrol this vehicle again with remuda-agent enroll", msg = .1.message())]
    Identity(PathBuf, toml::de::Error),
    /// The certificate's files.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The certificate, its key, or whom it trusts.
    #[error(transparent)]
    Certificate(#[from] IdentityError),
}

/// Where readings come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// JSON lines on standard input: `{"path":"Vehicle.Speed","value":12.3}`.
    Stdin,
    /// Nothing: the agent says that it is there.
    None,
}

/// `agent.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This vehicle's id.
    pub vehicle: VehicleId,
    /// Its organisation.
    #[serde(default)]
    pub organization: OrganizationId,
    /// `host:port` of the vehicles' door, in place of the one that enrolment gave.
    #[serde(default)]
    pub door: Option<String>,
    /// Directory of the identity and the outbox; relative to this file.
    #[serde(default = "here")]
    pub data: PathBuf,
    /// Where readings come from.
    #[serde(default = "stdin")]
    pub source: Source,
    /// A collection policy in place of the built-in one: a file, relative to this file, or `everything`.
    #[serde(default)]
    pub policy: Option<String>,
    /// A program that obeys commands, relative to this file; none: every command is refused.
    #[serde(default)]
    pub actuator: Option<PathBuf>,
    /// Bytes the outbox may hold.
    #[serde(default = "outbox_bytes_max")]
    pub outbox_bytes_max: u64,
    /// A ping is sent after so long without traffic, s.
    #[serde(default = "keep_alive_s")]
    pub keep_alive_s: u16,
    /// Longest pause before connecting again, ms.
    #[serde(default = "reconnect_ms_max")]
    pub reconnect_ms_max: u64,
}

fn here() -> PathBuf {
    PathBuf::from(".")
}

fn stdin() -> Source {
    Source::Stdin
}

fn outbox_bytes_max() -> u64 {
    limits::OUTBOX_BYTES_MAX
}

fn keep_alive_s() -> u16 {
    30
}

fn reconnect_ms_max() -> u64 {
    limits::RECONNECT_MS_MAX
}

/// `identity.toml`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlainIdentity {
    /// This vehicle's id.
    pub vehicle: VehicleId,
    /// Its organisation.
    #[serde(default)]
    pub organization: OrganizationId,
    /// Its secret.
    pub secret: String,
}

impl fmt::Debug for PlainIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainIdentity").field("vehicle", &self.vehicle).finish_non_exhaustive()
    }
}

/// What enrolment gave.
#[derive(Debug)]
pub enum Enrolled {
    /// A certificate: mutual TLS.
    Certificate {
        /// `host:port`.
        door: String,
        /// Where it is kept.
        folder: Folder,
        /// All of it.
        identity: Box<Identity>,
        /// For connections.
        credentials: Arc<Credentials>,
    },
    /// A secret, for a plain door.
    Secret {
        /// `host:port`.
        door: String,
        /// Password.
        secret: String,
    },
}

const OUTBOX_BYTES_MIN: u64 = 4 * 1024 * 1024;

impl Config {
    /// Reads and checks a file; relative paths become relative to it.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        // Opened first: a file that is not there is no empty configuration.
        std::fs::metadata(file).map_err(|source| ConfigError::Unreadable {
            file: file.to_path_buf(),
            source,
            advice: "write one with remuda-agent enroll, or name another with --config",
        })?;
        let read = Figment::from(Toml::file_exact(file)).merge(Env::prefixed("REMUDA_AGENT__").split("__"));
        let mut config: Self = read
            .extract()
            .map_err(|source| ConfigError::File { file: file.to_path_buf(), source: Box::new(source) })?;
        let folder = file.parent().unwrap_or(Path::new(""));
        config.data = folder.join(&config.data);
        config.actuator = config.actuator.take().map(|program| folder.join(program));
        if let Some(policy) = config.policy.as_mut().filter(|p| *p != "everything") {
            *policy = folder.join(&*policy).to_string_lossy().into_owned();
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if let Some(door) = &self.door {
            check_door(door).map_err(|must| ConfigError::Value { key: "door", must })?;
        }
        let value = |key, must: String| Err(ConfigError::Value { key, must });
        if self.outbox_bytes_max < OUTBOX_BYTES_MIN {
            return value("outbox_bytes_max", format!("must be at least {OUTBOX_BYTES_MIN} bytes"));
        }
        if !(5..=3_600).contains(&self.keep_alive_s) {
            return value("keep_alive_s", "must be from 5 to 3600 s".to_owned());
        }
        if !(500..=3_600_000).contains(&self.reconnect_ms_max) {
            return value("reconnect_ms_max", "must be from 500 to 3600000 ms".to_owned());
        }
        Ok(())
    }

    /// The outbox's directory.
    pub fn outbox(&self) -> PathBuf {
        self.data.join(OUTBOX_FOLDER)
    }

    /// Who this vehicle is and where its door, by what enrolment wrote: a certificate, or else a secret.
    pub fn identity(&self) -> Result<Enrolled, ConfigError> {
        let folder = Folder::new(&self.data);
        if let Some(identity) = folder.load()? {
            self.check_vehicle(identity.vehicle, identity::LINK)?;
            let credentials = Credentials::new(&identity)?;
            let door = self.door.clone().unwrap_or_else(|| identity.door.clone());
            let (identity, credentials) = (Box::new(identity), Arc::new(credentials));
            return Ok(Enrolled::Certificate { door, folder, identity, credentials });
        }
        let file = self.data.join(IDENTITY_FILE);
        let text = std::fs::read_to_string(&file).map_err(|source| ConfigError::Unreadable {
            file: file.clone(),
            source,
            advice: "enrol this vehicle with remuda-agent enroll",
        })?;
        let plain: PlainIdentity = toml::from_str(&text).map_err(|e| ConfigError::Identity(file, e))?;
        self.check_vehicle(plain.vehicle, IDENTITY_FILE)?;
        let must = "must say where the vehicles' door is, such as 127.0.0.1:1883".to_owned();
        let door = self.door.clone().ok_or(ConfigError::Value { key: "door", must })?;
        Ok(Enrolled::Secret { door, secret: plain.secret })
    }

    fn check_vehicle(&self, enrolled: VehicleId, file: &str) -> Result<(), ConfigError> {
        if enrolled == self.vehicle {
            return Ok(());
        }
        let must = format!("is {}, but {file} is that of {enrolled}; make them agree", self.vehicle);
        Err(ConfigError::Value { key: "vehicle", must })
    }

    /// The policy it names, or the built-in one.
    pub fn policy(&self) -> Result<Arc<Policy>, ConfigError> {
        let policy = match self.policy.as_deref() {
            None => Policy::default(),
            Some("everything") => Policy::everything(),
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|source| ConfigError::Unreadable {
                    file: file.into(),
                    source,
                    advice: "name a policy document, or leave policy out",
                })?;
                Policy::parse(&text)
                    .map_err(|e| ConfigError::Value { key: "policy", must: format!("names {file}: {e}") })?
            }
        };
        Ok(Arc::new(policy))
    }
}

/// `host:port`, or what it must be.
pub fn check_door(door: &str) -> Result<(), String> {
    let parts = door.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match parts.map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(port)) if port > 0 => Ok(()),
        _ => Err(format!("must be host:port, such as 127.0.0.1:1883, and is {door:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("agent.toml");
        std::fs::write(&file, text).expect("writable");
        Config::load(&file)
    }

    #[test]
    fn defaults_fill_what_is_left_out() {
        let config = load("vehicle = \"RAV4\"\ndoor = \"127.0.0.1:1883\"\n").expect("valid");
        assert_eq!((config.keep_alive_s, config.source), (30, Source::Stdin));
    }

    #[test]
    fn every_error_names_its_key() {
        for (text, word) in [
            ("vehicle = \"RAV4\"\ndoor = \"127.0.0.1:1883\"\ndoorr = 1\n", "doorr"),
            ("vehicle = \"RAV4\"\ndoor = \"127.0.0.1\"\n", "door"),
            ("vehicle = \"RAV 4\"\ndoor = \"127.0.0.1:1883\"\n", "vehicle"),
            ("vehicle = \"RAV4\"\ndoor = \"127.0.0.1:1883\"\nkeep_alive_s = 1\n", "keep_alive_s"),
            ("door = \"127.0.0.1:1883\"\n", "vehicle"),
        ] {
            let sentence = load(text).expect_err("wrong").to_string();
            assert!(sentence.contains(word) && !sentence.contains('\n'), "{sentence}");
        }
    }
}
