//! The lake: measurements, as Parquet files whose books are kept in the journal (docs/uplink.md sections 4 and 5).
//!
//! Owns: rows, the writer's rounds (files, one transaction with the decisions, answers), watermarks per vehicle and
//! incarnation, checkpoints, recovery, sweeping, compaction into `history/`. Deliberately absent: what a row means (rules live in
//! `remuda-vehicles`), and MQTT.

pub mod adopt;
mod arrow_schema;
mod aside;
mod bucket;
mod catalogue;
mod commits;
pub mod compaction;
mod describe;
mod encode;
pub mod erasure;
pub mod error;
pub mod file;
mod files;
pub mod follow;
mod history;
mod lake;
pub mod limits;
mod listing;
mod metrics;
mod once;
mod orphans;
pub mod query;
mod ranges;
pub mod retention;
pub mod rounds;
pub mod row;
pub mod s3;
mod scan;
mod schema;
mod text_runs;
mod verify;
mod watermarks;
mod writer;

pub use adopt::{Adopted, LeftFile, LostFrames};
pub use bucket::{Bucket, BucketFile, BucketListing, BucketReading};
pub use catalogue::{LakeFile, LakeStats, Part};
pub use compaction::{Compacted, CompactionSettings};
pub use erasure::{
    Erasure, ErasureId, ErasurePreview, ErasureRequest, RemovedFrom, Stripped, Tombstone, Tombstones,
    row_time_ns,
};
pub use error::LakeError;
pub use follow::{Followed, Follower, Gone, Place, RowKey};
pub use lake::{Lake, LakeSettings, Recovery};
pub use metrics::LakeMetrics;
pub use retention::{Horizon, Retention};
pub use rounds::{
    Answer, Contribution, RoundListener, Rounds, RoundsClosed, RoundsHandle, SharedListener, Verdict,
};
pub use row::{Row, RowBody};
pub use s3::S3Settings;
pub use verify::{FaultKind, LakeFault, LakeVerification};
pub use watermarks::Marks;
