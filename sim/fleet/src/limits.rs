//! Bounds of a simulated fleet, each with its reason.

use std::time::Duration;

/// Most vehicles in a process: ids have six digits, and a machine has no more ports towards one door.
pub const VEHICLES_MAX: usize = 60_000;
/// Fastest world, steps per second: sensors of real vehicles are not read faster.
pub const RATE_HZ_MAX: f64 = 100.0;
/// How long a stop waits for acks before it says farewell: two rounds of the cloud and some.
pub const DRAIN_PATIENCE: Duration = Duration::from_secs(10);
/// How often a progress line is printed.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Vehicles that enrol at once: the machine that simulates makes their keys, and mostly the cloud's signatures, too.
pub const ENROLMENTS_AT_ONCE: usize = 32;
/// Readings a vehicle may have waiting; beyond, they are dropped and counted.
pub const INPUTS_MAX: usize = 16;
/// Vehicles that begin to connect at once, before a pause: a listener's backlog is short.
pub const CONNECTS_AT_ONCE: usize = 64;
/// See [`CONNECTS_AT_ONCE`].
pub const CONNECT_PAUSE: Duration = Duration::from_millis(4);
/// Errands that wait for the world's next step; whoever has one more waits.
pub const ERRANDS_WAITING: usize = 1_024;
