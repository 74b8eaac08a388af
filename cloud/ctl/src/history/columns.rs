//! Answers as columns: which there are, and what a part of an answer has in them.

use std::sync::Arc;

use clap::ValueEnum;
use remuda_api::telemetry::v1::{HistoryBegin, HistoryKind, HistorySignal, SampleColumns, SignalColumn};
use remuda_exports::{Signal, Value, number};

use crate::error::CtlError;
use crate::text::id;

/// What stands for a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Aggregate {
    /// The mean of its values.
    Mean,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// The last.
    Last,
    /// How many there were.
    Count,
}

impl Aggregate {
    const fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::Last => "last",
            Self::Count => "count",
        }
    }
}

/// One column of the output.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// Its name, unit and decimals.
    pub signal: Signal,
    pub kind: HistoryKind,
    /// Of an enumeration.
    pub names: Vec<Arc<str>>,
    /// Place of the signal in the answer.
    place: usize,
    aggregate: Option<Aggregate>,
}

impl Column {
    #[cfg(test)]
    pub fn fixed(signal: Signal, kind: HistoryKind, names: &[&str]) -> Self {
        Self { signal, kind, names: names.iter().map(|n| (*n).into()).collect(), place: 0, aggregate: None }
    }

    pub fn value(&self, raw: f64) -> Value {
        match self.kind {
            HistoryKind::Boolean => Value::Boolean(raw != 0.0),
            HistoryKind::Enumeration => {
                // A value without a name is shown as it is.
                let place = raw as usize;
                let named = self.names.get(place).filter(|_| place as f64 == raw).cloned();
                Value::Text(named.unwrap_or_else(|| raw.to_string().into()))
            }
            HistoryKind::Number | HistoryKind::Unspecified => Value::Number(raw),
        }
    }

    /// As a cell of a table.
    pub fn text(&self, raw: f64) -> String {
        match self.value(raw) {
            Value::Number(n) => number(n, self.signal.decimals).unwrap_or_else(|| "-".to_owned()),
            Value::Boolean(yes) => yes.to_string(),
            Value::Text(text) => text.to_string(),
        }
    }

    /// Its name with its unit.
    pub fn title(&self) -> String {
        match self.signal.unit.as_str() {
            "" => self.signal.path.clone(),
            unit => format!("{} [{unit}]", self.signal.path),
        }
    }
}

/// The columns of an answer: one for each signal, or of buckets one for each signal and aggregate.
pub(crate) fn columns(begin: &HistoryBegin, buckets: bool, aggregates: &[Aggregate]) -> Vec<Column> {
    let mut columns = Vec::new();
    for (place, signal) in begin.signals.iter().enumerate() {
        if !buckets {
            columns.push(column(place, signal, None, false));
        } else if aggregates.is_empty() {
            // Half a door is no answer.
            let number = matches!(signal.kind(), HistoryKind::Number | HistoryKind::Unspecified);
            let aggregate = if number { Aggregate::Mean } else { Aggregate::Last };
            columns.push(column(place, signal, Some(aggregate), false));
        } else {
            let several = aggregates.len() > 1;
            columns.extend(aggregates.iter().map(|a| column(place, signal, Some(*a), several)));
        }
    }
    columns
}

fn column(place: usize, signal: &HistorySignal, aggregate: Option<Aggregate>, named: bool) -> Column {
    let path = match aggregate.filter(|_| named) {
        Some(aggregate) => format!("{}({})", aggregate.name(), signal.path),
        None => signal.path.clone(),
    };
    let decimals = decimals(signal.step);
    let (unit, kind, decimals) = match aggregate {
        Some(Aggregate::Count) => (String::new(), HistoryKind::Number, Some(0)),
        // A mean lies between the steps.
        Some(Aggregate::Mean) => {
            (signal.unit.clone(), HistoryKind::Number, decimals.map(|d| d.saturating_add(2)))
        }
        _ => (signal.unit.clone(), signal.kind(), decimals),
    };
    let names = signal.names.iter().map(|name| name.as_str().into()).collect();
    Column { signal: Signal { path, unit, decimals }, kind, names, place, aggregate }
}

/// How many digits after the point a step needs.
fn decimals(step: f64) -> Option<u8> {
    let whole = |digits: u8| {
        let scaled = step * 10_f64.powi(i32::from(digits));
        (scaled - scaled.round()).abs() < 1e-6 * scaled.abs()
    };
    (step > 0.0).then(|| (0..=12).find(|digits| whole(*digits))).flatten()
}

/// Rows of one vehicle.
#[derive(Debug, PartialEq)]
pub(crate) struct Batch {
    pub vehicle: String,
    /// Nanoseconds since 1970 UTC.
    pub times: Vec<i64>,
    /// By column, then by row.
    pub values: Vec<Vec<Option<f64>>>,
}

const UNREADABLE: CtlError =
    CtlError::Answer("the columns of its samples have different lengths; is it of another version?");

/// The rows of a part of an answer.
pub(crate) fn batch(part: &SampleColumns, columns: &[Column]) -> Result<Batch, CtlError> {
    let times = times(&part.time_ns_delta);
    let mut values = vec![vec![None; times.len()]; columns.len()];
    for found in &part.signals {
        let rows = rows(found, times.len())?;
        for (column, cells) in columns.iter().zip(&mut values) {
            if column.place != found.signal as usize {
                continue;
            }
            let counted: Vec<f64>;
            let of = match column.aggregate {
                None | Some(Aggregate::Last) => &found.value,
                Some(Aggregate::Min) => &found.min,
                Some(Aggregate::Max) => &found.max,
                Some(Aggregate::Mean) => &found.mean,
                Some(Aggregate::Count) => {
                    counted = found.count.iter().map(|count| *count as f64).collect();
                    &counted
                }
            };
            if of.len() != rows.len() {
                return Err(UNREADABLE);
            }
            for (row, value) in rows.iter().zip(of) {
                cells[*row] = Some(*value);
            }
        }
    }
    Ok(Batch { vehicle: id(&part.vehicle).to_owned(), times, values })
}

/// Times of their differences.
pub(crate) fn times(deltas: &[i64]) -> Vec<i64> {
    let sum = |at: &mut i64, delta: &i64| {
        *at = at.wrapping_add(*delta);
        Some(*at)
    };
    deltas.iter().scan(0, sum).collect()
}

/// Which rows a signal has values in.
fn rows(column: &SignalColumn, all: usize) -> Result<Vec<usize>, CtlError> {
    if column.present.is_empty() {
        return Ok((0..all).collect());
    }
    if column.present.len() != all.div_ceil(8) {
        return Err(UNREADABLE);
    }
    Ok((0..all).filter(|row| column.present[row / 8] >> (row % 8) & 1 == 1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin() -> HistoryBegin {
        let signal = |path: &str, unit: &str, step, kind: HistoryKind, names: &[&str]| HistorySignal {
            path: path.into(),
            unit: unit.into(),
            step,
            kind: kind.into(),
            names: names.iter().map(|n| (*n).to_owned()).collect(),
            ..HistorySignal::default()
        };
        HistoryBegin {
            signals: vec![
                signal("Vehicle.Speed", "km/h", 0.01, HistoryKind::Number, &[]),
                signal("Vehicle.IsMoving", "", 1.0, HistoryKind::Boolean, &[]),
                signal("State", "", 1.0, HistoryKind::Enumeration, &["OFF", "ON"]),
            ],
            ..HistoryBegin::default()
        }
    }

    #[test]
    fn steps_have_their_decimals() {
        let cases = [
            (0.01, Some(2)),
            (0.25, Some(2)),
            (0.5, Some(1)),
            (100.0, Some(0)),
            (1e-7, Some(7)),
            (0.0, None),
        ];
        for (step, digits) in cases {
            assert_eq!(decimals(step), digits, "{step}");
        }
    }

    #[test]
    fn rows_have_what_is_present() {
        let columns = columns(&begin(), false, &[]);
        let part = SampleColumns {
            vehicle: "organizations/default/vehicles/V1".into(),
            time_ns_delta: vec![1_000, 10, 10],
            signals: vec![
                SignalColumn { signal: 0, value: vec![1.0, 2.0, 3.0], ..SignalColumn::default() },
                SignalColumn {
                    signal: 2,
                    present: vec![0b101],
                    value: vec![1.0, 7.0],
                    ..SignalColumn::default()
                },
            ],
        };
        let batch = batch(&part, &columns).unwrap();
        assert_eq!((batch.vehicle.as_str(), batch.times.as_slice()), ("V1", &[1_000, 1_010, 1_020][..]));
        assert_eq!(batch.values[0], [Some(1.0), Some(2.0), Some(3.0)]);
        assert_eq!(batch.values[1], [None, None, None]);
        let named: Vec<Option<String>> =
            batch.values[2].iter().map(|v| v.map(|v| columns[2].text(v))).collect();
        assert_eq!(named, [Some("ON".to_owned()), None, Some("7".to_owned())]);
    }

    #[test]
    fn an_answer_of_another_form_is_refused() {
        let columns = columns(&begin(), true, &[Aggregate::Min]);
        let with = |column| SampleColumns {
            time_ns_delta: vec![1, 1],
            signals: vec![column],
            ..SampleColumns::default()
        };
        let short = SignalColumn { value: vec![1.0, 2.0], min: vec![1.0], ..SignalColumn::default() };
        assert!(matches!(batch(&with(short), &columns), Err(CtlError::Answer(_))));
        let bits = SignalColumn { present: vec![1, 1], min: vec![1.0, 1.0], ..SignalColumn::default() };
        assert!(matches!(batch(&with(bits), &columns), Err(CtlError::Answer(_))));
    }

    #[test]
    fn buckets_have_a_column_for_each_aggregate() {
        let titles = |aggregates: &[Aggregate]| -> Vec<String> {
            columns(&begin(), true, aggregates).iter().map(Column::title).collect()
        };
        assert_eq!(titles(&[]), ["Vehicle.Speed [km/h]", "Vehicle.IsMoving", "State"]);
        let two = titles(&[Aggregate::Min, Aggregate::Count]);
        assert_eq!(two[..2], ["min(Vehicle.Speed) [km/h]", "count(Vehicle.Speed)"]);
        let of = columns(&begin(), true, &[]);
        assert_eq!((of[0].aggregate, of[1].aggregate), (Some(Aggregate::Mean), Some(Aggregate::Last)));
        assert_eq!(of[0].text(1.23456), "1.2346");
    }
}
