//! Columnar, delta-coded blocks of samples: the body of a `samples` frame.
//!
//! ```text
//! block   = unit u8 (0 ms, 1 us, 2 ns) | rows varint | times | columns varint | column*
//! times   = first offset varint | series of the (rows - 1) differences         (nothing when there are no rows)
//! column  = signal varint (first: its id; then: its id less the one before) | mode u8 | presence | values
//! mode    = 0 every row has a value; presence is empty
//!           1 presence is a bitmap of ceil(rows/8) bytes (bit 0 of byte 0 is row 0; not all set; the rest 0)
//!           2 every row has the same value: one zigzag varint instead of presence and values; 2 to 32 rows
//!           3 the same rows as the column before have a value; presence is empty
//!           4 presence is a count varint, then for each row that has a value how many since the one before (at
//!             first: since the start) have none, varints
//! values  = first value zigzag varint | series of the zigzag differences to the value before
//!                                                                            (nothing when no row has a value)
//! series  = coding u8, then the numbers:                                      (nothing at all when it is empty)
//!           0 varints; 1..=64 packed in that many bits each; 128..=191 Rice codes with k = coding - 128: so many
//!           1 bits as `number >> k` says, a 0 bit, the low k bits; 254 all the same number, a varint; 255 all zero;
//!           the last two for at most 32 numbers
//! varint  = LEB128: 7 bits a byte, least significant first, the top bit says that more follow; at most 64 bits
//! zigzag  = 0, -1, 1, -2, ... as 0, 1, 2, 3, ...
//! ```
//!
//! Bits fill bytes from the least significant one; packed and Rice series end at a whole byte. Differences of values
//! wrap around 64 bits, so that every i64 can follow every other; times do not wrap. A writer takes the shortest
//! coding, a reader takes any.
//!
//! Each choice pays on a real drive (`tests/real_drive.rs`): exact bus times jitter, which Rice codes say in fewer
//! bits than the widest difference needs; signals of one bus message share their rows (mode 3); slow ones among fast
//! ones have few (mode 4). A row costs at least a bit, a value too (above 32), and [`limits::BLOCK_CELLS_MAX`] bounds
//! what a decoder makes of them.

use remuda_model::SignalId;

use crate::bits::{self, Reader};
use crate::limits;

/// The step of a block's row times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// 1 ms: what a vehicle's own sampling needs.
    Millisecond,
    /// 1 us.
    Microsecond,
    /// 1 ns: replayed bus captures keep their exact times.
    Nanosecond,
}

impl TimeUnit {
    /// Length of one step, ns.
    pub const fn nanoseconds(self) -> u64 {
        match self {
            Self::Millisecond => 1_000_000,
            Self::Microsecond => 1_000,
            Self::Nanosecond => 1,
        }
    }
}

/// Rows of samples that share their times. Row i was taken at `header.mono_ms * 1e6 + offsets[i] * unit` ns of the
/// vehicle's monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleBlock {
    /// Step of `offsets`.
    pub unit: TimeUnit,
    /// Per row, steps since the frame's `mono_ms`; never decreasing; two rows may share a time.
    pub offsets: Vec<u64>,
    /// Per signal, one entry a row; ascending by signal id, each signal once.
    pub columns: Vec<Column>,
}

/// One signal's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Which signal.
    pub signal: SignalId,
    /// Raw scaled integers; `None` where the row has no value. As long as the block's `offsets`.
    pub values: Vec<Option<i64>>,
}

impl SampleBlock {
    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.offsets.len()
    }

    /// Whether [`crate::frame::decode`] takes it back, but for its encoded length and unknown signals: limits kept,
    /// times never decreasing, signals ascending, columns as long as there are rows.
    pub fn is_valid(&self) -> bool {
        let (rows, columns) = (self.offsets.len(), self.columns.len());
        rows <= limits::BLOCK_ROWS_MAX
            && columns <= limits::BLOCK_SIGNALS_MAX
            && rows * columns <= limits::BLOCK_CELLS_MAX
            && self.offsets.is_sorted()
            && self.columns.is_sorted_by(|a, b| a.signal < b.signal)
            && self.columns.iter().all(|column| column.values.len() == rows)
    }

    /// How many values it has.
    pub fn samples(&self) -> usize {
        self.columns.iter().map(|c| c.values.iter().flatten().count()).sum()
    }
}

/// Rows of a column that may be said by one value. Bounds what a few bytes can make a decoder allocate.
const CONSTANT_ROWS_MAX: usize = 32;

const MODE_DENSE: u8 = 0;
const MODE_MASKED: u8 = 1;
const MODE_CONSTANT: u8 = 2;
const MODE_SAME_ROWS: u8 = 3;
const MODE_SPARSE: u8 = 4;
const SERIES_VARINT: u8 = 0;
const SERIES_RICE: u8 = 128;
const SERIES_RICE_LAST: u8 = SERIES_RICE + bits::RICE_MAX as u8;
const SERIES_EQUAL: u8 = 254;
const SERIES_ZERO: u8 = 255;

/// Why a block cannot be used; a stable code.
pub(crate) type Unusable = &'static str;

pub(crate) fn encode(block: &SampleBlock, out: &mut Vec<u8>) {
    out.push(match block.unit {
        TimeUnit::Millisecond => 0,
        TimeUnit::Microsecond => 1,
        TimeUnit::Nanosecond => 2,
    });
    bits::put_varint(out, block.offsets.len() as u64);
    if let Some(first) = block.offsets.first() {
        bits::put_varint(out, *first);
        let differences: Vec<u64> = block.offsets.windows(2).map(|w| w[1].wrapping_sub(w[0])).collect();
        put_series(out, &differences);
    }
    bits::put_varint(out, block.columns.len() as u64);
    let mut before: Option<&Column> = None;
    for column in &block.columns {
        let step = column.signal.0.wrapping_sub(before.map_or(0, |b| b.signal.0));
        bits::put_varint(out, u64::from(step));
        put_column(out, &column.values, before.map(|b| &*b.values));
        before = Some(column);
    }
}

fn put_column(out: &mut Vec<u8>, values: &[Option<i64>], before: Option<&[Option<i64>]>) {
    let present: Vec<i64> = values.iter().copied().flatten().collect();
    let dense = present.len() == values.len();
    let constant = present.iter().all(|v| *v == present[0]);
    if dense && constant && (2..=CONSTANT_ROWS_MAX).contains(&values.len()) {
        out.push(MODE_CONSTANT);
        return bits::put_varint(out, bits::zigzag(present[0]));
    }
    if dense {
        out.push(MODE_DENSE);
    } else if before.is_some_and(|b| b.iter().map(Option::is_some).eq(values.iter().map(Option::is_some))) {
        out.push(MODE_SAME_ROWS);
    } else {
        put_presence(out, values, present.len());
    }
    if let Some(first) = present.first() {
        bits::put_varint(out, bits::zigzag(*first));
        let differences: Vec<u64> =
            present.windows(2).map(|w| bits::zigzag(w[1].wrapping_sub(w[0]))).collect();
        put_series(out, &differences);
    }
}

/// Says which rows have a value, as a bitmap or as a list, whichever is shorter.
fn put_presence(out: &mut Vec<u8>, values: &[Option<i64>], present: usize) {
    let mode_at = out.len();
    out.push(MODE_SPARSE);
    let bitmap = values.len().div_ceil(8);
    if present < bitmap {
        bits::put_varint(out, present as u64);
        let mut next = 0;
        for (row, _) in values.iter().enumerate().filter(|(_, v)| v.is_some()) {
            bits::put_varint(out, (row - next) as u64);
            next = row + 1;
        }
    }
    if present >= bitmap || out.len() - mode_at > bitmap {
        out.truncate(mode_at);
        out.push(MODE_MASKED);
        for rows in values.chunks(8) {
            out.push(rows.iter().enumerate().fold(0, |byte, (i, v)| byte | u8::from(v.is_some()) << i));
        }
    }
}

/// Writes a series in its shortest coding; nothing at all for an empty one.
fn put_series(out: &mut Vec<u8>, values: &[u64]) {
    let Some(first) = values.first() else { return };
    let equal = values.len() <= CONSTANT_ROWS_MAX && values.iter().all(|v| v == first);
    if equal && *first == 0 {
        return out.push(SERIES_ZERO);
    }
    // Never longer than packed: w bits are w/7 bytes of varint, and twice they are w/4 bytes packed.
    if equal && values.len() > 1 {
        out.push(SERIES_EQUAL);
        return bits::put_varint(out, *first);
    }
    let width = bits::width(values).max(1);
    let varints: usize = values.iter().map(|v| bits::varint_len(*v)).sum();
    let packed = bits::packed_len(values.len(), width);
    let (k, rice) = bits::rice_best(values);
    // At the same length the one that decodes faster.
    if packed <= varints.min(rice) {
        out.push(width as u8);
        bits::put_packed(out, values, width);
    } else if varints <= rice {
        out.push(SERIES_VARINT);
        values.iter().for_each(|v| bits::put_varint(out, *v));
    } else {
        out.push(SERIES_RICE + k as u8);
        bits::put_rice(out, values, k);
    }
}

pub(crate) fn decode(bytes: &[u8], known: impl Fn(SignalId) -> bool) -> Result<SampleBlock, Unusable> {
    let mut reader = Reader::new(bytes);
    let unit = match reader.byte().ok_or("body")? {
        0 => TimeUnit::Millisecond,
        1 => TimeUnit::Microsecond,
        2 => TimeUnit::Nanosecond,
        _ => return Err("body"),
    };
    let rows = reader.varint().ok_or("body")?;
    if rows > limits::BLOCK_ROWS_MAX as u64 {
        return Err("limit");
    }
    // A row costs at least a bit, or there are at most CONSTANT_ROWS_MAX of them.
    let rows = rows as usize;
    if rows > reader.left() * 8 + CONSTANT_ROWS_MAX {
        return Err("body");
    }
    let offsets = take_times(&mut reader, rows).ok_or("body")?;
    let count = reader.varint().ok_or("body")?;
    if count > limits::BLOCK_SIGNALS_MAX as u64 || count * rows as u64 > limits::BLOCK_CELLS_MAX as u64 {
        return Err("limit");
    }
    // A column costs at least two bytes: signal and mode.
    let mut columns: Vec<Column> = Vec::with_capacity((count as usize).min(reader.left() / 2));
    let mut before = 0_u16;
    for i in 0..count {
        let step = reader.varint().and_then(|v| u16::try_from(v).ok()).ok_or("body")?;
        if i > 0 && step == 0 {
            return Err("body");
        }
        before = before.checked_add(step).ok_or("body")?;
        if !known(SignalId(before)) {
            return Err("signal");
        }
        let last = columns.last().map(|column| &*column.values);
        let values = take_column(&mut reader, rows, last).ok_or("body")?;
        columns.push(Column { signal: SignalId(before), values });
    }
    if reader.left() > 0 {
        return Err("body");
    }
    Ok(SampleBlock { unit, offsets, columns })
}

fn take_times(reader: &mut Reader<'_>, rows: usize) -> Option<Vec<u64>> {
    let mut offsets = Vec::with_capacity(rows);
    if rows > 0 {
        let mut at = reader.varint()?;
        offsets.push(at);
        take_series(reader, rows - 1, |difference| {
            at = at.checked_add(difference)?;
            offsets.push(at);
            Some(())
        })?;
    }
    Some(offsets)
}

fn take_column(
    reader: &mut Reader<'_>,
    rows: usize,
    before: Option<&[Option<i64>]>,
) -> Option<Vec<Option<i64>>> {
    let mode = reader.byte()?;
    match mode {
        MODE_CONSTANT => {
            let value = bits::unzigzag(reader.varint()?);
            (2..=CONSTANT_ROWS_MAX).contains(&rows).then(|| vec![Some(value); rows])
        }
        MODE_DENSE => {
            let mut values = Vec::with_capacity(rows.min(reader.left() * 8 + CONSTANT_ROWS_MAX));
            take_values(reader, rows, |value| values.push(Some(value)))?;
            Some(values)
        }
        MODE_MASKED => {
            let mask = reader.bytes(rows.div_ceil(8))?;
            let set = |row: &usize| mask[row / 8] >> (row % 8) & 1 == 1;
            let count = (0..rows).filter(set).count();
            if (rows..mask.len() * 8).any(|row| set(&row)) || count == rows {
                return None;
            }
            take_scattered(reader, rows, count, (0..rows).filter(set))
        }
        MODE_SAME_ROWS => {
            let before = before?;
            let present = || before.iter().enumerate().filter(|(_, v)| v.is_some()).map(|(row, _)| row);
            take_scattered(reader, rows, present().count(), present())
        }
        MODE_SPARSE => {
            let count = reader.count(rows.min(reader.left()))?;
            let mut list = Vec::with_capacity(count);
            let mut next = 0;
            for _ in 0..count {
                let row = next + reader.count(rows.checked_sub(next + 1)?)?;
                list.push(row);
                next = row + 1;
            }
            take_scattered(reader, rows, count, list.into_iter())
        }
        _ => None,
    }
}

/// Values of the rows that have one; `places` has `count` of them, ascending.
fn take_scattered(
    reader: &mut Reader<'_>,
    rows: usize,
    count: usize,
    mut places: impl Iterator<Item = usize>,
) -> Option<Vec<Option<i64>>> {
    let mut values = vec![None; rows];
    take_values(reader, count, |value| {
        if let Some(row) = places.next() {
            values[row] = Some(value);
        }
    })?;
    Some(values)
}

fn take_values(reader: &mut Reader<'_>, count: usize, mut each: impl FnMut(i64)) -> Option<()> {
    if count == 0 {
        return Some(());
    }
    let mut value = bits::unzigzag(reader.varint()?);
    each(value);
    take_series(reader, count - 1, |difference| {
        value = value.wrapping_add(bits::unzigzag(difference));
        each(value);
        Some(())
    })
}

fn take_series(reader: &mut Reader<'_>, count: usize, mut each: impl FnMut(u64) -> Option<()>) -> Option<()> {
    if count == 0 {
        return Some(());
    }
    match reader.byte()? {
        SERIES_ZERO if count <= CONSTANT_ROWS_MAX => (0..count).try_for_each(|_| each(0)),
        SERIES_EQUAL if count <= CONSTANT_ROWS_MAX => {
            let value = reader.varint()?;
            (0..count).try_for_each(|_| each(value))
        }
        SERIES_VARINT => (0..count).try_for_each(|_| each(reader.varint()?)),
        width @ 1..=64 => {
            let mut bits = reader.bits(bits::packed_len(count, u32::from(width)))?;
            (0..count).try_for_each(|_| each(bits.take(u32::from(width))?))
        }
        coding @ SERIES_RICE..=SERIES_RICE_LAST => {
            let mut bits = reader.all_bits();
            (0..count).try_for_each(|_| each(bits.rice(u32::from(coding - SERIES_RICE))?))?;
            reader.after(&bits);
            Some(())
        }
        _ => None,
    }
}
