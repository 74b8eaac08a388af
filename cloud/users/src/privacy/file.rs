//! Keys in a folder, one small file each, readable by their owner only.
//!
//! ```text
//! {folder}/{organisation}/{first two hex digits of SHA-256(user)}/{user}.key      `1 {key} {check}\n`, hexadecimal
//! {folder}/{organisation}/{...}/{user}.erased                                     empty: the key was deleted
//! ```
//! A key is written beside its place, synced and linked into it (the first of two wins); a deletion leaves its mark
//! first, then overwrites the key, syncs, and unlinks it. Overwriting helps where the disk writes in place; where it does
//! not (flash), the folder belongs on an encrypted volume.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::key::{UserKey, UserRef};
use super::store::{KeyError, KeyStore, fresh};

/// A folder of keys. One process at a time.
#[derive(Debug)]
pub struct FileKeyStore {
    folder: PathBuf,
    /// Serialises changes: a key is not made while it is deleted.
    changes: Mutex<()>,
}

impl FileKeyStore {
    /// Uses a folder, made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, KeyError> {
        let folder = folder.into();
        make_folder(&folder).map_err(failed("making its folder"))?;
        Ok(Self { folder, changes: Mutex::new(()) })
    }

    fn shelf(&self, user: &UserRef) -> PathBuf {
        let digest = Sha256::digest(user.user().as_bytes());
        self.folder.join(user.organization().as_str()).join(format!("{:02x}", digest[0]))
    }

    fn paths(&self, user: &UserRef) -> (PathBuf, PathBuf) {
        let shelf = self.shelf(user);
        (shelf.join(format!("{}.key", user.user())), shelf.join(format!("{}.erased", user.user())))
    }
}

impl KeyStore for FileKeyStore {
    fn key(&self, user: &UserRef) -> Result<Option<UserKey>, KeyError> {
        let (key, erased) = self.paths(user);
        // The mark comes first: a crash may have left both.
        if erased.try_exists().map_err(failed("looking for a deletion"))? {
            return Err(KeyError::Erased);
        }
        match fs::read_to_string(&key) {
            Ok(text) => read(&text).map(Some).ok_or_else(|| KeyError::Damaged(user.user().to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                Err(KeyError::Damaged(user.user().to_owned()))
            }
            Err(error) => Err(failed("reading a key")(error)),
        }
    }

    fn key_or_new(&self, user: &UserRef) -> Result<UserKey, KeyError> {
        let _alone = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = self.key(user)? {
            return Ok(key);
        }
        let key = fresh()?;
        make_folder(&self.shelf(user)).map_err(failed("making a folder"))?;
        let (path, _) = self.paths(user);
        replace(&path, written(&key).as_bytes()).map_err(failed("writing a key"))?;
        Ok(key)
    }

    fn delete(&self, user: &UserRef) -> Result<(), KeyError> {
        let _alone = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, erased) = self.paths(user);
        let shelf = self.shelf(user);
        make_folder(&shelf).map_err(failed("making a folder"))?;
        if !erased.try_exists().map_err(failed("looking for a deletion"))? {
            replace(&erased, b"").map_err(failed("marking a deletion"))?;
        }
        let overwrite = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).open(&key)?;
            let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
            file.write_all(&vec![0; length])?;
            file.sync_all()?;
            fs::remove_file(&key)?;
            File::open(&shelf)?.sync_all()
        };
        match overwrite() {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("deleting a key")(error)),
            _ => Ok(()),
        }
    }
}

fn failed(operation: &'static str) -> impl FnOnce(io::Error) -> KeyError {
    move |source| KeyError::Io { operation, source }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn check(key: &UserKey) -> String {
    hex(&Sha256::digest([b"remuda user key".as_slice(), key.secret()].concat())[..4])
}

fn written(key: &UserKey) -> String {
    format!("1 {} {}\n", hex(key.secret()), check(key))
}

fn read(text: &str) -> Option<UserKey> {
    let digits = text.strip_prefix("1 ")?.get(..64)?;
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    let key = UserKey::new(bytes);
    (written(&key) == text).then_some(key)
}

/// Written whole or not at all.
fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = folder.join(format!(".{name}.new"));
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(folder)?.sync_all()
}

/// Makes a folder and its parents durably; others cannot look into it.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(parent)?;
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}
