//! A projection's data as it is while a batch of events is taken in.

use std::collections::BTreeMap;

use remuda_eventsourcing::JournalError;
use remuda_eventsourcing::store::Store;
use serde::{Serialize, de::DeserializeOwned};

use super::Poisoned;

/// All data of a projection lies under this, its offsets beside.
pub(crate) const DATA: u8 = b'd';

/// A key out of texts; a text of it must have no NUL.
pub fn key(parts: &[&str]) -> Vec<u8> {
    let mut key = Vec::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for part in parts {
        key.extend_from_slice(part.as_bytes());
        key.push(0);
    }
    key
}

/// A key out of texts and a number, in whose order the keys are.
pub fn numbered(parts: &[&str], number: u64) -> Vec<u8> {
    let mut key = key(parts);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(crate) fn data_key(key: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(key.len() + 1);
    whole.push(DATA);
    whole.extend_from_slice(key);
    whole
}

pub(crate) fn decoded<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JournalError> {
    postcard::from_bytes(bytes).map_err(|e| {
        JournalError::Corrupt(format!("a projection's value does not decode ({e}); rebuild the projection"))
    })
}

pub(crate) type Batch = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The store with what this batch has changed so far.
pub struct View<'a> {
    store: &'a dyn Store,
    batch: Batch,
    /// What the event under way has changed.
    scratch: Batch,
}

impl<'a> View<'a> {
    pub(crate) fn new(store: &'a dyn Store) -> Self {
        Self { store, batch: Batch::new(), scratch: Batch::new() }
    }

    pub(crate) fn keep(&mut self) {
        self.batch.append(&mut self.scratch);
    }

    pub(crate) fn forget(&mut self) {
        self.scratch.clear();
    }

    pub(crate) fn into_batch(self) -> Batch {
        self.batch
    }
    /// A value.
    ///
    /// # Errors
    /// When the store fails, or the value is of another type.
    pub fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, Poisoned> {
        let key = data_key(key);
        let bytes = match self.scratch.get(&key).or_else(|| self.batch.get(&key)) {
            Some(pending) => pending.clone(),
            None => self.store.get(&key)?,
        };
        Ok(bytes.map(|bytes| decoded(&bytes)).transpose()?)
    }

    /// Writes a value.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn put<T: Serialize>(&mut self, key: &[u8], value: &T) -> Result<(), Poisoned> {
        let bytes =
            postcard::to_allocvec(value).map_err(|e| Poisoned(format!("a value cannot be encoded: {e}")))?;
        self.scratch.insert(data_key(key), Some(bytes));
        Ok(())
    }

    /// Removes a value; one that is not there is gone already.
    pub fn remove(&mut self, key: &[u8]) {
        self.scratch.insert(data_key(key), None);
    }

    /// Values whose key begins with `prefix`, in order of their keys, at most `limit`.
    ///
    /// # Errors
    /// When the store fails, or a value is of another type.
    pub fn scan<T: DeserializeOwned>(
        &self,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, T)>, Poisoned> {
        let whole = data_key(prefix);
        let changed = [&self.batch, &self.scratch].into_iter().flat_map(|batch| batch.range(whole.clone()..));
        let pending: Vec<_> = changed.filter(|(key, _)| key.starts_with(&whole)).collect();
        // As many of the stored ones may have been removed in this batch.
        let stored = self.store.scan(&whole, &whole, limit.saturating_add(pending.len()))?;
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> = stored.into_iter().collect();
        for (key, value) in pending {
            match value {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        let entries = merged.into_iter().take(limit);
        entries.map(|(key, bytes)| Ok((key[1..].to_vec(), decoded(&bytes)?))).collect()
    }
}
