//! The lake: measurements, as Parquet files whose books are kept in the journal (docs/uplink.md sections 4 and 5).
//!
//! Owns: rows, the writer's rounds (files, one transaction with the decisions, answers), watermarks per vehicle and
//! incarnation, checkpoints, recovery, sweeping. Deliberately absent: what a row means (rules live in
//! `remuda-vehicles`), and MQTT.

pub mod error;
pub mod file;
mod files;
mod lake;
pub mod limits;
mod metrics;
pub mod rounds;
pub mod row;
mod schema;
mod watermarks;
mod writer;

pub use error::LakeError;
pub use lake::{Lake, LakeSettings, Recovery};
pub use metrics::LakeMetrics;
pub use rounds::{
    Answer, Contribution, RoundListener, Rounds, RoundsClosed, RoundsHandle, SharedListener, Verdict,
};
pub use row::{Row, RowBody};
pub use watermarks::Marks;
