//! Vehicles as a booking asks for them: the saga's `vehicle-service`, and the end of what it reserved.

use std::sync::Arc;

use async_trait::async_trait;
use remuda_contracts::booking::{Booking, RESERVE_VEHICLE, VEHICLE_SERVICE};
use remuda_entities::{AskError, Entities, Outcome};
use remuda_eventsourcing::Context;
use remuda_model::OrganizationId;
use remuda_saga::{ActionSpec, Service, StepContext, StepError};
use serde_json::{Value, json};

use super::limits;
use super::{ReservationCommand, Reservations};

/// Now, ms since 1970 UTC.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How long a vehicle stays reserved when nobody extends or releases it, ms.
const RESERVATION_MS: i64 = 24 * 3_600_000;

/// Asks for vehicles. Cheap to clone.
#[derive(Clone)]
pub struct VehicleService {
    reservations: Entities<Reservations>,
    clock: Clock,
}

impl VehicleService {
    /// Over these entities.
    pub const fn new(reservations: Entities<Reservations>, clock: Clock) -> Self {
        Self { reservations, clock }
    }

    /// The aggregates beneath.
    pub const fn entities(&self) -> &Entities<Reservations> {
        &self.reservations
    }

    /// Gives a vehicle back that a booking had: its trip has ended. `event` is what ended it: the same is the same.
    ///
    /// # Errors
    /// [`AskError`]; ask again when it is transient.
    pub async fn release(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        booking: &str,
        event: &str,
    ) -> Result<Outcome<Reservations>, AskError> {
        let context = Context {
            now_ms: (self.clock)(),
            command_id: format!("release/{event}"),
            actor: "policy/trip-ended".into(),
            correlation_id: booking.to_owned(),
        };
        let command = ReservationCommand::Release { key: booking.to_owned() };
        self.reservations.ask(organization, vehicle, command, context).await
    }

    fn context(&self, key: &str, vehicle: &str, step: &StepContext) -> Context {
        Context {
            now_ms: (self.clock)(),
            // One key, several vehicles: each hears a command of its own.
            command_id: format!("{key}/{vehicle}"),
            actor: format!("saga/{}", step.saga_id),
            correlation_id: step.saga_id.clone(),
        }
    }

    /// The first that is free. One that this booking has from an earlier try, whose answer was lost, comes before all others:
    /// meanwhile a better one may have become free.
    async fn reserve(&self, booking: &Booking, key: &str, step: &StepContext) -> Result<Value, StepError> {
        for vehicle in &booking.vehicles {
            let seen = self.reservations.read(&step.organization, vehicle).await.map_err(StepError::from)?;
            if seen.state.is_held_by(&step.saga_id) {
                return Ok(json!({ "vehicle": vehicle }));
            }
        }
        let mut last = StepError::refused("no-vehicle", "the booking names no vehicle");
        for vehicle in &booking.vehicles {
            let context = self.context(key, vehicle, step);
            let command = ReservationCommand::Reserve {
                key: step.saga_id.clone(),
                holder: step.saga_id.clone(),
                expires_ms: context.now_ms + RESERVATION_MS,
            };
            match self.reservations.ask(&step.organization, vehicle, command, context).await {
                Ok(_) => return Ok(json!({ "vehicle": vehicle })),
                Err(error) => match StepError::from(error) {
                    refused @ StepError::Refused { .. } => last = refused,
                    // It may have been done: asking for another could get this booking two.
                    unclear => return Err(unclear),
                },
            }
        }
        Err(last)
    }

    /// All that the booking may have: where the answer was lost, nobody knows which.
    async fn give_back(&self, booking: &Booking, key: &str, step: &StepContext) -> Result<Value, StepError> {
        let known = step.data[RESERVE_VEHICLE]["vehicle"].as_str();
        for vehicle in booking.vehicles.iter().filter(|vehicle| known.is_none_or(|known| *vehicle == known)) {
            let context = self.context(key, vehicle, step);
            let command = ReservationCommand::Release { key: step.saga_id.clone() };
            self.reservations
                .ask(&step.organization, vehicle, command, context)
                .await
                .map_err(StepError::from)?;
        }
        Ok(Value::Null)
    }
}

#[async_trait]
impl Service for VehicleService {
    fn name(&self) -> &'static str {
        VEHICLE_SERVICE
    }

    fn actions(&self) -> &'static [ActionSpec] {
        const {
            &[
                ActionSpec::undone_by("reserve-vehicle", "release-vehicle"),
                ActionSpec::plain("release-vehicle"),
            ]
        }
    }

    async fn call(&self, action: &str, key: &str, step: &StepContext) -> Result<Value, StepError> {
        let booking: Booking = serde_json::from_value(step.data.clone())
            .map_err(|error| StepError::refused("bad-booking", error.to_string()))?;
        if booking.vehicles.len() > limits::CANDIDATES_MAX {
            let detail = format!("a booking names at most {} vehicles", limits::CANDIDATES_MAX);
            return Err(StepError::refused("bad-booking", detail));
        }
        match action {
            "reserve-vehicle" => self.reserve(&booking, key, step).await,
            "release-vehicle" => self.give_back(&booking, key, step).await,
            _ => Err(StepError::refused("no-such-action", format!("vehicle-service offers no {action}"))),
        }
    }
}
