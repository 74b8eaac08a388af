//! One value for each span of time: smallest, largest, last, sum and count, in whole numbers.

use std::collections::BTreeMap;
use std::ops::Range;

use remuda_model::VehicleId;

use super::merge::{Column, SampleRows};

/// Samples of one signal in one span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Smallest raw value.
    pub min: i64,
    /// Largest raw value.
    pub max: i64,
    /// The latest raw value.
    pub last: i64,
    /// Sum of the raw values; the mean is this over `count`, divided but once.
    pub sum: i128,
    /// Samples; at least 1.
    pub count: u64,
}

impl Bucket {
    fn of(values: &[i64]) -> Option<Self> {
        let (first, last) = (*values.first()?, *values.last()?);
        let (mut min, mut max, mut sum) = (first, first, 0);
        for value in values {
            min = min.min(*value);
            max = max.max(*value);
            sum += i128::from(*value);
        }
        Some(Self { min, max, last, sum, count: values.len() as u64 })
    }

    /// Takes a later one in.
    fn join(&mut self, later: &Self) {
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.last = later.last;
        self.sum += later.sum;
        self.count += later.count;
    }
}

/// Buckets of one vehicle, in order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketRows {
    /// Whose.
    pub vehicle: VehicleId,
    /// When each begins, ns since 1970 UTC: a multiple of the length.
    pub begins: Vec<i64>,
    /// For each signal a place for each bucket.
    pub columns: Vec<Vec<Option<Bucket>>>,
}

/// A vehicle's bucket that may still grow.
struct Open {
    begin: i64,
    signals: Vec<Option<Bucket>>,
}

/// Makes buckets of rows that come in order of time for each vehicle.
pub struct Buckets {
    length_ns: i64,
    open: BTreeMap<VehicleId, Open>,
}

impl Buckets {
    /// Buckets of this length, ns; at least 1.
    pub fn new(length_ns: i64) -> Self {
        Self { length_ns: length_ns.max(1), open: BTreeMap::new() }
    }

    /// Takes rows in, and answers the buckets that they complete.
    pub fn push(&mut self, rows: &SampleRows) -> Option<BucketRows> {
        let mut done = BucketRows {
            vehicle: rows.vehicle,
            begins: Vec::new(),
            columns: vec![Vec::new(); rows.columns.len()],
        };
        let mut from = 0;
        while let Some(at) = rows.times.get(from) {
            let begin = at.div_euclid(self.length_ns).saturating_mul(self.length_ns);
            let end = begin.saturating_add(self.length_ns);
            let to = from + rows.times[from..].partition_point(|at| *at < end);
            // One time at least: the last span there is ends before its length does.
            let to = to.max(from + 1);
            let open = self
                .open
                .entry(rows.vehicle)
                .or_insert_with(|| Open { begin, signals: vec![None; rows.columns.len()] });
            if open.begin != begin {
                done.take(open);
                open.begin = begin;
            }
            for (column, signal) in rows.columns.iter().zip(&mut open.signals) {
                let Some(later) = of_column(column, from..to) else { continue };
                match signal {
                    Some(bucket) => bucket.join(&later),
                    None => *signal = Some(later),
                }
            }
            from = to;
        }
        (!done.begins.is_empty()).then_some(done)
    }

    /// The buckets that were still growing.
    pub fn finish(self) -> impl Iterator<Item = BucketRows> {
        self.open.into_iter().map(|(vehicle, mut open)| {
            let columns = vec![Vec::new(); open.signals.len()];
            let mut done = BucketRows { vehicle, begins: Vec::new(), columns };
            done.take(&mut open);
            done
        })
    }
}

impl BucketRows {
    fn take(&mut self, open: &mut Open) {
        self.begins.push(open.begin);
        for (column, signal) in self.columns.iter_mut().zip(&mut open.signals) {
            column.push(signal.take());
        }
    }
}

fn of_column(column: &Column, rows: Range<usize>) -> Option<Bucket> {
    match column.all(rows.clone()) {
        Some(values) => Bucket::of(values),
        None => Bucket::of(&rows.filter_map(|row| column.get(row)).collect::<Vec<_>>()),
    }
}
