//! Who a vehicle is: by its certificate or its credentials, never by the client id.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use remuda_identity::{Certified, Register};
use remuda_model::VehicleId;
use sha2::{Digest, Sha256};

/// What somebody shows who wants to come in.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// MQTT's client id.
    pub client_id: &'a str,
    /// MQTT's user name; empty when there was none.
    pub username: &'a str,
    /// MQTT's password; empty when there was none.
    pub password: &'a str,
    /// From where.
    pub peer: SocketAddr,
    /// What the certificate says, whose chain holds; `None` over plain TCP.
    pub certified: Option<&'a Certified>,
}

/// Decides who comes in. Called on a connection's own task; may read a small file.
pub trait Authenticator: Send + Sync + 'static {
    /// The vehicle with these credentials.
    ///
    /// # Errors
    /// A stable reason code.
    fn identity(&self, credentials: &Credentials<'_>) -> Result<VehicleId, &'static str>;
}

/// The vehicle is who its certificate says, as long as the register admits it.
pub struct CertifiedVehicles {
    register: Arc<Register>,
}

impl CertifiedVehicles {
    /// Those of this register.
    pub fn new(register: Arc<Register>) -> Self {
        Self { register }
    }
}

impl Authenticator for CertifiedVehicles {
    fn identity(&self, shown: &Credentials<'_>) -> Result<VehicleId, &'static str> {
        let certified = shown.certified.ok_or("certificate_missing")?;
        let vehicle = certified.identity.vehicle;
        // Asked again after the handshake: who resumes a session shows the certificate of an earlier day.
        self.register.admits(certified).map_err(|no| no.code())?;
        if certified.not_after_ms <= unix_ms() {
            return Err("certificate_expired");
        }
        // They decide nothing. But who claims to be another is mistaken or worse, and should hear of it.
        if !shown.username.is_empty() && shown.username != vehicle.as_str() {
            return Err("username_not_the_certificates");
        }
        let another = VehicleId::new(shown.client_id).ok().filter(|claimed| *claimed != vehicle);
        if another.is_some_and(|claimed| self.register.contains(&claimed)) {
            return Err("client_id_of_another_vehicle");
        }
        Ok(vehicle)
    }
}

/// Takes the username's word for it, from this machine only: for simulators and the demo.
#[derive(Debug, Clone, Copy)]
pub struct TrustLoopback;

impl Authenticator for TrustLoopback {
    fn identity(&self, shown: &Credentials<'_>) -> Result<VehicleId, &'static str> {
        if !shown.peer.ip().is_loopback() {
            return Err("not_loopback");
        }
        VehicleId::new(shown.username).map_err(|_| "bad_vehicle_id")
    }
}

/// Knows the hash of each enrolled vehicle's secret: one file a vehicle, named by its id.
#[derive(Debug, Clone)]
pub struct EnrolledSecrets {
    folder: PathBuf,
}

/// Bytes of a secret: as strong as the hash that keeps it.
const SECRET_BYTES: usize = 32;

impl EnrolledSecrets {
    /// Secrets in this folder; it need not exist before the first vehicle is enrolled.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Makes a new secret for a vehicle, keeps its hash (mode 0600, synced), answers it; an older secret is void.
    ///
    /// # Errors
    /// When the folder or file cannot be written.
    pub fn enroll(&self, vehicle: &VehicleId) -> io::Result<String> {
        let secret = hex(&rand::random::<[u8; SECRET_BYTES]>());
        fs::create_dir_all(&self.folder)?;
        // Beside its place and renamed, so that the door never reads half a hash.
        let draft = self.folder.join(format!(".{vehicle}.new"));
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(hash(&secret).as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, self.place(vehicle))?;
        fs::File::open(&self.folder)?.sync_all()?;
        Ok(secret)
    }

    fn place(&self, vehicle: &VehicleId) -> PathBuf {
        self.folder.join(vehicle.as_str())
    }

    /// Where the secrets are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Authenticator for EnrolledSecrets {
    fn identity(&self, shown: &Credentials<'_>) -> Result<VehicleId, &'static str> {
        let vehicle = VehicleId::new(shown.username).map_err(|_| "bad_vehicle_id")?;
        // Read each time: enrolling and revoking need no restart, and a login is rare.
        let known = fs::read_to_string(self.place(&vehicle)).map_err(|_| "not_enrolled")?;
        let same =
            constant_time_eq::constant_time_eq(known.trim().as_bytes(), hash(shown.password).as_bytes());
        if same { Ok(vehicle) } else { Err("wrong_secret") }
    }
}

/// The secret is 256 random bits, so a plain hash keeps it as well as a slow one would.
fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

/// Unix time, ms.
pub(crate) fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown<'a>(username: &'a str, password: &'a str, peer: SocketAddr) -> Credentials<'a> {
        Credentials { client_id: "", username, password, peer, certified: None }
    }

    #[test]
    fn only_the_newest_secret_opens() {
        let folder = tempfile::tempdir().expect("a folder");
        let secrets = EnrolledSecrets::new(folder.path().join("vehicles"));
        let van = VehicleId::new("VAN1").expect("an id");
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(secrets.identity(&shown("VAN1", "", peer)), Err("not_enrolled"));
        let first = secrets.enroll(&van).expect("written");
        assert_eq!(secrets.identity(&shown("VAN1", &first, peer)), Ok(van));
        let second = secrets.enroll(&van).expect("written");
        assert_eq!(secrets.identity(&shown("VAN1", &first, peer)), Err("wrong_secret"));
        assert_eq!(secrets.identity(&shown("VAN1", &second, peer)), Ok(van));
        assert_eq!(secrets.identity(&shown("../VAN1", &second, peer)), Err("bad_vehicle_id"));
        let kept = fs::read_to_string(folder.path().join("vehicles/VAN1")).expect("read");
        assert!(!kept.contains(&second), "the secret itself is not kept");
    }

    #[test]
    fn trust_ends_at_this_machine() {
        let far = SocketAddr::from(([10, 0, 0, 1], 1));
        assert_eq!(TrustLoopback.identity(&shown("VAN1", "", far)), Err("not_loopback"));
    }
}
