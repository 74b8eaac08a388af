//! Bounds, each with its reason.

/// Stops of a trip, with pick-up and drop-off: a shared ride or a round of errands.
pub const STOPS_MAX: usize = 12;
/// Least radius of a stop's fence, m: below it, positions are too coarse.
pub const RADIUS_M_MIN: u16 = 20;
/// Greatest radius of a stop's fence, m: above it, "arrived" says nothing.
pub const RADIUS_M_MAX: u16 = 1_000;
/// Longest id, reason or reference, bytes.
pub const TEXT_BYTES_MAX: usize = 256;
/// Longest sealed text (a label, a comment), bytes.
pub const SEALED_BYTES_MAX: usize = 1_024;
/// Share links of one trip.
pub const SHARES_MAX: usize = 8;
/// Longest life of a share link, ms.
pub const SHARE_MS_MAX: i64 = 24 * HOUR_MS;
/// How long a share link shows how a trip ended, ms: whoever waited for it looks once more.
pub const SHARE_AFTER_END_MS: i64 = 2 * HOUR_MS;
/// Longest wait for a rider, for a vehicle and for anything else in the terms, ms.
pub const TERM_MS_MAX: i64 = 30 * 24 * HOUR_MS;
/// How long a rating may be changed, from when it was first given, ms: who was angry may have slept over it.
pub const RATING_CHANGE_MS: i64 = 24 * HOUR_MS;
/// How far a vehicle's clock may be from ours, ms.
pub const CLOCK_TOLERANCE_MS: i64 = 5 * 60_000;
/// Longest planned distance, m: across a continent.
pub const DISTANCE_M_MAX: u64 = 10_000_000;
/// A tracked position older than this is told to be stale, ms.
pub const STALE_MS: i64 = 30_000;
/// Least speed that an ETA reckons with, m/s: standing at a light does not put the arrival off for ever.
pub const ETA_SPEED_MIN_MPS: f64 = 15.0 / 3.6;
/// Points of a route line: 100 km at 20 m.
pub const ROUTE_POINTS_MAX: usize = 5_000;
/// One hour, ms.
pub const HOUR_MS: i64 = 3_600_000;
/// How long a vehicle may take to the pick-up before the trip is called off, ms: longer than any rider waits, and no
/// vehicle that still drives takes so long.
pub const ARRIVE_WITHIN_MS: i64 = HOUR_MS;
/// How much longer a vehicle may take that is out of reach, ms: it may stand at the pick-up, or have the rider on board, where no
/// network is. Three hours in all are longer than such a drive, and who waits at the roadside calls it off before.
pub const ARRIVE_AWAY_MS: i64 = 2 * HOUR_MS;
/// How long a trip under way may be without any report before it is taken for ended, ms: half of what credits are held
/// for, so that what was driven can still be charged.
pub const SILENT_MS: i64 = 12 * HOUR_MS;

/// Lines of a list that are read at once.
pub const PAGE: usize = 1_000;
