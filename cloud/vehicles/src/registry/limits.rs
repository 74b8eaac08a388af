//! Bounds, each with its reason.

/// Longest name, note or reason, bytes.
pub const TEXT_BYTES_MAX: usize = 256;
/// Sensors of one vehicle.
pub const SENSORS_MAX: usize = 128;
/// ECUs of one vehicle: a modern car has about a hundred.
pub const ECUS_MAX: usize = 256;
/// Trips that are remembered, so that a late repetition is known.
pub const TRIPS_MAX: usize = 256;
/// Most seats: a long bus.
pub const SEATS_MAX: u16 = 300;
/// Longest distance that one report may add, m: more is a fault.
pub const STEP_M_MAX: u64 = 10_000_000;
/// How far a vehicle's clock may be ahead of ours, ms.
pub const CLOCK_TOLERANCE_MS: i64 = 5 * 60_000;
