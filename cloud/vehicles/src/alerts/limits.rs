//! Bounds of alerts, each with its reason.

/// Ended alerts that a vehicle remembers: some weeks of a careful driver, a day of another.
pub const ENDED_MAX: usize = 16;
/// Entries of one alert's history besides its beginning; the oldest go first, but for the newest end of a snooze. Request ids are
/// recognised as long.
pub const HISTORY_MAX: usize = 16;
/// What a vehicle's alerts may take of its snapshot, bytes: a third of what the journal keeps as one value. The oldest that
/// ended go first.
pub const BOOK_BYTES_MAX: usize = 32 * 1024;
/// Most of an entry besides its texts, bytes.
pub const ENTRY_COST: usize = 32;
/// Ended alerts of all vehicles that a node can list. They are in memory all the time; how much that is depends on what people
/// wrote, at most `BOOK_BYTES_MAX` of them for the `ENDED_MAX` of a vehicle. The journal keeps all of them.
pub const ENDED_LISTED_MAX: usize = 20_000;
/// Vehicles whose snoozes are ended at a time: a small share of the asks that people and commands have as well.
pub const DUE_AT_ONCE_MAX: usize = 64;
/// Shortest snooze, ms: less is no pause.
pub const SNOOZE_MS_MIN: i64 = 60_000;
/// Longest snooze, ms: what shall be quiet for longer is a rule's threshold that is wrong.
pub const SNOOZE_MS_MAX: i64 = 7 * 24 * 3_600 * 1_000;
/// Longest note or reason, bytes.
pub const NOTE_BYTES: usize = 256;
/// Longest request id, bytes.
pub const REQUEST_ID_BYTES: usize = 64;
