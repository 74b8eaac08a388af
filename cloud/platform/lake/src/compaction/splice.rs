//! One file without some of its rows: row groups of which nothing goes are taken over as they are.

use std::collections::BTreeSet;
use std::slice::from_ref;

use bytes::Bytes;
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
use parquet::file::statistics::Statistics;
use remuda_model::{ShardId, SignalId, VehicleId};

use super::columns::Source;
use super::filter::Taken;
use super::footer;
use super::merge::{Merged, Merging};
use crate::describe::Description;
use crate::encode::{Chunk, Encoder};
use crate::error::LakeError;
use crate::scan::{Scan, guarded};
use crate::schema::{self, Style};
use crate::{limits, text_runs};

/// A row group that is taken over.
struct Whole {
    /// Its vehicles, and how many rows each has.
    vehicles: Vec<(VehicleId, u32)>,
    sampled_ns: Option<(i64, i64)>,
    received_ms: Option<(i64, i64)>,
    chunks: Vec<Chunk>,
}

/// What is being rewritten.
struct Original<'a> {
    bytes: &'a Bytes,
    reader: SerializedFileReader<Bytes>,
    how: &'a Merging,
}

/// Rewrites a file of history without the rows that tombstones take; `None` when it is not as we write files today.
pub(super) fn spliced(bytes: &Bytes, how: &Merging, path: &str) -> Result<Option<Merged>, LakeError> {
    guarded(|| {
        let Some(source) = Source::open(bytes.clone(), None)? else { return Ok(None) };
        let signals: BTreeSet<SignalId> = source.signals().collect();
        let options = ReadOptionsBuilder::new().with_page_index().build();
        let reader = SerializedFileReader::new_with_options(bytes.clone(), options)?;
        let columns: Vec<_> = signals.iter().map(|id| schema::column_of(*id)).collect();
        let expected = schema::fixed().map(|(name, ..)| name).chain(columns.iter().map(|c| c.path.as_str()));
        let there = reader.metadata().file_metadata().schema_descr().columns().iter().map(|c| c.name());
        if !expected.eq(there) {
            return Ok(None);
        }
        let original = Original { bytes, reader, how };
        let mut encoder = Encoder::new(&signals, Style::History)?;
        let (mut description, mut taken) = (Description::default(), Taken::default());
        for group in 0..original.reader.num_row_groups() {
            match original.whole(group)? {
                Some(whole) => {
                    let mut ranges = (whole.sampled_ns, whole.received_ms);
                    for (vehicle, rows) in whole.vehicles {
                        description.add_rows(ShardId::of(&vehicle), rows, ranges.0.take(), ranges.1.take());
                    }
                    encoder.chunks(whole.chunks)?;
                }
                None => original.filtered(group, &mut encoder, &mut description, &mut taken)?,
            }
        }
        let entry = description.entry(path.to_owned());
        let bytes = encoder.finish(footer(&how.name, &entry)?)?;
        Ok(Some(Merged { entry, bytes, taken: vec![taken] }))
    })
}

impl Original<'_> {
    /// A row group as it is; `None` when something may have to go.
    fn whole(&self, number: usize) -> Result<Option<Whole>, LakeError> {
        let metadata = self.reader.metadata();
        let group = metadata.row_group(number);
        let rows = usize::try_from(group.num_rows()).unwrap_or(usize::MAX);
        let Some(pages) = metadata.page_index() else { return Ok(None) };
        let organization = self.how.hour.organization;
        let ours = organization.as_str().as_bytes();
        let [Some(of_organization), Some(of_vehicle)] = [schema::ORGANIZATION, schema::VEHICLE].map(place)
        else {
            return Ok(None);
        };
        let Some(Statistics::ByteArray(organizations)) = group.column(of_organization).statistics() else {
            return Ok(None);
        };
        if (organizations.min_bytes_opt(), organizations.max_bytes_opt()) != (Some(ours), Some(ours)) {
            return Ok(None);
        }
        let mut vehicles = Vec::new();
        let mut touched = false;
        let mut pages_of_vehicle = self.reader.get_row_group(number)?.get_column_page_reader(of_vehicle)?;
        text_runs::runs(&mut *pages_of_vehicle, from_ref(&(0..rows)), |text, rows| {
            let id = std::str::from_utf8(text).ok().and_then(|id| VehicleId::new(id).ok());
            let id = id.ok_or_else(|| LakeError::Encode("a vehicle's name cannot be read".into()))?;
            touched |= self.how.filter.tombstones.touches(&organization, &id);
            vehicles.push((id, rows.len() as u32));
            Ok(())
        })?;
        if touched {
            return Ok(None);
        }
        let mut chunks = Vec::with_capacity(group.num_columns());
        for (column, chunk) in group.columns().iter().enumerate() {
            let (Some(column_index), Some(offset_index)) =
                (pages.column_index(number, column), pages.offset_index(number, column))
            else {
                return Ok(None);
            };
            let closed = ColumnCloseResult {
                bytes_written: u64::try_from(chunk.compressed_size()).unwrap_or(0),
                rows_written: rows as u64,
                metadata: chunk.clone(),
                bloom_filter: None,
                column_index: Some(column_index.clone()),
                offset_index: Some(offset_index.clone()),
            };
            chunks.push(Chunk { bytes: self.bytes.clone(), closed, any: true });
        }
        Ok(Some(Whole {
            vehicles,
            sampled_ns: range(metadata, number, schema::SAMPLE_TIME),
            received_ms: range(metadata, number, schema::RECEIVE_TIME),
            chunks,
        }))
    }

    /// A row group row by row, without what is to go.
    fn filtered(
        &self,
        number: usize,
        encoder: &mut Encoder,
        description: &mut Description,
        taken: &mut Taken,
    ) -> Result<(), LakeError> {
        let mut scan = Scan::open(self.bytes.clone())?;
        scan.seek(number);
        let mut left =
            usize::try_from(self.reader.metadata().row_group(number).num_rows()).unwrap_or(usize::MAX);
        let (mut kept, mut chunk) = (Vec::new(), Vec::new());
        while left > 0 {
            let read = scan.read(limits::SCAN_ROWS.min(left), &mut chunk)?;
            if read == 0 {
                return Err(LakeError::Encode("a row group is shorter than its file says".into()));
            }
            left -= read;
            for mut row in chunk.drain(..) {
                if self.how.filter.keeps(&mut row, taken) {
                    description.add(&row);
                    kept.push(row);
                }
            }
        }
        if kept.is_empty() { Ok(()) } else { encoder.group(&kept) }
    }
}

fn place(name: &str) -> Option<usize> {
    schema::fixed().position(|(fixed, ..)| fixed == name)
}

/// Between which values a column of a row group lies.
fn range(metadata: &ParquetMetaData, group: usize, name: &str) -> Option<(i64, i64)> {
    let Some(Statistics::Int64(range)) = metadata.row_group(group).column(place(name)?).statistics() else {
        return None;
    };
    Some((*range.min_opt()?, *range.max_opt()?))
}
