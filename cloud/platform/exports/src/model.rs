//! What is exported.

use std::sync::Arc;

/// A signal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signal {
    /// Its VSS path, such as `Vehicle.Speed`.
    pub path: String,
    /// Its unit, such as `km/h`, or empty.
    pub unit: String,
    /// Digits after the point that mean something; all when not said.
    pub decimals: Option<u8>,
}

/// A value in the signal's unit.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number; NaN and the infinities count as missing.
    Number(f64),
    /// Yes or no.
    Boolean(bool),
    /// A name of an enumeration, or any text.
    Text(Arc<str>),
}

/// A value at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Nanoseconds since 1970 UTC.
    pub time_ns: i64,
    /// The value; none where there is none, as in an empty bucket.
    pub value: Option<Value>,
}

/// Where a vehicle was. What is not finite counts as unknown.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Position {
    /// Nanoseconds since 1970 UTC.
    pub time_ns: i64,
    /// Degrees north, WGS 84, -90 to 90.
    pub latitude: f64,
    /// Degrees east, WGS 84, -180 to 180.
    pub longitude: f64,
    /// Metres.
    pub altitude_m: Option<f64>,
    /// km/h.
    pub speed_kmh: Option<f64>,
    /// Degrees clockwise from north.
    pub heading_deg: Option<f64>,
    /// Horizontal accuracy, metres.
    pub accuracy_m: Option<f64>,
}

impl Position {
    /// It, without what is not finite; none when it cannot be a position on earth.
    pub(crate) fn checked(&self) -> Option<Self> {
        let on_earth = self.latitude.abs() <= 90.0 && self.longitude.abs() <= 180.0;
        let finite = |value: Option<f64>| value.filter(|v| v.is_finite());
        on_earth.then(|| Self {
            altitude_m: finite(self.altitude_m),
            speed_kmh: finite(self.speed_kmh).filter(|v| *v >= 0.0),
            heading_deg: finite(self.heading_deg).map(|degrees| degrees.rem_euclid(360.0)),
            accuracy_m: finite(self.accuracy_m).filter(|v| *v >= 0.0),
            ..*self
        })
    }
}

/// A way of a vehicle: a journey, or all its positions in a range of time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Track {
    /// The vehicle's id.
    pub vehicle: String,
    /// What it is called on a map.
    pub name: String,
    /// What else is known of it, such as its distance; a name, then a JSON string, number or boolean.
    pub properties: Vec<(String, serde_json::Value)>,
}

/// What an export has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Samples, rows or positions.
    pub records: u64,
    /// Tracks with at least one position.
    pub tracks: u64,
    /// Unbroken parts of tracks.
    pub segments: u64,
    /// Positions that cannot be one, and samples that the format cannot hold.
    pub skipped: u64,
}
