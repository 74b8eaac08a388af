//! Bounds, each with its reason.

/// Longest id of a user: it is part of a file's name in the key store.
pub const ID_BYTES_MAX: usize = 64;
/// Longest plain personal field: a postal address fits well.
pub const FIELD_BYTES_MAX: usize = 512;
/// Longest sealed personal field: [`FIELD_BYTES_MAX`] and what sealing adds.
pub const SEALED_BYTES_MAX: usize = FIELD_BYTES_MAX + 32;
/// Longest reason, key or reference: a saga's key fits (`saga/step/do`).
pub const TEXT_BYTES_MAX: usize = 256;
/// Licences of one driver: countries and renewals.
pub const LICENCES_MAX: usize = 8;
/// Classes on one licence.
pub const LICENCE_CLASSES_MAX: usize = 24;
/// Holds that may be open: bounds what a stolen account can book at once.
pub const HOLDS_MAX: usize = 16;
/// Ended holds that are remembered, so that a late repetition is known: weeks of a very busy rider.
pub const ENDED_HOLDS_MAX: usize = 256;
/// Top-ups and refunds that are remembered, so that a provider's repetition is known.
pub const REFERENCES_MAX: usize = 256;
/// Largest single amount, minor units: a slip of the finger is caught here.
pub const AMOUNT_MAX: i64 = 100_000_000;
/// Largest balance, minor units: sums stay far from overflow.
pub const BALANCE_MAX: i64 = 100_000_000_000;
/// Longest time for which credits may be held: a week of travel.
pub const HOLD_MS_MAX: i64 = 7 * 24 * HOUR_MS;
/// Driving periods that are remembered: two weeks (the longest span of the rules on hours) of very short drives.
pub const PERIODS_MAX: usize = 512;
/// How far back driving periods matter.
pub const PERIODS_MS: i64 = 14 * 24 * HOUR_MS;
/// How far a vehicle's clock may be ahead of ours.
pub const CLOCK_TOLERANCE_MS: i64 = 5 * 60_000;
/// Trips that may be named as running when an erasure is asked for.
pub const RUNNING_TRIPS_MAX: usize = 64;
/// One hour, ms.
pub const HOUR_MS: i64 = 3_600_000;
