//! A trip was completed: its vehicle has driven.

use std::sync::Arc;

use async_trait::async_trait;
use remuda_contracts::trips::{TRIP_COMPLETED, TripCompleted};
use remuda_entities::reactor::{ReactError, Reactor, reaction};
use remuda_entities::{AskError, Entities};
use remuda_eventsourcing::{Event, codec};

use super::{Registry, RegistryCommand};

/// The reactor. Each completed trip counts once in the vehicle's mileage, whatever crashes.
pub struct CountTrips {
    /// The records.
    pub registry: Entities<Registry>,
    /// Now, ms since 1970 UTC.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
}

#[async_trait]
impl Reactor for CountTrips {
    const NAME: &'static str = "count-trips";
    const READS: &'static [&'static str] = &["trip"];

    async fn react(&self, event: &Event) -> Result<(), ReactError> {
        let stored = &event.event;
        if stored.event_type != TRIP_COMPLETED {
            return Ok(());
        }
        let done: TripCompleted = codec::decode(TRIP_COMPLETED, stored.schema_version, &stored.payload)?;
        let command = RegistryCommand::CountTrip {
            trip: done.trip,
            distance_m: done.distance_m,
            odometer_m: done.end.odometer_m,
        };
        let context = reaction::<Self>(event, "count-trip", (self.clock)());
        match self.registry.ask(&stored.stream.organization, &done.parties.vehicle, command, context).await {
            // A vehicle that nobody registered has no record to count in.
            Err(AskError::Refused { code, .. }) if code == "vehicle-not-registered" => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }
}
