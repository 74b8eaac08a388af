//! Bounds, each with its reason.

/// Longest line, bytes: a request of 4 MiB is cut long before (`detail`).
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// What is kept of a request, bytes: enough for any change a person makes.
pub const DETAIL_BYTES_MAX: usize = 16 * 1024;
/// A file longer than this is closed and the next begun, bytes.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Entries on a page.
pub const PAGE_MAX: usize = 1_000;
