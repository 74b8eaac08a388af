//! Bounds of what is read and built, each with its reason.

/// Most directed edges of a network: about a large city; past it the hierarchy takes minutes and gigabytes.
pub const EDGES_MAX: usize = 2_000_000;
/// Most nodes that drivable ways may refer to while a map is read: 16 bytes each in memory, and more while building.
pub const NODES_MAX: usize = 20_000_000;
/// Longest text of a tag that is kept, bytes; a street's name is never longer.
pub const TEXT_BYTES_MAX: usize = 256;
/// Fastest speed a limit may name, km/h; what is above is a mistake in the map.
pub const LIMIT_KMH_MAX: f64 = 150.0;
/// Slowest speed a limit may name, km/h: walking.
pub const LIMIT_KMH_MIN: f64 = 5.0;
/// Time lost on average at a traffic signal, ms.
pub const SIGNAL_COST_MS: u32 = 8_000;
/// Time a turn back at the end of a road takes, ms.
pub const TURN_BACK_COST_MS: u32 = 15_000;
