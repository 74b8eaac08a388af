//! Enrolment: over HTTPS with a one-time token, or by a file with a secret for the plain door of a machine that runs
//! everything.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use remuda_edge_agent_core::limits;
use remuda_model::{OrganizationId, VehicleId};
use serde::Deserialize;

use crate::config::{IDENTITY_FILE, PlainIdentity, check_door};
use crate::identity::{EnrolFault, Enroller, Folder, FolderError, ServerUrl, Token};

/// Name of the configuration in an agent's directory.
pub const CONFIG_FILE: &str = "agent.toml";

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
    /// The directory is another vehicle's.
    #[error(
        "{folder} is the directory of {present}, whose outbox it may hold, and this is for {wanted}; name another \
         directory with --dir"
    )]
    OtherVehicle {
        /// Which.
        folder: PathBuf,
        /// Whose.
        present: String,
        /// For whom the enrolment is.
        wanted: VehicleId,
    },
    /// The vehicle has a certificate.
    #[error(
        "{0} holds a certificate, and a secret would not be used beside it; name another directory with --dir"
    )]
    Certified(PathBuf),
    /// The server, or what it said.
    #[error(transparent)]
    Server(EnrolFault),
    /// The server was not reached, or its answer was lost.
    #[error("{0}; run the same command again: the token serves as long as no other key was enrolled with it")]
    Unanswered(EnrolFault),
    /// The files of the identity.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// Shows a token to a server, once, and keeps what it gives: the identity replaces an older one in one step, and when
/// there is no `agent.toml` a starter is written. Answers the configuration's path.
///
/// When the answer is lost the key is kept, for which the same token serves again.
pub async fn enroll_with_token(server: ServerUrl, token: &Token, dir: &Path) -> Result<PathBuf, EnrolError> {
    // Before the token is spent.
    let file = dir.join(CONFIG_FILE);
    check_owner(dir, &file, token.vehicle())?;
    let folder = Folder::new(dir);
    let key = folder.pending_key()?;
    let granted = Enroller::new(server).enrol(token, &key).await.map_err(|fault| match fault {
        EnrolFault::Connection { lasting: false, .. } => EnrolError::Unanswered(fault),
        fault => EnrolError::Server(fault),
    })?;
    // First the configuration: an identity without one could not be used, nor asked for again with this token.
    if !file.exists() {
        let text = starter(granted.vehicle, granted.organization, None);
        write_private(&file, &text).map_err(failed(&file, "written"))?;
    }
    folder.replace(&granted)?;
    Ok(file)
}

/// An outbox belongs to one vehicle for ever, so its directory does.
fn check_owner(dir: &Path, config: &Path, wanted: VehicleId) -> Result<(), EnrolError> {
    let by_identity = match Folder::new(dir).load() {
        Ok(identity) => identity.map(|identity| identity.vehicle.to_string()),
        // Enrolling again is what mends it.
        Err(FolderError::Content(..)) => None,
        Err(error) => return Err(error.into()),
    };
    let by_config = || {
        let table: toml::Table = toml::from_str(&fs::read_to_string(config).ok()?).ok()?;
        Some(table.get("vehicle")?.as_str()?.to_owned())
    };
    match by_identity.or_else(by_config) {
        Some(present) if present != wanted.as_str() => {
            Err(EnrolError::OtherVehicle { folder: dir.to_path_buf(), present, wanted })
        }
        _ => Ok(()),
    }
}

fn failed(file: &Path, what: &'static str) -> impl FnOnce(io::Error) -> EnrolError {
    let file = file.to_path_buf();
    move |source| EnrolError::File { file, what, source }
}

/// Writes a secret's identity (mode 0600, replacing an older one) and, when there is none, a starter `agent.toml`.
/// Answers the configuration's path.
pub fn enroll(from: &Path, dir: &Path, door: Option<&str>) -> Result<PathBuf, EnrolError> {
    let text = fs::read_to_string(from).map_err(failed(from, "read"))?;
    // The parser's own message may quote the secret's line.
    let enrolment: Enrolment =
        toml::from_str(&text).map_err(|e| EnrolError::Content(from.to_path_buf(), e.message().to_owned()))?;
    let door = door.unwrap_or(&enrolment.door);
    check_door(door).map_err(EnrolError::Door)?;
    let file = dir.join(CONFIG_FILE);
    check_owner(dir, &file, enrolment.vehicle)?;
    if Folder::new(dir).present()?.is_some() {
        return Err(EnrolError::Certified(dir.to_path_buf()));
    }
    fs::create_dir_all(dir).map_err(failed(dir, "created"))?;
    let Enrolment { vehicle, organization, secret, .. } = enrolment;
    let identity = toml::to_string(&PlainIdentity { vehicle, organization, secret })
        .map_err(|e| EnrolError::Content(from.to_path_buf(), e.to_string()))?;
    let secret_file = dir.join(IDENTITY_FILE);
    write_private(&secret_file, &identity).map_err(failed(&secret_file, "written"))?;
    if !file.exists() {
        let text = starter(vehicle, organization, Some(door));
        write_private(&file, &text).map_err(failed(&file, "written"))?;
    }
    Ok(file)
}

/// A configuration that names every key with its default.
fn starter(vehicle: VehicleId, organization: OrganizationId, door: Option<&str>) -> String {
    let door = match door {
        Some(door) => format!("# host:port of the vehicles' door.\ndoor = \"{door}\""),
        None => "# host:port of the vehicles' door, in place of the one that enrolment gave.\n# door = \"host:port\""
            .to_owned(),
    };
    let outbox_bytes_max = limits::OUTBOX_BYTES_MAX;
    let reconnect_ms_max = limits::RECONNECT_MS_MAX;
    format!(
        r#"# Written by remuda-agent enroll. Unknown keys are errors. Every key can be set by the environment, too:
# REMUDA_AGENT__DOOR=host:port.

vehicle = "{vehicle}"
organization = "{organization}"
{door}
# Directory of the identity and the outbox, relative to this file.
data = "."
# Where readings come from: "stdin" (JSON lines such as {{"path":"Vehicle.Speed","value":12.3}}) or "none".
source = "stdin"
# A collection policy in place of the built-in one and of the cloud's: a JSON document, or "everything".
# policy = "policy.json"
# A program that obeys commands: started with lock, unlock, honk, speed-limit or reboot; a value comes on its standard
# input. It exits with 0 when it is done, and with 3 when it does not know the command.
# actuator = "actuator.sh"
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
    use crate::config::{Config, Enrolled};

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
        let Enrolled::Secret { door, secret } = config.identity().expect("there") else { panic!("a secret") };
        assert_eq!((door.as_str(), secret.as_str()), ("127.0.0.1:4711", "s3cret"));
        let mode = fs::metadata(agent.join(IDENTITY_FILE)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&from, "secret = \"s3cret\"\n").expect("writable");
        let sentence = enroll(&from, &agent, None).expect_err("no vehicle").to_string();
        assert!(sentence.contains("vehicle") && !sentence.contains("s3cret"), "{sentence}");
    }
}
