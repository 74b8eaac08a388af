//! What can go wrong with the lake.

use remuda_eventsourcing::JournalError;

/// Why the lake could not do it.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The lake's folder cannot be used.
    #[error("the lake's folder {folder} cannot be used: {reason}; check that it exists and may be written")]
    Folder {
        /// Which.
        folder: String,
        /// Why.
        reason: String,
    },
    /// A committed file is missing or differs from what was committed.
    #[error("the lake's file {path} is {what}; restore it from a backup")]
    Damaged {
        /// Path below the root.
        path: String,
        /// `missing`, `changed`, or what the reader said.
        what: String,
    },
    /// A file could not be read or written.
    #[error("the lake's store failed")]
    Store(#[from] object_store::Error),
    /// Parquet refused it.
    #[error("a lake file could not be encoded or decoded")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Metadata could not be encoded.
    #[error("a lake file's metadata could not be encoded: {0}")]
    Encode(String),
    /// The journal failed.
    #[error("the journal failed")]
    Journal(#[from] JournalError),
    /// A checkpoint does not decode.
    #[error("the checkpoint of shard {shard} cannot be read; restore the journal from its last export")]
    Checkpoint {
        /// Which shard.
        shard: u16,
    },
    /// Another compaction of this lake has begun, or taken files that this one was to replace.
    #[error(
        "another compaction works on this lake ({missing} files were taken); this one has stopped, nothing is lost"
    )]
    Superseded {
        /// Inputs that the other had replaced.
        missing: usize,
    },
    /// Rows that were read are not as many as were committed.
    #[error(
        "a compaction read {read} rows of files that were committed with {committed}; nothing was replaced: run remuda lake verify --deep"
    )]
    Miscounted {
        /// Rows by the manifest.
        committed: u64,
        /// Rows read.
        read: u64,
    },
    /// The journal says that what was to be committed does not follow, or that its shards have other owners.
    #[error("the commit was refused: the journal changed meanwhile; run it again while no node runs")]
    Refused,
    /// Files were replaced again and again while they were listed.
    #[error(
        "the lake's files were replaced each of {tries} times that they were listed; another process compacts it without a \
         pause: see that only one does, and ask again"
    )]
    Restless {
        /// How often.
        tries: u32,
    },
    /// An erasure that makes no sense.
    #[error("the erasure is refused: {0}")]
    Erasure(String),
    /// The last round was not written in time.
    #[error("the last round could not be written; vehicles keep its frames and send them again")]
    Stuck,
    /// The rounds task has ended.
    #[error("the lake takes no more rows; the node is stopping")]
    Closed,
}
