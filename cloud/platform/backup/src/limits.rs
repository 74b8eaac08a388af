//! Bounds, each with its reason.

/// Smallest piece of a journal, bytes: below, a million small objects would cost more than they save.
pub const CHUNK_BYTES_MIN: usize = 256 * 1024;
/// Largest piece of a journal, bytes: it is in memory, twice.
pub const CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Beyond the smallest size, a piece ends after about this many keys: at keys chosen by their own hash, so that what was
/// added elsewhere does not move the ends, and unchanged pieces are known again.
pub const CHUNK_KEYS: u32 = 1_024;
/// Largest part of small files, bytes: it is in memory. A register of a million vehicles has about 500 MB.
pub const FILES_BYTES_MAX: u64 = 2 << 30;
/// A file larger than this is stored in pieces of its own, bytes: those below cost less together.
pub const SMALL_FILE_BYTES: u64 = 1 << 20;
/// Bytes of such a piece: what a file that grows, such as the audit log, costs again with each backup at most.
pub const FILE_PIECE_BYTES: usize = 4 << 20;
/// Largest index that is read, bytes: ten million files.
pub const INDEX_BYTES_MAX: u64 = 4 << 30;
/// Largest file of the lake that is put back into a bucket, bytes: it is in memory. The lake's own have a few tens of MB.
pub const BUCKET_FILE_BYTES_MAX: u64 = 1 << 30;
/// Files that are missing in a bucket and are named; more of them are counted.
pub const MISSING_TOLD_MAX: usize = 1_000;
/// Bytes read or written between two looks at the pace and at whether to stop.
pub const PIECE_BYTES: usize = 1 << 20;
/// Bytes a second that a backup of a running node reads, unless it is told otherwise: hashing them costs about a tenth of
/// two cores.
pub const BYTES_PER_SECOND: u64 = 200 << 20;
/// Times that the journals are copied again because files were compacted away while they were copied, or copying them
/// took long.
pub const PASSES_MAX: u32 = 5;
/// A backup whose files took longer than this copies the journals once more: what it holds is then at most this old when
/// it is done.
pub const PASS_S_MAX: u64 = 60;
/// Snapshots whose indexes are asked for hashes of objects that are there already.
pub const KNOWN_SNAPSHOTS: usize = 2;
/// How far a restored epoch is above every one that is known (docs/uplink.md section 5).
pub const EPOCH_LEAP: u64 = 1 << 20;
/// How often progress is told, ms.
pub const TELL_EVERY_MS: u64 = 500;
/// Memory that a passphrase's key may take to derive, as scrypt's log2 N: 1 GiB.
pub const SCRYPT_LOG_N_MAX: u8 = 20;
