//! How the platform is seen from outside: logs, metrics, figures of the process.
//!
//! Owns: the log formats, the metrics registry and its rendering, reads of `/proc/self`. Deliberately absent: which
//! metrics exist (each crate's `metrics.rs`) and where they are served (the console).

pub mod logs;
pub mod metrics;
pub mod process;

pub use logs::{LogFormat, init_logs};
pub use metrics::Metrics;
