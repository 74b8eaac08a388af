//! A file of flags that may change while the node runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;

use crate::document::{Flags, FlagsError};

/// Flags from a file; what is broken in it later does not count.
#[derive(Debug)]
pub struct FlagFile {
    path: PathBuf,
    /// Text and flags as they were read last; text that was found wrong too, so that it is told once.
    current: RwLock<(String, Arc<Flags>)>,
}

impl FlagFile {
    /// Reads a file. At start-up a broken one is an error.
    ///
    /// # Errors
    /// [`FlagsError`].
    pub fn open(path: &Path) -> Result<Self, FlagsError> {
        let text = read(path)?;
        let flags = Flags::from_json(&text, &path.display().to_string())?;
        Ok(Self { path: path.to_owned(), current: RwLock::new((text, Arc::new(flags))) })
    }

    /// The flags in force.
    pub fn flags(&self) -> Arc<Flags> {
        Arc::clone(&self.current.read().1)
    }

    /// Reads the file again; true when other flags are in force now. Blocks on the disk: call it every few seconds from a
    /// thread that may.
    ///
    /// # Errors
    /// When it cannot be used, once per content: the flags as they were stay in force.
    pub fn refresh(&self) -> Result<bool, FlagsError> {
        let text = read(&self.path)?;
        if self.current.read().0 == text {
            return Ok(false);
        }
        let parsed = Flags::from_json(&text, &self.path.display().to_string());
        let mut current = self.current.write();
        current.0 = text;
        let changed = parsed?;
        current.1 = Arc::new(changed);
        tracing::info!(path = %self.path.display(), "feature flags changed");
        Ok(true)
    }
}

fn read(path: &Path) -> Result<String, FlagsError> {
    std::fs::read_to_string(path)
        .map_err(|source| FlagsError::Unreadable { origin: path.display().to_string(), source })
}
