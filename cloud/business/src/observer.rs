//! Trips are moved on by what their vehicles report: positions become arrivals and departures at the stops.

use std::collections::HashMap;
use std::sync::Arc;

use remuda_contracts::fleet::{FleetView, TwinView};
use remuda_contracts::trips::{Mark, SamplesAt};
use remuda_entities::AskError;
use remuda_eventsourcing::Context;
use remuda_model::{OrganizationId, VehicleId, signal};
use remuda_trips::command::Observation;
use remuda_trips::fences::Watch;
use remuda_trips::state::{Stop, TripPhase};
use remuda_trips::{TripCommand, TripDirectory, TripService};

use crate::limits;

/// Looks at the vehicles of trips that run.
pub(crate) struct Observer {
    pub view: Arc<dyn FleetView>,
    pub trips: TripService,
    pub lists: TripDirectory,
    pub organization: OrganizationId,
    watched: HashMap<String, Watched>,
}

struct Watched {
    vehicle: VehicleId,
    stops: Vec<Stop>,
    watch: Watch,
    /// Reports that the trip has not heard yet, in order: none may be passed over.
    waiting: Vec<(Observation, Mark)>,
}

const RUNNING: [TripPhase; 4] =
    [TripPhase::Assigned, TripPhase::Arriving, TripPhase::Boarding, TripPhase::UnderWay];

impl Observer {
    pub fn new(
        view: Arc<dyn FleetView>,
        trips: TripService,
        lists: TripDirectory,
        organization: OrganizationId,
    ) -> Self {
        Self { view, trips, lists, organization, watched: HashMap::new() }
    }

    /// One look at all of them. Answers how many reports trips took.
    pub async fn look(&mut self) -> usize {
        self.follow().await;
        let mut told = 0;
        let trips: Vec<String> = self.watched.keys().cloned().collect();
        for trip in trips {
            told += self.observe(&trip).await;
        }
        told
    }

    /// Takes up trips that got a vehicle, and drops those that ended.
    async fn follow(&mut self) {
        let mut running = HashMap::new();
        for phase in RUNNING {
            let page = self.lists.in_state(&self.organization, phase, None, limits::OBSERVED_MAX);
            match page {
                Ok(lines) => running.extend(lines.into_iter().map(|line| (line.trip, line.vehicle))),
                Err(error) => {
                    tracing::warn!(%error, "the running trips cannot be listed; they are looked at again soon");
                    return;
                }
            }
        }
        self.watched.retain(|trip, watched| {
            running.get(trip).is_some_and(|vehicle| *vehicle == watched.vehicle.as_str())
        });
        for (trip, vehicle) in running {
            if self.watched.contains_key(&trip) {
                continue;
            }
            let Ok(vehicle) = VehicleId::new(&vehicle) else { continue };
            let Ok(seen) = self.trips.entities().read(&self.organization, &trip).await else { continue };
            let (stops, watch) = (seen.state.stops().to_vec(), Watch::resuming(&seen.state));
            self.watched.insert(trip, Watched { vehicle, stops, watch, waiting: Vec::new() });
        }
    }

    async fn observe(&mut self, trip: &str) -> usize {
        let Some(watched) = self.watched.get_mut(trip) else { return 0 };
        if let Some(twin) = self.view.twin(&self.organization, &watched.vehicle).await
            && let Some((mark, speed_kmh)) = mark_of(&twin)
        {
            let seen = watched.watch.observe(&watched.stops, speed_kmh, &mark);
            watched.waiting.extend(seen.into_iter().map(|observation| (observation, mark)));
        }
        let mut told = 0;
        while let Some((observation, mark)) = watched.waiting.first().copied() {
            let context = Context {
                now_ms: mark.time_ms,
                command_id: format!("observed/{}/{observation:?}", mark.time_ms),
                actor: format!("vehicle/{}", watched.vehicle),
                correlation_id: trip.to_owned(),
            };
            let vehicle = watched.vehicle.to_string();
            let command = TripCommand::Report { vehicle, observation, mark };
            match self.trips.entities().ask(&self.organization, trip, command, context).await {
                Ok(_) => told += 1,
                Err(AskError::Refused { code, .. }) => {
                    tracing::debug!(trip_id = trip, ?observation, code, "a trip passed a report over");
                }
                Err(error) => {
                    tracing::debug!(trip_id = trip, %error, "a trip could not be told; it is told again");
                    return told;
                }
            }
            watched.waiting.remove(0);
        }
        told
    }
}

/// Energy left, Wh, from a zero of the vehicle's own: counters of what was charged and used in its whole life. Only
/// differences mean something, and those of a ride are what it used.
fn energy_wh(charged_kwh: Option<f64>, consumed_kwh: Option<f64>) -> Option<i64> {
    // A vehicle that never tells of charging has not charged since it began to count.
    Some(((charged_kwh.unwrap_or(0.0) - consumed_kwh?) * 1e3).round() as i64)
}

/// What a vehicle says of itself now, and its speed, km/h.
fn mark_of(twin: &TwinView) -> Option<(Mark, f32)> {
    let at = twin.summary.position?;
    let value = |wanted| twin.values.iter().find(|value| value.signal == wanted);
    let physical = |wanted| {
        let value = value(wanted)?;
        Some(signal::by_id(wanted)?.to_physical(value.raw))
    };
    let sampled = value(signal::LATITUDE).map(|value| value.sampled_ms).filter(|ms| *ms > 0);
    Some((
        Mark {
            time_ms: sampled.unwrap_or(twin.summary.last_seen_ms),
            latitude_e7: at.latitude_e7,
            longitude_e7: at.longitude_e7,
            odometer_m: physical(signal::ODOMETER).map(|metres| metres.max(0.0) as u64),
            energy_wh: energy_wh(physical(signal::CHARGED_ENERGY), physical(signal::CONSUMED_ENERGY)),
            samples: twin
                .detail
                .samples
                .last()
                .map(|seen| SamplesAt { incarnation: seen.incarnation.0, seq: seen.received }),
        },
        at.speed_kmh,
    ))
}
