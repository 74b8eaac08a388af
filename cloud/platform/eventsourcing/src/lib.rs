//! The journal: what was decided, once and in order (DESIGN D4).
//!
//! Owns: the [`Journal`] trait, its embedded engine on sled, the in-memory engine of the tests, the one contract suite
//! for all of them, export, import and verification. Deliberately absent: samples (I2), and any business rule:
//! payloads are bytes here.

pub mod aggregate;
pub mod codec;
pub mod copying;
pub mod engine;
pub mod folders;
pub mod journal;
mod keys;
pub mod limits;
pub mod maintenance;
pub mod memory;
pub mod metrics;
mod placing;
mod points;
mod progress;
pub mod restoring;
pub mod sled_engine;
pub mod store;
pub mod table;
pub mod testing;
mod writes;

pub use aggregate::{Aggregate, Context, Encoded, Refusal, Unreadable};
pub use copying::{Copied, CopySink, CopySource};
pub use engine::Engine;
pub use journal::{
    Appended, Caused, Checkpoint, CommitOutcome, Event, FeedPosition, Journal, JournalError, ManifestEntry,
    ManifestPosition, ManifestRecord, NewEvent, Note, NotePosition, Owner, ReplaceOutcome, ReplacedFile,
    Replacing, Snapshot, StreamId,
};
pub use memory::MemoryJournal;
pub use metrics::JournalMetrics;
pub use placing::shard_of;
pub use sled_engine::SledJournal;
