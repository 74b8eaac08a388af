//! Trip marks that could not be brought to their trips, and wait until they can: a trip that cannot be read holds up no other.

use std::collections::HashSet;

use remuda_contracts::marks::{MarkReport, Observation};
use serde::{Deserialize, Serialize};

use crate::limits;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Waiting {
    /// When it was set aside, ms since 1970 UTC.
    since_ms: i64,
    report: MarkReport,
}

/// All of them, in the order in which they came. Kept in one file with how far marks were read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Aside(Vec<Waiting>);

/// What became of a mark that was to be set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It waits.
    Waits,
    /// The one before says the same.
    Spare,
    /// Too many of its vehicle wait: it is given up.
    GivenUp,
    /// Too many wait: it was not set aside.
    Full,
}

fn is_same_trip(one: &MarkReport, other: &MarkReport) -> bool {
    one.vehicle == other.vehicle && one.mark.trip == other.mark.trip
}

fn is_same_mark(one: &MarkReport, other: &MarkReport) -> bool {
    let name = |report: &MarkReport| (report.vehicle, report.mark.noticed_by, report.mark.number);
    name(one) == name(other)
}

impl Aside {
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Trips of which marks wait.
    pub fn trips(&self) -> HashSet<String> {
        self.0.iter().map(|waiting| waiting.report.mark.trip.clone()).collect()
    }

    pub fn get(&self, at: usize) -> Option<&MarkReport> {
        self.0.get(at).map(|waiting| &waiting.report)
    }

    /// Takes one out that was brought.
    pub fn remove(&mut self, at: usize) {
        self.0.remove(at);
    }

    /// Whether an earlier mark of its trip waits, which it may not overtake.
    pub fn holds_back(&self, report: &MarkReport) -> bool {
        self.0.iter().any(|waiting| is_same_trip(&waiting.report, report))
    }

    pub fn put(&mut self, report: &MarkReport, now_ms: i64) -> Put {
        let all = || self.0.iter().map(|waiting| &waiting.report);
        if all().any(|other| is_same_mark(other, report)) {
            // It was read again, or told again.
            return Put::Waits;
        }
        let before = all().rev().find(|other| is_same_trip(other, report));
        // Of rests without anything between them the first moves the trip, if one does.
        let rests = |report: &MarkReport| report.mark.observation == Observation::AtRest;
        if rests(report) && before.is_some_and(rests) {
            return Put::Spare;
        }
        if all().filter(|other| other.vehicle == report.vehicle).count() >= limits::MARKS_ASIDE_OF_VEHICLE {
            return Put::GivenUp;
        }
        if self.0.len() >= limits::MARKS_ASIDE_MAX {
            return Put::Full;
        }
        self.0.push(Waiting { since_ms: now_ms, report: report.clone() });
        Put::Waits
    }

    /// Takes those out that have waited too long.
    pub fn expire(&mut self, now_ms: i64) -> Vec<MarkReport> {
        let is_over = |waiting: &mut Waiting| now_ms - waiting.since_ms > limits::MARKS_ASIDE_MS_MAX;
        self.0.extract_if(.., is_over).map(|waiting| waiting.report).collect()
    }
}

#[cfg(test)]
mod tests {
    use remuda_contracts::marks::{Fence, TripMarked};
    use remuda_model::{Incarnation, OrganizationId, VehicleId};

    use super::*;

    fn report(vehicle: usize, trip: &str, number: u32, observation: Observation) -> MarkReport {
        let mark = TripMarked {
            trip: trip.to_owned(),
            noticed_by: Incarnation(1),
            number,
            observation,
            stop: observation.stop().map(|_| Fence { latitude_e7: 1, longitude_e7: 2, radius_m: 50 }),
            time_ms: Some(1_000),
            latitude_e7: 1,
            longitude_e7: 2,
            speed_e2: 0,
            odometer_m: Some(7),
            energy_wh: Some(-3),
            incarnation: Incarnation(1),
            samples: 9,
        };
        let vehicle = VehicleId::new(&format!("CAR{vehicle}")).expect("an id");
        MarkReport { organization: OrganizationId::default(), vehicle, received_ms: 2_000, mark }
    }

    #[test]
    fn a_vehicle_takes_only_its_share_and_all_together_are_bounded() {
        let mut aside = Aside::default();
        for vehicle in 0..limits::MARKS_ASIDE_MAX / limits::MARKS_ASIDE_OF_VEHICLE {
            for number in 1..=limits::MARKS_ASIDE_OF_VEHICLE as u32 {
                assert_eq!(aside.put(&report(vehicle, "t1", number, Observation::Left(0)), 0), Put::Waits);
            }
            assert_eq!(aside.put(&report(vehicle, "t2", 999, Observation::Left(0)), 0), Put::GivenUp);
        }
        assert_eq!(aside.count(), limits::MARKS_ASIDE_MAX);
        let other = report(9_999, "t1", 1, Observation::Left(0));
        assert_eq!(aside.put(&other, 0), Put::Full);
        assert!(!aside.holds_back(&other), "another vehicle says so");
        aside.remove(0);
        assert_eq!(aside.put(&other, 0), Put::Waits);
        assert_eq!(aside.put(&other, 0), Put::Waits, "it waits already");
        assert_eq!(aside.count(), limits::MARKS_ASIDE_MAX);
    }

    #[test]
    fn rests_one_after_the_other_are_one_and_what_waits_too_long_is_given_up() {
        let mut aside = Aside::default();
        let mut put =
            |number, observation| aside.put(&report(1, "t1", number, observation), i64::from(number));
        assert_eq!(put(1, Observation::Entered(1)), Put::Waits);
        assert_eq!(put(2, Observation::AtRest), Put::Waits);
        assert_eq!(put(3, Observation::AtRest), Put::Spare);
        assert_eq!(put(4, Observation::Left(1)), Put::Waits);
        assert_eq!(put(5, Observation::AtRest), Put::Waits);
        assert_eq!(aside.trips(), HashSet::from(["t1".to_owned()]));
        assert_eq!(aside.expire(limits::MARKS_ASIDE_MS_MAX + 1), []);
        let numbers: Vec<_> = aside
            .expire(limits::MARKS_ASIDE_MS_MAX + 3)
            .iter()
            .map(|given_up| given_up.mark.number)
            .collect();
        assert_eq!((numbers, aside.count()), (vec![1, 2], 2));
    }
}
