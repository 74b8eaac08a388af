//! Bounds, each with its reason.

/// Longest key, holder or reason, bytes: a saga's key fits.
pub const TEXT_BYTES_MAX: usize = 256;
/// Ended reservations that are remembered, so that a late repetition is known: days of a busy vehicle.
pub const ENDED_MAX: usize = 128;
/// Longest time for which a vehicle may be reserved at once, ms; whoever needs longer extends it.
pub const RESERVATION_MS_MAX: i64 = 7 * 24 * 3_600_000;
/// Vehicles that a booking may name: each costs an actor and, when the booking unwinds, an event.
pub const CANDIDATES_MAX: usize = 16;
