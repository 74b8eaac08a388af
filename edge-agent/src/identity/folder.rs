//! The files of an identity.
//!
//! ```text
//! agent directory/
//!   identity -> identity-3          switched in one step, so that a crash leaves the old identity or the new one
//!   identity-3/vehicle.key          private key, PKCS #8 in PEM; every file has mode 0600
//!   identity-3/vehicle.pem          certificate chain, leaf first
//!   identity-3/trust.pem            whom the vehicle trusts
//!   identity-3/enrolment.toml       vehicle, organisation, addresses of the cloud
//!   enrolment.key                   the key of an enrolment that has not been answered yet
//! ```

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use rcgen::PublicKeyData;
use remuda_model::{OrganizationId, VehicleId};
use serde::{Deserialize, Serialize};

use super::certificate::{self, Validity};
use super::client::{ServerUrl, new_key};
use super::tls::IdentityError;
use crate::actuators::CommandKey;

/// The link in the agent's directory.
pub const LINK: &str = "identity";
const PENDING_KEY: &str = "enrolment.key";
const LOCK: &str = "identity.lock";
/// Reads that may find a folder replaced under them before that is an error.
const READS_MAX: usize = 5;

/// Everything an enrolment gave a vehicle.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who it is.
    pub vehicle: VehicleId,
    /// Its organisation.
    pub organization: OrganizationId,
    /// Where it enrolled, and renews.
    pub server: ServerUrl,
    /// `host:port` of the vehicles' door.
    pub door: String,
    /// Private key, PKCS #8 in PEM.
    pub key_pem: String,
    /// Certificate chain in PEM, leaf first.
    pub certificate_pem: String,
    /// Whom it trusts, in PEM.
    pub trust_pem: String,
    /// Public half of the key that commands are signed with, hexadecimal; none: it obeys nobody.
    pub command_key: Option<String>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("vehicle", &self.vehicle)
            .field("server", &self.server)
            .field("door", &self.door)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Whose commands it obeys; none: nobody's.
    pub fn command_key(&self) -> Option<CommandKey> {
        self.command_key.as_deref().and_then(CommandKey::from_hex)
    }

    /// Checks that certificate, key and vehicle belong together; answers the certificate's validity.
    pub fn validity(&self) -> Result<Validity, IdentityError> {
        let key = rcgen::KeyPair::from_pem(&self.key_pem).map_err(|e| IdentityError::Key(e.to_string()))?;
        let chain = certificate::chain(&self.certificate_pem)?;
        Ok(certificate::check(&chain[0], self.vehicle, &key.subject_public_key_info())?)
    }
}

/// `enrolment.toml`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Enrolment {
    vehicle: VehicleId,
    organization: OrganizationId,
    server: ServerUrl,
    door: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command_key: Option<String>,
}

/// Why the files of an identity cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file or folder.
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
    /// A file's content.
    #[error("{0} is damaged: {1}; enrol this vehicle again with remuda-agent enroll")]
    Content(PathBuf, String),
}

/// An agent's directory, as far as its identity is concerned.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// The agent's directory. It need not exist yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// The name of the folder in force, which changes with every new identity; none: never enrolled.
    pub fn present(&self) -> Result<Option<PathBuf>, FolderError> {
        let link = self.0.join(LINK);
        match fs::read_link(&link) {
            Ok(target) => Ok(Some(target)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FolderError::File { file: link, what: "read as a link", source }),
        }
    }

    /// The identity in force; none: never enrolled.
    pub fn load(&self) -> Result<Option<Identity>, FolderError> {
        for read in 1.. {
            let Some(target) = self.present()? else { return Ok(None) };
            match read_identity(&self.0.join(&target)) {
                // Replaced while it was read: all four files are to be of one identity.
                Err(FolderError::File { source, .. })
                    if read < READS_MAX
                        && source.kind() == io::ErrorKind::NotFound
                        && self.present()? != Some(target) => {}
                result => return result.map(Some),
            }
        }
        Ok(None)
    }

    /// The key of an enrolment that was begun and not answered, or a new one; synced before it is used.
    pub fn pending_key(&self) -> Result<rcgen::KeyPair, FolderError> {
        let file = self.0.join(PENDING_KEY);
        match fs::read_to_string(&file) {
            // A key that a crash cut short was never used: the next one takes its place.
            Ok(text) => {
                if let Ok(key) = rcgen::KeyPair::from_pem(&text) {
                    return Ok(key);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(FolderError::File { file, what: "read", source }),
        }
        make_folder(&self.0)?;
        let key = new_key().map_err(|e| FolderError::Content(file.clone(), e))?;
        let draft = file.with_extension("new");
        remove(&draft)?;
        write(&draft, &key.serialize_pem())?;
        fs::rename(&draft, &file).map_err(failed(&file, "written"))?;
        sync(&self.0)?;
        Ok(key)
    }

    /// Puts an identity in force in one step. The older one's files go, and the pending key with them.
    pub fn replace(&self, identity: &Identity) -> Result<(), FolderError> {
        make_folder(&self.0)?;
        let lock_file = self.0.join(LOCK);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_file);
        let lock = lock.map_err(failed(&lock_file, "opened"))?;
        // Held to the end: a renewal and an enrolment by hand may meet.
        lock.lock().map_err(failed(&lock_file, "locked"))?;
        let link = self.0.join(LINK);
        if fs::symlink_metadata(&link).is_ok_and(|there| !there.is_symlink()) {
            let advice = "it must be a link that remuda-agent made; move it away".to_owned();
            return Err(FolderError::Content(link, advice));
        }
        let target = self.write_beside(identity)?;
        let draft = self.0.join("identity.new");
        remove(&draft)?;
        symlink(&target, &draft).map_err(failed(&draft, "made"))?;
        fs::rename(&draft, &link).map_err(failed(&link, "switched"))?;
        sync(&self.0)?;
        remove(&self.0.join(PENDING_KEY))?;
        for older in self.numbered()?.into_iter().map(folder_name).filter(|name| *name != target) {
            // What stays is unused; the next identity tries again.
            let _ = fs::remove_dir_all(self.0.join(older));
        }
        Ok(())
    }

    /// Writes an identity into a folder of a new number; answers its name.
    fn write_beside(&self, identity: &Identity) -> Result<String, FolderError> {
        let target = folder_name(self.numbered()?.into_iter().max().unwrap_or(0) + 1);
        let folder = self.0.join(&target);
        DirBuilder::new().mode(0o700).create(&folder).map_err(failed(&folder, "made"))?;
        let Identity { vehicle, organization, key_pem, certificate_pem, trust_pem, .. } = identity;
        let (server, door) = (identity.server.clone(), identity.door.clone());
        let command_key = identity.command_key.clone();
        let enrolment =
            Enrolment { vehicle: *vehicle, organization: *organization, server, door, command_key };
        let enrolment = toml::to_string(&enrolment)
            .map_err(|e| FolderError::Content(folder.join("enrolment.toml"), e.to_string()))?;
        let files = [
            ("vehicle.key", key_pem),
            ("vehicle.pem", certificate_pem),
            ("trust.pem", trust_pem),
            ("enrolment.toml", &enrolment),
        ];
        for (name, text) in files {
            write(&folder.join(name), text)?;
        }
        sync(&folder)?;
        Ok(target)
    }

    fn numbered(&self) -> Result<Vec<u64>, FolderError> {
        let entries = fs::read_dir(&self.0).map_err(failed(&self.0, "read"))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| name.strip_prefix("identity-")?.parse().ok()).collect())
    }
}

fn folder_name(number: u64) -> String {
    format!("identity-{number}")
}

fn failed(file: &Path, what: &'static str) -> impl FnOnce(io::Error) -> FolderError {
    let file = file.to_path_buf();
    move |source| FolderError::File { file, what, source }
}

fn read_identity(folder: &Path) -> Result<Identity, FolderError> {
    let read = |name: &str| {
        let file = folder.join(name);
        fs::read_to_string(&file).map_err(failed(&file, "read"))
    };
    let enrolment: Enrolment = toml::from_str(&read("enrolment.toml")?)
        .map_err(|e| FolderError::Content(folder.join("enrolment.toml"), e.message().to_owned()))?;
    let Enrolment { vehicle, organization, server, door, command_key } = enrolment;
    let (key_pem, certificate_pem, trust_pem) =
        (read("vehicle.key")?, read("vehicle.pem")?, read("trust.pem")?);
    Ok(Identity { vehicle, organization, server, door, key_pem, certificate_pem, trust_pem, command_key })
}

fn make_folder(folder: &Path) -> Result<(), FolderError> {
    fs::create_dir_all(folder).map_err(failed(folder, "made"))
}

/// A new file, readable by its owner only, synced.
fn write(file: &Path, text: &str) -> Result<(), FolderError> {
    let writing = || {
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()
    };
    writing().map_err(failed(file, "written"))
}

fn sync(folder: &Path) -> Result<(), FolderError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(failed(folder, "synced"))
}

fn remove(file: &Path) -> Result<(), FolderError> {
    match fs::remove_file(file) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(FolderError::File { file: file.into(), what: "removed", source })
        }
        _ => Ok(()),
    }
}
