//! The signals that the vehicle domain itself looks at, and their physical values.

use remuda_model::{SignalId, signal};

pub use remuda_model::signal::{ACCELERATION_LONGITUDINAL, HEADING, LATITUDE, LONGITUDE, SPEED};

/// How full the vehicle is, percent, by preference.
pub const CHARGE: [SignalId; 2] = [signal::CHARGE, signal::FUEL_LEVEL];

/// The physical value of a raw one; unscaled for a signal that is not built in.
pub fn physical(signal: SignalId, raw: i64) -> f64 {
    signal::by_id(signal).map_or(raw as f64, |def| def.to_physical(raw))
}

/// The raw value nearest to a physical one.
pub fn raw(signal: SignalId, physical: f64) -> i64 {
    signal::by_id(signal).map_or(physical as i64, |def| def.to_raw(physical))
}
