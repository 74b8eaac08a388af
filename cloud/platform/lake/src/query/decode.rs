//! Pages to rows of the vehicles, times and signals that are wanted; column by column, the cheapest question first.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parquet::column::page::PageReader;
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::file::serialized_reader::SerializedPageReader;
use remuda_model::VehicleId;

use super::fetch::{Parts, joined};
use super::index::{Candidate, FileIndex, Wanted, pages_over};
use super::merge::Column;
use crate::error::LakeError;
use crate::history::time_of;
use crate::row::RowBody;
use crate::scan::guarded;
use crate::{limits as lake_limits, schema, text_runs};

/// Rows of texts decoded at a time: their buffers are many times as large as what they say.
const TEXT_ROWS: usize = 4 * 1024;

/// What tells rows of one vehicle and time apart, and orders them: incarnation, frame, row in the frame.
pub(super) type RowId = (u64, u64, u32);

/// Rows of one file.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// A vehicle (its place among the wanted ones) and its rows.
    pub segments: Vec<(usize, Range<usize>)>,
    /// ns since 1970 UTC.
    pub times: Vec<i64>,
    /// Empty unless they were asked for.
    pub ids: Vec<RowId>,
    /// By wanted signal; `None`: the file has no column of it.
    pub columns: Vec<Option<Column>>,
    /// Rows that were looked at.
    pub rows_read: usize,
}

/// Rows of one vehicle in a row group.
type Chosen = Vec<(usize, Range<usize>)>;

/// What is wanted of the rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub wanted: Wanted<'a>,
    /// Column names.
    pub signals: &'a [String],
    /// Whether to read what tells rows of one time apart.
    pub ids: bool,
}

/// Ranges of bytes that these candidates' columns take.
pub(super) fn bytes_wanted(
    index: &FileIndex,
    candidates: &[Candidate],
    signals: &[String],
    ids: bool,
) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    for candidate in candidates {
        let doubts = candidate.doubts;
        let asked = [
            (schema::VEHICLE, index.only_vehicle(candidate).is_none()),
            (schema::ORGANIZATION, doubts.organization),
            (schema::KIND, doubts.kind),
            (schema::SAMPLE_TIME, true),
            (schema::RECEIVE_TIME, doubts.receive_time),
            (schema::INCARNATION, ids),
            (schema::SEQ, ids),
            (schema::ROW_IN_FRAME, ids),
        ];
        let names = asked.iter().filter(|(_, asked)| *asked).map(|(name, _)| *name);
        for name in names.chain(signals.iter().map(String::as_str)) {
            if let Some(column) = index.column(name) {
                of_column(index, candidate, column, &mut ranges);
            }
        }
    }
    joined(ranges)
}

fn of_column(index: &FileIndex, candidate: &Candidate, column: usize, ranges: &mut Vec<Range<u64>>) {
    let (start, len) = index.metadata().row_group(candidate.group).column(column).byte_range();
    let Some(pages) = index.pages(candidate.group, column) else {
        ranges.push(start..start + len);
        return;
    };
    let at = |offset: i64| u64::try_from(offset).unwrap_or(start);
    if let Some(first) = pages.first().map(|page| at(page.offset)).filter(|first| *first > start) {
        // The dictionary.
        ranges.push(start..first);
    }
    for page in pages_over(pages, index.group_rows(candidate.group), &candidate.ranges) {
        let begin = at(pages[page].offset);
        ranges.push(begin..begin + u64::try_from(pages[page].compressed_page_size).unwrap_or(0));
    }
}

/// One row group with its bytes.
struct Group<'a> {
    index: &'a FileIndex,
    data: &'a Arc<Parts>,
    group: usize,
}

/// Values, and for a column that may have none whether each row has one.
type Values<T> = (Vec<T>, Option<Vec<i16>>);

impl Group<'_> {
    fn reader<T: DataType>(&self, name: &str) -> Result<Option<(ColumnReaderImpl<T>, bool)>, LakeError> {
        let Some(column) = self.index.column(name) else { return Ok(None) };
        let described = self.index.metadata().row_group(self.group).column(column);
        let descr = described.column_descr_ptr();
        if descr.physical_type() != T::get_physical_type() {
            return Err(LakeError::Encode(format!("the column {name} has another type")));
        }
        let optional = descr.max_def_level() > 0;
        let pages: Box<dyn PageReader> = Box::new(self.pages(column)?);
        Ok(Some((ColumnReaderImpl::new(descr, pages), optional)))
    }

    fn pages(&self, column: usize) -> Result<SerializedPageReader<Parts>, LakeError> {
        let described = self.index.metadata().row_group(self.group).column(column);
        let pages = self.index.pages(self.group, column).map(<[_]>::to_vec);
        let rows = self.index.group_rows(self.group);
        Ok(SerializedPageReader::new(Arc::clone(self.data), described, rows, pages)?)
    }

    /// Values of these rows.
    fn read<'r>(
        &self,
        name: &str,
        ranges: impl Iterator<Item = &'r Range<usize>> + Clone,
    ) -> Result<Option<Values<i64>>, LakeError> {
        let Some((mut reader, optional)) = self.reader::<Int64Type>(name)? else { return Ok(None) };
        // What a damaged footer says is not believed beyond what we write.
        let rows: usize = ranges.clone().map(ExactSizeIterator::len).sum();
        let rows = rows.min(lake_limits::ROW_GROUP_ROWS_MAX);
        let (mut values, mut levels) = (Vec::with_capacity(rows), optional.then(|| Vec::with_capacity(rows)));
        let mut at = 0;
        for range in ranges {
            skip(&mut reader, range.start - at)?;
            read(&mut reader, range.len(), levels.as_mut(), &mut values)?;
            at = range.end;
        }
        Ok(Some((values, levels)))
    }

    /// Values of these rows, each of which must have one.
    fn read_all(&self, name: &str, chosen: &Chosen) -> Result<Vec<i64>, LakeError> {
        let read = self.read(name, chosen.iter().map(|(_, range)| range))?;
        let missing = || LakeError::Encode(format!("the column {name} is missing"));
        let (values, levels) = read.ok_or_else(missing)?;
        if levels.is_some_and(|levels| levels.len() != values.len()) { Err(missing()) } else { Ok(values) }
    }

    /// Goes over the texts of these rows, one call for each run of equal ones: the text, and its rows.
    fn texts<'r>(
        &self,
        name: &str,
        ranges: impl Iterator<Item = &'r Range<usize>>,
        mut each: impl FnMut(&[u8], Range<usize>),
    ) -> Result<(), LakeError> {
        let missing = || LakeError::Encode(format!("the column {name} is missing"));
        let column = self.index.column(name).ok_or_else(missing)?;
        let described = self.index.metadata().row_group(self.group).column(column);
        let required = described.column_descr().max_def_level() == 0;
        if required && text_runs::readable(described) {
            let rows: Vec<Range<usize>> = ranges.cloned().collect();
            return text_runs::runs(&mut self.pages(column)?, &rows, |text, rows| {
                each(text, rows);
                Ok(())
            });
        }
        let (mut reader, optional) = self.reader::<ByteArrayType>(name)?.ok_or_else(missing)?;
        if optional {
            return Err(missing());
        }
        let mut texts: Vec<ByteArray> = Vec::new();
        let mut at = 0;
        for range in ranges {
            skip(&mut reader, range.start - at)?;
            at = range.start;
            while at < range.end {
                texts.clear();
                let rows = TEXT_ROWS.min(range.end - at);
                read(&mut reader, rows, None, &mut texts)?;
                let mut begin = 0;
                for run in texts.chunk_by(same) {
                    each(run[0].data(), at + begin..at + begin + run.len());
                    begin += run.len();
                }
                at += rows;
            }
        }
        Ok(())
    }
}

/// Equal texts of a dictionary are the same bytes.
fn same(left: &ByteArray, right: &ByteArray) -> bool {
    let (left, right) = (left.data(), right.data());
    std::ptr::eq(left, right) || left == right
}

fn skip<T: DataType>(reader: &mut ColumnReaderImpl<T>, rows: usize) -> Result<(), LakeError> {
    if rows > 0 && reader.skip_records(rows)? != rows {
        return Err(too_short());
    }
    Ok(())
}

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

fn too_short() -> LakeError {
    LakeError::Encode("a column is shorter than its file says".into())
}

/// Keeps the rows for which `keep` (asked by their place among all chosen ones) says so.
fn narrowed(chosen: Chosen, mut keep: impl FnMut(usize) -> bool) -> Chosen {
    let mut kept: Chosen = Vec::with_capacity(chosen.len());
    let mut place = 0;
    for (vehicle, range) in chosen {
        let mut open: Option<usize> = None;
        for row in range.clone() {
            let wanted = keep(place);
            place += 1;
            match (open, wanted) {
                (None, true) => open = Some(row),
                (Some(begin), false) => {
                    kept.push((vehicle, begin..row));
                    open = None;
                }
                _ => {}
            }
        }
        if let Some(begin) = open {
            kept.push((vehicle, begin..range.end));
        }
    }
    kept
}

/// The rows of wanted vehicles.
fn of_vehicles(
    group: &Group<'_>,
    candidate: &Candidate,
    vehicles: &[VehicleId],
) -> Result<Chosen, LakeError> {
    let mut chosen: Chosen = Vec::new();
    let mut take = |text: &[u8], rows: Range<usize>| {
        let Ok(place) = vehicles.binary_search_by(|vehicle| vehicle.as_str().as_bytes().cmp(text)) else {
            return;
        };
        match chosen.last_mut() {
            Some((last, range)) if *last == place && range.end == rows.start => range.end = rows.end,
            _ => chosen.push((place, rows)),
        }
    };
    match group.index.only_vehicle(candidate) {
        Some(only) => candidate.ranges.iter().for_each(|rows| take(only.as_str().as_bytes(), rows.clone())),
        None => group.texts(schema::VEHICLE, candidate.ranges.iter(), take)?,
    }
    Ok(chosen)
}

/// The rows of the organisation among these.
fn of_organization(group: &Group<'_>, chosen: Chosen, ours: &[u8]) -> Result<Chosen, LakeError> {
    let mut is_ours = Vec::new();
    group.texts(schema::ORGANIZATION, chosen.iter().map(|(_, range)| range), |text, rows| {
        is_ours.resize(is_ours.len() + rows.len(), text == ours);
    })?;
    Ok(narrowed(chosen, |place| is_ours[place]))
}

/// Times of these rows.
fn times_of(group: &Group<'_>, chosen: &Chosen, receipt: bool) -> Result<Vec<i64>, LakeError> {
    let ranges = || chosen.iter().map(|(_, range)| range);
    let missing = || LakeError::Encode("the times of its rows are missing".into());
    let (values, levels) = group.read(schema::SAMPLE_TIME, ranges())?.ok_or_else(missing)?;
    if !receipt {
        return if levels.is_none_or(|levels| levels.len() == values.len()) {
            Ok(values)
        } else {
            Err(missing())
        };
    }
    let received = group.read_all(schema::RECEIVE_TIME, chosen)?;
    let mut sampled = values.into_iter();
    let levels = levels.unwrap_or_else(|| vec![1; received.len()]);
    let of_row =
        |(received, level): (i64, i16)| time_of(if level == 0 { None } else { sampled.next() }, received);
    Ok(received.into_iter().zip(levels).map(of_row).collect())
}

/// A column with a place for each row.
fn dense(values: Vec<i64>, levels: Option<Vec<i16>>, into: &mut Column) {
    let Some(levels) = levels.filter(|levels| levels.len() != values.len()) else {
        into.push_all(values);
        return;
    };
    into.reserve(levels.len());
    let mut values = values.into_iter();
    for level in levels {
        into.push(if level == 0 { None } else { values.next() });
    }
}

/// Decodes what is wanted of one file. Answers nothing when it was told to stop.
pub(super) fn decode(
    index: &FileIndex,
    data: &Arc<Parts>,
    candidates: &[Candidate],
    question: &Question<'_>,
    stop: &AtomicBool,
) -> Result<Decoded, LakeError> {
    guarded(|| {
        let mut decoded =
            Decoded { columns: question.signals.iter().map(|_| None).collect(), ..Decoded::default() };
        for candidate in candidates {
            add(index, data, candidate, question, stop, &mut decoded)?;
        }
        Ok(decoded)
    })
}

fn add(
    index: &FileIndex,
    data: &Arc<Parts>,
    candidate: &Candidate,
    question: &Question<'_>,
    stop: &AtomicBool,
    into: &mut Decoded,
) -> Result<(), LakeError> {
    let stopped = || stop.load(Ordering::Relaxed);
    let Question { wanted, signals, ids } = *question;
    let group = Group { index, data, group: candidate.group };
    into.rows_read += candidate.rows();
    let mut chosen = of_vehicles(&group, candidate, wanted.vehicles)?;
    if candidate.doubts.organization {
        chosen = of_organization(&group, chosen, wanted.organization.as_str().as_bytes())?;
    }
    if candidate.doubts.kind && !chosen.is_empty() {
        let kinds = group.read_all(schema::KIND, &chosen)?;
        chosen = narrowed(chosen, |place| kinds[place] == RowBody::SAMPLES);
    }
    if chosen.is_empty() || stopped() {
        return Ok(());
    }
    let mut times = times_of(&group, &chosen, candidate.doubts.receive_time)?;
    let in_time = |at: &i64| (wanted.from_ns..wanted.until_ns).contains(at);
    if !times.iter().all(in_time) {
        chosen = narrowed(chosen, |place| in_time(&times[place]));
        times.retain(in_time);
    }
    if times.is_empty() {
        return Ok(());
    }
    let before = into.times.len();
    let rows = times.len();
    if ids {
        let incarnations = group.read_all(schema::INCARNATION, &chosen)?;
        let seqs = group.read_all(schema::SEQ, &chosen)?;
        let rows_in_frame = group.read_all(schema::ROW_IN_FRAME, &chosen)?;
        let of = incarnations.into_iter().zip(seqs).zip(rows_in_frame);
        into.ids.extend(of.map(|((incarnation, seq), row)| (incarnation as u64, seq as u64, row as u32)));
    }
    for (name, column) in signals.iter().zip(&mut into.columns) {
        if stopped() {
            break;
        }
        match group.read(name, chosen.iter().map(|(_, range)| range))? {
            Some((values, levels)) => {
                dense(values, levels, column.get_or_insert_with(|| Column::missing(before)));
            }
            None => column.iter_mut().for_each(|column| column.push_missing(rows)),
        }
    }
    into.times.append(&mut times);
    let mut at = before;
    for (vehicle, range) in chosen {
        let rows = at..at + range.len();
        at = rows.end;
        match into.segments.last_mut() {
            Some((last, open)) if *last == vehicle && open.end == rows.start => open.end = rows.end,
            _ => into.segments.push((vehicle, rows)),
        }
    }
    Ok(())
}

/// Hours, since 1970 UTC, in which a file has rows of anybody; ascending.
pub(super) fn hours(index: &FileIndex, data: &Arc<Parts>) -> Result<Vec<i64>, LakeError> {
    guarded(|| {
        let mut hours = Vec::new();
        for candidate in index.everything() {
            let group = Group { index, data, group: candidate.group };
            let chosen: Chosen = candidate.ranges.iter().map(|rows| (0, rows.clone())).collect();
            let times = times_of(&group, &chosen, true)?;
            hours.extend(times.into_iter().map(|at| at.div_euclid(crate::history::HOUR_NS)));
            hours.sort_unstable();
            hours.dedup();
        }
        Ok(hours)
    })
}

/// Ranges of bytes that [`hours`] reads.
pub(super) fn bytes_of_times(index: &FileIndex) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    for candidate in index.everything() {
        for name in [schema::SAMPLE_TIME, schema::RECEIVE_TIME] {
            if let Some(column) = index.column(name) {
                of_column(index, &candidate, column, &mut ranges);
            }
        }
    }
    joined(ranges)
}
