//! A lake file's bytes, both ways.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use remuda_model::{Incarnation, OrganizationId, SignalId, VehicleId};

use crate::error::LakeError;
use crate::limits;
use crate::row::{Row, RowBody};
use crate::schema::{self, SignalColumn};

/// Encodes rows in the order given; the caller sorted them by vehicle.
///
/// # Errors
/// When Parquet refuses them, which would be a fault of ours.
pub fn encode(rows: &[Row], entry_json: String) -> Result<Vec<u8>, LakeError> {
    let signals = signals_in(rows);
    let columns: Vec<SignalColumn> = signals.keys().map(|id| schema::column_of(*id)).collect();
    let schema = schema::schema(&columns)?;
    let properties = Arc::new(schema::properties(&columns, entry_json)?);
    let mut bytes = Vec::with_capacity(rows.len() * 32 + 4096);
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, properties)?;
    for group in rows.chunks(limits::ROW_GROUP_ROWS_MAX) {
        let mut group_writer = writer.next_row_group()?;
        write_fixed(&mut group_writer, group)?;
        write_signals(&mut group_writer, group, &signals)?;
        group_writer.close()?;
    }
    writer.close()?;
    Ok(bytes)
}

/// Which signals occur, each with its place among the columns.
fn signals_in(rows: &[Row]) -> BTreeMap<SignalId, usize> {
    let mut signals = BTreeMap::new();
    for row in rows {
        if let RowBody::Samples(values) = &row.body {
            for (signal, _) in values {
                signals.entry(*signal).or_insert(0);
            }
        }
    }
    signals.values_mut().enumerate().for_each(|(i, place)| *place = i);
    signals
}

type Group<'a, 'b> = SerializedRowGroupWriter<'a, &'b mut Vec<u8>>;

fn write<T: DataType>(
    group: &mut Group<'_, '_>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), LakeError> {
    if let Some(mut column) = group.next_column()? {
        column.typed::<T>().write_batch(values, levels, None)?;
        column.close()?;
    }
    Ok(())
}

fn required(group: &mut Group<'_, '_>, rows: &[Row], of: impl Fn(&Row) -> i64) -> Result<(), LakeError> {
    let values: Vec<i64> = rows.iter().map(of).collect();
    write::<Int64Type>(group, &values, None)
}

fn optional<T: DataType>(
    group: &mut Group<'_, '_>,
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

/// In the order of `schema::FIXED`.
fn write_fixed(group: &mut Group<'_, '_>, rows: &[Row]) -> Result<(), LakeError> {
    let organizations: Vec<ByteArray> = rows.iter().map(|r| text(r.organization.as_str())).collect();
    write::<ByteArrayType>(group, &organizations, None)?;
    let vehicles: Vec<ByteArray> = rows.iter().map(|r| text(r.vehicle.as_str())).collect();
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
    })
}

fn write_signals(
    group: &mut Group<'_, '_>,
    rows: &[Row],
    signals: &BTreeMap<SignalId, usize>,
) -> Result<(), LakeError> {
    let mut columns: Vec<(Vec<i64>, Vec<i16>)> = vec![(Vec::new(), vec![0; rows.len()]); signals.len()];
    for (i, row) in rows.iter().enumerate() {
        let RowBody::Samples(values) = &row.body else { continue };
        for (signal, raw) in values {
            if let Some((column, levels)) = signals.get(signal).and_then(|place| columns.get_mut(*place)) {
                column.push(*raw);
                levels[i] = 1;
            }
        }
    }
    columns.iter().try_for_each(|(values, levels)| write::<Int64Type>(group, values, Some(levels)))
}

/// Decodes every row of a file, in order.
///
/// # Errors
/// When it is not a file of ours.
pub fn decode(bytes: Bytes) -> Result<Vec<Row>, LakeError> {
    let reader = SerializedFileReader::new(bytes)?;
    let signals = signals_of(&reader);
    let mut rows = Vec::new();
    for i in 0..reader.num_row_groups() {
        decode_group(&*reader.get_row_group(i)?, &signals, &mut rows)?;
    }
    Ok(rows)
}

/// The manifest entry's content in a file's footer, JSON.
///
/// # Errors
/// When it is not a file of ours.
pub fn entry_json(bytes: Bytes) -> Result<String, LakeError> {
    let reader = SerializedFileReader::new(bytes)?;
    metadata(&reader, schema::ENTRY_KEY).ok_or_else(|| LakeError::Encode("the footer has no entry".into()))
}

fn metadata(reader: &SerializedFileReader<Bytes>, key: &str) -> Option<String> {
    let pairs = reader.metadata().file_metadata().key_value_metadata()?;
    pairs.iter().find(|pair| pair.key == key)?.value.clone()
}

fn signals_of(reader: &SerializedFileReader<Bytes>) -> BTreeMap<String, SignalId> {
    let described = metadata(reader, schema::SIGNALS_KEY).unwrap_or_default();
    let columns: Vec<SignalColumn> = serde_json::from_str(&described).unwrap_or_default();
    columns.into_iter().map(|column| (column.path, SignalId(column.id))).collect()
}

/// One column of a row group, a value or nothing a row.
enum Values {
    Integers(Vec<Option<i64>>),
    Texts(Vec<Option<ByteArray>>),
}

fn read<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    rows: usize,
    optional: bool,
) -> Result<Vec<Option<T::T>>, LakeError> {
    let mut values = Vec::with_capacity(rows);
    let mut levels = Vec::with_capacity(if optional { rows } else { 0 });
    let mut read = 0;
    while read < rows {
        let levels = optional.then_some(&mut levels);
        let (records, _, _) = reader.read_records(rows - read, levels, None, &mut values)?;
        if records == 0 {
            break;
        }
        read += records;
    }
    let mut values = values.into_iter();
    if !optional {
        return Ok(values.map(Some).collect());
    }
    Ok(levels.into_iter().map(|level| if level == 0 { None } else { values.next() }).collect())
}

fn read_columns(group: &dyn RowGroupReader, rows: usize) -> Result<BTreeMap<String, Values>, LakeError> {
    let mut columns = BTreeMap::new();
    for i in 0..group.num_columns() {
        let column = group.metadata().column(i);
        let name = column.column_descr().name().to_owned();
        let optional = column.column_descr().max_def_level() > 0;
        let values = match group.get_column_reader(i)? {
            ColumnReader::Int64ColumnReader(reader) => Values::Integers(read(reader, rows, optional)?),
            ColumnReader::ByteArrayColumnReader(reader) => Values::Texts(read(reader, rows, optional)?),
            _ => continue,
        };
        columns.insert(name, values);
    }
    Ok(columns)
}

fn decode_group(
    group: &dyn RowGroupReader,
    signals: &BTreeMap<String, SignalId>,
    out: &mut Vec<Row>,
) -> Result<(), LakeError> {
    let count = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
    let columns = read_columns(group, count)?;
    let mut by_signal: Vec<(SignalId, &[Option<i64>])> = signals
        .iter()
        .filter_map(|(path, id)| match columns.get(path) {
            Some(Values::Integers(values)) => Some((*id, values.as_slice())),
            _ => None,
        })
        .collect();
    by_signal.sort_unstable_by_key(|(id, _)| *id);
    let not_ours = || LakeError::Encode("a column is missing or has another type".into());
    let integer = |name: &str, row: usize| match columns.get(name) {
        Some(Values::Integers(values)) => Ok(values.get(row).copied().flatten()),
        _ => Err(not_ours()),
    };
    let bytes = |name: &str, row: usize| match columns.get(name) {
        Some(Values::Texts(values)) => {
            Ok(values.get(row).and_then(Option::as_ref).map(|b| b.data().to_vec()))
        }
        _ => Err(not_ours()),
    };
    let text = |name: &str, row: usize| {
        Ok::<_, LakeError>(String::from_utf8(bytes(name, row)?.unwrap_or_default()).unwrap_or_default())
    };
    out.reserve(count);
    for i in 0..count {
        let number = |name: &str| Ok::<_, LakeError>(integer(name, i)?.unwrap_or_default());
        let seq = number(schema::SEQ)? as u64;
        let body = match number(schema::KIND)? {
            RowBody::SAMPLES => RowBody::Samples(
                by_signal
                    .iter()
                    .filter_map(|(id, values)| Some((*id, values.get(i).copied().flatten()?)))
                    .collect(),
            ),
            RowBody::MARKER => RowBody::Marker,
            RowBody::GAP => {
                RowBody::Gap { to: number(schema::GAP_TO)? as u64, reason: text(schema::REASON, i)? }
            }
            RowBody::QUARANTINE => RowBody::Quarantine {
                reason: text(schema::REASON, i)?,
                raw: bytes(schema::RAW, i)?.unwrap_or_default(),
            },
            other => return Err(LakeError::Encode(format!("row kind {other} is unknown"))),
        };
        out.push(Row {
            organization: OrganizationId::new(&text(schema::ORGANIZATION, i)?).map_err(|_| not_ours())?,
            vehicle: VehicleId::new(&text(schema::VEHICLE, i)?).map_err(|_| not_ours())?,
            incarnation: Incarnation(number(schema::INCARNATION)? as u64),
            seq,
            row_in_frame: number(schema::ROW_IN_FRAME)? as u32,
            boot: number(schema::BOOT)? as u32,
            mono_ns: number(schema::MONO_NS)? as u64,
            sample_time_ns: integer(schema::SAMPLE_TIME, i)?,
            receive_time_ms: number(schema::RECEIVE_TIME)?,
            body,
        });
    }
    Ok(())
}
