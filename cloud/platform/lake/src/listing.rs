//! Listing the manifest as of one moment, while files are replaced.
//!
//! A file that is replaced while the manifest is read could be in the list twice, with what replaced it, or not at all; so a
//! list counts only when nothing was replaced meanwhile. After a few tries this process's own compaction waits for the
//! list; another process's may still come in between, and in the end somebody is told.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, RwLock, RwLockWriteGuard};

use crate::error::LakeError;
use crate::lake::Lake;
use crate::limits;

/// Who lists, and who replaces.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns(Arc<RwLock<()>>);

impl Turns {
    /// Held while files are replaced: whoever tries again and again to list them goes first.
    pub async fn replace(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.write().await
    }
}

/// Tries to list.
pub(crate) struct Tries<'a> {
    lake: &'a Lake,
    tries: u32,
    count: u64,
    turn: Option<OwnedRwLockReadGuard<()>>,
}

impl<'a> Tries<'a> {
    pub const fn of(lake: &'a Lake) -> Self {
        Self { lake, tries: 0, count: 0, turn: None }
    }

    /// Begins a list; answers how often files were replaced until then.
    pub async fn begin(&mut self) -> Result<u64, LakeError> {
        self.tries += 1;
        if self.tries > limits::LISTING_TRIES_MAX {
            return Err(LakeError::Restless { tries: limits::LISTING_TRIES_MAX });
        }
        if self.tries > limits::LISTING_TRIES_FREE && self.turn.is_none() {
            self.turn = Some(Arc::clone(&self.lake.turns.0).read_owned().await);
        }
        self.count = self.lake.journal.replacing().await?.count;
        Ok(self.count)
    }

    /// Whether what was listed since is of one moment.
    pub async fn holds(&self) -> Result<bool, LakeError> {
        Ok(self.lake.journal.replacing().await?.count == self.count)
    }
}
