//! Bytes of a file: its tail, or some ranges of it.

use std::ops::Range;

use bytes::{Buf, Bytes};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::error::LakeError;
use crate::files::Files;

/// Fetches ranges of a committed file, wherever a compaction has moved it; `None` when it is nowhere any more.
pub(super) async fn ranges(
    files: &Files,
    path: &str,
    ranges: &[Range<u64>],
) -> Result<Option<Vec<Bytes>>, LakeError> {
    if ranges.is_empty() {
        return Ok(Some(Vec::new()));
    }
    files.fetch_ranges(path, ranges).await
}

/// Parts of a file, read as if all of it was there.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Ascending by where they begin; they do not overlap.
    parts: Vec<(u64, Bytes)>,
    len: u64,
}

impl Parts {
    pub fn new(ranges: &[Range<u64>], bytes: Vec<Bytes>, len: u64) -> Self {
        let mut parts: Vec<_> = ranges.iter().map(|range| range.start).zip(bytes).collect();
        parts.sort_unstable_by_key(|(start, _)| *start);
        Self { parts, len }
    }

    fn slice(&self, start: u64, length: Option<usize>) -> Result<Bytes, ParquetError> {
        let missing = || ParquetError::General(format!("bytes at {start} were not fetched"));
        let at = self.parts.partition_point(|(begin, _)| *begin <= start);
        let (begin, bytes) = at.checked_sub(1).and_then(|at| self.parts.get(at)).ok_or_else(missing)?;
        let from = usize::try_from(start - begin).map_err(|_| missing())?;
        let to = length.map_or(Some(bytes.len()), |length| from.checked_add(length)).ok_or_else(missing)?;
        if from > to || to > bytes.len() {
            return Err(missing());
        }
        Ok(bytes.slice(from..to))
    }
}

impl Length for Parts {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Parts {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.slice(start, None)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.slice(start, Some(length))
    }
}

/// Ranges in order, those that touch or overlap as one.
pub(super) fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_fetched_can_be_read() {
        let ranges = joined(vec![30..40, 10..20, 18..22, 22..24]);
        assert_eq!(ranges, [10..24, 30..40]);
        let file: Vec<u8> = (0..50).collect();
        let bytes =
            ranges.iter().map(|r| Bytes::copy_from_slice(&file[r.start as usize..r.end as usize])).collect();
        let parts = Parts::new(&ranges, bytes, 50);
        assert_eq!(parts.get_bytes(12, 4).expect("fetched").as_ref(), [12, 13, 14, 15]);
        assert_eq!(parts.get_bytes(39, 1).expect("fetched").as_ref(), [39]);
        for (start, length) in [(9, 1), (23, 2), (24, 1), (29, 2), (39, 2), (45, 1), (10, usize::MAX)] {
            assert!(parts.get_bytes(start, length).is_err(), "{start} {length}");
        }
    }
}
