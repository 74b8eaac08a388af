//! A trip has ended: its vehicle is free again.

use async_trait::async_trait;
use remuda_contracts::trips::{TRIP_CANCELLED, TRIP_COMPLETED, TRIP_NO_SHOW, TripCancelled, TripCompleted};
use remuda_entities::reactor::{ReactError, Reactor, command_id};
use remuda_eventsourcing::{Event, codec};

use super::service::VehicleService;

/// The reactor.
pub struct ReleaseVehicles(pub VehicleService);

#[async_trait]
impl Reactor for ReleaseVehicles {
    const NAME: &'static str = "release-vehicles";
    const READS: &'static [&'static str] = &["trip"];

    async fn react(&self, event: &Event) -> Result<(), ReactError> {
        let stored = &event.event;
        let (kind, version, payload) = (stored.event_type.as_str(), stored.schema_version, &stored.payload);
        let (parties, hold_key) = match kind {
            TRIP_COMPLETED => {
                let ended: TripCompleted = codec::decode(kind, version, payload)?;
                (ended.parties, ended.hold_key)
            }
            TRIP_CANCELLED | TRIP_NO_SHOW => {
                let ended: TripCancelled = codec::decode(kind, version, payload)?;
                (ended.parties, ended.hold_key)
            }
            _ => return Ok(()),
        };
        // Booked without a saga, or no vehicle had it: nothing was reserved.
        let Some(booking) = hold_key.filter(|_| !parties.vehicle.is_empty()) else { return Ok(()) };
        let cause = command_id(event, "release-vehicle");
        self.0.release(&stored.stream.organization, &parties.vehicle, &booking, &cause).await?;
        Ok(())
    }
}
