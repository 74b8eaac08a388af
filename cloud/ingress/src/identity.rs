//! Who a vehicle is: by its credentials, never by the client id.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use remuda_model::VehicleId;
use sha2::{Digest, Sha256};

/// Decides who logs in. Called on a connection's own task; may read a small file.
pub trait Authenticator: Send + Sync + 'static {
    /// The vehicle with these credentials.
    ///
    /// # Errors
    /// A stable reason code.
    fn authenticate(
        &self,
        username: &str,
        password: &str,
        peer: SocketAddr,
    ) -> Result<VehicleId, &'static str>;
}

/// Takes the username's word for it, from this machine only: for simulators and the demo.
#[derive(Debug, Clone, Copy)]
pub struct TrustLoopback;

impl Authenticator for TrustLoopback {
    fn authenticate(&self, username: &str, _: &str, peer: SocketAddr) -> Result<VehicleId, &'static str> {
        if !peer.ip().is_loopback() {
            return Err("not_loopback");
        }
        VehicleId::new(username).map_err(|_| "bad_vehicle_id")
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
    fn authenticate(&self, username: &str, password: &str, _: SocketAddr) -> Result<VehicleId, &'static str> {
        let vehicle = VehicleId::new(username).map_err(|_| "bad_vehicle_id")?;
        // Read each time: enrolling and revoking need no restart, and a login is rare.
        let known = fs::read_to_string(self.place(&vehicle)).map_err(|_| "not_enrolled")?;
        let same = constant_time_eq::constant_time_eq(known.trim().as_bytes(), hash(password).as_bytes());
        if same { Ok(vehicle) } else { Err("wrong_secret") }
    }
}

/// The secret is 256 random bits, so a plain hash keeps it as well as a slow one would.
fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_secret_opens() {
        let folder = tempfile::tempdir().expect("a folder");
        let secrets = EnrolledSecrets::new(folder.path().join("vehicles"));
        let van = VehicleId::new("VAN1").expect("an id");
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(secrets.authenticate("VAN1", "", peer), Err("not_enrolled"));
        let first = secrets.enroll(&van).expect("written");
        assert_eq!(secrets.authenticate("VAN1", &first, peer), Ok(van));
        let second = secrets.enroll(&van).expect("written");
        assert_eq!(secrets.authenticate("VAN1", &first, peer), Err("wrong_secret"));
        assert_eq!(secrets.authenticate("VAN1", &second, peer), Ok(van));
        assert_eq!(secrets.authenticate("../VAN1", &second, peer), Err("bad_vehicle_id"));
        let kept = fs::read_to_string(folder.path().join("vehicles/VAN1")).expect("read");
        assert!(!kept.contains(&second), "the secret itself is not kept");
    }

    #[test]
    fn trust_ends_at_this_machine() {
        let far = SocketAddr::from(([10, 0, 0, 1], 1));
        assert_eq!(TrustLoopback.authenticate("VAN1", "", far), Err("not_loopback"));
    }
}
