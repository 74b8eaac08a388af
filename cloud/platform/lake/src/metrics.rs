//! What the lake counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Figures of the rounds. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct LakeMetrics {
    /// From the start of a round to its definite answer.
    pub(crate) round_seconds: Histogram,
    pub(crate) rows: Counter,
    pub(crate) bytes: Counter,
    pub(crate) files: Counter,
    pub(crate) decisions: Counter,
    /// Tries beyond the first, of a file or a commit.
    pub(crate) retries: Counter,
    /// Rounds that a newer owner or a conflict refused.
    pub(crate) refused: Counter,
    pub(crate) checkpoints: Counter,
}

impl Default for LakeMetrics {
    fn default() -> Self {
        Self {
            round_seconds: Histogram::new(exponential_buckets(0.002, 2.0, 14)),
            rows: Counter::default(),
            bytes: Counter::default(),
            files: Counter::default(),
            decisions: Counter::default(),
            retries: Counter::default(),
            refused: Counter::default(),
            checkpoints: Counter::default(),
        }
    }
}

impl LakeMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let Self { round_seconds, rows, bytes, files, decisions, retries, refused, checkpoints } =
            self.clone();
        registry.register(
            "remuda_lake_round_seconds",
            "From the start of a round to its definite answer",
            round_seconds,
        );
        registry.register("remuda_lake_rows_committed", "Rows committed", rows);
        registry.register("remuda_lake_file_bytes_committed", "Bytes of committed files", bytes);
        registry.register("remuda_lake_files_committed", "Files committed", files);
        registry.register("remuda_lake_decisions_committed", "Decisions committed with rows", decisions);
        registry.register("remuda_lake_retries", "Tries of a file or a commit beyond the first", retries);
        registry.register(
            "remuda_lake_rounds_refused",
            "Rounds refused by a newer owner or a conflict",
            refused,
        );
        registry.register("remuda_lake_checkpoints_written", "Checkpoints written", checkpoints);
    }
}
