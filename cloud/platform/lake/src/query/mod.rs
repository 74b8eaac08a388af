//! Reading history: samples of some vehicles, signals and a range of times, as of one manifest position.
//!
//! A scan lists the manifest once, so what it answers is of one moment: rows in `fresh/` and in `history/`, each once. It
//! goes hour by hour. For each hour the files' footers and page indexes (cached) say which pages may hold wanted rows; only
//! these are fetched. The work is cut into units of bounded memory, by vehicles and if need be by time; a unit's rows are
//! decoded off the runtime, merged by vehicle and time, and freed of duplicates and of what tombstones cover. A vehicle's
//! rows come in order of time; several vehicles take turns, hour by hour. Dropping a scan ends its work between two columns.

mod answer;
mod buckets;
mod cache;
mod decode;
mod fetch;
mod index;
pub mod limits;
mod listing;
mod lttb;
mod merge;
mod metrics;
mod plan;
mod scan;
mod unit;

use std::sync::Arc;

use remuda_eventsourcing::ManifestPosition;
use remuda_model::{OrganizationId, SignalId, VehicleId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use answer::{Answer, AnswerEnd, AnswerRows, Mode};
pub use buckets::{Bucket, BucketRows, Buckets};
pub use lttb::lttb;
pub use merge::{Column, SampleRows};
pub use metrics::QueryMetrics;
pub use scan::Scan;

use crate::error::LakeError;
use crate::lake::Lake;
use cache::IndexCache;
use listing::Lister;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Selection {
    organization: OrganizationId,
    /// Ascending, each once.
    vehicles: Arc<[VehicleId]>,
    signals: Arc<[SignalId]>,
    from_ns: i64,
    until_ns: i64,
    after: Option<Cursor>,
}

/// A place in what a scan answers: the rows up to it are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Vehicle of the last row.
    pub vehicle: VehicleId,
    /// Its time, ns since 1970 UTC.
    pub time_ns: i64,
    /// Rows of that vehicle and time that were answered already.
    pub rows: u32,
}

impl Selection {
    /// Rows of these vehicles with a value of any of these signals, from `from_ns` to before `until_ns` (ns since 1970 UTC).
    pub fn new(
        organization: OrganizationId,
        mut vehicles: Vec<VehicleId>,
        signals: Vec<SignalId>,
        from_ns: i64,
        until_ns: i64,
    ) -> Self {
        vehicles.sort_unstable();
        vehicles.dedup();
        Self {
            organization,
            vehicles: vehicles.into(),
            signals: signals.into(),
            from_ns,
            until_ns,
            after: None,
        }
    }

    /// Only what comes after a place in the same answer.
    #[must_use]
    pub fn after(mut self, cursor: Option<Cursor>) -> Self {
        self.after = cursor;
        self
    }
}

/// The moment as of which a scan answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AsOf {
    /// Every row committed up to here is looked at, none after.
    pub position: ManifestPosition,
    /// When that was, ms since 1970 UTC.
    pub read_ms: i64,
    /// Files that may hold wanted rows and were not compacted yet.
    pub fresh_files: u64,
    /// Compacted files that may hold wanted rows.
    pub history_files: u64,
}

/// What a scan has read so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows decoded.
    pub rows: u64,
    /// Bytes fetched, without footers and page indexes.
    pub bytes: u64,
}

/// Why a scan did not answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// As many scans as may be are at work.
    #[error("{0} history queries are at work, which is the most; try again later")]
    Busy(usize),
    /// A line's samples do not fit into memory.
    #[error(
        "a plot looks at {0} samples of a vehicle at most; ask for a shorter time or fewer signals, or for buckets"
    )]
    TooLongForPlot(usize),
    /// The lake failed.
    #[error("history could not be read")]
    Lake(#[from] LakeError),
}

impl From<remuda_eventsourcing::JournalError> for QueryError {
    fn from(error: remuda_eventsourcing::JournalError) -> Self {
        Self::Lake(error.into())
    }
}

/// How much a reader takes of the machine.
#[derive(Debug, Clone)]
pub struct HistorySettings {
    /// Bytes of footers and page indexes that are kept.
    pub cache_bytes_max: usize,
    /// Scans at once; one more is refused.
    pub scans_max: usize,
    /// Units that are decoded at once, over all scans.
    pub decoders: usize,
    /// Values in memory of one unit, bytes.
    pub unit_bytes: usize,
}

impl Default for HistorySettings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            cache_bytes_max: limits::CACHE_BYTES_MAX,
            scans_max: limits::SCANS_MAX,
            decoders: cores,
            unit_bytes: limits::UNIT_BYTES,
        }
    }
}

/// What all scans of a reader share.
struct Shared {
    lake: Lake,
    lister: Lister,
    cache: IndexCache,
    scans: Arc<Semaphore>,
    scans_max: usize,
    unit_bytes: usize,
    decoders: Semaphore,
    metrics: QueryMetrics,
}

/// Reads a lake's history. Cheap to clone; all clones share one cache.
#[derive(Clone)]
pub struct HistoryReader(Arc<Shared>);

impl HistoryReader {
    /// A reader of a lake. It shows nothing of what is to be forgotten.
    pub fn new(lake: Lake, settings: &HistorySettings) -> Self {
        let metrics = QueryMetrics::default();
        Self(Arc::new(Shared {
            lake,
            lister: Lister::default(),
            cache: IndexCache::new(settings.cache_bytes_max, metrics.clone()),
            scans: Arc::new(Semaphore::new(settings.scans_max)),
            scans_max: settings.scans_max,
            unit_bytes: settings.unit_bytes,
            decoders: Semaphore::new(settings.decoders.max(1)),
            metrics,
        }))
    }

    /// Its figures, for a registry.
    pub fn metrics(&self) -> &QueryMetrics {
        &self.0.metrics
    }

    /// Lists the manifest, for a selection and as of now. What is scanned of it is of one moment.
    ///
    /// # Errors
    /// When too many scans are at work, or the journal fails.
    pub async fn moment(&self, selection: Selection) -> Result<Moment, QueryError> {
        let shared = Arc::clone(&self.0);
        let permit = Arc::clone(&shared.scans).try_acquire_owned().map_err(|_| {
            shared.metrics.refused.inc();
            QueryError::Busy(shared.scans_max)
        })?;
        let picked = shared.lister.pick(&shared.lake, &selection).await?;
        Ok(Moment { shared, selection, picked, permit: Arc::new(permit) })
    }

    /// Begins a scan; nothing is read yet.
    ///
    /// # Errors
    /// As [`HistoryReader::moment`].
    pub async fn scan(&self, selection: Selection) -> Result<Scan, QueryError> {
        Ok(self.moment(selection).await?.scan())
    }
}

/// Files that may hold rows of a selection, as of one moment.
pub struct Moment {
    shared: Arc<Shared>,
    selection: Selection,
    picked: listing::Picked,
    permit: Arc<OwnedSemaphorePermit>,
}

impl Moment {
    /// When it was.
    pub fn as_of(&self) -> AsOf {
        self.picked.as_of
    }

    /// Vehicles of the selection, ascending.
    pub fn vehicles(&self) -> &[VehicleId] {
        &self.selection.vehicles
    }

    /// Scans all of it.
    pub fn scan(&self) -> Scan {
        self.scan_part(self.selection.clone())
    }

    /// Scans one of its vehicles alone.
    pub fn scan_one(&self, vehicle: VehicleId) -> Scan {
        let vehicles = self.selection.vehicles.binary_search(&vehicle).map(|_| vehicle).into_iter().collect();
        self.scan_part(Selection { vehicles, ..self.selection.clone() })
    }

    fn scan_part(&self, part: Selection) -> Scan {
        Scan::begin(Arc::clone(&self.shared), part, self.picked.clone(), Arc::clone(&self.permit))
    }
}
