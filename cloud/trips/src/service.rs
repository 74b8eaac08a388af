//! Trips as others ask for them: the saga's `trip-service`.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use remuda_contracts::booking::{Booking, RESERVE_VEHICLE, TRIP_SERVICE};
use remuda_contracts::trips::CancelledBy;
use remuda_entities::Entities;
use remuda_eventsourcing::Context;
use remuda_model::OrganizationId;
use remuda_saga::{ActionSpec, Service, StepContext, StepError};
use serde_json::{Value, json};

use crate::lists::TripDirectory;
use crate::making::{MakeTrip, PlainTrip};
use crate::state::TripPhase;
use crate::{TripCommand, Trips};

/// Now, ms since 1970 UTC.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Asks trips. Cheap to clone.
#[derive(Clone)]
pub struct TripService {
    trips: Entities<Trips>,
    make: Arc<dyn MakeTrip>,
    clock: Clock,
}

/// Trips read at a time in a sweep.
const SWEEP_PAGE: usize = 256;

impl TripService {
    /// Over these entities; trips are made as [`PlainTrip`] does.
    pub fn new(trips: Entities<Trips>, clock: Clock) -> Self {
        Self { trips, make: Arc::new(PlainTrip::default()), clock }
    }

    /// Makes trips in another way.
    #[must_use]
    pub fn with_maker(mut self, make: Arc<dyn MakeTrip>) -> Self {
        self.make = make;
        self
    }

    /// The aggregates beneath.
    pub const fn entities(&self) -> &Entities<Trips> {
        &self.trips
    }

    /// Tells trips that time has passed: those that wait too long for a vehicle, a rider or a word. Every few seconds.
    /// Answers how many it moved.
    ///
    /// A trip that waits for its vehicle, or for its rider, is passed over unless it is among `in_reach`, whose vehicles would have
    /// told in that phase that one came; at most for [`TripPhase::away_ms`].
    ///
    /// # Errors
    /// When the lists cannot be read; a trip that cannot be asked is asked again the next time.
    pub async fn sweep(
        &self,
        organization: &OrganizationId,
        lists: &TripDirectory,
        in_reach: &HashSet<(String, TripPhase)>,
    ) -> Result<usize, String> {
        let (mut moved, mut after) = (0, None::<Vec<u8>>);
        loop {
            let now_ms = (self.clock)();
            let page = lists.due(organization, now_ms, after.as_deref(), SWEEP_PAGE);
            let page = page.map_err(|error| error.to_string())?;
            let Some((last, _)) = page.last() else { return Ok(moved) };
            after = Some(last.clone());
            for (_, line) in page {
                let is_in_reach = in_reach.contains(&(line.trip.clone(), line.phase));
                if !line.is_ripe(is_in_reach, now_ms) {
                    continue;
                }
                // What is due is due once: the same wish, however often it is said.
                let command_id = format!("sweep/{}/{}", line.phase.name(), line.due_ms.unwrap_or_default());
                let context = Context {
                    now_ms,
                    command_id,
                    actor: "policy/trip-sweep".into(),
                    correlation_id: line.trip.clone(),
                };
                match self.trips.ask(organization, &line.trip, TripCommand::Sweep, context).await {
                    Ok(outcome) => moved += usize::from(!outcome.repeated && !outcome.events.is_empty()),
                    Err(error) => tracing::debug!(trip_id = line.trip, %error, "a trip was not swept"),
                }
            }
        }
    }

    fn command(&self, action: &str, step: &StepContext) -> Result<TripCommand, StepError> {
        let id = step.saga_id.clone();
        match action {
            "create-trip" => {
                let bad = |detail: String| StepError::refused("bad-booking", detail);
                let booking: Booking =
                    serde_json::from_value(step.data.clone()).map_err(|error| bad(error.to_string()))?;
                let vehicle = step.data[RESERVE_VEHICLE]["vehicle"].as_str();
                let vehicle = vehicle.ok_or_else(|| bad("no step has reserved a vehicle".into()))?.to_owned();
                self.make.make(&id, booking, vehicle).map_err(bad)
            }
            "cancel-trip" => Ok(TripCommand::Cancel {
                id,
                by: CancelledBy::System,
                reason: "the booking was called off".into(),
            }),
            _ => Err(StepError::refused("no-such-action", format!("trip-service offers no {action}"))),
        }
    }
}

#[async_trait]
impl Service for TripService {
    fn name(&self) -> &'static str {
        TRIP_SERVICE
    }

    fn actions(&self) -> &'static [ActionSpec] {
        const { &[ActionSpec::undone_by("create-trip", "cancel-trip"), ActionSpec::plain("cancel-trip")] }
    }

    async fn call(&self, action: &str, key: &str, step: &StepContext) -> Result<Value, StepError> {
        let command = self.command(action, step)?;
        let context = Context {
            now_ms: (self.clock)(),
            command_id: key.to_owned(),
            actor: format!("saga/{}", step.saga_id),
            correlation_id: step.saga_id.clone(),
        };
        // A trip has its booking's id.
        self.trips.ask(&step.organization, &step.saga_id, command, context).await.map_err(StepError::from)?;
        Ok(json!({ "trip": step.saga_id }))
    }
}
