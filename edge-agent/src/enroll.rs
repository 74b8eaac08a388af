//! Enrolment by a file that `remuda vehicles enroll` wrote.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use remuda_edge_agent_core::limits;
use remuda_model::{OrganizationId, VehicleId};
use serde::Deserialize;

use crate::config::{IDENTITY_FILE, Identity, check_door};

/// The file's content.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enrolment {
    vehicle: VehicleId,
    #[serde(default)]
    organization: OrganizationId,
    secret: String,
    door: String,
}

/// Why a vehicle cannot be enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// Reading or writing failed.
    #[error("{file} cannot be {what}: {source}; check its path and permissions")]
    File {
        /// Which.
        file: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Not an enrolment.
    #[error("{0} is no enrolment: {1}; make one with remuda vehicles enroll")]
    Content(PathBuf, String),
    /// The door's address.
    #[error("the door {0}; say it with --door")]
    Door(String),
}

/// Writes the identity (mode 0600, replacing an older one) and, when there is none, a starter `agent.toml`. Answers
/// the configuration's path.
pub fn enroll(from: &Path, dir: &Path, door: Option<&str>) -> Result<PathBuf, EnrolError> {
    let failed = |file: &Path, what| {
        let file = file.to_path_buf();
        move |source| EnrolError::File { file, what, source }
    };
    let text = fs::read_to_string(from).map_err(failed(from, "read"))?;
    // The parser's own message may quote the secret's line.
    let enrolment: Enrolment =
        toml::from_str(&text).map_err(|e| EnrolError::Content(from.to_path_buf(), e.message().to_owned()))?;
    let door = door.unwrap_or(&enrolment.door);
    check_door(door).map_err(EnrolError::Door)?;
    fs::create_dir_all(dir).map_err(failed(dir, "created"))?;
    let Enrolment { vehicle, organization, secret, .. } = enrolment;
    let identity = toml::to_string(&Identity { vehicle, organization, secret })
        .map_err(|e| EnrolError::Content(from.to_path_buf(), e.to_string()))?;
    let file = dir.join(IDENTITY_FILE);
    write_private(&file, &identity).map_err(failed(&file, "written"))?;
    let file = dir.join("agent.toml");
    if !file.exists() {
        let text = starter(vehicle, organization, door);
        fs::write(&file, text).map_err(failed(&file, "written"))?;
    }
    Ok(file)
}

/// A configuration that names every key with its default.
fn starter(vehicle: VehicleId, organization: OrganizationId, door: &str) -> String {
    let outbox_bytes_max = limits::OUTBOX_BYTES_MAX;
    let reconnect_ms_max = limits::RECONNECT_MS_MAX;
    format!(
        r#"# Written by remuda-agent enroll. Unknown keys are errors. Every key can be set by the environment, too:
# REMUDA_AGENT__DOOR=host:port.

vehicle = "{vehicle}"
organization = "{organization}"
# host:port of the vehicles' door.
door = "{door}"
# Directory of the identity and the outbox, relative to this file.
data = "."
# Where readings come from: "stdin" (JSON lines such as {{"path":"Vehicle.Speed","value":12.3}}) or "none".
source = "stdin"
# A collection policy in place of the built-in one and of the cloud's: a JSON document, or "everything".
# policy = "policy.json"
# Bytes the outbox may hold; when it is full, the oldest samples go first.
outbox_bytes_max = {outbox_bytes_max}
# A ping is sent after so long without traffic, s.
keep_alive_s = 30
# Longest pause before connecting again, ms.
reconnect_ms_max = {reconnect_ms_max}
"#
    )
}

/// Under another name first, so that a crash leaves the old identity or the new one.
fn write_private(file: &Path, text: &str) -> io::Result<()> {
    let draft = file.with_extension("new");
    if let Err(error) = fs::remove_file(&draft)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    fs::rename(&draft, file)?;
    fs::File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::Config;

    #[test]
    fn an_enrolment_becomes_an_identity_and_a_configuration() {
        let dir = tempfile::tempdir().expect("a folder");
        let from = dir.path().join("rav4.enrolment");
        let text =
            "vehicle = \"RAV4\"\norganization = \"default\"\nsecret = \"s3cret\"\ndoor = \"0.0.0.0:1883\"\n";
        fs::write(&from, text).expect("writable");
        let agent = dir.path().join("agent");
        let file = enroll(&from, &agent, Some("127.0.0.1:4711")).expect("enrols");
        let config = Config::load(&file).expect("valid");
        assert_eq!(config.door, "127.0.0.1:4711");
        assert_eq!(config.identity().expect("there").secret, "s3cret");
        let mode = fs::metadata(agent.join(IDENTITY_FILE)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&from, "secret = \"s3cret\"\n").expect("writable");
        let sentence = enroll(&from, &agent, None).expect_err("no vehicle").to_string();
        assert!(sentence.contains("vehicle") && !sentence.contains("s3cret"), "{sentence}");
    }
}
