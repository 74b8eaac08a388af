//! An hour's files to units of work of bounded memory.

use std::ops::Range;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::index::{Candidate, FileIndex, Wanted};
use super::listing::{Listed, Picked};
use super::{Selection, Shared, decode, fetch, limits};
use crate::aside::aside;
use crate::error::LakeError;
use crate::history::HOUR_NS;

/// Rows that are read, merged and answered together.
#[derive(Debug)]
pub(super) struct Unit {
    /// Places among the selection's vehicles.
    pub vehicles: Range<usize>,
    pub from_ns: i64,
    pub until_ns: i64,
    pub files: Vec<UnitFile>,
}

/// Rows of one file that a unit may want.
#[derive(Debug)]
pub(super) struct UnitFile {
    pub listed: Arc<Listed>,
    pub index: Arc<FileIndex>,
    pub candidates: Vec<Candidate>,
}

/// A file with its footer.
type Open = (Arc<Listed>, Arc<FileIndex>);

/// Hours, since 1970 UTC, that may have rows; ascending.
pub(super) fn hours(picked: &Picked, selection: &Selection) -> Vec<i64> {
    let mut hours: Vec<i64> = picked.history.keys().copied().collect();
    for file in &picked.fresh {
        let from = file.times.0.max(selection.from_ns).div_euclid(HOUR_NS);
        let to = file.times.1.min(selection.until_ns - 1).div_euclid(HOUR_NS);
        hours.extend(from..=to);
    }
    hours.sort_unstable();
    hours.dedup();
    if let Some(after) = &selection.after {
        let first = after.time_ns.div_euclid(HOUR_NS);
        hours.retain(|hour| *hour >= first);
    }
    hours
}

/// The units of an hour; `None` when one of its files is gone.
pub(super) async fn units(
    shared: &Shared,
    selection: &Selection,
    picked: &Picked,
    hour: i64,
) -> Result<Option<Vec<Unit>>, LakeError> {
    let begin = hour.saturating_mul(HOUR_NS);
    let from_ns = begin.max(selection.from_ns);
    let until_ns = begin.saturating_add(HOUR_NS).min(selection.until_ns);
    let in_hour = |file: &&Arc<Listed>| file.times.0 < until_ns && file.times.1 >= from_ns;
    let history = picked.history.get(&hour).map(Vec::as_slice).unwrap_or_default();
    let fresh = picked.fresh.iter().filter(in_hour);
    let files: Vec<(Arc<Listed>, bool)> = history
        .iter()
        .map(|file| (Arc::clone(file), false))
        .chain(fresh.map(|file| (Arc::clone(file), true)))
        .collect();
    let opened: Vec<Option<Option<Open>>> = stream::iter(files)
        .map(|(file, is_fresh)| open(shared, file, is_fresh.then_some(hour)))
        .buffered(limits::FOOTERS_AHEAD)
        .try_collect()
        .await?;
    let mut open = Vec::with_capacity(opened.len());
    for file in opened {
        match file {
            Some(file) => open.extend(file),
            None => return Ok(None),
        }
    }
    let all = &selection.vehicles;
    let first = match &selection.after {
        Some(after) if after.time_ns.div_euclid(HOUR_NS) == hour => {
            all.partition_point(|vehicle| *vehicle < after.vehicle)
        }
        _ => 0,
    };
    let mut units = Vec::new();
    split(
        selection,
        &open,
        shared.unit_bytes,
        Unit { vehicles: first..all.len(), from_ns, until_ns, files: Vec::new() },
        &mut units,
    );
    Ok(Some(units))
}

/// A file with its footer: the outer `None` when it is gone, the inner one when it has no rows in the hour.
async fn open(
    shared: &Shared,
    file: Arc<Listed>,
    hour: Option<i64>,
) -> Result<Option<Option<Open>>, LakeError> {
    let Some(index) = shared.index(&file).await? else { return Ok(None) };
    // A file over many hours is one of a vehicle that was away for long, or whose clock is wrong: then few of them count.
    let spans = |times: (i64, i64)| times.1.div_euclid(HOUR_NS) - times.0.div_euclid(HOUR_NS);
    if let Some(hour) = hour
        && spans(file.times) > 1
    {
        let Some(hours) = shared.hours(&file, &index).await? else { return Ok(None) };
        if hours.binary_search(&hour).is_err() {
            return Ok(Some(None));
        }
    }
    Ok(Some(Some((file, index))))
}

impl Shared {
    /// A file's footer and page index; `None` when the file is gone.
    async fn index(&self, file: &Listed) -> Result<Option<Arc<FileIndex>>, LakeError> {
        if let Some(index) = self.cache.get(&file.path) {
            return Ok(Some(index));
        }
        let Some(index) = FileIndex::load(&self.lake.files, &file.path, file.bytes).await? else {
            return Ok(None);
        };
        let index = Arc::new(index);
        self.cache.put(&file.path, &index);
        Ok(Some(index))
    }

    async fn hours(&self, file: &Listed, index: &Arc<FileIndex>) -> Result<Option<Vec<i64>>, LakeError> {
        if let Some(hours) = index.hours.get() {
            return Ok(Some(hours.clone()));
        }
        let ranges = decode::bytes_of_times(index);
        let Some(bytes) = fetch::ranges(&self.lake.files, &file.path, &ranges).await? else {
            return Ok(None);
        };
        let parts = Arc::new(fetch::Parts::new(&ranges, bytes, file.bytes));
        let of = Arc::clone(index);
        let hours = aside(move || decode::hours(&of, &parts)).await;
        let hours = hours.ok_or_else(|| damaged(file, "unreadable"))??;
        Ok(Some(index.hours.get_or_init(|| hours).clone()))
    }
}

pub(super) fn damaged(file: &Listed, what: impl ToString) -> LakeError {
    LakeError::Damaged { path: file.path.clone(), what: what.to_string() }
}

/// The files that a unit may want rows of, and about how many bytes these take.
fn files_of(selection: &Selection, open: &[Open], unit: &Unit) -> (Vec<UnitFile>, usize) {
    let wanted = Wanted {
        organization: selection.organization,
        vehicles: &selection.vehicles[unit.vehicles.clone()],
        from_ns: unit.from_ns,
        until_ns: unit.until_ns,
    };
    let (mut files, mut rows) = (Vec::new(), 0_usize);
    for (listed, index) in open {
        let candidates = index.candidates(&wanted);
        rows += candidates.iter().map(Candidate::rows).sum::<usize>();
        if !candidates.is_empty() {
            files.push(UnitFile { listed: Arc::clone(listed), index: Arc::clone(index), candidates });
        }
    }
    // A value and whether it is there; the time and the vehicle beside them.
    (files, rows.saturating_mul(9 * (selection.signals.len() + 2)))
}

/// Cuts a unit until its rows fit: by vehicles, which lie together in a file; one vehicle's by time, as far as pages are
/// apart in time.
fn split(selection: &Selection, open: &[Open], bytes_max: usize, mut unit: Unit, into: &mut Vec<Unit>) {
    let (files, bytes) = files_of(selection, open, &unit);
    unit.files = files;
    if unit.files.is_empty() {
        return;
    }
    if bytes <= bytes_max {
        into.push(unit);
        return;
    }
    let part =
        |vehicles: Range<usize>, from_ns, until_ns| Unit { vehicles, from_ns, until_ns, files: Vec::new() };
    let Unit { vehicles, from_ns, until_ns, .. } = &unit;
    let halves = if vehicles.len() > 1 {
        let middle = vehicles.start + vehicles.len() / 2;
        [part(vehicles.start..middle, *from_ns, *until_ns), part(middle..vehicles.end, *from_ns, *until_ns)]
    } else {
        let middle = from_ns + (until_ns - from_ns) / 2;
        let halves = [part(vehicles.clone(), *from_ns, middle), part(vehicles.clone(), middle, *until_ns)];
        let apart = halves.iter().any(|half| files_of(selection, open, half).1 < bytes);
        if !apart || until_ns - from_ns <= limits::UNIT_NS_MIN {
            into.push(unit);
            return;
        }
        halves
    };
    halves.into_iter().for_each(|half| split(selection, open, bytes_max, half, into));
}
