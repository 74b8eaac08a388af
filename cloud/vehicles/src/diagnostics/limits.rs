//! Bounds, each with its reason.

/// Codes that are remembered of one vehicle; a vehicle with more has a broken bus.
pub const DTCS_MAX: usize = 128;
/// Signals of a freeze frame: ISO 15031-5 names about as many.
pub const FREEZE_SIGNALS_MAX: usize = 32;
/// Longest name of an ECU or a signal, bytes.
pub const NAME_BYTES_MAX: usize = 96;
/// Longest note, bytes.
pub const NOTE_BYTES_MAX: usize = 512;
/// A code that is reported again within this time has not occurred again: ECUs repeat themselves with every key turn.
pub const SAME_OCCURRENCE_MS: i64 = 10 * 60_000;
/// How far a vehicle's clock may be ahead of ours, ms.
pub const CLOCK_TOLERANCE_MS: i64 = 5 * 60_000;
