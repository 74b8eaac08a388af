//! Answers in the contract's words: whole numbers to physical values, rows to columns.

use std::ops::Range;

use prost_types::Timestamp;
use remuda_api::VehicleName;
use remuda_api::telemetry::v1 as api;
use remuda_contracts::history::{
    HistoryBucket, HistoryEnd, HistoryMoment, HistoryRows, HistoryValues, JourneyView, TrackPoint,
};
use remuda_model::signal::{self, SignalId, SignalKind};
use remuda_model::{OrganizationId, VehicleId};

use crate::convert::timestamp_of;
use crate::precision::Precision;

/// How a signal's values are shown to somebody.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    scale: Scale,
    signal: SignalId,
    precision: Precision,
}

impl Shown {
    pub fn of(signal: SignalId, precision: Precision) -> Self {
        Self { scale: Scale::of(signal), signal, precision }
    }

    fn value(self, raw: i64) -> f64 {
        self.scale.value(self.precision.raw(self.signal, raw))
    }

    fn mean(self, sum: i128, count: u64) -> f64 {
        if self.precision == Precision::Exact || ![signal::LATITUDE, signal::LONGITUDE].contains(&self.signal)
        {
            return self.scale.mean(sum, count);
        }
        let mean = sum.div_euclid(i128::from(count.max(1)));
        // It lies between the smallest and the largest value.
        self.value(i64::try_from(mean).unwrap_or_default())
    }
}

/// How raw values of a signal become physical ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// 0.01 and the like: a division gives the number nearest to the decimal fraction, as a multiplication would not.
    Divide(f64),
    Multiply(f64),
}

impl Scale {
    pub fn of(id: SignalId) -> Self {
        let scale = signal::by_id(id).map_or(1.0, |known| known.scale);
        let whole = (1.0 / scale).round();
        if whole >= 1.0 && (whole * scale - 1.0).abs() < 1e-9 {
            Self::Divide(whole)
        } else {
            Self::Multiply(scale)
        }
    }

    pub fn value(self, raw: i64) -> f64 {
        match self {
            Self::Divide(by) => raw as f64 / by,
            Self::Multiply(by) => raw as f64 * by,
        }
    }

    /// The mean of so many raw values with this sum, rounded but once where the scale divides.
    fn mean(self, sum: i128, count: u64) -> f64 {
        match self {
            Self::Divide(by) => sum as f64 / (count as f64 * by),
            Self::Multiply(by) => sum as f64 / count as f64 * by,
        }
    }
}

/// What a signal's values are.
pub(super) fn signal_of(id: SignalId) -> api::HistorySignal {
    let number = u32::from(id.0);
    let Some(known) = signal::by_id(id) else {
        let path = format!("signal-{}", id.0);
        return api::HistorySignal { path, id: number, step: 1.0, ..api::HistorySignal::default() };
    };
    let (kind, names) = match known.kind {
        SignalKind::Number => (api::HistoryKind::Number, &[][..]),
        SignalKind::Boolean => (api::HistoryKind::Boolean, &[][..]),
        SignalKind::Enumeration(names) => (api::HistoryKind::Enumeration, names),
    };
    api::HistorySignal {
        path: known.path.to_owned(),
        id: number,
        unit: known.unit.to_owned(),
        step: known.scale,
        kind: kind.into(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// A moment.
pub(super) fn as_of(moment: &HistoryMoment) -> api::AsOf {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    api::AsOf {
        manifest_position: count(moment.position),
        read_time: timestamp_of(moment.read_ms),
        fresh_files: count(moment.fresh_files),
        history_files: count(moment.history_files),
        complete_since: moment.complete_since_ns.map(timestamp_ns),
    }
}

/// How an answer ended.
pub(super) fn end(end: &HistoryEnd, next_page_token: String) -> api::HistoryEnd {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    api::HistoryEnd {
        rows: count(end.rows),
        values: count(end.values),
        rows_read: count(end.rows_read),
        bytes_read: count(end.bytes_read),
        limited: end.limited,
        next_page_token,
        as_of: Some(as_of(&end.as_of)),
    }
}

pub(super) fn name_of(organization: &OrganizationId, vehicle: &VehicleId) -> String {
    VehicleName { organization: organization.to_string(), vehicle: vehicle.to_string() }.to_string()
}

/// Times as the first one and differences.
pub(super) fn deltas(times: &[i64]) -> Vec<i64> {
    let mut before = 0_i64;
    times
        .iter()
        .map(|at| {
            let delta = at.wrapping_sub(before);
            before = *at;
            delta
        })
        .collect()
}

/// About the bytes of one row in a message.
pub(super) fn row_bytes(rows: &HistoryRows) -> usize {
    10 + match &rows.signals {
        HistoryValues::Samples(signals) => signals.len() * 9,
        HistoryValues::Buckets(signals) => signals.len() * 36,
    }
}

/// Some of the rows of one vehicle by column.
pub(super) fn columns(
    organization: &OrganizationId,
    rows: &HistoryRows,
    range: Range<usize>,
    shown: &[Shown],
) -> api::SampleColumns {
    let mut signals = Vec::new();
    match &rows.signals {
        HistoryValues::Samples(columns) => {
            for (signal, (column, shown)) in columns.iter().zip(shown).enumerate() {
                signals.extend(samples(signal, &column[range.clone()], *shown));
            }
        }
        HistoryValues::Buckets(columns) => {
            for (signal, (column, shown)) in columns.iter().zip(shown).enumerate() {
                signals.extend(buckets(signal, &column[range.clone()], *shown));
            }
        }
    }
    api::SampleColumns {
        vehicle: name_of(organization, &rows.vehicle),
        time_ns_delta: deltas(&rows.times[range]),
        signals,
    }
}

/// Which places have something; empty when all have.
fn present<T>(column: &[Option<T>]) -> Vec<u8> {
    if column.iter().all(Option::is_some) {
        return Vec::new();
    }
    let mut bits = vec![0_u8; column.len().div_ceil(8)];
    for (i, _) in column.iter().enumerate().filter(|(_, value)| value.is_some()) {
        bits[i / 8] |= 1 << (i % 8);
    }
    bits
}

fn samples(signal: usize, column: &[Option<i64>], shown: Shown) -> Option<api::SignalColumn> {
    let value: Vec<f64> = column.iter().flatten().map(|raw| shown.value(*raw)).collect();
    (!value.is_empty()).then(|| api::SignalColumn {
        signal: signal as u32,
        present: present(column),
        value,
        ..api::SignalColumn::default()
    })
}

fn buckets(signal: usize, column: &[Option<HistoryBucket>], shown: Shown) -> Option<api::SignalColumn> {
    let there: Vec<&HistoryBucket> = column.iter().flatten().collect();
    (!there.is_empty()).then(|| api::SignalColumn {
        signal: signal as u32,
        present: present(column),
        value: there.iter().map(|bucket| shown.value(bucket.last)).collect(),
        min: there.iter().map(|bucket| shown.value(bucket.min)).collect(),
        max: there.iter().map(|bucket| shown.value(bucket.max)).collect(),
        mean: there.iter().map(|bucket| shown.mean(bucket.sum, bucket.count)).collect(),
        count: there.iter().map(|bucket| i64::try_from(bucket.count).unwrap_or(i64::MAX)).collect(),
    })
}

/// A time, from ns since 1970 UTC.
pub(super) fn timestamp_ns(at: i64) -> Timestamp {
    Timestamp {
        seconds: at.div_euclid(1_000_000_000),
        // Below 1e9 by construction.
        nanos: at.rem_euclid(1_000_000_000) as i32,
    }
}

fn place(point: TrackPoint, precision: Precision) -> api::JourneyPlace {
    let degrees = |e7: i32| f64::from(precision.e7(e7)) / 1e7;
    api::JourneyPlace { latitude: degrees(point.latitude_e7), longitude: degrees(point.longitude_e7) }
}

/// A journey.
pub(super) fn journey(
    organization: &OrganizationId,
    journey: &JourneyView,
    precision: Precision,
) -> api::Journey {
    let shown = |e7: i32| precision.e7(e7);
    let vehicle = name_of(organization, &journey.vehicle);
    let times: Vec<i64> = journey.track.iter().map(|point| point.time_ns).collect();
    let track = (!journey.track.is_empty()).then(|| api::Track {
        vehicle: vehicle.clone(),
        time_ns_delta: deltas(&times),
        latitude_e7: journey.track.iter().map(|point| shown(point.latitude_e7)).collect(),
        longitude_e7: journey.track.iter().map(|point| shown(point.longitude_e7)).collect(),
        speed_kmh: vec![f32::NAN; times.len()],
        heading_deg: vec![f32::NAN; times.len()],
        altitude_m: vec![f32::NAN; times.len()],
    });
    api::Journey {
        vehicle,
        start_time: Some(timestamp_ns(journey.start_ns)),
        end_time: Some(timestamp_ns(journey.end_ns)),
        under_way: journey.under_way,
        distance_m: journey.distance_m,
        moving_ms: journey.moving_ms,
        max_speed_kmh: journey.max_speed_kmh,
        start: journey.start.map(|point| place(point, precision)),
        end: journey.end.map(|point| place(point, precision)),
        track,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_and_means_do_not_drift() {
        let speed = Scale::of(signal::SPEED);
        assert_eq!(speed, Scale::Divide(100.0));
        assert_eq!((speed.value(1_234), speed.value(-7)), (12.34, -0.07));
        // A million times 0.07 added up as floats is not 70,000.
        assert_eq!(speed.mean(7 * 1_000_000, 1_000_000), 0.07);
        assert_eq!(Scale::of(signal::LATITUDE).value(601_710_001), 60.171_000_1);
        assert_eq!(Scale::of(signal::RANGE), Scale::Multiply(100.0));
        assert_eq!(Scale::of(SignalId(40_000)).value(5), 5.0);
    }

    #[test]
    fn positions_are_a_cell_for_who_need_not_know_them() {
        let latitude = Shown::of(signal::LATITUDE, Precision::Coarse);
        assert_eq!((latitude.value(601_710_001), latitude.value(-1)), (60.175, -0.005));
        assert_eq!(latitude.mean(601_710_001 * 3, 3), 60.175);
        assert_eq!(Shown::of(signal::SPEED, Precision::Coarse).value(1), 0.01);
    }

    #[test]
    fn columns_say_which_rows_have_a_value() {
        let rows = HistoryRows {
            vehicle: VehicleId::new("V1").expect("an id"),
            times: vec![10, 15, 40],
            signals: HistoryValues::Samples(vec![
                vec![Some(100), None, Some(300)],
                vec![None, None, None],
                vec![Some(1), Some(2), Some(3)],
            ]),
        };
        let shown =
            [signal::SPEED, signal::SPEED, signal::DTC_COUNT].map(|id| Shown::of(id, Precision::Exact));
        let found = columns(&OrganizationId::default(), &rows, 0..3, &shown);
        assert_eq!(
            (found.vehicle.as_str(), found.time_ns_delta),
            ("organizations/default/vehicles/V1", vec![10, 5, 25])
        );
        assert_eq!(found.signals.len(), 2);
        assert_eq!((&found.signals[0].present, &found.signals[0].value), (&vec![0b101], &vec![1.0, 3.0]));
        assert_eq!((found.signals[1].signal, found.signals[1].present.len()), (2, 0));
    }
}
