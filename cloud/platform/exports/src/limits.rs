//! Bounds, with their reasons.

/// Positions that a writer holds before it must write a feature: 7 MB. A day at one a second; a longer track goes on in a
/// further feature.
pub const POSITIONS_HELD_MAX: usize = 86_400;

/// Rows of a row group of Parquet: what is held of a file while it is written, about 10 MB.
pub const PARQUET_GROUP_ROWS: usize = 65_536;

/// Bytes of a chunk of MCAP before compression: the unit that a reader loads, and what the format's own tools take.
pub const MCAP_CHUNK_BYTES: u64 = 1024 * 1024;

/// A longer silence cuts a track, ns: two minutes are a long tunnel; who stands that long has arrived.
pub const TRACK_GAP_NS: i64 = 120_000_000_000;
