//! The key that signs commands to vehicles (docs/uplink.md section 7).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use crate::files;

/// Its file in the identity folder: PKCS#8, mode 0600.
const FILE: &str = "command.key";
/// Bytes of the public key.
const PUBLIC_KEY_BYTES: usize = 32;

/// Why there is no command key.
#[derive(Debug, thiserror::Error)]
pub enum CommandKeyError {
    /// The file.
    #[error("the command key {file} cannot be read or written: {source}; check the folder's permissions")]
    File {
        /// Which.
        file: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No key in it.
    #[error(
        "{0} is not a command key; restore it from the backup, or move it away and enrol every vehicle again"
    )]
    Content(PathBuf),
    /// The system gave no randomness.
    #[error("no command key could be made")]
    Make,
}

/// An ed25519 key. Every vehicle learns its public half when it enrols.
pub struct CommandKey {
    pair: Ed25519KeyPair,
    public: [u8; PUBLIC_KEY_BYTES],
}

impl std::fmt::Debug for CommandKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommandKey").field("public", &self.public_hex()).finish_non_exhaustive()
    }
}

impl CommandKey {
    /// Reads the key of this identity folder; makes one, durably, where there is none.
    ///
    /// # Errors
    /// One sentence that says what to do.
    pub fn open(folder: &Path) -> Result<Self, CommandKeyError> {
        let file = folder.join(FILE);
        let failed = |source| CommandKeyError::File { file: file.clone(), source };
        let document = match fs::read(&file) {
            Ok(document) => document,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                files::make_folder(folder).map_err(failed)?;
                let made = Ed25519KeyPair::generate().map_err(|_| CommandKeyError::Make)?;
                let document = made.to_pkcs8().map_err(|_| CommandKeyError::Make)?;
                files::replace(&file, document.as_ref(), files::SECRET).map_err(failed)?;
                document.as_ref().to_vec()
            }
            Err(error) => return Err(failed(error)),
        };
        let pair =
            Ed25519KeyPair::from_pkcs8(&document).map_err(|_| CommandKeyError::Content(file.clone()))?;
        let public =
            pair.public_key().as_ref().try_into().map_err(|_| CommandKeyError::Content(file.clone()))?;
        Ok(Self { pair, public })
    }

    /// ed25519 over these bytes, 64 bytes.
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.pair.sign(bytes).as_ref().to_vec()
    }

    /// What vehicles check signatures with.
    pub const fn public(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.public
    }

    /// The public key as text, 64 hexadecimal digits.
    pub fn public_hex(&self) -> String {
        self.public.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept_for_its_owner_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("identity");
        let key = CommandKey::open(&folder).expect("made");
        let signature = key.sign(b"open");
        let check = |bytes: &[u8]| UnparsedPublicKey::new(&ED25519, key.public()).verify(bytes, &signature);
        assert!(check(b"open").is_ok() && check(b"shut").is_err() && signature.len() == 64);
        assert_eq!(CommandKey::open(&folder).expect("read").public(), key.public());
        let file = folder.join(FILE);
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(!format!("{key:?}").contains("pair"));
        fs::write(&file, b"no key").expect("written");
        let sentence = CommandKey::open(&folder).expect_err("damaged").to_string();
        assert!(sentence.contains("command.key") && sentence.contains("restore"), "{sentence}");
    }
}
