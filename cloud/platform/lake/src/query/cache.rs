//! Footers and page indexes in memory, bounded in bytes; the one that was not asked for longest goes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::index::FileIndex;
use super::metrics::QueryMetrics;

#[derive(Default)]
struct Kept {
    by_path: HashMap<String, (Arc<FileIndex>, u64)>,
    /// Paths by when they were last asked for.
    by_use: BTreeMap<u64, String>,
    uses: u64,
    bytes: usize,
}

/// The cache. A path's content never changes, so nothing in it is ever wrong.
pub(super) struct IndexCache {
    kept: Mutex<Kept>,
    bytes_max: usize,
    metrics: QueryMetrics,
}

impl IndexCache {
    pub fn new(bytes_max: usize, metrics: QueryMetrics) -> Self {
        Self { kept: Mutex::default(), bytes_max, metrics }
    }

    pub fn get(&self, path: &str) -> Option<Arc<FileIndex>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *kept;
        let (index, used) = kept.by_path.get_mut(path)?;
        kept.uses += 1;
        if let Some(path) = kept.by_use.remove(used) {
            kept.by_use.insert(kept.uses, path);
        }
        *used = kept.uses;
        self.metrics.footers_found.inc();
        Some(Arc::clone(index))
    }

    pub fn put(&self, path: &str, index: &Arc<FileIndex>) {
        self.metrics.footers_read.inc();
        if index.bytes() > self.bytes_max {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *kept;
        kept.uses += 1;
        if let Some((before, used)) = kept.by_path.insert(path.to_owned(), (Arc::clone(index), kept.uses)) {
            kept.bytes -= before.bytes();
            kept.by_use.remove(&used);
        }
        kept.by_use.insert(kept.uses, path.to_owned());
        kept.bytes += index.bytes();
        while kept.bytes > self.bytes_max {
            let Some((_, oldest)) = kept.by_use.pop_first() else { break };
            if let Some((gone, _)) = kept.by_path.remove(&oldest) {
                kept.bytes -= gone.bytes();
            }
        }
        self.metrics.cache_bytes.set(i64::try_from(kept.bytes).unwrap_or(i64::MAX));
    }
}
