//! How a fleet, or a load, is to run.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of a fleet.
#[derive(Debug, Clone)]
pub struct FleetSettings {
    /// Address of the cloud's door, `host:port`.
    pub door: String,
    /// Folder of the outboxes. A fleet that ran here before goes on.
    pub data: PathBuf,
    /// Sensor readings per second and vehicle.
    pub rate_hz: f64,
}

/// Settings of a load.
#[derive(Debug, Clone)]
pub struct LoadSettings {
    /// Address of the cloud's door, `host:port`.
    pub door: String,
    /// Folder of the outboxes.
    pub data: PathBuf,
    /// Vehicles.
    pub vehicles: usize,
    /// Frames per second, over all vehicles; 0 is as fast as acks come.
    pub rate: f64,
    /// Signals per frame.
    pub signals: usize,
    /// How long.
    pub duration: Duration,
}
