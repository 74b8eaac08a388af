//! A scan under way: hour after hour, unit after unit, some of them read ahead.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::OwnedSemaphorePermit;

use super::listing::Picked;
use super::merge::SampleRows;
use super::plan::{self, Unit};
use super::unit::{self, Read};
use super::{AsOf, Cursor, Progress, QueryError, Selection, Shared, limits};
use crate::error::LakeError;
use crate::history::HOUR_NS;

/// What the units of a scan share.
struct State {
    shared: Arc<Shared>,
    selection: Selection,
    picked: Picked,
    names: Arc<[String]>,
    as_of: Mutex<AsOf>,
    rows: AtomicU64,
    bytes: AtomicU64,
    stop: Arc<AtomicBool>,
}

/// A scan. Dropping it ends its work.
pub struct Scan {
    state: Arc<State>,
    units: BoxStream<'static, Result<Vec<SampleRows>, LakeError>>,
    ready: std::vec::IntoIter<SampleRows>,
    ended: bool,
    begun: Instant,
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Scan {
    pub(super) fn begin(
        shared: Arc<Shared>,
        selection: Selection,
        picked: Picked,
        permit: Arc<OwnedSemaphorePermit>,
    ) -> Self {
        shared.metrics.running.inc();
        let state = Arc::new(State {
            names: unit::names(&selection.signals).into(),
            as_of: Mutex::new(picked.as_of),
            selection,
            picked,
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            stop: Arc::new(AtomicBool::new(false)),
            shared,
        });
        let units = units(&state);
        Self {
            state,
            units,
            ready: Vec::new().into_iter(),
            ended: false,
            begun: Instant::now(),
            _permit: permit,
        }
    }

    /// As of which moment it answers; another one than before when files were removed meanwhile.
    pub fn as_of(&self) -> AsOf {
        *self.state.as_of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it has read so far.
    pub fn progress(&self) -> Progress {
        Progress {
            rows: self.state.rows.load(Ordering::Relaxed),
            bytes: self.state.bytes.load(Ordering::Relaxed),
        }
    }

    /// The next rows of one vehicle; `None` at the end.
    ///
    /// # Errors
    /// When a file is damaged, or the store or the journal fails.
    pub async fn next(&mut self) -> Result<Option<SampleRows>, QueryError> {
        loop {
            if let Some(rows) = self.ready.next() {
                return Ok(Some(rows));
            }
            if self.ended {
                return Ok(None);
            }
            match self.units.try_next().await {
                Ok(Some(rows)) => self.ready = rows.into_iter(),
                Ok(None) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    return Err(error.into());
                }
            }
        }
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        self.state.shared.metrics.running.dec();
        self.state.shared.metrics.seconds.observe(self.begun.elapsed().as_secs_f64());
    }
}

fn units(state: &Arc<State>) -> BoxStream<'static, Result<Vec<SampleRows>, LakeError>> {
    let (planning, reading) = (Arc::clone(state), Arc::clone(state));
    stream::iter(plan::hours(&state.picked, &state.selection))
        .map(move |hour| {
            let state = Arc::clone(&planning);
            async move { state.planned(hour).await }
        })
        .buffered(limits::UNITS_AHEAD)
        .map_ok(|units| stream::iter(units.into_iter().map(Ok)))
        .try_flatten()
        .map(move |unit: Result<Unit, LakeError>| {
            let state = Arc::clone(&reading);
            async move { state.read(unit?).await }
        })
        .buffered(limits::UNITS_AHEAD)
        .boxed()
}

impl State {
    async fn planned(&self, hour: i64) -> Result<Vec<Unit>, LakeError> {
        match plan::units(&self.shared, &self.selection, &self.picked, hour).await? {
            Some(units) => Ok(units),
            None => {
                let begin = hour.saturating_mul(HOUR_NS);
                self.again(&self.selection.within(begin, begin.saturating_add(HOUR_NS)), hour).await
            }
        }
    }

    /// Units of a part of the selection, as of now: files of the first list were removed.
    async fn again(&self, part: &Selection, hour: i64) -> Result<Vec<Unit>, LakeError> {
        for _ in 0..limits::TRIES_MAX {
            self.shared.metrics.relisted.inc();
            let picked = self.shared.lister.pick(&self.shared.lake, part).await?;
            {
                let mut as_of = self.as_of.lock().unwrap_or_else(PoisonError::into_inner);
                as_of.position = picked.as_of.position;
                as_of.read_ms = picked.as_of.read_ms;
            }
            if let Some(units) = plan::units(&self.shared, part, &picked, hour).await? {
                return Ok(units);
            }
        }
        let path = format!("the files of hour {hour} since 1970");
        Err(LakeError::Damaged { path, what: "missing".into() })
    }

    async fn read(&self, unit: Unit) -> Result<Vec<SampleRows>, LakeError> {
        let mut waiting = vec![unit];
        let mut found = Vec::new();
        let mut tries = 0;
        while let Some(unit) = waiting.pop() {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(Vec::new());
            }
            let read = unit::read(&self.shared, &self.selection, &self.names, unit, &self.stop).await?;
            match read {
                Read::Rows(rows, progress) => {
                    self.rows.fetch_add(progress.rows, Ordering::Relaxed);
                    self.bytes.fetch_add(progress.bytes, Ordering::Relaxed);
                    found.extend(rows);
                }
                Read::Stopped => return Ok(Vec::new()),
                Read::Gone(unit) if tries < limits::TRIES_MAX => {
                    tries += 1;
                    let hour = unit.from_ns.div_euclid(HOUR_NS);
                    let part = self.selection.within(unit.from_ns, unit.until_ns);
                    let again = self.again(&part.of(&unit.vehicles), hour).await?;
                    // Places among the part's vehicles are not those among all.
                    let first = unit.vehicles.start;
                    let moved = again.into_iter().rev().map(|unit| Unit {
                        vehicles: unit.vehicles.start + first..unit.vehicles.end + first,
                        ..unit
                    });
                    waiting.extend(moved);
                }
                Read::Gone(unit) => {
                    let file = unit.files.first().map(|file| file.listed.path.clone());
                    return Err(LakeError::Damaged {
                        path: file.unwrap_or_default(),
                        what: "missing".into(),
                    });
                }
            }
        }
        if let Some(after) = &self.selection.after {
            found.iter_mut().for_each(|rows| leave_out(rows, after));
            found.retain(|rows| !rows.times.is_empty());
        }
        Ok(found)
    }
}

/// Leaves out what was answered up to a place.
fn leave_out(rows: &mut SampleRows, after: &Cursor) {
    let hour = |at: i64| at.div_euclid(HOUR_NS);
    let same_hour = rows.times.first().is_some_and(|first| hour(*first) == hour(after.time_ns));
    if rows.vehicle != after.vehicle || !same_hour {
        return;
    }
    let mut skip = after.rows;
    let keep: Vec<bool> = rows
        .times
        .iter()
        .map(|at| match at.cmp(&after.time_ns) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal if skip > 0 => {
                skip -= 1;
                false
            }
            _ => true,
        })
        .collect();
    rows.retain(&keep);
}

impl Selection {
    /// The part of it in a range of times.
    fn within(&self, from_ns: i64, until_ns: i64) -> Self {
        Self { from_ns: from_ns.max(self.from_ns), until_ns: until_ns.min(self.until_ns), ..self.clone() }
    }

    /// The part of it of some of its vehicles.
    fn of(&self, vehicles: &std::ops::Range<usize>) -> Self {
        // A place to go on from is applied to what was read, and its vehicles are those of the unit already.
        Self { vehicles: self.vehicles[vehicles.clone()].into(), after: None, ..self.clone() }
    }
}
