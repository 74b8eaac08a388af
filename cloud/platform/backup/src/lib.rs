//! Backup and restore of a node, encrypted and incremental (docs/backup.md).
//!
//! Owns: the repository of backups, taking one from a node that runs, verifying, pruning, restoring with epochs that nobody
//! had before. Deliberately absent: which parts a node has (`remuda-node` lists them), and what stands in a journal.

mod bucket;
mod epochs;
pub mod error;
mod files_part;
mod hashing;
pub mod index;
mod journal_part;
mod lake_part;
pub mod limits;
pub mod metrics;
pub mod pace;
pub mod parts;
pub mod prune;
mod references;
pub mod register;
pub mod repository;
pub mod restore;
pub mod seal;
pub mod take;
pub mod verify;

pub use bucket::LakeBucket;
pub use error::BackupError;
pub use index::{Index, SnapshotKind};
pub use metrics::BackupMetrics;
pub use pace::{Pace, Progress};
pub use parts::{FilesPart, JournalPart, LakePart, LakePlace, Parts};
pub use references::{InPlace, MissingFile};
pub use repository::{Access, Repository};
pub use seal::{Identities, Recipients};
pub use take::{Request, Taken, take};
