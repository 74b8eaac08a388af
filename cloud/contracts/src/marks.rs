//! Trip marks: what the business has vehicles watch of their trips, and what vehicles say of them (docs/uplink.md section 6).

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use remuda_model::{OrganizationId, VehicleId};
pub use remuda_wire::{Fence, Observation, TripMarked, TripPlace, WatchedTrip};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use crate::assistance::ReportOffsets;

/// Who watches the stops of a trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watcher {
    /// The vehicle: its marks are the truth.
    Vehicle,
    /// Nobody but the cloud: the vehicle does not answer, so it cannot.
    Cloud,
    /// That is not known yet, since the vehicle is away or was told just now.
    Open,
}

/// A mark, once it is durable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarkReport {
    /// Whose vehicle.
    pub organization: OrganizationId,
    /// Which.
    pub vehicle: VehicleId,
    /// When it was received, ms since 1970 UTC.
    pub received_ms: i64,
    /// What it says.
    pub mark: TripMarked,
}

/// A page of marks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MarkPage {
    /// In the order of each vehicle.
    pub marks: Vec<MarkReport>,
    /// Where to go on.
    pub offsets: ReportOffsets,
    /// Whether there is more now.
    pub more: bool,
}

/// What vehicles are to watch. None: nobody knows, since the trip cannot be read, and the vehicle goes on as it is.
pub type WantedTrips = HashMap<VehicleId, Option<Arc<WatchedTrip>>>;

/// Trips that a vehicle watches itself.
#[async_trait]
pub trait TripMarks: Send + Sync + 'static {
    /// All trips that run now, of each vehicle one: whatever else a vehicle watches ends. Said again and again; vehicles are told
    /// of what changed, as often as it takes.
    fn want(&self, organization: &OrganizationId, all: WantedTrips);

    /// Who watches the stops of this trip now.
    fn watcher(&self, vehicle: &VehicleId, trip: &str) -> Watcher;

    /// What marks came after these offsets; an offset above a shard's head, as after a restore, begins anew.
    ///
    /// # Errors
    /// A sentence about the journal.
    async fn marks(&self, after: &ReportOffsets) -> Result<MarkPage, String>;

    /// Moves when there may be something new.
    fn changes(&self) -> watch::Receiver<u64>;
}
