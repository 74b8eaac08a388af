//! Reading one unit: fetching its pages, decoding and merging them off the runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};
use remuda_model::{SignalId, VehicleId};

use super::decode::{Decoded, Question, bytes_wanted, decode};
use super::fetch::{self, Parts};
use super::index::Wanted;
use super::merge::{Merge, NeedsIds, SampleRows};
use super::plan::{Unit, UnitFile, damaged};
use super::{Progress, Selection, Shared, limits};
use crate::aside::aside;
use crate::erasure::Tombstones;
use crate::error::LakeError;
use crate::schema;

/// Column names of signals.
pub(super) fn names(signals: &[SignalId]) -> Vec<String> {
    signals.iter().map(|id| schema::column_of(*id).path).collect()
}

/// What came of reading a unit.
pub(super) enum Read {
    Rows(Vec<SampleRows>, Progress),
    /// One of its files is gone.
    Gone(Unit),
    /// Nobody waits for it any more.
    Stopped,
}

/// What the thread that decodes needs.
struct Work {
    unit: Unit,
    parts: Vec<Arc<Parts>>,
    vehicles: Arc<[VehicleId]>,
    selection: Selection,
    names: Arc<[String]>,
    ids: bool,
    tombstones: Arc<Tombstones>,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn run(&self) -> Result<(Result<Vec<SampleRows>, NeedsIds>, usize), LakeError> {
        let vehicles = &self.vehicles[self.unit.vehicles.clone()];
        let wanted = Wanted {
            organization: self.selection.organization,
            vehicles,
            from_ns: self.unit.from_ns,
            until_ns: self.unit.until_ns,
        };
        let question = Question { wanted, signals: &self.names, ids: self.ids };
        let mut decoded: Vec<Decoded> = Vec::with_capacity(self.parts.len());
        for (UnitFile { listed, index, candidates }, data) in self.unit.files.iter().zip(&self.parts) {
            if self.stop.load(Ordering::Relaxed) {
                return Ok((Ok(Vec::new()), 0));
            }
            let rows = decode(index, data, candidates, &question, &self.stop);
            decoded.push(rows.map_err(|error| damaged(listed, error))?);
        }
        // What is half decoded must not be merged.
        if self.stop.load(Ordering::Relaxed) {
            return Ok((Ok(Vec::new()), 0));
        }
        let rows_read = decoded.iter().map(|decoded| decoded.rows_read).sum();
        let merge = Merge {
            organization: self.selection.organization,
            vehicles,
            signals: &self.selection.signals,
            tombstones: &self.tombstones,
        };
        Ok((merge.merge(&decoded), rows_read))
    }
}

/// Reads a unit.
pub(super) async fn read(
    shared: &Shared,
    selection: &Selection,
    names: &Arc<[String]>,
    unit: Unit,
    stop: &Arc<AtomicBool>,
) -> Result<Read, LakeError> {
    let mut work = Work {
        unit,
        parts: Vec::new(),
        vehicles: Arc::clone(&selection.vehicles),
        selection: selection.clone(),
        names: Arc::clone(names),
        ids: false,
        tombstones: shared.lake.tombstones().await?,
        stop: Arc::clone(stop),
    };
    let mut progress = Progress::default();
    loop {
        let fetched = fetch_all(shared, &work.unit, names, work.ids).await?;
        let Some((parts, bytes)) = fetched else { return Ok(Read::Gone(work.unit)) };
        work.parts = parts;
        progress.bytes += bytes;
        let permit = shared.decoders.acquire().await;
        if stop.load(Ordering::Relaxed) {
            return Ok(Read::Stopped);
        }
        let done = aside(move || {
            let done = work.run();
            (done, work)
        })
        .await;
        drop(permit);
        let Some((done, back)) = done else {
            return Err(LakeError::Encode("the thread that reads panicked".into()));
        };
        work = back;
        let (merged, rows) = done?;
        progress.rows += rows as u64;
        match merged {
            Ok(rows) => {
                shared.metrics.rows.inc_by(progress.rows);
                shared.metrics.bytes.inc_by(progress.bytes);
                return Ok(Read::Rows(rows, progress));
            }
            // Rows of one time: seldom, so what tells them apart is read only now.
            Err(NeedsIds) => work.ids = true,
        }
    }
}

/// The pages of all files of a unit, and their bytes; `None` when a file is gone.
async fn fetch_all(
    shared: &Shared,
    unit: &Unit,
    names: &[String],
    ids: bool,
) -> Result<Option<(Vec<Arc<Parts>>, u64)>, LakeError> {
    let wanted =
        |file: &UnitFile| (Arc::clone(&file.listed), bytes_wanted(&file.index, &file.candidates, names, ids));
    let wanted: Vec<_> = unit.files.iter().map(wanted).collect();
    let fetched: Vec<Option<(Parts, u64)>> = stream::iter(wanted)
        .map(|(file, ranges)| async move {
            let Some(bytes) = fetch::ranges(&shared.lake.files, &file.path, &ranges).await? else {
                return Ok::<_, LakeError>(None);
            };
            let count = bytes.iter().map(|bytes| bytes.len() as u64).sum();
            Ok(Some((Parts::new(&ranges, bytes, file.bytes), count)))
        })
        .buffered(limits::FILES_AHEAD)
        .try_collect()
        .await?;
    let mut parts = Vec::with_capacity(fetched.len());
    let mut bytes = 0;
    for file in fetched {
        let Some((part, count)) = file else { return Ok(None) };
        parts.push(Arc::new(part));
        bytes += count;
    }
    Ok(Some((parts, bytes)))
}
