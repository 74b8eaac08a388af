//! What is encoded decodes to itself, and no bytes make a decoder panic.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use remuda_model::signal::REGISTRY;
use remuda_model::{Incarnation, Lane, SignalId};
use remuda_wire::{
    Body, ClockQuality, Column, Down, FloorReason, Frame, FrameHeader, Frames, SampleBlock, TimeUnit, Up,
    frame,
};

fn header() -> impl Strategy<Value = FrameHeader> {
    (1..u64::MAX, any::<u32>(), any::<u64>(), any::<Option<i64>>()).prop_map(
        |(seq, boot, mono_ms, wall_ms)| FrameHeader {
            seq,
            boot,
            mono_ms,
            wall_ms,
            clock: ClockQuality::Gnss,
            registry: 1,
            trace: None,
        },
    )
}

fn values(rows: usize) -> impl Strategy<Value = Vec<Option<i64>>> {
    prop_oneof![
        vec(option::of(any::<i64>()), rows),
        vec(option::weighted(0.9, -300..300_i64), rows),
        vec(option::weighted(0.05, -300..300_i64), rows),
        vec((-5..5_i64).prop_map(Some), rows),
        any::<i64>().prop_map(move |v| vec![Some(v); rows]),
        Just(vec![None; rows]),
    ]
}

fn block() -> impl Strategy<Value = SampleBlock> {
    let unit =
        prop_oneof![Just(TimeUnit::Millisecond), Just(TimeUnit::Microsecond), Just(TimeUnit::Nanosecond)];
    let times = prop_oneof![vec(0..1_000_000_000_u64, 0..80), vec(0..3_u64, 0..80)];
    let signals = proptest::collection::btree_set(1..=REGISTRY.len() as u16, 0..12);
    (unit, times, signals).prop_flat_map(|(unit, mut offsets, signals)| {
        offsets.sort_unstable();
        let rows = offsets.len();
        let columns: Vec<_> = signals
            .into_iter()
            .map(|id| values(rows).prop_map(move |values| Column { signal: SignalId(id), values }))
            .collect();
        (columns, any::<u16>()).prop_map(move |(mut columns, alike)| {
            // Signals of one bus message: present in the same rows as the one before.
            for i in (1..columns.len()).filter(|i| alike >> i & 1 == 1) {
                let (before, from) = columns.split_at_mut(i);
                for (value, like) in from[0].values.iter_mut().zip(&before[i - 1].values) {
                    *value = like.map(|v| value.unwrap_or(v));
                }
            }
            SampleBlock { unit, offsets: offsets.clone(), columns }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn sample_frames(header in header(), block in block()) {
        prop_assert!(block.is_valid());
        let bytes = frame::encode(&header, &Body::Samples(block.clone()));
        prop_assert_eq!(frame::decode(&bytes), Ok(Frame { header, body: Body::Samples(block) }));
    }

    #[test]
    fn frames_share_the_payloads_memory(frames in vec(vec(any::<u8>(), 0..300), 1..20), first_seq in 1..u32::MAX as u64) {
        let message = Up::Frames(Frames {
            lane: Lane::Samples,
            incarnation: Incarnation(9),
            floor: 1,
            floor_reason: FloorReason::Acked,
            first_seq,
            frames: frames.into_iter().map(Bytes::from).collect(),
        });
        let payload = Bytes::from(message.encode());
        prop_assert_eq!(Up::decode(&payload), Ok(message));
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = frame::decode(&bytes);
        let _ = Down::decode(&bytes);
        let _ = Up::decode(&Bytes::from(bytes));
    }

    #[test]
    fn no_sound_frame_panics(header in header(), block in block(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut bytes = frame::encode(&header, &Body::Samples(block));
        let end = bytes.len() - 4;
        bytes[at.index(end)] = with;
        let crc = crc32c::crc32c(&bytes[..end]);
        bytes[end..].copy_from_slice(&crc.to_le_bytes());
        if let Ok(decoded) = frame::decode(&bytes) {
            // What a changed byte still means is said the same way again, up to a shorter coding.
            let again = frame::encode(&decoded.header, &decoded.body);
            prop_assert_eq!(frame::decode(&again), Ok(decoded));
        }
    }
}
