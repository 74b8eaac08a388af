//! Parquet, one row a sample. The lake's own wide files are another matter (`remuda-lake`): raw scaled integers with the
//! uplink's bookkeeping; these here are physical values for somebody's notebook.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use crate::Series;
use crate::error::ExportError;
use crate::limits::PARQUET_GROUP_ROWS;
use crate::model::{Sample, Signal, Summary, Value};
use crate::text::rounded;

/// A boolean's `value` is 0 or 1; a text stands in `text`, and its `value` is null.
const SCHEMA: &str = "message samples {
    required binary vehicle (STRING);
    required int64 time (TIMESTAMP(NANOS, true));
    required binary signal (STRING);
    optional double value;
    optional binary text (STRING);
    required binary unit (STRING);
}";

#[derive(Default)]
struct Group {
    vehicles: Vec<ByteArray>,
    times: Vec<i64>,
    signals: Vec<ByteArray>,
    values: Vec<f64>,
    value_levels: Vec<i16>,
    texts: Vec<ByteArray>,
    text_levels: Vec<i16>,
    units: Vec<ByteArray>,
}

/// Columns `vehicle, time, signal, value, text, unit`.
pub struct LongParquet<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    group: Group,
    summary: Summary,
}

fn text(text: &str) -> ByteArray {
    ByteArray::from(text.as_bytes().to_vec())
}

fn column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), ExportError> {
    if let Some(mut column) = group.next_column()? {
        column.typed::<T>().write_batch(values, levels, None)?;
        column.close()?;
    }
    Ok(())
}

impl<W: Write + Send> LongParquet<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn new(out: W) -> Result<Self, ExportError> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let properties = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_created_by("remuda".to_owned())
            .build();
        let writer = SerializedFileWriter::new(out, schema, Arc::new(properties))?;
        Ok(Self { writer, group: Group::default(), summary: Summary::default() })
    }

    fn flush(&mut self) -> Result<(), ExportError> {
        let group = std::mem::take(&mut self.group);
        if group.times.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer.next_row_group()?;
        column::<ByteArrayType, W>(&mut writer, &group.vehicles, None)?;
        column::<Int64Type, W>(&mut writer, &group.times, None)?;
        column::<ByteArrayType, W>(&mut writer, &group.signals, None)?;
        column::<DoubleType, W>(&mut writer, &group.values, Some(&group.value_levels))?;
        column::<ByteArrayType, W>(&mut writer, &group.texts, Some(&group.text_levels))?;
        column::<ByteArrayType, W>(&mut writer, &group.units, None)?;
        writer.close()?;
        Ok(())
    }
}

impl<W: Write + Send> Series for LongParquet<W> {
    fn samples(&mut self, vehicle: &str, signal: &Signal, samples: &[Sample]) -> Result<(), ExportError> {
        let (vehicle, path, unit) = (text(vehicle), text(&signal.path), text(&signal.unit));
        for Sample { time_ns, value } in samples {
            let (number, word) = match value {
                Some(Value::Number(n)) => (rounded(*n, signal.decimals), None),
                Some(Value::Boolean(yes)) => (Some(f64::from(u8::from(*yes))), None),
                Some(Value::Text(word)) => (None, Some(text(word))),
                None => (None, None),
            };
            let group = &mut self.group;
            group.vehicles.push(vehicle.clone());
            group.times.push(*time_ns);
            group.signals.push(path.clone());
            group.value_levels.push(i16::from(number.is_some()));
            group.values.extend(number);
            group.text_levels.push(i16::from(word.is_some()));
            group.texts.extend(word);
            group.units.push(unit.clone());
            self.summary.records += 1;
            if group.times.len() == PARQUET_GROUP_ROWS {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Summary, ExportError> {
        self.flush()?;
        self.writer.finish()?;
        self.writer.inner_mut().flush()?;
        Ok(self.summary)
    }
}
