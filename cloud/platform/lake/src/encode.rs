//! Rows to the bytes of a file, a row group at a time.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use remuda_model::SignalId;

use crate::error::LakeError;
use crate::row::{Row, RowBody};
use crate::schema::{self, SignalColumn, Style};

/// A column of one row group, encoded.
pub(crate) struct Chunk {
    pub bytes: Bytes,
    pub closed: ColumnCloseResult,
    /// Whether any row has a value.
    pub any: bool,
}

/// A file that is being made.
pub(crate) struct Encoder {
    writer: SerializedFileWriter<Vec<u8>>,
    signals: Vec<SignalId>,
}

impl Encoder {
    /// A file with columns for these signals.
    pub fn new(signals: &BTreeSet<SignalId>, style: Style) -> Result<Self, LakeError> {
        let columns: Vec<SignalColumn> = signals.iter().map(|id| schema::column_of(*id)).collect();
        let schema = schema::schema(&columns)?;
        let properties = Arc::new(schema::properties(&columns, style)?);
        let writer = SerializedFileWriter::new(Vec::new(), schema, properties)?;
        Ok(Self { writer, signals: signals.iter().copied().collect() })
    }

    /// Adds a row group, in the order given.
    pub fn group(&mut self, rows: &[Row]) -> Result<(), LakeError> {
        let mut group = self.writer.next_row_group()?;
        write_fixed(&mut group, rows)?;
        write_signals(&mut group, rows, &self.signals)?;
        group.close()?;
        Ok(())
    }

    /// Adds a row group of columns that are encoded already, one for each of the schema.
    pub fn chunks(&mut self, chunks: Vec<Chunk>) -> Result<(), LakeError> {
        let mut group = self.writer.next_row_group()?;
        for chunk in chunks {
            group.append_column(&chunk.bytes, chunk.closed)?;
        }
        group.close()?;
        Ok(())
    }

    /// The file, with the manifest entry's content in its footer.
    pub fn finish(mut self, entry_json: String) -> Result<Vec<u8>, LakeError> {
        self.writer.append_key_value_metadata(KeyValue::new(schema::ENTRY_KEY.to_owned(), entry_json));
        Ok(self.writer.into_inner()?)
    }
}

/// Which signals occur.
pub(crate) fn signals_in(rows: &[Row]) -> BTreeSet<SignalId> {
    let mut signals = BTreeSet::new();
    for row in rows {
        if let RowBody::Samples(values) = &row.body {
            signals.extend(values.iter().map(|(signal, _)| *signal));
        }
    }
    signals
}

type Group<'a> = SerializedRowGroupWriter<'a, Vec<u8>>;

fn write<T: DataType>(
    group: &mut Group<'_>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), LakeError> {
    if let Some(mut column) = group.next_column()? {
        column.typed::<T>().write_batch(values, levels, None)?;
        column.close()?;
    }
    Ok(())
}

fn required(group: &mut Group<'_>, rows: &[Row], of: impl Fn(&Row) -> i64) -> Result<(), LakeError> {
    let values: Vec<i64> = rows.iter().map(of).collect();
    write::<Int64Type>(group, &values, None)
}

fn optional<T: DataType>(
    group: &mut Group<'_>,
    rows: &[Row],
    of: impl Fn(&Row) -> Option<T::T>,
) -> Result<(), LakeError> {
    let mut values = Vec::new();
    let mut levels = Vec::with_capacity(rows.len());
    for row in rows {
        let value = of(row);
        levels.push(i16::from(value.is_some()));
        values.extend(value);
    }
    write::<T>(group, &values, Some(&levels))
}

fn text(text: &str) -> ByteArray {
    ByteArray::from(text.as_bytes().to_vec())
}

/// A text that neighbours share is copied once.
fn texts<K: PartialEq + Copy>(
    rows: &[Row],
    key: impl Fn(&Row) -> K,
    of: impl Fn(K) -> ByteArray,
) -> Vec<ByteArray> {
    let mut last: Option<(K, ByteArray)> = None;
    rows.iter()
        .map(|row| {
            let now = key(row);
            match &last {
                Some((before, bytes)) if *before == now => bytes.clone(),
                _ => last.insert((now, of(now))).1.clone(),
            }
        })
        .collect()
}

/// In the order of `schema::FIXED`.
fn write_fixed(group: &mut Group<'_>, rows: &[Row]) -> Result<(), LakeError> {
    let organizations = texts(rows, |r| r.organization, |o| text(o.as_str()));
    write::<ByteArrayType>(group, &organizations, None)?;
    let vehicles = texts(rows, |r| r.vehicle, |v| text(v.as_str()));
    write::<ByteArrayType>(group, &vehicles, None)?;
    required(group, rows, |r| r.incarnation.0 as i64)?;
    required(group, rows, |r| r.seq as i64)?;
    required(group, rows, |r| i64::from(r.row_in_frame))?;
    required(group, rows, |r| r.body.kind())?;
    required(group, rows, |r| i64::from(r.boot))?;
    required(group, rows, |r| r.mono_ns as i64)?;
    optional::<Int64Type>(group, rows, |r| r.sample_time_ns)?;
    required(group, rows, |r| r.receive_time_ms)?;
    optional::<Int64Type>(group, rows, |r| match &r.body {
        RowBody::Gap { to, .. } => Some(*to as i64),
        _ => None,
    })?;
    optional::<ByteArrayType>(group, rows, |r| match &r.body {
        RowBody::Gap { reason, .. } | RowBody::Quarantine { reason, .. } => Some(text(reason)),
        _ => None,
    })?;
    optional::<ByteArrayType>(group, rows, |r| match &r.body {
        RowBody::Quarantine { raw, .. } => Some(ByteArray::from(raw.clone())),
        _ => None,
    })?;
    optional::<Int64Type>(group, rows, |r| (r.commit > 0).then_some(r.commit as i64))
}

fn write_signals(group: &mut Group<'_>, rows: &[Row], signals: &[SignalId]) -> Result<(), LakeError> {
    let mut columns: Vec<(Vec<i64>, Vec<i16>)> = vec![(Vec::new(), vec![0; rows.len()]); signals.len()];
    for (i, row) in rows.iter().enumerate() {
        let RowBody::Samples(values) = &row.body else { continue };
        // Both ascend by signal: one walk over the columns a row.
        let mut place = 0;
        for (signal, raw) in values {
            while signals.get(place).is_some_and(|known| known < signal) {
                place += 1;
            }
            let Some((column, levels)) = columns.get_mut(place) else { break };
            column.push(*raw);
            levels[i] = 1;
        }
    }
    columns.iter().try_for_each(|(values, levels)| write::<Int64Type>(group, values, Some(levels)))
}
