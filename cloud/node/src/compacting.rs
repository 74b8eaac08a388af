//! The compaction of a running node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use remuda_audit::AuditLog;
use remuda_lake::{Compacted, CompactionSettings, Lake, compaction};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::erasing;
use crate::lake_files::now_ms;
use crate::wiring::chain;

/// Compacts every so often, until it is told to stop.
pub(crate) struct Compacting {
    stop: Arc<AtomicBool>,
    wake: Arc<Notify>,
    task: Option<JoinHandle<()>>,
}

impl Compacting {
    /// Begins after the first interval; with none, never.
    pub fn start(
        lake: Arc<Lake>,
        audit: Arc<AuditLog>,
        settings: CompactionSettings,
        every: Option<Duration>,
    ) -> Self {
        let (stop, wake) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let task = every.map(|every| {
            let (stop, wake) = (Arc::clone(&stop), Arc::clone(&wake));
            tokio::spawn(async move {
                loop {
                    tokio::select! {
                        () = tokio::time::sleep(every) => {}
                        () = wake.notified() => return,
                    }
                    compact(&lake, &settings, &stop).await;
                    prove(&lake, &audit).await;
                }
            })
        });
        Self { stop, wake, task }
    }

    /// Ends it between two steps; returns when it holds neither lake nor journal any more.
    pub async fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.wake.notify_one();
        if let Some(task) = self.task {
            // It panicked, if anything: then it has ended too.
            let _ = task.await;
        }
    }
}

/// Writes what was erased into the audit log.
async fn prove(lake: &Lake, audit: &Arc<AuditLog>) {
    match erasing::prove(lake, audit).await {
        Ok(0) => {}
        Ok(erasures) => tracing::info!(erasures, "proofs of erasures were written into the audit log"),
        Err(error) => tracing::warn!(error, "a proof is not in the audit log yet; it is tried again later"),
    }
}

async fn compact(lake: &Lake, settings: &CompactionSettings, stop: &AtomicBool) {
    match lake.compact(settings, now_ms(), &compaction::until(stop)).await {
        Ok(Compacted {
            rows: 0,
            merged_files: 0,
            expired_files: 0,
            aged_files: 0,
            finished_erasures: 0,
            ..
        }) => {}
        Ok(done) => {
            let Compacted { rows, fresh_files, history_files, merged_files, expired_files, .. } = done;
            let Compacted { aged_files, erased_rows, blanked_rows, finished_erasures, .. } = done;
            tracing::info!(
                rows,
                fresh_files,
                history_files,
                merged_files,
                expired_files,
                aged_files,
                erased_rows,
                blanked_rows,
                finished_erasures,
                "fresh rows were moved to history"
            );
        }
        Err(error) => tracing::warn!(
            error = chain(&error),
            "the lake could not be compacted; nothing is lost, and it is tried again later"
        ),
    }
}
