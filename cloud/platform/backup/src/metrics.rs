//! Figures of the backups that a running node took.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::index::SnapshotKind;
use crate::take::Taken;

/// The figures.
#[derive(Debug, Clone, Default)]
pub struct BackupMetrics {
    taken: Counter,
    failed: Counter,
    bytes_read: Counter,
    last_s: Gauge<i64, AtomicI64>,
    duration_s: Gauge<f64, AtomicU64>,
}

impl BackupMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("remuda_backup_taken", "Backups taken", self.taken.clone());
        registry.register("remuda_backup_failed", "Backups that were not finished", self.failed.clone());
        registry.register(
            "remuda_backup_read_bytes",
            "Bytes gone through by backups",
            self.bytes_read.clone(),
        );
        registry.register(
            "remuda_backup_last_timestamp_seconds",
            "The moment that the last whole backup is of, Unix time; 0 before the first",
            self.last_s.clone(),
        );
        registry.register(
            "remuda_backup_duration_seconds",
            "How long the last whole backup took",
            self.duration_s.clone(),
        );
    }

    /// One was taken.
    pub fn taken(&self, taken: &Taken) {
        self.taken.inc();
        self.bytes_read.inc_by(taken.bytes_read);
        // One of the identity alone must not hide that whole ones fail.
        if taken.kind == SnapshotKind::Full {
            self.last_s.set(taken.moment_ms / 1_000);
            self.duration_s.set(taken.seconds);
        }
    }

    /// One was not finished.
    pub fn failed(&self) {
        self.failed.inc();
    }
}
