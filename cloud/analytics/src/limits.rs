//! Bounds, each with its reason.

/// How long a trip waits for its samples, ms: a vehicle that says nothing for a day will say nothing of that
/// trip.
pub const PROVISIONAL_MS: i64 = 24 * 3_600_000;
/// Trips made final while one event is taken in: so that no event costs much, and a backlog is still worked
/// off.
pub const FINALISED_PER_EVENT: usize = 8;
/// Longest time of a question, days: ten years and leap days.
pub const QUERY_DAYS_MAX: i64 = 3_653;
/// Rows of an answer.
pub const ROWS_MAX: usize = 10_000;
/// Cells that a question may look at, filtered ones among them: 100,000 take tens of milliseconds.
pub const CELLS_MAX: usize = 100_000;
/// Trips in doubt that a question looks at one by one.
pub const PROVISIONAL_MAX: usize = 10_000;
/// Cells read from the store at once.
pub const PAGE: usize = 1_000;
/// Longest name of a fleet, depot and so on, bytes; longer ones are cut, they only group.
pub const NAME_BYTES_MAX: usize = 128;
/// Currencies of one cell; further ones are not summed and counted as unpriced.
pub const CURRENCIES_MAX: usize = 16;
