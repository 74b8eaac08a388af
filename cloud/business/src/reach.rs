//! Which vehicles are in reach. Time says that a vehicle or a rider did not come only where the vehicle would have told that one did.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use remuda_contracts::fleet::{FleetView, Presence, VehicleSummary};
use remuda_contracts::marks::{TripMarks, Watcher};
use remuda_model::{OrganizationId, VehicleId};
use remuda_trips::TripDirectory;
use remuda_trips::state::TripPhase;
use tokio::time::Instant;

use crate::limits;

/// Phases of trips that wait for their vehicles and riders.
const WAITING: [TripPhase; 3] = [TripPhase::Assigned, TripPhase::Arriving, TripPhase::Boarding];

/// A trip in a phase. What is said of it does not hold in the next: of that there may be marks under way as well.
type InPhase = (String, TripPhase);

/// Looks at the vehicles of trips that wait for them, or for their riders.
pub(crate) struct Reach {
    pub view: Arc<dyn FleetView>,
    /// None: no vehicle watches anything.
    pub marks: Option<Arc<dyn TripMarks>>,
    pub lists: TripDirectory,
    pub organization: OrganizationId,
    pub steady: Steady,
}

/// Since when the vehicle of each such trip was in reach at every look.
#[derive(Debug, Default)]
pub(crate) struct Steady(HashMap<InPhase, Instant>);

impl Steady {
    /// Of these trips vehicles are in reach now. Answers of which they have been long enough.
    fn look(&mut self, in_reach: Vec<InPhase>, now: Instant) -> HashSet<InPhase> {
        let before = std::mem::take(&mut self.0);
        for trip in in_reach {
            let since = before.get(&trip).copied().unwrap_or(now);
            self.0.insert(trip, since);
        }
        let steady = self.0.iter().filter(|(_, since)| now.duration_since(**since) >= limits::REACH_STEADY);
        steady.map(|(trip, _)| trip.clone()).collect()
    }
}

impl Reach {
    /// How long vehicles have to come back to a node that has just started, before time decides anything.
    pub fn grace(&self) -> Duration {
        if self.marks.is_some() { limits::REACH_STEADY } else { Duration::ZERO }
    }

    /// One look. Answers the trips whose vehicles would have told that they, or their riders, came: in reach long enough for what
    /// they noticed before, and heard of since that should have been. All of them where no vehicle watches anything: nothing that
    /// one noticed waits in it then.
    ///
    /// # Errors
    /// When the lists cannot be read.
    pub fn look(&mut self) -> Result<HashSet<InPhase>, String> {
        let mut waiting = Vec::new();
        for phase in WAITING {
            let lines = self.lists.all_in_state(&self.organization, phase);
            waiting.extend(lines.map_err(|error| error.to_string())?);
        }
        let Some(marks) = &self.marks else {
            return Ok(waiting.into_iter().map(|line| (line.trip, line.phase)).collect());
        };
        if waiting.is_empty() {
            self.steady = Steady::default();
            return Ok(HashSet::new());
        }
        let vehicles: HashSet<&str> = waiting.iter().map(|line| line.vehicle.as_str()).collect();
        let is_wanted = |line: &VehicleSummary| {
            line.presence == Presence::Online && vehicles.contains(line.vehicle.as_str())
        };
        let online = self.view.list(&self.organization, None, vehicles.len(), &is_wanted);
        let online: HashMap<VehicleId, i64> =
            online.into_iter().map(|line| (line.vehicle, line.last_seen_ms)).collect();
        let (mut in_reach, mut unheard) = (Vec::new(), HashSet::new());
        for line in &waiting {
            let Ok(vehicle) = VehicleId::new(&line.vehicle) else { continue };
            let Some(last_seen_ms) = online.get(&vehicle) else { continue };
            if marks.watcher(&vehicle, &line.trip) == Watcher::Open {
                continue;
            }
            let named = (line.trip.clone(), line.phase);
            // A connection that broke is found out late.
            if line.due_ms.is_none_or(|due_ms| *last_seen_ms < due_ms) {
                unheard.insert(named.clone());
            }
            in_reach.push(named);
        }
        let mut steady = self.steady.look(in_reach, Instant::now());
        steady.retain(|trip| !unheard.contains(trip));
        Ok(steady)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vehicle_that_was_away_has_to_be_back_for_a_while() {
        let start = Instant::now();
        let after = |parts: u32| start + limits::REACH_STEADY * parts / 2;
        let named = |trip: &str| (trip.to_owned(), TripPhase::Boarding);
        let both = || vec![named("t1"), named("t2")];
        let mut steady = Steady::default();
        assert!(steady.look(both(), start).is_empty(), "nobody knows what was before");
        assert!(steady.look(vec![named("t1")], after(1)).is_empty());
        assert_eq!(steady.look(both(), after(2)), HashSet::from([named("t1")]), "the other was away");
        assert_eq!(steady.look(both(), after(4)).len(), 2);
        let now_it_waits = vec![("t1".to_owned(), TripPhase::Arriving), named("t2")];
        assert_eq!(
            steady.look(now_it_waits, after(4)),
            HashSet::from([named("t2")]),
            "another phase is anew"
        );
        assert!(steady.look(vec![], after(5)).is_empty());
        assert!(steady.look(both(), after(6)).is_empty());
    }
}
