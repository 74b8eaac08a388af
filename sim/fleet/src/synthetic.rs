//! Cheap values for load: no world, only numbers that change like a vehicle's.

use bytes::Bytes;
use remuda_model::signal::{REGISTRY, REGISTRY_REVISION};
use remuda_model::{Incarnation, Lane, SignalId, VehicleId};
use remuda_roads::Position;
use remuda_wire::{
    Body, ClockQuality, Column, FloorReason, FrameHeader, Frames, SampleBlock, TimeUnit, Up, frame,
};

/// Most signals a synthetic frame can have.
pub fn signals_max() -> usize {
    REGISTRY.len()
}

/// `LOAD000001` and so on.
pub fn vehicle_id(vehicle: usize) -> VehicleId {
    VehicleId::new(&format!("LOAD{:06}", vehicle + 1)).expect("letters and digits, far below 48")
}

/// A value that wanders by a few steps; never the same twice in a row.
pub fn value(vehicle: usize, tick: u64, signal: usize) -> i64 {
    let wave = (tick * (3 + signal as u64 % 5) + vehicle as u64 * 17) % 200;
    let triangle = if wave < 100 { wave } else { 200 - wave } as i64;
    1_000 + signal as i64 * 50 + triangle * 4 + (tick % 2) as i64
}

/// The first `count` signals of the registry with their values at a tick, ascending by id.
pub fn values(vehicle: usize, tick: u64, count: usize) -> impl Iterator<Item = (SignalId, i64)> {
    REGISTRY.iter().take(count).enumerate().map(move |(n, def)| (def.id, value(vehicle, tick, n)))
}

/// A place that moves with every tick.
pub fn position(vehicle: usize, tick: u64) -> Position {
    let (latitude, longitude) = (50.0 + vehicle as f64 * 1e-4, 8.0 + (tick % 1_000) as f64 * 1e-5);
    Position { latitude, longitude, heading: 90.0 }
}

/// A payload as an agent would send it: so many frames of one row.
pub fn payload(vehicle: usize, signals: usize, frames: usize) -> Vec<u8> {
    let encoded = (1..=frames as u64).map(|seq| {
        let header = FrameHeader {
            seq,
            boot: 1,
            mono_ms: 60_000 + seq * 100,
            wall_ms: Some(1_700_000_000_000 + seq as i64 * 100),
            clock: ClockQuality::Server,
            registry: REGISTRY_REVISION,
            trace: None,
        };
        let columns =
            values(vehicle, seq, signals).map(|(signal, v)| Column { signal, values: vec![Some(v)] });
        let block = SampleBlock { unit: TimeUnit::Millisecond, offsets: vec![0], columns: columns.collect() };
        Bytes::from(frame::encode(&header, &Body::Samples(block)))
    });
    let frames = Frames {
        lane: Lane::Samples,
        incarnation: Incarnation(0x5eed),
        floor: 1,
        floor_reason: FloorReason::Acked,
        first_seq: 1,
        frames: encoded.collect(),
    };
    Up::Frames(frames).encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_one_that_the_cloud_understands() {
        let payload = Bytes::from(payload(3, 10, 2));
        let Ok(Up::Frames(frames)) = Up::decode(&payload) else { panic!("frames") };
        assert_eq!(frames.frames.len(), 2);
        for bytes in &frames.frames {
            let Body::Samples(block) = frame::decode(bytes).expect("a frame").body else { panic!("samples") };
            assert_eq!((block.rows(), block.samples()), (1, 10));
        }
    }

    #[test]
    fn values_change_with_every_tick() {
        for signal in 0..signals_max() {
            for tick in 0..500 {
                assert_ne!(value(5, tick, signal), value(5, tick + 1, signal), "{signal} {tick}");
            }
        }
    }
}
