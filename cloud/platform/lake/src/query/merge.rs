//! Rows of several files to rows of one vehicle after the other, in order of time, each once.

use std::ops::Range;

use remuda_model::{OrganizationId, SignalId, VehicleId};

use super::decode::Decoded;
use crate::erasure::Tombstones;

/// One signal's raw values, a place for each row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Column {
    /// 0 where there is none.
    values: Vec<i64>,
    /// Which rows have a value; empty: all of them.
    present: Vec<bool>,
}

impl Column {
    /// So many rows without a value.
    pub(super) fn missing(rows: usize) -> Self {
        Self { values: vec![0; rows], present: vec![false; rows] }
    }

    pub(super) fn reserve(&mut self, rows: usize) {
        self.values.reserve(rows);
        self.present.reserve(rows);
    }

    pub(super) fn push_all(&mut self, mut values: Vec<i64>) {
        if !self.present.is_empty() {
            self.present.resize(self.values.len() + values.len(), true);
        }
        if self.values.is_empty() { self.values = values } else { self.values.append(&mut values) }
    }

    pub(super) fn push_missing(&mut self, rows: usize) {
        self.mark();
        self.values.resize(self.values.len() + rows, 0);
        self.present.resize(self.values.len(), false);
    }

    pub(super) fn push(&mut self, value: Option<i64>) {
        if value.is_none() || !self.present.is_empty() {
            self.mark();
            self.present.push(value.is_some());
        }
        self.values.push(value.unwrap_or_default());
    }

    /// From now on every row says whether it has a value.
    fn mark(&mut self) {
        if self.present.is_empty() {
            self.present.resize(self.values.len(), true);
        }
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value of a row, if it has one.
    pub fn get(&self, row: usize) -> Option<i64> {
        let value = self.values.get(row)?;
        self.present.get(row).copied().unwrap_or(true).then_some(*value)
    }

    /// Values of some rows when each of them has one.
    pub fn all(&self, rows: Range<usize>) -> Option<&[i64]> {
        if self.present.get(rows.clone()).is_some_and(|present| !present.iter().all(|there| *there)) {
            return None;
        }
        self.values.get(rows)
    }

    /// Whether every row has a value.
    pub fn is_full(&self) -> bool {
        self.present.iter().all(|there| *there)
    }

    /// How many rows have a value.
    pub fn values(&self) -> usize {
        if self.present.is_empty() { self.values.len() } else { self.present.iter().filter(|p| **p).count() }
    }

    fn append(&mut self, other: &Self, rows: Range<usize>) {
        let present = other.present.get(rows.clone()).unwrap_or_default();
        if !present.is_empty() || !self.present.is_empty() {
            self.mark();
            self.present.extend_from_slice(present);
            self.present.resize(self.values.len() + rows.len(), true);
        }
        self.values.extend_from_slice(&other.values[rows]);
    }

    /// Keeps the rows that are marked.
    fn retain(&mut self, keep: &[bool]) {
        let mut marks = keep.iter();
        self.values.retain(|_| marks.next().copied().unwrap_or(true));
        let mut marks = keep.iter();
        self.present.retain(|_| marks.next().copied().unwrap_or(true));
    }

    fn clear_at(&mut self, row: usize) {
        self.mark();
        self.values[row] = 0;
        self.present[row] = false;
    }
}

/// Rows of one vehicle, in order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleRows {
    /// Whose.
    pub vehicle: VehicleId,
    /// Time of each row, ns since 1970 UTC.
    pub times: Vec<i64>,
    /// A column for each signal that was asked for, in that order.
    pub columns: Vec<Column>,
}

impl SampleRows {
    /// Leaves rows out.
    pub(super) fn retain(&mut self, keep: &[bool]) {
        let mut marks = keep.iter();
        self.times.retain(|_| marks.next().copied().unwrap_or(true));
        self.columns.iter_mut().for_each(|column| column.retain(keep));
    }

    /// Leaves rows without a value out.
    fn drop_empty(&mut self) {
        if self.columns.iter().any(|column| !column.is_empty() && column.is_full()) {
            return;
        }
        let keep: Vec<bool> =
            (0..self.times.len()).map(|row| self.columns.iter().any(|c| c.get(row).is_some())).collect();
        self.retain(&keep);
    }

    /// Takes out what is to be forgotten.
    fn strip(&mut self, organization: &OrganizationId, signals: &[SignalId], tombstones: &Tombstones) {
        if !tombstones.touches(organization, &self.vehicle) {
            return;
        }
        let mut keep = vec![true; self.times.len()];
        for (row, at) in self.times.iter().enumerate() {
            if tombstones.covers(organization, &self.vehicle, *at, None) {
                keep[row] = false;
                continue;
            }
            for (signal, column) in signals.iter().zip(&mut self.columns) {
                if tombstones.covers(organization, &self.vehicle, *at, Some(*signal)) {
                    column.clear_at(row);
                }
            }
        }
        self.retain(&keep);
    }
}

/// What to make of decoded rows.
pub(super) struct Merge<'a> {
    pub organization: OrganizationId,
    /// The wanted ones, to which the decoded segments refer.
    pub vehicles: &'a [VehicleId],
    pub signals: &'a [SignalId],
    pub tombstones: &'a Tombstones,
}

/// Rows of one time were met, and what tells them apart was not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NeedsIds;

impl Merge<'_> {
    /// Rows by vehicle.
    pub fn merge(&self, files: &[Decoded]) -> Result<Vec<SampleRows>, NeedsIds> {
        let mut segments: Vec<(usize, i64, usize, Range<usize>)> = Vec::new();
        for (file, decoded) in files.iter().enumerate() {
            for (vehicle, rows) in &decoded.segments {
                segments.push((*vehicle, decoded.times[rows.start], file, rows.clone()));
            }
        }
        segments.sort_by_key(|(vehicle, first, ..)| (*vehicle, *first));
        let mut merged = Vec::new();
        for of_vehicle in segments.chunk_by(|a, b| a.0 == b.0) {
            let parts: Vec<(usize, Range<usize>)> =
                of_vehicle.iter().map(|(_, _, file, rows)| (*file, rows.clone())).collect();
            let mut rows = SampleRows {
                vehicle: self.vehicles[of_vehicle[0].0],
                times: Vec::new(),
                columns: vec![Column::default(); self.signals.len()],
            };
            if in_order(files, &parts) {
                parts.iter().for_each(|(file, range)| append(&mut rows, &files[*file], range.clone()));
            } else {
                interleave(&mut rows, files, &parts)?;
            }
            rows.strip(&self.organization, self.signals, self.tombstones);
            rows.drop_empty();
            if !rows.times.is_empty() {
                merged.push(rows);
            }
        }
        Ok(merged)
    }
}

/// Whether the times ascend strictly over all the parts, as they stand.
fn in_order(files: &[Decoded], parts: &[(usize, Range<usize>)]) -> bool {
    let mut before = None;
    parts.iter().all(|(file, rows)| {
        let times = &files[*file].times[rows.clone()];
        let follows = before.is_none_or(|before| times.first().is_none_or(|first| before < *first));
        before = times.last().copied();
        follows && times.is_sorted_by(|a, b| a < b)
    })
}

fn append(into: &mut SampleRows, from: &Decoded, rows: Range<usize>) {
    into.times.extend_from_slice(&from.times[rows.clone()]);
    for (column, other) in into.columns.iter_mut().zip(&from.columns) {
        match other {
            Some(other) => column.append(other, rows.clone()),
            None => column.push_missing(rows.len()),
        }
    }
}

/// Rows whose times overlap: sorted, each once.
fn interleave(
    into: &mut SampleRows,
    files: &[Decoded],
    parts: &[(usize, Range<usize>)],
) -> Result<(), NeedsIds> {
    let mut rows: Vec<(i64, usize, usize)> = Vec::new();
    for (file, range) in parts {
        rows.extend(range.clone().map(|row| (files[*file].times[row], *file, row)));
    }
    // Stable, and quick on runs that are sorted already.
    rows.sort_by_key(|(at, ..)| *at);
    if rows.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        let has_ids = |file: &usize| files[*file].ids.len() == files[*file].times.len();
        if !parts.iter().all(|(file, _)| has_ids(file)) {
            return Err(NeedsIds);
        }
        let key = |(at, file, row): &(i64, usize, usize)| (*at, files[*file].ids[*row]);
        rows.sort_by_key(key);
        rows.dedup_by_key(|row| key(row));
    }
    let run = |a: &(i64, usize, usize), b: &(i64, usize, usize)| a.1 == b.1 && a.2 + 1 == b.2;
    for run in rows.chunk_by(run) {
        let (_, file, first) = run[0];
        append(into, &files[file], first..first + run.len());
    }
    Ok(())
}
