//! Bounds of geofences, each with its reason.

/// Geofences of an organisation: the yards, customers and zones of a large fleet; all of them are some MB.
pub const GEOFENCES_MAX: usize = 1_000;
/// Points of a polygon: a hand-drawn outline, or a simplified border. Each position beside its edge is held against all of them.
pub const POINTS_MAX: usize = 200;
/// Smallest and largest radius of a circle, m: below, a fix of GNSS is wider; above, a polygon is meant.
pub const RADIUS_M_MIN: u32 = 10;
/// See [`RADIUS_M_MIN`].
pub const RADIUS_M_MAX: u32 = 500_000;
/// Smallest area of a polygon, m²: a parking lot.
pub const AREA_M2_MIN: f64 = 100.0;
/// Largest area of a polygon, m²: a continent.
pub const AREA_M2_MAX: f64 = 1.0e13;
/// Farthest from the equator, 1e-7 degrees: nearer to a pole a metre is too many degrees.
pub const LATITUDE_E7_MAX: i32 = 850_000_000;
/// Longest dwell, s: a day.
pub const DWELL_S_MAX: u32 = 86_400;
/// Widest hysteresis, m.
pub const HYSTERESIS_M_MAX: u32 = 1_000;
/// Longest name, characters.
pub const NAME_CHARS_MAX: usize = 100;
/// Longest name of a fleet or depot, bytes; as in vehicles' records.
pub const PART_BYTES_MAX: usize = 256;
/// Longest request id, bytes.
pub const REQUEST_ID_BYTES: usize = 64;
/// Streams that an organisation's geofences are spread over: the snapshot of each is small enough for the journal.
pub const STREAMS: usize = 64;
/// Events of a stream between two snapshots.
pub const SNAPSHOT_EVENTS: u64 = 64;
/// Largest snapshot, bytes: the journal takes 100 KB. A stream that has more is read from its last smaller one.
pub const SNAPSHOT_BYTES_MAX: usize = 90_000;
/// Deletions of a stream whose repetition is recognised; after a restart fewer, when they are too large for the snapshot.
pub const DELETIONS_MAX: usize = 32;
/// Geofences that a vehicle is in at once, of those that are looked at: they stand in its snapshot.
pub const INSIDE_MAX: usize = 32;
/// Alerts of geofences that are open on a vehicle: with their histories they must fit into its snapshot.
pub const OPEN_ALERTS_MAX: usize = 16;
/// Starts of a vehicle's agent whose late samples are followed, as for rules.
pub const LATE_MAX: usize = 8;
/// Vehicles that are asked at a time to let go of what is no longer there.
pub const LET_GO_AT_ONCE: usize = 64;
