//! A decoder allocates no more than its input justifies: counted by the allocator itself.

mod strategies;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use remuda_model::SignalId;
use remuda_wire::{Body, Column, Down, SampleBlock, TimeUnit, Up, frame, limits};
use strategies::{body, down, header, mutate, mutation, seal, up};

/// Adds up what the present thread allocates.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting does not allocate.
#[allow(unsafe_code, reason = "a global allocator can only be unsafe")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn count(bytes: usize) {
    // A thread that ends has no counter any more, and nobody who asks.
    let _ = ALLOCATED.try_with(|sum| sum.set(sum.get() + bytes));
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes allocated in all, freed or not, while `run` ran.
fn allocated<T>(run: impl FnOnce() -> T) -> usize {
    let before = ALLOCATED.get();
    drop(run());
    ALLOCATED.get() - before
}

/// Cells, times, columns and their lists at the limits; no input may take more.
const FRAME_MAX: usize = limits::BLOCK_CELLS_MAX * size_of::<Option<i64>>()
    + limits::BLOCK_ROWS_MAX * 2 * size_of::<u64>()
    + limits::BLOCK_SIGNALS_MAX * size_of::<Column>();

/// A frame's cells cost at least a bit each, but for columns that are constant, or mostly empty: those have at most 32
/// rows, or as many as the times have bits for.
fn frame_justifies(bytes: &[u8]) -> usize {
    let rows = (bytes.len() * 8 + 32).min(limits::BLOCK_ROWS_MAX);
    let columns = (bytes.len() / 2).min(limits::BLOCK_SIGNALS_MAX);
    let cells = (rows * columns).min(limits::BLOCK_CELLS_MAX);
    cells * size_of::<Option<i64>>()
        + rows * 2 * size_of::<u64>()
        + columns * size_of::<Column>()
        + bytes.len()
}

/// A message's entries cost at least a byte each where they take 32 in memory, and lists are bounded.
fn message_justifies(bytes: &[u8]) -> usize {
    64 * bytes.len() + 256
}

fn frame_is_modest(bytes: &[u8]) -> Result<(), TestCaseError> {
    let spent = allocated(|| frame::decode(bytes));
    prop_assert!(spent <= frame_justifies(bytes), "{} bytes made it allocate {spent}", bytes.len());
    Ok(())
}

fn message_is_modest(bytes: Vec<u8>) -> Result<(), TestCaseError> {
    let most = message_justifies(&bytes);
    let length = bytes.len();
    let spent = allocated(|| Down::decode(&bytes));
    prop_assert!(spent <= most, "{length} bytes made it allocate {spent}");
    let bytes = Bytes::from(bytes);
    let spent = allocated(|| Up::decode(&bytes));
    prop_assert!(spent <= most, "{length} bytes made it allocate {spent}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes(bytes in vec(any::<u8>(), 0..300), kind in 0..80_u8) {
        frame_is_modest(&bytes)?;
        frame_is_modest(&seal([&[1, 1, 1, 1, 0, 0, 1, 0, kind % 3], &bytes[..]].concat()))?;
        message_is_modest([&[1, kind], &bytes[..]].concat())?;
        message_is_modest(bytes)?;
    }

    #[test]
    fn changed_frames(header in header(), body in body(), mutation in mutation()) {
        let mut bytes = frame::encode(&header, &body);
        bytes.truncate(bytes.len() - 4);
        mutate(&mut bytes, &mutation);
        frame_is_modest(&seal(bytes))?;
    }

    #[test]
    fn changed_messages(up in up(), down in down(), mutation in mutation()) {
        for mut bytes in [up.encode(), down.encode()] {
            mutate(&mut bytes, &mutation);
            message_is_modest(bytes)?;
        }
    }
}

/// A frame whose body is this block, said by hand.
fn frame_of(block: &[u8]) -> Vec<u8> {
    seal([&[1, 1, 1, 1, 0, 0, 1, 0, 0], block].concat())
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// The most that a block can make of its bytes: as many rows as its times have bits, then empty columns.
fn bomb(rows: usize, columns: usize, column: &[u8]) -> Vec<u8> {
    let mut block = vec![0];
    block.extend(varint(rows));
    block.extend([0, 1]);
    block.extend(vec![0; (rows - 1).div_ceil(8)]);
    block.extend(varint(columns));
    for _ in 0..columns {
        block.push(1);
        block.extend_from_slice(column);
    }
    frame_of(&block)
}

#[test]
fn bombs_stay_within_the_limits() {
    let rows = limits::BLOCK_ROWS_MAX;
    // Sparse and empty: two bytes a column. Right at the limit it decodes, above it is refused before any column.
    let at_limit = bomb(rows, limits::BLOCK_CELLS_MAX / rows, &[4, 0]);
    assert!(frame::decode(&at_limit).is_ok());
    let above = bomb(rows, limits::BLOCK_CELLS_MAX / rows + 1, &[4, 0]);
    assert!(frame::decode(&above).is_err());
    let wide = bomb(limits::BLOCK_CELLS_MAX / 87, 87, &[4, 0]);
    assert!(frame::decode(&wide).is_ok());
    let constant = bomb(32, 87, &[2, 0]);
    assert!(frame::decode(&constant).is_ok());
    let claims = [
        frame_of(&[&[0][..], &varint(rows), &[0, 1]].concat()),
        frame_of(&[&[0][..], &varint(usize::MAX), &[0, 1]].concat()),
        frame_of(&[&[0, 0][..], &varint(limits::BLOCK_SIGNALS_MAX)].concat()),
        frame_of(&[&[0, 32, 0, 255][..], &varint(limits::BLOCK_SIGNALS_MAX), &[1, 2, 0]].concat()),
        frame_of(&[&[0, 32, 0, 255, 1, 1, 4][..], &varint(usize::MAX)].concat()),
    ];
    for bytes in [at_limit, above, wide, constant].iter().chain(&claims) {
        let spent = allocated(|| frame::decode(bytes));
        assert!(spent <= frame_justifies(bytes).min(FRAME_MAX), "{} bytes: {spent}", bytes.len());
    }
    // A claim without the bytes for it costs next to nothing.
    for bytes in &claims {
        assert!(allocated(|| frame::decode(bytes)) < 1_024, "{bytes:02x?}");
    }
}

#[test]
fn claimed_lists_cost_nothing() {
    let count = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let claims = [
        // Hello: connection, versions, no text, boot, registry, hash, then lanes.
        [&[1, 1, 1, 1, 1, 1, 0, 1, 1, 0][..], &count].concat(),
        // Hello: no lanes, epoch, then commands.
        [&[1, 1, 1, 1, 1, 1, 0, 1, 1, 0, 0, 0][..], &count].concat(),
        // Hello: a long text.
        [&[1, 1, 1, 1, 1, 1][..], &count].concat(),
        // Frames: lane, incarnation, floor, reason, first seq, then frames.
        [&[1, 2, 0, 1, 1, 0, 1][..], &count].concat(),
        // Live: incarnation, boot, no wall clock, then values.
        [&[1, 3, 1, 1, 0][..], &count].concat(),
        // Welcome: connection, version, epoch, time, then acks.
        [&[1, 65, 1, 1, 1, 1, 0][..], &count].concat(),
        // Policy: revision, then a text.
        [&[1, 68, 1][..], &count].concat(),
    ];
    for bytes in claims {
        assert!(allocated(|| Down::decode(&bytes)) < 256, "{bytes:02x?}");
        let bytes = Bytes::from(bytes);
        assert!(allocated(|| Up::decode(&bytes)) < 256, "{bytes:02x?}");
    }
}

#[test]
fn long_lists_keep_no_more_than_their_limit() {
    // 128 KiB of lanes that take five bytes each: one over the limit is kept, the others are read and dropped.
    let lanes = 26_000;
    let mut bytes = vec![1, 1, 1, 1, 1, 1, 0, 1, 1, 0];
    bytes.extend(varint(lanes));
    bytes.extend([0, 1, 1, 1, 0].repeat(lanes));
    bytes.extend([0, 0, 0, 0]);
    let bytes = Bytes::from(bytes);
    assert_eq!(Up::decode(&bytes), Err(remuda_wire::DecodeError::Limit));
    assert!(allocated(|| Up::decode(&bytes)) < 16 * 1024);
}

#[test]
fn the_counter_counts() {
    assert!(allocated(|| vec![0_u8; 5_000]) >= 5_000);
    let block = SampleBlock {
        unit: TimeUnit::Millisecond,
        offsets: (0..1000).collect(),
        columns: vec![Column { signal: SignalId(1), values: (0..1000).map(Some).collect() }],
    };
    let header = remuda_wire::FrameHeader {
        seq: 1,
        boot: 1,
        mono_ms: 1,
        wall_ms: None,
        clock: remuda_wire::ClockQuality::Unknown,
        registry: 1,
        trace: None,
    };
    let bytes = frame::encode(&header, &Body::Samples(block));
    assert!(allocated(|| frame::decode(&bytes)) >= 1000 * 24, "the decoded block itself");
}
