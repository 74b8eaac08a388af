//! Texts of a column that repeat, as runs of equal ones: in a file that is sorted by them a vehicle is one run, where a row
//! after the other would be thousands of texts.
//!
//! Reads what the "Dictionary Encoding" and the "RLE/bit-packing hybrid" of Parquet's Encodings.md say, of a column that has
//! a value in every row.

use std::ops::Range;

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader};
use parquet::file::metadata::ColumnChunkMetaData;

use crate::error::LakeError;

/// Whether a column is written as [`runs`] reads it.
pub(crate) fn readable(chunk: &ColumnChunkMetaData) -> bool {
    let has = |encoding| chunk.encodings_mask().is_set(encoding);
    let other = [Encoding::DELTA_BYTE_ARRAY, Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::BYTE_STREAM_SPLIT];
    has(Encoding::RLE_DICTIONARY) && !other.into_iter().any(has)
}

fn senseless() -> LakeError {
    LakeError::Encode("the texts of a column cannot be read".into())
}

/// Goes over the texts of these rows, which ascend: a text, and rows next to each other that have it. Pages without any of
/// the rows are passed over.
pub(crate) fn runs(
    pages: &mut dyn PageReader,
    rows: &[Range<usize>],
    mut each: impl FnMut(&[u8], Range<usize>) -> Result<(), LakeError>,
) -> Result<(), LakeError> {
    let end = rows.last().map_or(0, |range| range.end);
    let mut dictionary: Vec<Bytes> = Vec::new();
    let mut at = 0;
    while at < end {
        let next = pages.peek_next_page()?.ok_or_else(senseless)?;
        if !next.is_dict {
            let first = rows.partition_point(|range| range.end <= at);
            let known = next.num_rows.or(next.num_levels);
            if let (Some(range), Some(count)) = (rows.get(first), known)
                && range.start >= at + count
            {
                pages.skip_next_page()?;
                at += count;
                continue;
            }
        }
        match pages.get_next_page()?.ok_or_else(senseless)? {
            Page::DictionaryPage { buf, num_values, .. } => dictionary = plain(&buf, num_values as usize)?,
            Page::DataPage { buf, num_values, encoding, .. } => {
                of_page(&buf, num_values as usize, encoding, (&dictionary[..], rows), at, &mut each)?;
                at += num_values as usize;
            }
            Page::DataPageV2 {
                buf, num_values, encoding, def_levels_byte_len, rep_levels_byte_len, ..
            } => {
                let levels = (def_levels_byte_len as usize).saturating_add(rep_levels_byte_len as usize);
                let buf = if levels <= buf.len() { buf.slice(levels..) } else { return Err(senseless()) };
                of_page(&buf, num_values as usize, encoding, (&dictionary[..], rows), at, &mut each)?;
                at += num_values as usize;
            }
        }
    }
    Ok(())
}

/// Texts one after the other, each after its length.
fn plain(buf: &Bytes, count: usize) -> Result<Vec<Bytes>, LakeError> {
    let mut texts = Vec::with_capacity(count.min(buf.len() / 4));
    let mut at = 0;
    for _ in 0..count {
        let length = buf.get(at..).and_then(<[u8]>::first_chunk).ok_or_else(senseless)?;
        let begin = at + 4;
        let end = begin.saturating_add(u32::from_le_bytes(*length) as usize);
        if end > buf.len() {
            return Err(senseless());
        }
        texts.push(buf.slice(begin..end));
        at = end;
    }
    Ok(texts)
}

fn of_page(
    buf: &Bytes,
    count: usize,
    encoding: Encoding,
    (dictionary, rows): (&[Bytes], &[Range<usize>]),
    mut at: usize,
    each: &mut impl FnMut(&[u8], Range<usize>) -> Result<(), LakeError>,
) -> Result<(), LakeError> {
    let mut first = rows.partition_point(|range| range.end <= at);
    let mut tell = |text: &[u8], count: usize| {
        let run = at..at + count;
        at = run.end;
        while let Some(range) = rows.get(first).filter(|range| range.start < run.end) {
            let both = run.start.max(range.start)..run.end.min(range.end);
            if !both.is_empty() {
                each(text, both)?;
            }
            if range.end > run.end {
                break;
            }
            first += 1;
        }
        Ok::<(), LakeError>(())
    };
    match encoding {
        Encoding::PLAIN => plain(buf, count)?.iter().try_for_each(|text| tell(&text[..], 1)),
        Encoding::RLE_DICTIONARY => numbers(buf, count, |number, count| {
            let text = usize::try_from(number).ok().and_then(|number| dictionary.get(number));
            tell(&text.ok_or_else(senseless)?[..], count)
        }),
        _ => Err(senseless()),
    }
}

/// Runs of numbers of a dictionary's texts.
fn numbers(
    buf: &[u8],
    count: usize,
    mut each: impl FnMut(u64, usize) -> Result<(), LakeError>,
) -> Result<(), LakeError> {
    let (width, mut buf) = buf.split_first().ok_or_else(senseless)?;
    let width = usize::from(*width);
    if width > 32 {
        return Err(senseless());
    }
    let mut left = count;
    while left > 0 {
        let (head, rest) = varint(buf).ok_or_else(senseless)?;
        let many = usize::try_from(head >> 1).map_err(|_| senseless())?;
        if many == 0 {
            return Err(senseless());
        }
        if head & 1 == 0 {
            let (number, rest) = rest.split_at_checked(width.div_ceil(8)).ok_or_else(senseless)?;
            let number = number.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte));
            let run = many.min(left);
            each(number, run)?;
            left -= run;
            buf = rest;
            continue;
        }
        // Eight numbers a group, packed from the lowest bit on.
        let bytes = many.checked_mul(width).ok_or_else(senseless)?;
        let (packed, rest) = rest.split_at_checked(bytes).ok_or_else(senseless)?;
        let there = many.saturating_mul(8).min(left);
        let mut open: Option<(u64, usize)> = None;
        for place in 0..there {
            let number = bits(packed, place * width, width);
            open = match open {
                Some((before, run)) if before == number => Some((before, run + 1)),
                Some((before, run)) => {
                    each(before, run)?;
                    Some((number, 1))
                }
                None => Some((number, 1)),
            };
        }
        if let Some((number, run)) = open {
            each(number, run)?;
        }
        left -= there;
        buf = rest;
    }
    Ok(())
}

/// A few bits from a place on; at most 32.
fn bits(packed: &[u8], from: usize, width: usize) -> u64 {
    let first = from / 8;
    let bytes = packed.get(first..packed.len().min(first + 8)).unwrap_or_default();
    let word = bytes.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte));
    (word >> (from % 8)) & ((1 << width) - 1)
}

/// A number in groups of seven bits, the lowest first.
fn varint(buf: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (place, byte) in buf.iter().take(5).enumerate() {
        number |= u64::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((number, &buf[place + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::properties::{WriterProperties, WriterVersion};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use proptest::prelude::*;

    use super::*;

    fn file(texts: &[String], version: WriterVersion, page: usize) -> Bytes {
        let schema =
            Arc::new(parse_message_type("message m { required binary t (STRING); }").expect("parses"));
        let properties = WriterProperties::builder()
            .set_writer_version(version)
            .set_write_batch_size(page)
            .set_data_page_row_count_limit(page)
            .build();
        let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).expect("a writer");
        let mut group = file.next_row_group().expect("a group");
        let mut column = group.next_column().expect("opens").expect("a column");
        let values: Vec<ByteArray> = texts.iter().map(|text| text.as_bytes().to_vec().into()).collect();
        column.typed::<ByteArrayType>().write_batch(&values, None, None).expect("writes");
        column.close().expect("closes");
        group.close().expect("closes");
        file.into_inner().expect("ends").into()
    }

    proptest! {
        #[test]
        fn every_wanted_row_is_told_with_its_text(
            lengths in prop::collection::vec((0..40_u32, 1..60_usize), 1..60),
            marks in prop::collection::vec((0..50_usize, 1..80_usize), 1..8),
            second in any::<bool>(),
            page in 1..200_usize,
        ) {
            let texts: Vec<String> =
                lengths.iter().flat_map(|(text, run)| std::iter::repeat_n(format!("t{text}"), *run)).collect();
            let mut rows = Vec::new();
            let mut at = 0;
            for (gap, length) in marks {
                let range = at + gap..(at + gap + length).min(texts.len());
                if range.start < range.end {
                    at = range.end;
                    rows.push(range);
                }
            }
            let version = if second { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
            let reader = SerializedFileReader::new(file(&texts, version, page)).expect("opens");
            let group = reader.get_row_group(0).expect("a group");
            prop_assert!(readable(group.metadata().column(0)));
            let mut told = Vec::new();
            runs(&mut *group.get_column_page_reader(0).expect("pages"), &rows, |text, rows| {
                told.extend(rows.map(|row| (row, String::from_utf8_lossy(text).into_owned())));
                Ok(())
            }).expect("reads");
            let wanted: Vec<(usize, String)> =
                rows.into_iter().flatten().map(|row| (row, texts[row].clone())).collect();
            prop_assert_eq!(told, wanted);
        }

        #[test]
        fn bytes_without_sense_are_refused_or_read_but_end(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = numbers(&bytes, 1_000, |_, _| Ok(()));
            let _ = plain(&bytes.into(), 1_000);
        }
    }
}
