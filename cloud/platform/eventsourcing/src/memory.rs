//! The engine in memory: for tests, with the contract of the durable ones.

use crate::engine::Engine;
use crate::metrics::JournalMetrics;
use crate::store::MemoryStore;

/// A journal that is gone with its process.
pub type MemoryJournal = Engine<MemoryStore>;

impl MemoryJournal {
    /// An empty one.
    ///
    /// # Panics
    /// When the system has no thread left for it.
    pub fn new() -> Self {
        Self::start(MemoryStore::default(), JournalMetrics::default())
            .expect("a test's machine has a thread to spare")
    }

    /// An empty one without a thread: every call is done where it is awaited, in the caller's order.
    pub fn in_place() -> Self {
        Engine::without_thread(MemoryStore::default(), JournalMetrics::default())
    }

    /// Another one that begins with what this one holds now, as a backup of it would.
    pub fn copy(&self) -> Self {
        Engine::without_thread(self.store.copy(), JournalMetrics::default())
    }
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new()
    }
}
