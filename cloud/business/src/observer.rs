//! Trips are moved on by what their vehicles report. Here is said what each vehicle is to watch; where it cannot, its positions
//! are watched for it, and become arrivals and departures at the stops.

use std::collections::HashMap;
use std::sync::Arc;

use remuda_contracts::fleet::{FleetView, TwinView};
use remuda_contracts::marks::{TripMarks, WantedTrips, WatchedTrip, Watcher};
use remuda_contracts::trips::Mark;
use remuda_entities::AskError;
use remuda_eventsourcing::Context;
use remuda_model::{OrganizationId, VehicleId, signal};
use remuda_trips::command::Observation;
use remuda_trips::fences::{Sight, Watch, energy_wh, fences_of, mark_of, place_of, resuming};
use remuda_trips::lists::TripLine;
use remuda_trips::state::TripPhase;
use remuda_trips::{Trip, TripCommand, TripDirectory, TripService};

use crate::limits;

/// Looks at the vehicles of trips that run.
pub(crate) struct Observer {
    pub view: Arc<dyn FleetView>,
    /// None: no vehicle watches anything.
    pub marks: Option<Arc<dyn TripMarks>>,
    pub trips: TripService,
    pub lists: TripDirectory,
    pub organization: OrganizationId,
    watched: HashMap<String, Watched>,
}

struct Watched {
    vehicle: VehicleId,
    /// Its line in the lists, as it was when the trip was read.
    line: TripLine,
    /// For the vehicle.
    wanted: Arc<WatchedTrip>,
    watch: Watch,
    /// Somebody else watched: the trip knows better than `watch`.
    is_behind: bool,
    /// Reports that the trip has not heard yet, in order: none may be passed over.
    waiting: Vec<(Observation, Mark)>,
}

impl Watched {
    fn new(vehicle: VehicleId, line: TripLine, trip: &Trip, version: u64) -> Self {
        Self {
            vehicle,
            wanted: Arc::new(wanted(&line.trip, trip, version)),
            line,
            watch: resuming(trip),
            is_behind: false,
            waiting: Vec::new(),
        }
    }

    /// The trip has changed: perhaps its stops, and what a vehicle that lost its disk must know. A stop that was reached is news as
    /// well: one that noticed it itself keeps to what it knows, and one that did not would wait there for ever.
    fn changed(&mut self, line: TripLine, trip: &Trip, version: u64) {
        let is_elsewhere = self.wanted.stops != fences_of(trip);
        let is_farther = place_of(trip).next > self.wanted.place.next;
        let version = if is_elsewhere || is_farther { version } else { self.wanted.version };
        let now = wanted(&line.trip, trip, version);
        if is_elsewhere {
            self.watch.change(&self.wanted.stops, &now.stops, now.place);
        }
        self.line = line;
        if *self.wanted != now {
            self.wanted = Arc::new(now);
        }
    }
}

/// The trip that a vehicle is farthest along, or has had longest, comes first.
fn rank(line: &TripLine) -> (std::cmp::Reverse<TripPhase>, i64, &str) {
    (std::cmp::Reverse(line.phase), line.requested_ms, &line.trip)
}

/// Of each vehicle the trip that comes first, and what it is to watch of it; none where that trip could not be read.
fn firsts<'a>(
    trips: impl Iterator<Item = (VehicleId, &'a TripLine, Option<&'a Arc<WatchedTrip>>)>,
) -> WantedTrips {
    let mut first: HashMap<VehicleId, (&TripLine, Option<&Arc<WatchedTrip>>)> = HashMap::new();
    for (vehicle, line, wanted) in trips {
        let best = first.entry(vehicle).or_insert((line, wanted));
        if rank(line) < rank(best.0) {
            *best = (line, wanted);
        }
    }
    first.into_iter().map(|(vehicle, (_, wanted))| (vehicle, wanted.map(Arc::clone))).collect()
}

fn wanted(id: &str, trip: &Trip, version: u64) -> WatchedTrip {
    WatchedTrip { trip: id.to_owned(), version, stops: fences_of(trip), place: place_of(trip) }
}

const RUNNING: [TripPhase; 4] =
    [TripPhase::Assigned, TripPhase::Arriving, TripPhase::Boarding, TripPhase::UnderWay];

impl Observer {
    pub fn new(
        view: Arc<dyn FleetView>,
        marks: Option<Arc<dyn TripMarks>>,
        trips: TripService,
        lists: TripDirectory,
        organization: OrganizationId,
    ) -> Self {
        Self { view, marks, trips, lists, organization, watched: HashMap::new() }
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
            match self.lists.all_in_state(&self.organization, phase) {
                Ok(lines) => running.extend(lines.into_iter().map(|line| (line.trip.clone(), line))),
                Err(error) => {
                    tracing::warn!(%error, "the running trips cannot be listed; they are looked at again soon");
                    return;
                }
            }
        }
        self.watched.retain(|trip, watched| {
            running.get(trip).is_some_and(|line| line.vehicle == watched.vehicle.as_str())
        });
        let mut unread: Vec<(VehicleId, TripLine)> = Vec::new();
        for (trip, line) in running {
            let known = self.watched.get_mut(&trip);
            if known.as_ref().is_some_and(|watched| watched.line == line) {
                continue;
            }
            let Ok(vehicle) = VehicleId::new(&line.vehicle) else { continue };
            let seen = match self.trips.entities().read(&self.organization, &trip).await {
                Ok(seen) => seen,
                Err(error) => {
                    tracing::warn!(trip_id = trip, %error, "a running trip cannot be read; it is read again soon");
                    // What is known of it goes on being wanted.
                    if known.is_none() {
                        unread.push((vehicle, line));
                    }
                    continue;
                }
            };
            match known {
                Some(watched) => watched.changed(line, &seen.state, seen.version),
                None => {
                    let watched = Watched::new(vehicle, line, &seen.state, seen.version);
                    self.watched.insert(trip, watched);
                }
            }
        }
        self.want(&unread);
    }

    /// Says what vehicles are to watch: each the trip that it is farthest along, or has had longest. From vehicles whose trip could
    /// not be read nothing is withdrawn.
    fn want(&self, unread: &[(VehicleId, TripLine)]) {
        let Some(marks) = &self.marks else { return };
        let known =
            self.watched.values().map(|watched| (watched.vehicle, &watched.line, Some(&watched.wanted)));
        let unread = unread.iter().map(|(vehicle, line)| (*vehicle, line, None));
        marks.want(&self.organization, firsts(known.chain(unread)));
    }

    async fn observe(&mut self, trip: &str) -> usize {
        let Some(watched) = self.watched.get_mut(trip) else { return 0 };
        let watcher =
            self.marks.as_ref().map_or(Watcher::Cloud, |marks| marks.watcher(&watched.vehicle, trip));
        if watcher != Watcher::Cloud {
            watched.is_behind = true;
        } else {
            if watched.is_behind {
                let Ok(seen) = self.trips.entities().read(&self.organization, trip).await else { return 0 };
                watched.watch = resuming(&seen.state);
                watched.is_behind = false;
            }
            if let Some(twin) = self.view.twin(&self.organization, &watched.vehicle).await
                && let Some(sight) = sight_of(&twin)
            {
                let seen = watched.watch.observe(&watched.wanted.stops, &sight);
                // Arrivals and departures are few; rests and starts are not, and say little once they are late.
                let has_room = watched.waiting.len() < limits::REPORTS_WAITING_MAX;
                let seen = seen.into_iter().filter(|(seen, _)| has_room || seen.stop().is_some());
                watched.waiting.extend(seen.map(|(observation, of)| (observation, mark_of(&of))));
            }
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
            let command = TripCommand::Report { vehicle, observation, stop: None, mark };
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

/// What a vehicle says of itself now.
fn sight_of(twin: &TwinView) -> Option<Sight> {
    let at = twin.summary.position?;
    let value = |wanted| twin.values.iter().find(|value| value.signal == wanted);
    let physical = |wanted| {
        let value = value(wanted)?;
        Some(signal::by_id(wanted)?.to_physical(value.raw))
    };
    let sampled = value(signal::LATITUDE).map(|value| value.sampled_ms).filter(|ms| *ms > 0);
    Some(Sight {
        at_ms: sampled.unwrap_or(twin.summary.last_seen_ms),
        latitude_e7: at.latitude_e7,
        longitude_e7: at.longitude_e7,
        speed_e2: (at.speed_kmh.abs() * 1e2).round() as u32,
        odometer_m: physical(signal::ODOMETER).map(|metres| metres.max(0.0) as u64),
        energy_wh: energy_wh(physical(signal::CHARGED_ENERGY), physical(signal::CONSUMED_ENERGY)),
        samples: twin.detail.samples.last().map(|seen| (seen.incarnation, seen.received)),
    })
}

#[cfg(test)]
mod tests {
    use remuda_trips::state::{Plan, Seen, Stop, Terms, Visit};

    use super::*;

    /// A trip of three stops, of which so many were reached.
    fn trip(reached: usize) -> Trip {
        let stop = |latitude_e7| Stop { latitude_e7, longitude_e7: 115_000_000, radius_m: 50, label: None };
        let plan = Plan {
            stops: vec![stop(481_000_000), stop(481_100_000), stop(481_200_000)],
            planned_distance_m: None,
            terms: Terms::default(),
            quote: None,
            hold_key: None,
        };
        let mark = Mark {
            time_ms: 1,
            latitude_e7: 481_000_000,
            longitude_e7: 115_000_000,
            odometer_m: None,
            energy_wh: None,
            samples: None,
        };
        let mut visits = vec![Visit::default(); 3];
        for visit in visits.iter_mut().take(reached) {
            visit.entered = Some(Seen { mark, inferred: false });
        }
        Trip { phase: TripPhase::Boarding, plan: Some(plan), visits, ..Trip::default() }
    }

    #[test]
    fn a_trip_that_cannot_be_read_withholds_only_what_its_own_vehicle_watches() {
        let line = |id: &str, phase| TripLine { trip: id.to_owned(), phase, ..TripLine::default() };
        let (boarding, assigned) = (line("t1", TripPhase::Boarding), line("t2", TripPhase::Assigned));
        let read = Arc::new(wanted("t1", &trip(1), 4));
        let car = |n: u8| VehicleId::new(&format!("CAR{n}")).expect("an id");
        let all = firsts(
            [
                (car(1), &boarding, Some(&read)),
                (car(2), &assigned, None),
                (car(3), &boarding, Some(&read)),
                (car(3), &assigned, None),
                (car(4), &assigned, Some(&read)),
                (car(4), &boarding, None),
            ]
            .into_iter(),
        );
        let told = [Some(Arc::clone(&read)), None, Some(read), None];
        assert_eq!(all, (1..=4).map(car).zip(told).collect::<WantedTrips>());
    }

    #[test]
    fn a_stop_that_was_reached_is_told_to_a_vehicle_that_may_not_know_of_it() {
        let vehicle = VehicleId::new("CAR1").expect("an id");
        let line = || TripLine { trip: "t1".to_owned(), ..TripLine::default() };
        let mut watched = Watched::new(vehicle, line(), &trip(1), 4);
        let mut after = |reached, version| {
            watched.changed(line(), &trip(reached), version);
            (watched.wanted.version, watched.wanted.place.next)
        };
        assert_eq!(after(1, 5), (4, 1), "what else changes is not for vehicles");
        assert_eq!(after(2, 7), (7, 2));
        assert_eq!(after(2, 8), (7, 2));
    }
}
