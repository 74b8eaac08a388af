//! The lake: measurements, as Parquet files whose books are kept in the journal (docs/uplink.md sections 4 and 5).
//!
//! Owns: rows, the writer's rounds (files, one transaction with the decisions, answers), watermarks per vehicle and
//! incarnation, checkpoints, recovery, sweeping. Deliberately absent: what a row means (rules live in
//! `remuda-vehicles`), and MQTT.

pub mod row;
pub mod rounds;

pub use row::{Row, RowBody};
pub use rounds::{Answer, Contribution, RoundListener, Verdict};
