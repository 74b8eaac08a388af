//! What the engine needs of a place that keeps keys and values in order.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::RwLock;

use crate::journal::JournalError;

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Keys in order, batches atomic, nothing durable before `commit` answers.
pub trait Store: Send + Sync + 'static {
    /// A key's value.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, JournalError>;

    /// At most `limit` entries from `from` (inclusive) whose key begins with `prefix`, in order.
    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Entry>, JournalError>;

    /// Writes (or removes, where there is no value) all of it or nothing, durably.
    fn commit(&self, batch: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Result<(), JournalError>;

    /// Makes durable what a store for derived data ([`crate::sled_engine::SledStore::open_derived`]) has only applied.
    fn sync(&self) -> Result<(), JournalError> {
        Ok(())
    }
}

/// A store in memory, for tests.
#[derive(Debug, Default)]
pub struct MemoryStore(RwLock<BTreeMap<Vec<u8>, Vec<u8>>>);

impl MemoryStore {
    /// Another one with the same entries.
    pub(crate) fn copy(&self) -> Self {
        let map = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        Self(RwLock::new(map.clone()))
    }
}

fn poisoned<T>(_: T) -> JournalError {
    JournalError::Corrupt("a thread panicked while it wrote to the journal in memory".into())
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, JournalError> {
        Ok(self.0.read().map_err(poisoned)?.get(key).cloned())
    }

    fn scan(
        &self,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, JournalError> {
        let map = self.0.read().map_err(poisoned)?;
        let entries = map.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        let wanted = entries.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(wanted.map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn commit(&self, batch: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Result<(), JournalError> {
        let mut map = self.0.write().map_err(poisoned)?;
        for (key, value) in batch {
            match value {
                Some(value) => map.insert(key.clone(), value.clone()),
                None => map.remove(key),
            };
        }
        Ok(())
    }
}
