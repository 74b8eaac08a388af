//! Columns of several files as one: the rows of the first file, then those of the second, and so on.

use std::collections::{BTreeMap, HashMap};
use std::slice::from_ref;

use bytes::Bytes;
use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use remuda_eventsourcing::ManifestPosition;
use remuda_model::SignalId;

use crate::error::LakeError;
use crate::schema::{self, FixedKind, SignalColumn};
use crate::{limits, text_runs};

/// A file that is read column by column.
pub(super) struct Source {
    reader: SerializedFileReader<Bytes>,
    columns: HashMap<String, usize>,
    signals: BTreeMap<SignalId, usize>,
    rows: usize,
    /// Where a fresh file was committed; the rows of others say it themselves.
    committed: Option<ManifestPosition>,
}

impl Source {
    /// Reads the footer; `None` for a file that is not as we write it today: it is read row by row.
    pub fn open(bytes: Bytes, committed: Option<ManifestPosition>) -> Result<Option<Self>, LakeError> {
        let reader = SerializedFileReader::new(bytes)?;
        let file = reader.metadata().file_metadata();
        let described = file.key_value_metadata().and_then(|pairs| {
            let pair = pairs.iter().find(|pair| pair.key == schema::SIGNALS_KEY)?;
            serde_json::from_str::<Vec<SignalColumn>>(pair.value.as_deref()?).ok()
        });
        let Some(described) = described else { return Ok(None) };
        let leaves = file.schema_descr();
        let mut columns = HashMap::with_capacity(leaves.num_columns());
        for place in 0..leaves.num_columns() {
            columns.insert(leaves.column(place).name().to_owned(), place);
        }
        let has = |name: &str, physical: Type, nullable: bool| {
            let leaf = leaves.column(*columns.get(name)?);
            let levels = i16::from(nullable);
            let same = leaf.physical_type() == physical && leaf.max_def_level() == levels;
            (same && leaf.max_rep_level() == 0).then_some(columns[name])
        };
        let all_fixed = schema::fixed().all(|(name, kind, nullable)| {
            if name == schema::COMMIT && !columns.contains_key(name) {
                return true;
            }
            let text = matches!(kind, FixedKind::Text | FixedKind::Bytes);
            has(name, if text { Type::BYTE_ARRAY } else { Type::INT64 }, nullable).is_some()
        });
        let mut signals = BTreeMap::new();
        for column in &described {
            let Some(place) = has(&column.path, Type::INT64, true) else { return Ok(None) };
            if signals.insert(SignalId(column.id), place).is_some() {
                return Ok(None);
            }
        }
        let groups = reader.metadata().row_groups();
        let sizes = groups.iter().map(|group| usize::try_from(group.num_rows()).unwrap_or(usize::MAX));
        let Some(rows) = sizes.clone().try_fold(0_usize, usize::checked_add) else { return Ok(None) };
        let names = [schema::ORGANIZATION, schema::VEHICLE].map(|name| columns.get(name).copied());
        let mut chunks =
            groups.iter().flat_map(|group| names.iter().flatten().map(move |place| group.column(*place)));
        if !chunks.all(text_runs::readable) {
            return Ok(None);
        }
        if !all_fixed || sizes.max().is_some_and(|rows| rows > limits::ROW_GROUP_ROWS_MAX) {
            return Ok(None);
        }
        Ok(Some(Self { reader, columns, signals, rows, committed }))
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Where it was committed, if it is a fresh file.
    pub fn committed(&self) -> Option<ManifestPosition> {
        self.committed
    }

    /// Which signals have a column.
    pub fn signals(&self) -> impl Iterator<Item = SignalId> + '_ {
        self.signals.keys().copied()
    }

    /// About what its texts take of memory, each decoded apart.
    pub fn text_bytes(&self) -> usize {
        let of =
            |chunk: &ColumnChunkMetaData| usize::try_from(chunk.uncompressed_size()).unwrap_or(usize::MAX);
        let texts = [schema::REASON, schema::RAW].map(|name| self.columns[name]);
        let groups = self.reader.metadata().row_groups().iter();
        groups.flat_map(|group| texts.map(|place| of(group.column(place)))).fold(0, usize::saturating_add)
    }

    /// Goes over a column's row groups; a chunk that has no value at all is not opened.
    fn chunks(
        &self,
        place: usize,
        mut each: impl FnMut(Option<ColumnReader>, usize) -> Result<(), LakeError>,
    ) -> Result<(), LakeError> {
        for number in 0..self.reader.num_row_groups() {
            let group = self.reader.get_row_group(number)?;
            let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(usize::MAX);
            let statistics = group.metadata().column(place).statistics();
            let missing = statistics.and_then(|s| s.null_count_opt()).is_some_and(|n| n == rows as u64);
            let reader = if missing { None } else { Some(group.get_column_reader(place)?) };
            each(reader, rows)?;
        }
        Ok(())
    }
}

fn too_short() -> LakeError {
    LakeError::Encode("a column is shorter than its file says".into())
}

fn another_type() -> LakeError {
    LakeError::Encode("a column has another type".into())
}

/// Appends the next rows' values, and with `levels` whether each row has one.
fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    mut levels: Option<&mut Vec<i16>>,
    values: &mut Vec<T::T>,
) -> Result<(), LakeError> {
    let mut done = 0;
    while done < rows {
        let (records, _, _) = reader.read_records(rows - done, levels.as_deref_mut(), None, values)?;
        if records == 0 {
            return Err(too_short());
        }
        done += records;
    }
    Ok(())
}

/// A column of whole numbers, a place for each row.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// 0 where there is none.
    pub values: Vec<i64>,
    /// Whether a row has one; empty: each has.
    pub present: Vec<bool>,
}

impl Numbers {
    /// A fixed column of all sources.
    pub fn fixed(sources: &[Source], name: &str) -> Result<Self, LakeError> {
        Self::of(sources, |source| source.columns.get(name).copied())
    }

    /// A signal's column of all sources; rows of a source without it have none.
    pub fn signal(sources: &[Source], signal: SignalId) -> Result<Self, LakeError> {
        Self::of(sources, |source| source.signals.get(&signal).copied())
    }

    fn of(sources: &[Source], place: impl Fn(&Source) -> Option<usize>) -> Result<Self, LakeError> {
        let rows = sources.iter().map(Source::rows).sum();
        let mut all = Self { values: Vec::with_capacity(rows), present: Vec::new() };
        let mut levels = Vec::new();
        for source in sources {
            let Some(place) = place(source) else {
                all.add_missing(source.rows);
                continue;
            };
            let nullable =
                source.reader.metadata().file_metadata().schema_descr().column(place).max_def_level() > 0;
            source.chunks(place, |reader, rows| match reader {
                None => {
                    all.add_missing(rows);
                    Ok(())
                }
                Some(ColumnReader::Int64ColumnReader(mut reader)) if nullable => {
                    all.add_nullable(&mut reader, rows, &mut levels)
                }
                Some(ColumnReader::Int64ColumnReader(mut reader)) => {
                    read(&mut reader, rows, None, &mut all.values)
                }
                Some(_) => Err(another_type()),
            })?;
        }
        Ok(all)
    }

    /// Where each row was committed.
    pub fn commits(sources: &[Source]) -> Result<Self, LakeError> {
        let mut all = Self::default();
        for one in sources.chunks(1) {
            match one.first().and_then(Source::committed) {
                Some(position) => {
                    let rows = all.values.len() + one[0].rows;
                    all.values.resize(rows, i64::try_from(position).unwrap_or(i64::MAX));
                    if !all.present.is_empty() {
                        all.present.resize(rows, true);
                    }
                }
                None => all.append(Self::fixed(one, schema::COMMIT)?),
            }
        }
        Ok(all)
    }

    fn append(&mut self, mut more: Self) {
        if !more.present.is_empty() || !self.present.is_empty() {
            self.present.resize(self.values.len(), true);
            self.present.append(&mut more.present);
        }
        self.values.append(&mut more.values);
        if !self.present.is_empty() {
            self.present.resize(self.values.len(), true);
        }
    }

    fn add_missing(&mut self, rows: usize) {
        self.present.resize(self.values.len(), true);
        self.values.resize(self.values.len() + rows, 0);
        self.present.resize(self.values.len(), false);
    }

    fn add_nullable(
        &mut self,
        reader: &mut ColumnReaderImpl<Int64Type>,
        rows: usize,
        levels: &mut Vec<i16>,
    ) -> Result<(), LakeError> {
        let before = self.values.len();
        levels.clear();
        read(reader, rows, Some(levels), &mut self.values)?;
        let mut packed = self.values.len();
        if packed - before == rows {
            if !self.present.is_empty() {
                self.present.resize(self.values.len(), true);
            }
            return Ok(());
        }
        self.present.resize(before, true);
        self.present.extend(levels.iter().map(|level| *level > 0));
        self.values.resize(before + rows, 0);
        // From the end, so that no value is overwritten before it has moved.
        for (row, level) in levels.iter().enumerate().rev() {
            self.values[before + row] = if *level > 0 {
                packed -= 1;
                self.values[packed]
            } else {
                0
            };
        }
        if packed == before { Ok(()) } else { Err(too_short()) }
    }

    /// The value of a row, if it has one.
    pub fn get(&self, row: usize) -> Option<i64> {
        self.present.get(row).copied().unwrap_or(true).then(|| self.values[row])
    }
}

/// A column of texts, a place for each row; `None` when no row has any.
pub(super) fn texts(sources: &[Source], name: &str) -> Result<Option<Vec<Option<ByteArray>>>, LakeError> {
    let mut all: Option<Vec<Option<ByteArray>>> = None;
    let mut before = 0;
    for source in sources {
        let place = *source.columns.get(name).ok_or_else(another_type)?;
        source.chunks(place, |reader, rows| {
            if let Some(reader) = reader {
                let ColumnReader::ByteArrayColumnReader(mut reader) = reader else {
                    return Err(another_type());
                };
                let (mut levels, mut values) = (Vec::new(), Vec::new());
                read::<ByteArrayType>(&mut reader, rows, Some(&mut levels), &mut values)?;
                let all = all.get_or_insert_default();
                all.resize(before, None);
                let mut values = values.into_iter();
                all.extend(levels.into_iter().map(|level| if level > 0 { values.next() } else { None }));
            }
            before += rows;
            Ok(())
        })?;
    }
    if let Some(all) = &mut all {
        all.resize(before, None);
    }
    Ok(all)
}

/// A column of texts that repeat: each different one, as `parse` takes it, and for each row which it has.
pub(super) fn names<I>(
    sources: &[Source],
    name: &str,
    parse: impl Fn(&str) -> Option<I>,
) -> Result<(Vec<I>, Vec<u32>), LakeError> {
    let (mut ids, mut known): (Vec<I>, HashMap<Vec<u8>, u32>) = (Vec::new(), HashMap::new());
    let mut of_rows = Vec::with_capacity(sources.iter().map(Source::rows).sum());
    for source in sources {
        let place = *source.columns.get(name).ok_or_else(another_type)?;
        for group in 0..source.reader.num_row_groups() {
            let group = source.reader.get_row_group(group)?;
            let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(usize::MAX);
            text_runs::runs(
                &mut *group.get_column_page_reader(place)?,
                from_ref(&(0..rows)),
                |text, rows| {
                    let number = match known.get(text) {
                        Some(number) => *number,
                        None => {
                            let id =
                                std::str::from_utf8(text).ok().and_then(&parse).ok_or_else(another_type)?;
                            ids.push(id);
                            let number = (ids.len() - 1) as u32;
                            known.insert(text.to_vec(), number);
                            number
                        }
                    };
                    of_rows.resize(of_rows.len() + rows.len(), number);
                    Ok(())
                },
            )?;
        }
    }
    Ok((ids, of_rows))
}
