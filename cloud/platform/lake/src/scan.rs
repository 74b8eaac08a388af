//! The bytes of a file to rows, a few at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::SerializedFileReader;
use remuda_model::{Incarnation, OrganizationId, SignalId, VehicleId};

use crate::error::LakeError;
use crate::limits;
use crate::row::{Row, RowBody};
use crate::schema::{self, SignalColumn};

/// Parquet panics on some bytes that it did not write; to us they are one more file that is not ours, and no reason for
/// a task to end.
pub(crate) fn guarded<T>(read: impl FnOnce() -> Result<T, LakeError>) -> Result<T, LakeError> {
    let senseless = |_| Err(LakeError::Encode("its bytes make no sense; restore it from a backup".into()));
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(senseless)
}

/// A file that is being read, in order.
pub(crate) struct Scan {
    reader: SerializedFileReader<Bytes>,
    signals: BTreeMap<String, SignalId>,
    group: usize,
    open: Option<Group>,
}

impl Scan {
    /// Reads the footer.
    pub fn open(bytes: Bytes) -> Result<Self, LakeError> {
        guarded(|| Self::footer(bytes))
    }

    fn footer(bytes: Bytes) -> Result<Self, LakeError> {
        let reader = SerializedFileReader::new(bytes)?;
        let described = metadata(&reader, schema::SIGNALS_KEY).unwrap_or_default();
        let columns: Vec<SignalColumn> = serde_json::from_str(&described).unwrap_or_default();
        let signals = columns.into_iter().map(|column| (column.path, SignalId(column.id))).collect();
        Ok(Self { reader, signals, group: 0, open: None })
    }

    /// Rows in all, as the footer says.
    pub fn rows(&self) -> u64 {
        let groups = self.reader.metadata().row_groups();
        groups.iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0)).sum()
    }

    /// The manifest entry's content in the footer, JSON.
    pub fn entry_json(&self) -> Option<String> {
        metadata(&self.reader, schema::ENTRY_KEY)
    }

    /// Which signals have a column.
    pub fn signals(&self) -> BTreeSet<SignalId> {
        self.signals.values().copied().collect()
    }

    /// Goes on with a row group.
    pub fn seek(&mut self, group: usize) {
        (self.group, self.open) = (group, None);
    }

    /// Appends the next rows to `out`, at most `rows_max`; answers how many, 0 at the end.
    pub fn read(&mut self, rows_max: usize, out: &mut Vec<Row>) -> Result<usize, LakeError> {
        guarded(|| self.next(rows_max, out))
    }

    fn next(&mut self, rows_max: usize, out: &mut Vec<Row>) -> Result<usize, LakeError> {
        loop {
            if let Some(group) = &mut self.open
                && group.left > 0
            {
                return group.read(rows_max, out);
            }
            if self.group == self.reader.num_row_groups() {
                return Ok(0);
            }
            self.open = Some(Group::open(&*self.reader.get_row_group(self.group)?, &self.signals)?);
            self.group += 1;
        }
    }
}

fn metadata(reader: &SerializedFileReader<Bytes>, key: &str) -> Option<String> {
    let pairs = reader.metadata().file_metadata().key_value_metadata()?;
    pairs.iter().find(|pair| pair.key == key)?.value.clone()
}

/// One column of a row group.
struct Column<T: DataType> {
    reader: ColumnReaderImpl<T>,
    optional: bool,
}

impl<T: DataType> Column<T> {
    /// The next rows' values, a value or nothing a row.
    fn read(&mut self, rows: usize) -> Result<Vec<Option<T::T>>, LakeError> {
        let mut values = Vec::with_capacity(rows);
        let mut levels = Vec::with_capacity(if self.optional { rows } else { 0 });
        let mut read = 0;
        while read < rows {
            let levels = self.optional.then_some(&mut levels);
            let (records, _, _) = self.reader.read_records(rows - read, levels, None, &mut values)?;
            if records == 0 {
                return Err(LakeError::Encode("a column is shorter than its file says".into()));
            }
            read += records;
        }
        let mut values = values.into_iter();
        if !self.optional {
            return Ok(values.map(Some).collect());
        }
        Ok(levels.into_iter().map(|level| if level == 0 { None } else { values.next() }).collect())
    }
}

/// The columns of a row group by name, as they are opened.
struct Columns {
    integers: BTreeMap<String, Column<Int64Type>>,
    texts: BTreeMap<String, Column<ByteArrayType>>,
}

impl Columns {
    fn integer(&mut self, name: &str) -> Result<Column<Int64Type>, LakeError> {
        self.integers.remove(name).ok_or_else(not_ours)
    }

    fn text(&mut self, name: &str) -> Result<Column<ByteArrayType>, LakeError> {
        self.texts.remove(name).ok_or_else(not_ours)
    }
}

/// A row group that is being read.
struct Group {
    left: usize,
    organization: Column<ByteArrayType>,
    vehicle: Column<ByteArrayType>,
    incarnation: Column<Int64Type>,
    seq: Column<Int64Type>,
    row_in_frame: Column<Int64Type>,
    kind: Column<Int64Type>,
    boot: Column<Int64Type>,
    mono_ns: Column<Int64Type>,
    sample_time: Column<Int64Type>,
    receive_time: Column<Int64Type>,
    gap_to: Column<Int64Type>,
    reason: Column<ByteArrayType>,
    raw: Column<ByteArrayType>,
    /// None in a file that is older than the column.
    commit: Option<Column<Int64Type>>,
    /// Ascending by signal.
    signals: Vec<(SignalId, Column<Int64Type>)>,
}

fn not_ours() -> LakeError {
    LakeError::Encode("a column is missing or has another type".into())
}

/// A column that must have a value in every row.
fn all<T>(values: Vec<Option<T>>) -> Result<Vec<T>, LakeError> {
    values.into_iter().collect::<Option<Vec<T>>>().ok_or_else(not_ours)
}

/// Identifiers; one that repeats is checked once.
fn ids<I: Copy>(
    values: Vec<Option<ByteArray>>,
    parse: impl Fn(&str) -> Option<I>,
) -> Result<Vec<I>, LakeError> {
    let mut ids = Vec::with_capacity(values.len());
    let mut last: Option<(ByteArray, I)> = None;
    for value in values {
        let value = value.ok_or_else(not_ours)?;
        let id = match &last {
            Some((before, id)) if before.data() == value.data() => *id,
            _ => std::str::from_utf8(value.data()).ok().and_then(&parse).ok_or_else(not_ours)?,
        };
        ids.push(id);
        last = Some((value, id));
    }
    Ok(ids)
}

impl Group {
    fn open(group: &dyn RowGroupReader, signals: &BTreeMap<String, SignalId>) -> Result<Self, LakeError> {
        let mut columns = Columns { integers: BTreeMap::new(), texts: BTreeMap::new() };
        for i in 0..group.num_columns() {
            let described = group.metadata().column(i).column_descr();
            let (name, optional) = (described.name().to_owned(), described.max_def_level() > 0);
            match group.get_column_reader(i)? {
                ColumnReader::Int64ColumnReader(reader) => {
                    columns.integers.insert(name, Column { reader, optional });
                }
                ColumnReader::ByteArrayColumnReader(reader) => {
                    columns.texts.insert(name, Column { reader, optional });
                }
                // Not one of ours.
                _ => {}
            }
        }
        let mut of_signals: Vec<_> =
            signals.iter().filter_map(|(path, id)| Some((*id, columns.integers.remove(path)?))).collect();
        of_signals.sort_unstable_by_key(|(id, _)| *id);
        let left = usize::try_from(group.metadata().num_rows()).unwrap_or(usize::MAX);
        if left > limits::ROW_GROUP_ROWS_MAX {
            return Err(LakeError::Encode(format!("a row group of {left} rows is not one of ours")));
        }
        Ok(Self {
            left,
            organization: columns.text(schema::ORGANIZATION)?,
            vehicle: columns.text(schema::VEHICLE)?,
            incarnation: columns.integer(schema::INCARNATION)?,
            seq: columns.integer(schema::SEQ)?,
            row_in_frame: columns.integer(schema::ROW_IN_FRAME)?,
            kind: columns.integer(schema::KIND)?,
            boot: columns.integer(schema::BOOT)?,
            mono_ns: columns.integer(schema::MONO_NS)?,
            sample_time: columns.integer(schema::SAMPLE_TIME)?,
            receive_time: columns.integer(schema::RECEIVE_TIME)?,
            gap_to: columns.integer(schema::GAP_TO)?,
            reason: columns.text(schema::REASON)?,
            raw: columns.text(schema::RAW)?,
            commit: columns.integers.remove(schema::COMMIT),
            signals: of_signals,
        })
    }

    fn read(&mut self, rows_max: usize, out: &mut Vec<Row>) -> Result<usize, LakeError> {
        let n = self.left.min(rows_max.max(1));
        let organizations = ids(self.organization.read(n)?, |id| OrganizationId::new(id).ok())?;
        let vehicles = ids(self.vehicle.read(n)?, |id| VehicleId::new(id).ok())?;
        let incarnations = all(self.incarnation.read(n)?)?;
        let seqs = all(self.seq.read(n)?)?;
        let rows_in_frame = all(self.row_in_frame.read(n)?)?;
        let kinds = all(self.kind.read(n)?)?;
        let boots = all(self.boot.read(n)?)?;
        let monos = all(self.mono_ns.read(n)?)?;
        let sample_times = self.sample_time.read(n)?;
        let receive_times = all(self.receive_time.read(n)?)?;
        let gaps_to = self.gap_to.read(n)?;
        let reasons = self.reason.read(n)?;
        let raws = self.raw.read(n)?;
        let commits = self.commit.as_mut().map(|column| column.read(n)).transpose()?.unwrap_or_default();
        let mut signals = Vec::with_capacity(self.signals.len());
        for (id, column) in &mut self.signals {
            signals.push((*id, column.read(n)?));
        }
        let reason = |i: usize| {
            let bytes = reasons[i].as_ref().map(ByteArray::data).unwrap_or_default();
            String::from_utf8_lossy(bytes).into_owned()
        };
        out.reserve(n);
        let mut values_before = 0;
        for i in 0..n {
            let body = match kinds[i] {
                RowBody::SAMPLES => {
                    let mut values = Vec::with_capacity(values_before);
                    values.extend(signals.iter().filter_map(|(id, column)| Some((*id, column[i]?))));
                    values_before = values.len();
                    RowBody::Samples(values)
                }
                RowBody::MARKER => RowBody::Marker,
                RowBody::GAP => RowBody::Gap { to: gaps_to[i].unwrap_or_default() as u64, reason: reason(i) },
                RowBody::QUARANTINE => RowBody::Quarantine {
                    reason: reason(i),
                    raw: raws[i].as_ref().map(|raw| raw.data().to_vec()).unwrap_or_default(),
                },
                other => return Err(LakeError::Encode(format!("row kind {other} is unknown"))),
            };
            out.push(Row {
                organization: organizations[i],
                vehicle: vehicles[i],
                incarnation: Incarnation(incarnations[i] as u64),
                seq: seqs[i] as u64,
                row_in_frame: rows_in_frame[i] as u32,
                boot: boots[i] as u32,
                mono_ns: monos[i] as u64,
                sample_time_ns: sample_times[i],
                receive_time_ms: receive_times[i],
                commit: commits.get(i).copied().flatten().unwrap_or_default() as u64,
                body,
            });
        }
        self.left -= n;
        Ok(n)
    }
}
