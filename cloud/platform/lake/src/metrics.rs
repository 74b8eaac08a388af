//! What the lake counts.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::compaction::Compacted;

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
    /// From the start of a compaction to its end.
    compaction_seconds: Histogram,
    compacted_rows: Counter,
    compacted_files: Counter,
    merged_files: Counter,
    expired_rows: Counter,
    erased_rows: Counter,
    blanked_rows: Counter,
    open_erasures: Gauge,
    overdue_erasures: Gauge,
    deleted_files: Counter,
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
            compaction_seconds: Histogram::new(exponential_buckets(0.01, 4.0, 9)),
            compacted_rows: Counter::default(),
            compacted_files: Counter::default(),
            merged_files: Counter::default(),
            expired_rows: Counter::default(),
            erased_rows: Counter::default(),
            blanked_rows: Counter::default(),
            open_erasures: Gauge::default(),
            overdue_erasures: Gauge::default(),
            deleted_files: Counter::default(),
        }
    }
}

impl LakeMetrics {
    /// A compaction has ended.
    pub(crate) fn compacted(&self, done: &Compacted, took: Duration) {
        self.compaction_seconds.observe(took.as_secs_f64());
        self.compacted_rows.inc_by(done.rows);
        self.compacted_files.inc_by(done.fresh_files);
        self.merged_files.inc_by(done.merged_files);
        self.expired_rows.inc_by(done.expired_rows);
        self.erased_rows.inc_by(done.erased_rows);
        self.blanked_rows.inc_by(done.blanked_rows);
        self.open_erasures.set(i64::try_from(done.open_erasures).unwrap_or(i64::MAX));
        self.overdue_erasures.set(i64::try_from(done.overdue_erasures).unwrap_or(i64::MAX));
        self.deleted_files.inc_by(done.deleted_files);
    }

    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let Self { round_seconds, rows, bytes, files, decisions, retries, refused, checkpoints, .. } =
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
        registry.register(
            "remuda_lake_compaction_seconds",
            "From the start of a compaction to its end",
            self.compaction_seconds.clone(),
        );
        for (name, help, counter) in [
            ("remuda_lake_rows_compacted", "Rows moved to history", &self.compacted_rows),
            ("remuda_lake_files_compacted", "Fresh files whose rows moved to history", &self.compacted_files),
            ("remuda_lake_files_merged", "Small history files that were merged", &self.merged_files),
            ("remuda_lake_rows_expired", "Rows beyond the retention", &self.expired_rows),
            ("remuda_lake_rows_erased", "Rows that erasures took out", &self.erased_rows),
            ("remuda_lake_rows_blanked", "Rows of which erasures took values", &self.blanked_rows),
            ("remuda_lake_files_deleted", "Replaced files deleted after their grace", &self.deleted_files),
        ] {
            registry.register(name, help, counter.clone());
        }
        for (name, help, gauge) in [
            ("remuda_lake_erasures_open", "Erasures of which something is left", &self.open_erasures),
            ("remuda_lake_erasures_overdue", "Erasures not rewritten in their time", &self.overdue_erasures),
        ] {
            registry.register(name, help, gauge.clone());
        }
    }
}
