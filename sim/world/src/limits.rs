//! Numbers of the simulation, each with its reason.

/// Longest time a vehicle moves at once, ms: at 100 km/h it is 5.6 m, less than what a stop line forgives.
pub(crate) const STEP_MS_MAX: u64 = 200;
/// Most routes searched in a step: a search takes up to a few ms on a large map, and a step must stay short.
pub(crate) const ROUTES_PER_STEP: usize = 24;
/// Braking a driver plans with, m/s^2.
pub(crate) const BRAKE_COMFORTABLE: f32 = 2.0;
/// Braking in a fright, m/s^2.
pub(crate) const BRAKE_HARSH: f32 = 6.0;
/// Strongest acceleration of any driver, m/s^2.
pub(crate) const ACCELERATION_MAX: f32 = 2.5;
/// Sideways acceleration that drivers accept in a bend, m/s^2.
pub(crate) const LATERAL_MAX: f32 = 2.2;
/// Frights per second of driving faster than [`HARSH_SPEED_MIN`]: about one in ten minutes.
pub(crate) const HARSH_PER_SECOND: f32 = 1.0 / 600.0;
/// Below this speed nobody brakes harshly, m/s.
pub(crate) const HARSH_SPEED_MIN: f32 = 8.5;
/// Charge at which a driver looks for a charger, percent.
pub(crate) const CHARGE_LOW: f64 = 19.0;
/// Charge at which a vehicle leaves the charger, percent.
pub(crate) const CHARGE_ENOUGH: f64 = 85.0;
/// Charge at which it charges where it stands, percent; it would be stranded otherwise.
pub(crate) const CHARGE_EMPTY: f64 = 3.0;
/// Traffic signals: one round, and how much of it is green for one of the two axes, ms.
pub(crate) const SIGNAL_ROUND_MS: u64 = 50_000;
/// See [`SIGNAL_ROUND_MS`].
pub(crate) const SIGNAL_GREEN_MS: u64 = 22_000;
