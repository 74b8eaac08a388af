//! What a vehicle reports, in order, late, twice, out of order, and not at all.

use remuda_contracts::trips::{DistanceSource, TripCompleted};
use remuda_eventsourcing::testing::given;
use remuda_trips::command::Observation::*;
use remuda_trips::event::VisitCorrected;
use remuda_trips::state::TripPhase;
use remuda_trips::{TripEvent as E, Trips};

use crate::support::*;

#[test]
fn a_ride_as_it_should_be() {
    let completed = TripCompleted {
        trip: "t1".into(),
        parties: parties("V1"),
        requested_ms: now(),
        start: mark(200, 60),
        end: mark(330, 1_000),
        distance_m: 940,
        distance_source: DistanceSource::Odometer,
        duration_ms: 130_000,
        energy_wh: Some(188),
        waiting_ms: 20_000,
        stops: 0,
        quote: plan(vec![]).quote,
        hold_key: Some("booking-1".into()),
    };
    let _ = given::<Trips>([requested(), assigned()])
        .at(now() + 400_000)
        .when(report(SetOff, 10, -500))
        .then([set_off(10, false, -500)])
        .when(report(AtRest, 30, -200))
        .then_nothing()
        .when(report(SetOff, 40, -200))
        .then_nothing()
        .when(report(Entered(0), 60, 0))
        .then([reached(0, 60, 0, false)])
        .when(report(Left(0), 200, 60))
        .then([left(0, 200, 60, false)])
        .when(report(Entered(1), 325, 960))
        .then([reached(1, 325, 960, false)])
        .when(report(AtRest, 330, 1_000))
        .then([E::Completed(completed)])
        .when(report(AtRest, 330, 1_000))
        .then_nothing()
        .when(report(Left(1), 500, 1_060))
        .then_nothing()
        .when(report(Entered(0), 60, 0))
        .then_nothing()
        .when(report(AtRest, 900, 0))
        .then_refused("trip-ended")
        .then_state(|trip| trip.phase == TripPhase::Completed && trip.ended_ms == Some(now() + 330_000));
}

#[test]
fn every_report_may_come_twice() {
    let mut scenario = given::<Trips>([requested(), assigned()]).at(now() + 400_000);
    let reports = [
        (SetOff, 10, -500),
        (Entered(0), 60, 0),
        (Left(0), 200, 60),
        (Entered(1), 325, 960),
        (AtRest, 330, 1_000),
    ];
    for (n, (what, second, east_m)) in reports.into_iter().enumerate() {
        scenario = scenario.when(report(what, second, east_m)).then_events(|events| events.len() == 1);
        for (what, second, east_m) in &reports[..=n] {
            scenario = scenario.when(report(*what, *second, *east_m)).then_nothing();
        }
    }
}

#[test]
fn a_missing_arrival_is_concluded_and_corrected() {
    let _ = given::<Trips>([requested(), assigned()])
        .at(now() + 400_000)
        .when(report(Left(0), 200, 60))
        .then([set_off(200, true, 60), reached(0, 200, 60, true), left(0, 200, 60, false)])
        .when(report(Entered(0), 60, 0))
        .then([E::VisitCorrected(VisitCorrected { stop: 0, entered: true, mark: mark(60, 0) })])
        .when(report(Entered(0), 60, 0))
        .then_nothing()
        .when(report(SetOff, 10, -500))
        .then_nothing()
        .then_state(|trip| trip.phase == TripPhase::UnderWay && trip.waiting_ms() == 20_000);
}

#[test]
fn a_missing_departure_is_concluded_and_corrected() {
    let arrival = || {
        given::<Trips>([requested(), assigned(), set_off(10, false, -500), reached(0, 60, 0, false)])
            .at(now() + 400_000)
            .when(report(Entered(1), 325, 960))
            .then([left(0, 325, 960, true), reached(1, 325, 960, false)])
    };
    // Corrected in time: as if nothing had been missing.
    let _ = arrival()
        .when(report(Left(0), 200, 60))
        .then([E::VisitCorrected(VisitCorrected { stop: 0, entered: false, mark: mark(200, 60) })])
        .when(report(AtRest, 330, 1_000))
        .then_events(|events| {
            matches!(events, [.., E::Completed(c)] if c.start == mark(200, 60) && c.distance_m == 940 && c.waiting_ms == 20_000)
        });
    // Never: the rider pays from the pick-up on, and for no waiting that nobody has seen.
    let _ = arrival().when(report(AtRest, 330, 1_000)).then_events(|events| {
        matches!(events, [.., E::Completed(c)] if c.start == mark(60, 0) && c.distance_m == 1_000 && c.waiting_ms == 0)
    });
}

#[test]
fn what_a_vehicle_passes_on_its_way_is_no_stop() {
    let mut past = vec![requested_with(vec![stop(0), stop(500), stop(1_000)]), assigned()];
    let scenario = given::<Trips>(past.clone()).at(now() + 400_000);
    let scenario = scenario
        .when(report(Entered(2), 5, 1_000))
        .then_nothing()
        .when(report(Left(2), 9, 1_000))
        .then_nothing()
        .when(report(Entered(0), 60, 0))
        .then([set_off(60, true, 0), reached(0, 60, 0, false)])
        // It had been in the fence before, for somebody else.
        .when(report(Left(0), 20, 0))
        .then_nothing()
        .when(report(Left(0), 200, 60))
        .then([left(0, 200, 60, false)])
        .when(report(Entered(2), 210, 1_000))
        .then_nothing()
        .when(report(AtRest, 211, 1_000))
        .then_nothing()
        .when(report(Left(2), 212, 1_000))
        .then_nothing();
    let _ = scenario
        .when(report(Left(1), 250, 560))
        .then([reached(1, 250, 560, true), left(1, 250, 560, false)])
        .when(report(Left(2), 330, 1_060))
        .then_events(|events| matches!(events, [.., E::Completed(done)] if done.stops == 1 && done.end == mark(330, 1_060)));
    past.push(set_off(1, false, -9));
    given::<Trips>(past).when(report(Entered(3), 5, 0)).then_refused("no-such-stop");
}

#[test]
fn a_round_trip_ends_where_it_began() {
    let past = vec![requested_with(vec![stop(0), stop(10)]), assigned()];
    let _ = given::<Trips>(past)
        .at(now() + 400_000)
        .when(report(Entered(0), 60, 0))
        .then_events(|events| events.len() == 2)
        .when(report(Entered(1), 61, 8))
        .then_nothing()
        .when(report(AtRest, 62, 8))
        .then_nothing()
        .when(report(Left(0), 200, 70))
        .then([left(0, 200, 70, false)])
        .when(report(Entered(1), 300, 40))
        .then([reached(1, 300, 40, false)])
        .when(report(AtRest, 290, 40))
        .then_nothing()
        .when(report(AtRest, 301, 40))
        .then_events(|events| matches!(events, [.., E::Completed(_)]));
}

#[test]
fn reports_of_another_time_or_vehicle_do_not_count() {
    given::<Trips>([requested()]).when(report(Entered(0), 1, 0)).then_refused("not-assigned");
    given::<Trips>([requested(), assigned()])
        .when(report(Entered(0), 301, 0))
        .then_refused("mark-in-the-future")
        .when(report(Entered(0), -301, 0))
        .then_nothing()
        // Within what clocks may differ.
        .when(report(Entered(0), -299, 0))
        .then_events(|events| events.len() == 2);
}

#[test]
fn a_vehicle_that_tells_little_still_ends_its_trip() {
    let bare = |observation, second: i64, east_m| {
        let remuda_trips::TripCommand::Report { vehicle, observation, stop, mark } =
            report(observation, second, east_m)
        else {
            unreachable!("it is a report")
        };
        let mark = remuda_contracts::trips::Mark { odometer_m: None, energy_wh: None, samples: None, ..mark };
        remuda_trips::TripCommand::Report { vehicle, observation, stop, mark }
    };
    let ends = |planned_distance_m, expected: (u64, DistanceSource)| {
        let mut plan = plan(vec![stop(0), stop(1_000)]);
        plan.planned_distance_m = planned_distance_m;
        let request = remuda_trips::TripCommand::Request { id: "t1".into(), parties: parties("V1"), plan };
        let _ = given::<Trips>([])
            .when(request)
            .then_events(|events| events.len() == 2)
            .at(now() + 400_000)
            .when(bare(Left(0), 200, 60))
            .then_events(|events| events.len() == 3)
            .when(bare(Left(1), 330, 1_060))
            .then_events(|events| {
                matches!(events, [.., E::Completed(c)] if c.energy_wh.is_none() && (c.distance_m, c.distance_source) == expected)
            });
    };
    ends(Some(1_234), (1_234, DistanceSource::Planned));
    ends(None, (1_001, DistanceSource::StraightLine));
    // An odometer that was replaced on the way runs back.
    let _ = given::<Trips>(under_way()).at(now() + 400_000).when(report(Left(1), 330, -90)).then_events(|events| {
        matches!(events, [.., E::Completed(c)] if c.distance_source == DistanceSource::Planned && c.distance_m == 1_000)
    });
}
