//! Rows of some files put into others, a column at a time: one column of all of them is in memory for each thread, and
//! what it became.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use parquet::column::writer::ColumnWriterImpl;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};
use remuda_eventsourcing::{ManifestEntry, ManifestPosition};
use remuda_model::SignalId;

use super::columns::{Numbers, Source, texts};
use super::filter::Taken;
use super::footer;
use super::order::{Into, Ordered, Part, ordered};
use crate::commits::Commits;
use crate::encode::{Chunk, Encoder};
use crate::erasure::Tombstones;
use crate::error::LakeError;
use crate::history::Hour;
use crate::limits;
use crate::scan::guarded;
use crate::schema::{self, FixedKind, SignalColumn, Style};

/// Columns before those of the signals.
const FIXED: usize = schema::FIXED_COUNT;

/// From so many places of a row group, and so many rows at each, a signal is tried both ways.
const SAMPLES: usize = 8;
const SAMPLE_ROWS: usize = 1_024;

/// Files to be regrouped, and where each of their rows goes.
pub(super) struct Plan {
    sources: Vec<Source>,
    ordered: Ordered,
}

/// A file made of others.
pub(super) struct Made {
    pub entry: ManifestEntry,
    pub bytes: Vec<u8>,
}

/// Bytes of memory that regrouping a file takes, about.
pub(super) fn cost(file_bytes: u64, rows: u64) -> usize {
    let bytes = file_bytes.saturating_mul(2).saturating_add(rows.saturating_mul(limits::REGROUP_ROW_BYTES));
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl Plan {
    /// Reads what decides the order; `None` when these files, or what is to be taken out of them, ask for reading row by
    /// row, or they would take more than `bytes_max` of memory.
    pub fn new(
        files: &[(Bytes, Option<ManifestPosition>)],
        tombstones: &Tombstones,
        into: Into,
        bytes_max: usize,
    ) -> Result<Option<Self>, LakeError> {
        guarded(|| {
            let mut sources = Vec::with_capacity(files.len());
            let mut bytes = 0_usize;
            for (file, committed) in files {
                let Some(source) = Source::open(file.clone(), *committed)? else { return Ok(None) };
                bytes = bytes
                    .saturating_add(cost(file.len() as u64, source.rows() as u64))
                    .saturating_add(source.text_bytes().saturating_mul(2));
                sources.push(source);
            }
            // Rows are numbered in 32 bits.
            let rows: usize = sources.iter().map(Source::rows).sum();
            if bytes > bytes_max || u32::try_from(rows).is_err() {
                return Ok(None);
            }
            let ordered = ordered(&sources, tombstones, into)?;
            Ok(ordered.map(|ordered| Self { sources, ordered }))
        })
    }

    /// Hours of the outputs, ascending, and the commits that are in them.
    pub fn hours(&self) -> Vec<(Hour, Option<Commits>)> {
        self.ordered.parts.iter().map(|part| (part.hour, part.commits)).collect()
    }

    /// What was taken out of each file.
    pub fn taken(&self) -> &[Taken] {
        &self.ordered.taken
    }

    /// Writes the outputs, one for each hour, at these paths.
    pub fn write(self, name: &str, paths: Vec<String>, threads: usize) -> Result<Vec<Made>, LakeError> {
        guarded(|| self.encode(name, paths, threads))
    }

    fn encode(self, name: &str, paths: Vec<String>, threads: usize) -> Result<Vec<Made>, LakeError> {
        let signals: BTreeSet<SignalId> = self.sources.iter().flat_map(Source::signals).collect();
        let signals: Vec<SignalId> = signals.into_iter().collect();
        let columns: Vec<SignalColumn> = signals.iter().map(|id| schema::column_of(*id)).collect();
        let properties = schema::properties(&columns, Style::History)?;
        let all = All {
            schema: SchemaDescriptor::new(schema::schema(&columns)?),
            dictionaries: Arc::new(schema::with_dictionaries(&properties, &columns)),
            properties: Arc::new(properties),
            sources: &self.sources,
            ordered: &self.ordered,
            signals: &signals,
        };
        let mut by_column = all.encode(threads)?;
        let mut made = Vec::with_capacity(paths.len());
        let parts = self.ordered.parts;
        for (part, path) in parts.into_iter().zip(paths) {
            let groups = part.rows.len().div_ceil(limits::ROW_GROUP_ROWS_MAX);
            let mut of_part: Vec<Vec<Chunk>> =
                by_column.iter_mut().map(|chunks| chunks.drain(..groups).collect()).collect();
            let occurs = |place: &usize| of_part[FIXED + place].iter().any(|chunk| chunk.any);
            let occurring: Vec<usize> = (0..signals.len()).filter(occurs).collect();
            let mut encoder =
                Encoder::new(&occurring.iter().map(|place| signals[*place]).collect(), Style::History)?;
            for _ in 0..groups {
                let wanted = (0..FIXED).chain(occurring.iter().map(|place| FIXED + place));
                let mut chunks = Vec::with_capacity(FIXED + occurring.len());
                for place in wanted {
                    chunks.push(of_part[place].remove(0));
                }
                encoder.chunks(chunks)?;
            }
            let entry = part.description.entry(path);
            made.push(Made { bytes: encoder.finish(footer(name, &entry)?)?, entry });
        }
        Ok(made)
    }
}

/// What the threads share.
struct All<'a> {
    schema: SchemaDescriptor,
    properties: WriterPropertiesPtr,
    /// The same with a dictionary of each signal's values.
    dictionaries: WriterPropertiesPtr,
    sources: &'a [Source],
    ordered: &'a Ordered,
    signals: &'a [SignalId],
}

impl All<'_> {
    /// Every column, its row groups in the order of the parts.
    fn encode(&self, threads: usize) -> Result<Vec<Vec<Chunk>>, LakeError> {
        let count = FIXED + self.signals.len();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let column = next.fetch_add(1, Ordering::Relaxed);
                if column >= count {
                    return Ok::<_, LakeError>(done);
                }
                done.push((column, self.column(column)?));
            }
        };
        let mut done = thread::scope(|scope| {
            let others: Vec<_> = (1..threads.max(1)).map(|_| scope.spawn(work)).collect();
            let mut done = work()?;
            for other in others {
                let unwound = |_| LakeError::Encode("the thread that encodes panicked".into());
                done.extend(other.join().map_err(unwound)??);
            }
            Ok::<_, LakeError>(done)
        })?;
        done.sort_unstable_by_key(|(column, _)| *column);
        Ok(done.into_iter().map(|(_, chunks)| chunks).collect())
    }

    fn column(&self, column: usize) -> Result<Vec<Chunk>, LakeError> {
        let Some((name, kind, nullable)) = schema::fixed().nth(column) else {
            let numbers = Numbers::signal(self.sources, self.signals[column - FIXED])?;
            return self.each_group(|_, rows| self.nullable(column, &numbers, rows));
        };
        match (name, kind) {
            (schema::ORGANIZATION, _) => self.each_group(|part, rows| {
                let id = ByteArray::from(part.hour.organization.as_str().as_bytes().to_vec());
                self.text_runs(column, std::iter::once((id, rows.len())))
            }),
            (schema::VEHICLE, _) => self.each_group(|_, rows| {
                let vehicle = |row: &u32| self.ordered.vehicle_of[*row as usize];
                let runs = rows.chunk_by(|a, b| vehicle(a) == vehicle(b)).map(|run| {
                    let id = self.ordered.vehicles[vehicle(&run[0]) as usize];
                    (ByteArray::from(id.as_str().as_bytes().to_vec()), run.len())
                });
                self.text_runs(column, runs)
            }),
            (_, FixedKind::Text | FixedKind::Bytes) => {
                let texts = texts(self.sources, name)?;
                self.each_group(|_, rows| self.texts(column, texts.as_deref(), rows))
            }
            _ => {
                let numbers = match name {
                    schema::COMMIT => Numbers::commits(self.sources)?,
                    _ => Numbers::fixed(self.sources, name)?,
                };
                self.each_group(|_, rows| {
                    if nullable {
                        return self.nullable(column, &numbers, rows);
                    }
                    let values: Vec<i64> = rows.iter().map(|row| numbers.values[*row as usize]).collect();
                    self.chunk::<Int64Type>(column, &values, None)
                })
            }
        }
    }

    fn each_group(
        &self,
        mut encode: impl FnMut(&Part, &[u32]) -> Result<Chunk, LakeError>,
    ) -> Result<Vec<Chunk>, LakeError> {
        let mut chunks = Vec::new();
        for part in &self.ordered.parts {
            for rows in part.rows.chunks(limits::ROW_GROUP_ROWS_MAX) {
                chunks.push(encode(part, rows)?);
            }
        }
        Ok(chunks)
    }

    fn nullable(&self, column: usize, numbers: &Numbers, rows: &[u32]) -> Result<Chunk, LakeError> {
        let (values, levels) = gathered(numbers, rows);
        if column < FIXED || values.is_empty() {
            return self.chunk::<Int64Type>(column, &values, Some(&levels));
        }
        // A few rows from everywhere tell which way is the smaller one.
        let part = rows.len().div_ceil(SAMPLES).max(1);
        let sample: Vec<u32> =
            rows.chunks(part).flat_map(|rows| rows.iter().take(SAMPLE_ROWS)).copied().collect();
        let (few, of_few) = gathered(numbers, &sample);
        let with = |properties| self.chunk_with::<Int64Type>(column, properties, &few, Some(&of_few));
        let (packed, looked_up) = (with(&self.properties)?, with(&self.dictionaries)?);
        let smaller = looked_up.bytes.len() < packed.bytes.len();
        let properties = if smaller { &self.dictionaries } else { &self.properties };
        self.chunk_with::<Int64Type>(column, properties, &values, Some(&levels))
    }

    fn texts(
        &self,
        column: usize,
        texts: Option<&[Option<ByteArray>]>,
        rows: &[u32],
    ) -> Result<Chunk, LakeError> {
        let text = |row: &u32| texts.and_then(|texts| texts[*row as usize].clone());
        let values: Vec<ByteArray> = rows.iter().filter_map(text).collect();
        let levels: Vec<i16> = match texts {
            Some(texts) => rows.iter().map(|row| i16::from(texts[*row as usize].is_some())).collect(),
            None => vec![0; rows.len()],
        };
        self.chunk::<ByteArrayType>(column, &values, Some(&levels))
    }

    fn text_runs(
        &self,
        column: usize,
        runs: impl Iterator<Item = (ByteArray, usize)>,
    ) -> Result<Chunk, LakeError> {
        let mut values = Vec::new();
        for (text, rows) in runs {
            values.resize(values.len() + rows, text);
        }
        self.chunk::<ByteArrayType>(column, &values, None)
    }

    fn chunk<T: DataType>(
        &self,
        column: usize,
        values: &[T::T],
        levels: Option<&[i16]>,
    ) -> Result<Chunk, LakeError> {
        self.chunk_with::<T>(column, &self.properties, values, levels)
    }

    fn chunk_with<T: DataType>(
        &self,
        column: usize,
        properties: &WriterPropertiesPtr,
        values: &[T::T],
        levels: Option<&[i16]>,
    ) -> Result<Chunk, LakeError> {
        let described: ColumnDescPtr = self.schema.column(column);
        let mut sink = TrackedWrite::new(Vec::new());
        let pages = Box::new(SerializedPageWriter::new(&mut sink));
        let mut writer = ColumnWriterImpl::<T>::new(described, Arc::clone(properties), pages);
        writer.write_batch(values, levels, None)?;
        let closed = writer.close()?;
        Ok(Chunk { bytes: sink.into_inner()?.into(), closed, any: !values.is_empty() })
    }
}

/// Values of these rows, and whether each row has one.
fn gathered(numbers: &Numbers, rows: &[u32]) -> (Vec<i64>, Vec<i16>) {
    let mut values = Vec::with_capacity(rows.len());
    let mut levels = vec![1; rows.len()];
    if numbers.present.is_empty() {
        values.extend(rows.iter().map(|row| numbers.values[*row as usize]));
    } else {
        for (row, level) in rows.iter().zip(&mut levels) {
            let row = *row as usize;
            if numbers.present[row] {
                values.push(numbers.values[row]);
            } else {
                *level = 0;
            }
        }
    }
    (values, levels)
}
