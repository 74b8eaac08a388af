//! What the journal counts.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Figures of the writer. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct JournalMetrics {
    commit_seconds: Histogram,
    group_writes: Histogram,
    keys: Counter,
}

impl Default for JournalMetrics {
    fn default() -> Self {
        Self {
            commit_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 14)),
            group_writes: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            keys: Counter::default(),
        }
    }
}

impl JournalMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "remuda_journal_commit_seconds",
            "From the first write of a group to its sync",
            self.commit_seconds.clone(),
        );
        registry.register(
            "remuda_journal_group_writes",
            "Writes that shared a sync",
            self.group_writes.clone(),
        );
        registry.register("remuda_journal_keys_written", "Keys written", self.keys.clone());
    }

    pub(crate) fn group(&self, writes: usize, keys: usize, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.group_writes.observe(writes as f64);
        self.keys.inc_by(keys as u64);
    }
}
