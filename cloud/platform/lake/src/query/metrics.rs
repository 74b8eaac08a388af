//! What reading history counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Figures of the scans. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct QueryMetrics {
    /// From the begin of a scan to its end, its reader's pauses included.
    pub(crate) seconds: Histogram,
    pub(crate) running: Gauge,
    pub(crate) refused: Counter,
    pub(crate) rows: Counter,
    pub(crate) bytes: Counter,
    /// Units read again because their files were removed meanwhile.
    pub(crate) relisted: Counter,
    pub(crate) footers_read: Counter,
    pub(crate) footers_found: Counter,
    pub(crate) cache_bytes: Gauge,
}

impl Default for QueryMetrics {
    fn default() -> Self {
        Self {
            seconds: Histogram::new(exponential_buckets(0.001, 2.5, 12)),
            running: Gauge::default(),
            refused: Counter::default(),
            rows: Counter::default(),
            bytes: Counter::default(),
            relisted: Counter::default(),
            footers_read: Counter::default(),
            footers_found: Counter::default(),
            cache_bytes: Gauge::default(),
        }
    }
}

impl QueryMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "remuda_lake_query_seconds",
            "From the begin of a history scan to its end, its reader's pauses included",
            self.seconds.clone(),
        );
        registry.register("remuda_lake_queries_running", "History scans at work", self.running.clone());
        registry.register(
            "remuda_lake_index_cache_bytes",
            "Footers and page indexes in memory, bytes",
            self.cache_bytes.clone(),
        );
        for (name, help, counter) in [
            ("remuda_lake_queries_refused", "History scans refused, too many being at work", &self.refused),
            ("remuda_lake_query_rows", "Rows decoded for history scans", &self.rows),
            ("remuda_lake_query_bytes", "Bytes of pages fetched for history scans", &self.bytes),
            ("remuda_lake_query_relisted", "Units read again, their files being gone", &self.relisted),
            ("remuda_lake_index_cache_misses", "Footers and page indexes read", &self.footers_read),
            ("remuda_lake_index_cache_hits", "Footers and page indexes found in memory", &self.footers_found),
        ] {
            registry.register(name, help, counter.clone());
        }
    }
}
