//! A file's footer and page index, and which of its rows a selection may want.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMask, PageIndexPolicy, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader,
    ParquetStatisticsPolicy,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::PageLocation;
use remuda_model::{OrganizationId, VehicleId};

use super::limits;
use crate::error::LakeError;
use crate::files::Files;
use crate::history::MS_NS;
use crate::row::RowBody;
use crate::scan::guarded;
use crate::{limits as lake_limits, schema};

/// Columns whose page statistics are looked at; those of the others would only take memory.
const INDEXED: [&str; 5] =
    [schema::ORGANIZATION, schema::VEHICLE, schema::KIND, schema::SAMPLE_TIME, schema::RECEIVE_TIME];

/// Footer and page index of a committed file.
#[derive(Debug)]
pub(super) struct FileIndex {
    metadata: ParquetMetaData,
    /// Leaf columns by name.
    columns: HashMap<String, usize>,
    bytes: usize,
    /// Hours in which it has rows, once somebody needed to know; of a fresh file.
    pub hours: OnceLock<Vec<i64>>,
}

/// What is wanted of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub organization: OrganizationId,
    /// Ascending.
    pub vehicles: &'a [VehicleId],
    pub from_ns: i64,
    pub until_ns: i64,
}

/// Rows of a row group that may be wanted.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub group: usize,
    /// Ascending, apart.
    pub ranges: Vec<Range<usize>>,
    /// Columns that must be looked at, the page statistics leaving a doubt.
    pub doubts: Doubts,
}

/// Columns of which page statistics do not say enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doubts {
    /// Rows of other organisations may be among them.
    pub organization: bool,
    /// Rows without samples may be among them.
    pub kind: bool,
    /// The sample time may be missing or absurd: the receipt decides.
    pub receive_time: bool,
}

impl Candidate {
    pub fn rows(&self) -> usize {
        self.ranges.iter().map(ExactSizeIterator::len).sum()
    }
}

impl FileIndex {
    /// Reads the end of a file; `None` when the file is gone.
    pub async fn load(files: &Files, path: &str, len: u64) -> Result<Option<Self>, LakeError> {
        let first =
            if len >= limits::LARGE_FILE_BYTES { limits::LARGE_TAIL_BYTES } else { limits::TAIL_BYTES };
        let mut wanted = first.min(len);
        loop {
            let tail = len - wanted..len;
            let Some(bytes) = super::fetch::ranges(files, path, std::slice::from_ref(&tail)).await? else {
                return Ok(None);
            };
            let bytes = bytes.into_iter().next().unwrap_or_default();
            match guarded(|| Ok(Self::parse(&bytes, len)))? {
                Ok(index) => return Ok(Some(index)),
                Err(ParquetError::NeedMoreData(more)) if wanted < len => {
                    wanted = (more as u64).clamp(wanted + 1, len);
                }
                Err(error) => {
                    return Err(LakeError::Damaged { path: path.to_owned(), what: error.to_string() });
                }
            }
        }
    }

    fn parse(tail: &Bytes, len: u64) -> Result<Self, ParquetError> {
        let indexed: Vec<usize> = schema::fixed()
            .enumerate()
            .filter(|(_, (name, ..))| INDEXED.contains(name))
            .map(|(place, _)| place)
            .collect();
        // Row groups' own statistics say what the pages' say, and those of signals nobody asks for.
        let options = ParquetMetaDataOptions::new()
            .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
            .with_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll)
            .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll);
        let mut reader = ParquetMetaDataReader::new()
            .with_metadata_options(Some(options))
            .with_column_index_policy(PageIndexPolicy::Optional)
            .with_offset_index_policy(PageIndexPolicy::Optional)
            .with_column_index_mask(ColumnChunkMask::columns(indexed));
        reader.try_parse_sized(tail, len)?;
        let metadata = reader.finish()?;
        let schema = metadata.file_metadata().schema_descr();
        let columns: HashMap<String, usize> =
            (0..schema.num_columns()).map(|i| (schema.column(i).name().to_owned(), i)).collect();
        let names: usize = columns.keys().map(|name| name.len() + 64).sum();
        let bytes = metadata.memory_size() + names;
        Ok(Self { metadata, columns, bytes, hours: OnceLock::new() })
    }

    /// About what it holds of memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }

    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.get(name).copied()
    }

    /// Where the pages of a column lie; `None` when the file does not say.
    pub fn pages(&self, group: usize, column: usize) -> Option<&[PageLocation]> {
        let index = self.metadata.page_index()?;
        let pages = index.offset_index(group, column)?.page_locations();
        (!pages.is_empty()).then_some(pages.as_slice())
    }

    pub fn group_rows(&self, group: usize) -> usize {
        usize::try_from(self.metadata.row_group(group).num_rows()).unwrap_or(usize::MAX)
    }

    fn whole(&self, group: usize) -> Vec<Range<usize>> {
        std::iter::once(0..self.group_rows(group)).collect()
    }

    fn stats(&self, group: usize, name: &str) -> Option<(&ColumnIndexMetaData, Vec<Range<usize>>)> {
        let column = self.column(name)?;
        let stats = self.metadata.page_index()?.column_index(group, column)?;
        let rows = page_rows(self.pages(group, column)?, self.group_rows(group));
        Some((stats, rows))
    }

    /// Every row of every group, nothing being known of them.
    pub fn everything(&self) -> Vec<Candidate> {
        let doubts = Doubts { organization: true, kind: true, receive_time: true };
        (0..self.metadata.num_row_groups())
            .map(|group| Candidate { group, ranges: self.whole(group), doubts })
            .filter(|candidate| candidate.rows() > 0)
            .collect()
    }

    /// Rows that may be wanted, by page statistics.
    pub fn candidates(&self, wanted: &Wanted<'_>) -> Vec<Candidate> {
        let mut found = Vec::new();
        for group in 0..self.metadata.num_row_groups() {
            let of_vehicles = self.rows_of_vehicles(group, wanted);
            if of_vehicles.is_empty() {
                continue;
            }
            let (in_time, receive_time) = self.rows_in_time(group, &of_vehicles, wanted);
            let ranges = intersection(&of_vehicles, &in_time);
            if ranges.is_empty() {
                continue;
            }
            let doubts = Doubts {
                organization: !self.all_of(group, &ranges, wanted.organization),
                kind: !self.all_samples(group, &ranges),
                receive_time,
            };
            found.push(Candidate { group, ranges, doubts });
        }
        found
    }

    fn rows_of_vehicles(&self, group: usize, wanted: &Wanted<'_>) -> Vec<Range<usize>> {
        let Some((ColumnIndexMetaData::BYTE_ARRAY(stats), rows)) = self.stats(group, schema::VEHICLE) else {
            return self.whole(group);
        };
        let may = |page: usize| match (stats.min_value(page), stats.max_value(page)) {
            (Some(min), Some(max)) => {
                let first = wanted.vehicles.partition_point(|vehicle| vehicle.as_str().as_bytes() < min);
                wanted.vehicles.get(first).is_some_and(|vehicle| vehicle.as_str().as_bytes() <= max)
            }
            _ => true,
        };
        chosen(rows, may)
    }

    /// Rows whose time may be in the range, and whether the time of receipt must be looked at to know.
    fn rows_in_time(
        &self,
        group: usize,
        of_vehicles: &[Range<usize>],
        wanted: &Wanted<'_>,
    ) -> (Vec<Range<usize>>, bool) {
        let all = self.whole(group);
        let (
            Some((ColumnIndexMetaData::INT64(sampled), rows)),
            Some((ColumnIndexMetaData::INT64(received), receipts)),
        ) = (self.stats(group, schema::SAMPLE_TIME), self.stats(group, schema::RECEIVE_TIME))
        else {
            return (all, true);
        };
        // Receipts of the vehicles' rows.
        let mut receipt: Option<(i64, i64)> = None;
        for (page, rows) in receipts.iter().enumerate() {
            if !overlaps(of_vehicles, rows) {
                continue;
            }
            let (Some(min), Some(max)) = (received.min_value(page), received.max_value(page)) else {
                return (all, true);
            };
            let (low, high) = receipt.unwrap_or((*min, *max));
            receipt = Some((low.min(*min), high.max(*max)));
        }
        let Some((low_ms, high_ms)) = receipt else { return (all, true) };
        let (low, high) = (low_ms.saturating_mul(MS_NS), high_ms.saturating_mul(MS_NS));
        let sensible = high.saturating_sub(lake_limits::SAMPLE_BEHIND_MS_MAX * MS_NS)
            ..=low.saturating_add(lake_limits::SAMPLE_AHEAD_MS_MAX * MS_NS);
        let received_in_time = low < wanted.until_ns && high >= wanted.from_ns;
        let mut doubt = false;
        let may = |page: usize| {
            let rows_known = sampled.null_count(page) == Some(0);
            let (min, max) = (sampled.min_value(page), sampled.max_value(page));
            let (Some(min), Some(max)) = (min, max) else {
                doubt |= received_in_time;
                return received_in_time;
            };
            let in_time = *min < wanted.until_ns && *max >= wanted.from_ns;
            let sure = rows_known && sensible.contains(min) && sensible.contains(max);
            let may = in_time || (!sure && received_in_time);
            doubt |= may && !sure;
            may
        };
        (chosen(rows, may), doubt)
    }

    fn all_of(&self, group: usize, ranges: &[Range<usize>], organization: OrganizationId) -> bool {
        let Some((ColumnIndexMetaData::BYTE_ARRAY(stats), rows)) = self.stats(group, schema::ORGANIZATION)
        else {
            return false;
        };
        let ours = Some(organization.as_str().as_bytes());
        rows.iter()
            .enumerate()
            .filter(|(_, rows)| overlaps(ranges, rows))
            .all(|(page, _)| stats.min_value(page) == ours && stats.max_value(page) == ours)
    }

    fn all_samples(&self, group: usize, ranges: &[Range<usize>]) -> bool {
        let Some((ColumnIndexMetaData::INT64(stats), rows)) = self.stats(group, schema::KIND) else {
            return false;
        };
        let samples = Some(&RowBody::SAMPLES);
        rows.iter()
            .enumerate()
            .filter(|(_, rows)| overlaps(ranges, rows))
            .all(|(page, _)| stats.min_value(page) == samples && stats.max_value(page) == samples)
    }

    /// The one vehicle of all these rows, when page statistics say that there is only one.
    pub fn only_vehicle(&self, candidate: &Candidate) -> Option<VehicleId> {
        let (stats, rows) = self.stats(candidate.group, schema::VEHICLE)?;
        let ColumnIndexMetaData::BYTE_ARRAY(stats) = stats else { return None };
        let mut only: Option<&[u8]> = None;
        for (page, _) in rows.iter().enumerate().filter(|(_, rows)| overlaps(&candidate.ranges, rows)) {
            let (min, max) = (stats.min_value(page)?, stats.max_value(page)?);
            if min != max || only.is_some_and(|only| only != min) {
                return None;
            }
            only = Some(min);
        }
        VehicleId::new(std::str::from_utf8(only?).ok()?).ok()
    }
}

/// Rows of each page.
fn page_rows(pages: &[PageLocation], rows: usize) -> Vec<Range<usize>> {
    let first = |page: &PageLocation| usize::try_from(page.first_row_index).unwrap_or(rows).min(rows);
    pages.iter().enumerate().map(|(i, page)| first(page)..pages.get(i + 1).map_or(rows, &first)).collect()
}

/// Pages that overlap with ranges of rows, by place.
pub(super) fn pages_over(pages: &[PageLocation], rows: usize, ranges: &[Range<usize>]) -> Vec<usize> {
    let of_pages = page_rows(pages, rows);
    of_pages.iter().enumerate().filter(|(_, rows)| overlaps(ranges, rows)).map(|(page, _)| page).collect()
}

/// Rows of the pages that may hold something; neighbours as one.
fn chosen(rows: Vec<Range<usize>>, mut may: impl FnMut(usize) -> bool) -> Vec<Range<usize>> {
    let mut chosen: Vec<Range<usize>> = Vec::new();
    for (page, rows) in rows.into_iter().enumerate() {
        if rows.is_empty() || !may(page) {
            continue;
        }
        match chosen.last_mut() {
            Some(last) if last.end == rows.start => last.end = rows.end,
            _ => chosen.push(rows),
        }
    }
    chosen
}

/// Whether a range has something in common with any of these, which ascend.
fn overlaps(ranges: &[Range<usize>], range: &Range<usize>) -> bool {
    let at = ranges.partition_point(|other| other.end <= range.start);
    ranges.get(at).is_some_and(|other| other.start < range.end)
}

/// What two lists of ascending ranges have in common.
fn intersection(left: &[Range<usize>], right: &[Range<usize>]) -> Vec<Range<usize>> {
    let (mut i, mut j) = (0, 0);
    let mut common = Vec::new();
    while let (Some(a), Some(b)) = (left.get(i), right.get(j)) {
        let range = a.start.max(b.start)..a.end.min(b.end);
        if !range.is_empty() {
            common.push(range);
        }
        if a.end <= b.end {
            i += 1;
        } else {
            j += 1;
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_meet() {
        assert_eq!(intersection(&[0..10, 20..30], &[5..25, 29..40]), [5..10, 20..25, 29..30]);
        assert_eq!(intersection(&[0..10, 30..40], &[10..20, 25..30]), Vec::<Range<usize>>::new());
        assert!(overlaps(&[0..10, 20..30], &(9..12)) && !overlaps(&[0..10, 20..30], &(10..20)));
        assert_eq!(chosen(vec![0..4, 4..8, 8..12, 12..16], |page| page != 2), [0..8, 12..16]);
    }
}
