//! Bounds, each with its reason.

/// Contributions that may wait for the rounds task. Their bytes are bounded by the credit the node grants; this bounds
/// their number, so that a flood of tiny ones waits in the actors.
pub const WAITING_CONTRIBUTIONS_MAX: usize = 8_192;
/// Incarnations of a vehicle that a checkpoint carries; older ones are closed. An agent drains its past in one or two
/// connections, so eight starts without ever draining is a vehicle with a fault.
pub const OPEN_INCARNATIONS_MAX: usize = 8;
/// First pause before a failed write is tried again, ms; doubles up to [`RETRY_MS_MAX`].
pub const RETRY_MS_MIN: u64 = 10;
/// Longest pause between tries, ms.
pub const RETRY_MS_MAX: u64 = 5_000;
/// Rows in a row group: one round, unless it is a large one.
pub const ROW_GROUP_ROWS_MAX: usize = 128 * 1024;
/// Manifest records read at a time.
pub const MANIFEST_PAGE: usize = 256;
/// Days a swept file stays in the trash.
pub const TRASH_DAYS: i64 = 7;
/// A file without a readable footer is garbage after this long, s: until then somebody may be writing it.
pub const UNREADABLE_AGE_S: i64 = 3_600;
