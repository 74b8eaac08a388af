//! Bounds, each with its reason.

/// Largest value, bytes: sled keeps larger ones in files of their own, outside the file we sync.
pub const VALUE_BYTES_MAX: usize = 100 * 1024;
/// Size of a piece of a checkpoint, bytes; larger checkpoints are cut.
pub const CHECKPOINT_PIECE_BYTES: usize = 64 * 1024;
/// Largest manifest entry, bytes.
pub const ENTRY_BYTES_MAX: usize = 10 * 1024;
/// Longest causation id that [`crate::Journal::caused_by`] finds, bytes: it becomes part of a key.
pub const INDEXED_CAUSE_BYTES_MAX: usize = 256;
/// Writes that may wait for the writer thread; a caller beyond waits.
pub const QUEUED_WRITES_MAX: usize = 1024;
/// Writes that share one sync: bounds how long the first of them waits for the last.
pub const GROUP_WRITES_MAX: usize = 256;
/// sled's page cache, bytes. Its own default is 1 GB.
pub const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// The same for a store of derived data: a node has a dozen of them.
pub const DERIVED_CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// How often, and how long apart, a journal that was just made is opened again: sled gives its lock back late.
pub const LOCK_TRIES: u32 = 200;
/// See [`LOCK_TRIES`].
pub const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);
/// Keys that a copy reads at a time: what it holds in memory is at most a few hundred of the largest values.
pub const COPY_PAGE: usize = 256;
/// Bytes of a batch while a journal is restored: one sync each.
pub const RESTORE_BATCH_BYTES: usize = 4 * 1024 * 1024;
