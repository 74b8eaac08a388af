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
/// Lists of the manifest that may be spoilt by replaced files before this process's compaction waits for one.
pub const LISTING_TRIES_FREE: u32 = 3;
/// Lists that may be spoilt in all: each is one pass over the manifest, and only another process could spoil the last ones.
pub const LISTING_TRIES_MAX: u32 = 16;
/// Manifest records read at a time.
pub const MANIFEST_PAGE: usize = 256;
/// Days a swept file stays in the trash.
pub const TRASH_DAYS: i64 = 7;
/// A file without a readable footer is garbage after this long, s: until then somebody may be writing it.
pub const UNREADABLE_AGE_S: i64 = 3_600;
/// Rows decoded at a time while a file is read through.
pub const SCAN_ROWS: usize = 4 * 1024;
/// Rows in a page of a history file, so that one vehicle's hour (3,600 rows at 1 Hz) is found in one or two pages.
pub const HISTORY_PAGE_ROWS: usize = 8 * 1024;
/// A sample time that is further ahead of the receipt than this is a broken clock, ms.
pub const SAMPLE_AHEAD_MS_MAX: i64 = 86_400_000;
/// A sample time that is further behind the receipt than this is a broken clock, ms: vehicles shed what is older than 180
/// days, and nothing but the clock could be wrong beyond.
pub const SAMPLE_BEHIND_MS_MAX: i64 = 200 * 86_400_000;
/// Bytes of rows in memory that a compaction holds, unless the settings say otherwise.
pub const COMPACTION_ROWS_BYTES: usize = 256 << 20;
/// Bytes of memory that a row takes while it is regrouped column by column, beside its files: what orders it, one column of
/// whole numbers for each of a few threads, its place in the output.
pub const REGROUP_ROW_BYTES: u64 = 96;
/// Rows of the files that are merged into one, unless one alone has more: they take [`COMPACTION_ROWS_BYTES`].
pub const MERGE_ROWS_MAX: u64 = 2 << 20;
/// Threads that encode columns at once, unless the settings say otherwise.
pub const COMPACTION_THREADS_MAX: usize = 4;
/// Fresh files that one replacement takes at most: bounds its transaction (about 200 bytes each).
pub const REPLACED_FILES_MAX: usize = 1_024;
/// A history file of this size is left as it is, bytes.
pub const HISTORY_FILE_FULL_BYTES: u64 = 16 << 20;
/// Files up to this many bytes together are merged into one: they and the result are in memory.
pub const MERGE_BYTES_MAX: u64 = 64 << 20;
/// Files that are merged at a time: each holds decoded pages in memory, 1 to 4 MB.
pub const MERGE_FILES_MAX: usize = 32;
/// A history file below this size is in the lowest tier, bytes; the next tier goes up to [`HISTORY_FILE_FULL_BYTES`].
/// Files are merged with those of their tier, so that a row is rewritten at most twice.
pub const LOWEST_TIER_BYTES: u64 = 2 << 20;
/// Small files that an hour may have in each tier before they are merged, unless the settings say otherwise.
pub const SMALL_FILES_MAX: usize = 8;
/// Longest time to reach an S3 server, ms; a request may take longer.
pub const S3_CONNECT_MS: u64 = 5_000;
/// Tries of a request to S3 beyond the first: the rounds and the compaction try again on top of it.
pub const S3_RETRIES: usize = 4;
/// Ranges of lost frames that an adoption tells of: more of them say nothing new.
pub const LOST_TOLD_MAX: usize = 1_000;
/// Longest text of an erasure's reason and author, bytes: they stay in the trail for ever.
pub const ERASURE_TEXT_MAX: usize = 1_000;
/// How long an erasure's files may wait to be rewritten unless the settings say otherwise, ms: a day.
pub const ERASE_WITHIN_MS: i64 = 86_400_000;
/// How long a replaced file can still be read, ms: longer than any reader needs from its list to its last file.
pub const REPLACED_GRACE_MS: i64 = 600_000;
/// Bytes of rows that a follower reads ahead from history, or one commit (at most a round) when that is more.
pub const FOLLOW_BYTES: usize = 16 << 20;
