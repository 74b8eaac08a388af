//! The journal: what was decided, once and in order (DESIGN D4).
//!
//! Owns: the [`Journal`] trait, its embedded engine on sled, the in-memory engine of the tests, and the one contract
//! suite for all of them. Deliberately absent: samples (I2), and any business rule: payloads are bytes here.

pub mod journal;
pub mod memory;
pub mod sled_engine;
pub mod testing;

pub use journal::{
    Appended, Checkpoint, CommitOutcome, Event, FeedPosition, Journal, JournalError, ManifestEntry, ManifestPosition,
    ManifestRecord, NewEvent, Owner, Snapshot, StreamId,
};
