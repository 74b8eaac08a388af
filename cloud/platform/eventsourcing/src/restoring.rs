//! A journal made out of a copy, with epochs that nobody had before.

use std::collections::BTreeMap;
use std::path::Path;

use remuda_model::{Epoch, SHARDS, ShardId};

use crate::journal::{JournalError, Replacing};
use crate::maintenance::{Report, verify_store};
use crate::sled_engine::SledStore;
use crate::store::Store;
use crate::writes::{Ownership, decode, encode};
use crate::{keys, limits};

/// A journal that is being filled. It is whole once [`Restoring::finish`] has answered.
pub struct Restoring {
    store: SledStore,
    batch: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

impl Restoring {
    /// Makes a new journal.
    ///
    /// # Errors
    /// When there is one already, or the disk fails.
    pub fn begin(folder: &Path) -> Result<Self, JournalError> {
        if folder.join("db").exists() {
            return Err(JournalError::InUse(format!(
                "{} (it holds a journal; name an empty folder)",
                folder.display()
            )));
        }
        Ok(Self { store: SledStore::open(folder)?, batch: BTreeMap::new(), bytes: 0 })
    }

    /// Writes a key, or removes it; a later one of the same key wins.
    ///
    /// # Errors
    /// When the value is larger than any journal's, or the disk fails.
    pub fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), JournalError> {
        let bytes = value.as_ref().map_or(0, Vec::len);
        if bytes > limits::VALUE_BYTES_MAX {
            return Err(JournalError::TooLarge { what: "a value", bytes, max: limits::VALUE_BYTES_MAX });
        }
        self.bytes += key.len() + bytes;
        self.batch.insert(key, value);
        if self.bytes >= limits::RESTORE_BATCH_BYTES {
            self.commit()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), JournalError> {
        self.store.commit(&self.batch)?;
        self.batch.clear();
        self.bytes = 0;
        Ok(())
    }

    /// Raises the epochs of every shard there is, and of the right to replace files, to at least `epoch`: whoever had one
    /// of them under an epoch below can write no more, and the next owner has a higher one.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn raise_epochs(&mut self, epoch: Epoch) -> Result<(), JournalError> {
        self.commit()?;
        // Also those that nobody had when the copy was taken: somebody may have had them since.
        for shard in (0..SHARDS).filter_map(ShardId::new) {
            let key = keys::owner(shard);
            let own: Option<Ownership> = self.store.get(&key)?.map(|bytes| decode(&bytes)).transpose()?;
            let own = own.unwrap_or_default();
            let raised = Ownership { epoch: Epoch(own.epoch.0.max(epoch.0)), ..own };
            self.put(key, Some(encode(&raised)?))?;
        }
        let replacing: Option<Replacing> =
            self.store.get(keys::REPLACING)?.map(|bytes| decode(&bytes)).transpose()?;
        let replacing = replacing.unwrap_or_default();
        let raised = Replacing { epoch: Epoch(replacing.epoch.0.max(epoch.0)), ..replacing };
        self.put(keys::REPLACING.to_vec(), Some(encode(&raised)?))
    }

    /// Makes all of it durable, and reads it back.
    ///
    /// # Errors
    /// When the disk fails; what merely does not agree is in the report.
    pub fn finish(mut self) -> Result<Report, JournalError> {
        self.commit()?;
        // Here, since sled gives its lock back a moment after it is dropped.
        verify_store(&self.store)
    }
}
