//! How a fleet, or a load, is to run.

use std::path::PathBuf;
use std::time::Duration;

use crate::certificates::Certificates;

/// Settings of a fleet.
#[derive(Debug, Clone)]
pub struct FleetSettings {
    /// Address of the cloud's door, `host:port`.
    pub door: String,
    /// Folder of the outboxes. A fleet that ran here before goes on.
    pub data: PathBuf,
    /// Sensor readings per second and vehicle.
    pub rate_hz: f64,
    /// What vehicles show at a TLS door; none: the door is plain, and trusts what comes from this machine.
    pub certificates: Option<Certificates>,
}

/// Settings of a load.
#[derive(Debug, Clone)]
pub struct LoadSettings {
    /// Address of the cloud's door, `host:port`.
    pub door: String,
    /// Folder of the outboxes.
    pub data: PathBuf,
    /// Number of the first vehicle, so that two loads can share a cloud.
    pub first: usize,
    /// Vehicles.
    pub vehicles: usize,
    /// Frames per second, over all vehicles; 0 is as fast as acks come.
    pub rate: f64,
    /// Signals per frame.
    pub signals: usize,
    /// What it is made of.
    pub kind: LoadKind,
    /// How long.
    pub duration: Duration,
    /// What vehicles show at a TLS door; none: the door is plain, and trusts what comes from this machine.
    pub certificates: Option<Certificates>,
}

/// What a load is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoadKind {
    /// Frames of samples.
    #[default]
    Samples,
    /// Events, each told at once.
    Events,
}

/// Settings of a backlog.
#[derive(Debug, Clone)]
pub struct BacklogSettings {
    /// Address of the cloud's door, `host:port`.
    pub door: String,
    /// Folder of the outboxes.
    pub data: PathBuf,
    /// Vehicles that come back at once.
    pub vehicles: usize,
    /// Frames each of them has made by then.
    pub frames: u64,
    /// Signals per frame.
    pub signals: usize,
    /// How long the drain may take.
    pub patience: Duration,
    /// What vehicles show at a TLS door; none: the door is plain, and trusts what comes from this machine.
    pub certificates: Option<Certificates>,
}
