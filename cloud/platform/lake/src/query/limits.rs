//! Bounds of reading, each with its reason.

/// Values in memory of one unit of work, bytes: large enough that a page is seldom decoded twice, small enough that a few
/// units at once do not matter.
pub const UNIT_BYTES: usize = 24 << 20;
/// A vehicle's rows are not split below this span, ns: one second of it is not more than a page or two.
pub const UNIT_NS_MIN: i64 = 1_000_000_000;
/// Units of one scan that are read at the same time: one is decoded while the next is fetched.
pub const UNITS_AHEAD: usize = 2;
/// Files of one unit whose footers are fetched at the same time: hides an object store's latency.
pub const FOOTERS_AHEAD: usize = 8;
/// Files of one unit whose pages are fetched at the same time.
pub const FILES_AHEAD: usize = 8;
/// Scans at once, unless the settings say otherwise; each holds a few units in memory.
pub const SCANS_MAX: usize = 16;
/// Footers and page indexes kept, bytes, unless the settings say otherwise: an hour of 1,000 vehicles at 1 Hz has about 1 MB.
pub const CACHE_BYTES_MAX: usize = 128 << 20;
/// What is read of a file's end at first, bytes: all of a small file's footer and page index.
pub const TAIL_BYTES: u64 = 64 << 10;
/// The same of a large file: its page index is about a hundredth of it.
pub const LARGE_TAIL_BYTES: u64 = 512 << 10;
/// A file from this size on is a large one, bytes.
pub const LARGE_FILE_BYTES: u64 = 4 << 20;
/// Times that a unit is read again with a fresh list, when its files were removed meanwhile: each takes a grace period.
pub const TRIES_MAX: usize = 3;
/// Samples in memory while a plot is made, all signals of one vehicle: 128 MiB, three months of one signal at 1 Hz.
pub const PLOT_SAMPLES_MAX: usize = 8 << 20;
