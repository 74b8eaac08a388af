//! What people may wish for, told one by one. What vehicles report is in `reports`.

use remuda_contracts::sealed::Sealed;
use remuda_contracts::trips::{CancellationFee, CancelledBy, TripCancelled};
use remuda_eventsourcing::testing::given;
use remuda_trips::command::Observation::*;
use remuda_trips::event::{Assigned, Concluded, Rated, StopsChanged, Unassigned};
use remuda_trips::lists::TripLine;
use remuda_trips::state::TripPhase;
use remuda_trips::{TripCommand as C, TripEvent as E, Trips, limits, share};

use crate::support::*;

#[test]
fn a_trip_is_asked_for_once() {
    given::<Trips>([])
        .when(C::Sweep)
        .then_refused("no-such-trip")
        .when(request_of("", vec![stop(0)]))
        .then_refused("bad-value")
        .when(request_of("", vec![stop(0); limits::STOPS_MAX + 1]))
        .then_refused("bad-value")
        .when(request(""))
        .then([requested()])
        .when(request(""))
        .then_nothing()
        .when(request_of("", vec![stop(0), stop(2)]))
        .then_refused("trip-exists");
    given::<Trips>([]).when(request("V1")).then([requested(), assigned()]).when(request("V1")).then_nothing();
}

#[test]
fn values_that_cannot_be_are_refused() {
    let with = |change: &dyn Fn(&mut remuda_trips::state::Plan)| {
        let mut plan = plan(vec![stop(0), stop(100)]);
        change(&mut plan);
        let request = C::Request { id: "t1".into(), parties: parties(""), plan };
        given::<Trips>([]).when(request).then_refused("bad-value");
    };
    with(&|plan| plan.stops[0].latitude_e7 = 900_000_001);
    with(&|plan| plan.stops[0].longitude_e7 = i32::MIN);
    with(&|plan| plan.stops[1].radius_m = 19);
    with(&|plan| plan.stops[1].label = Some(Sealed::new(vec![0; 1_025])));
    with(&|plan| plan.terms.no_show_after_ms = 0);
    with(&|plan| plan.terms.rating_ms = i64::MAX);
    with(&|plan| plan.planned_distance_m = Some(u64::MAX));
    with(&|plan| plan.hold_key = Some(String::new()));
    let nobody = remuda_contracts::trips::TripParties::default();
    let request = C::Request { id: "t1".into(), parties: nobody, plan: plan(vec![stop(0), stop(1)]) };
    given::<Trips>([]).when(request).then_refused("bad-value");
}

#[test]
fn another_vehicle_may_take_it_until_somebody_boards() {
    let to = |vehicle: &str| C::Assign { vehicle: vehicle.into(), driver: None };
    let other = E::Assigned(Assigned { vehicle: "V2".into(), driver: None, time_ms: now() });
    given::<Trips>([requested(), assigned(), set_off(1, false, -100)])
        .when(to("V1"))
        .then_nothing()
        .when(to("V2"))
        .then([other])
        .when(report(Entered(0), 5, 0))
        .then_refused("other-vehicle")
        .when(C::Unassign { reason: "flat tyre".into() })
        .then([E::Unassigned(Unassigned { vehicle: "V2".into(), reason: "flat tyre".into() })])
        .when(C::Unassign { reason: "flat tyre".into() })
        .then_nothing()
        .when(report(Entered(0), 5, 0))
        .then_refused("not-assigned")
        .when(to("V1"))
        .then([assigned()])
        .when(report(Entered(0), 5, 0))
        .then([set_off(5, true, 0), reached(0, 5, 0, false)])
        .when(to("V2"))
        .then_refused("already-boarding")
        .when(C::Unassign { reason: "x".into() })
        .then_refused("already-boarding");
}

#[test]
fn who_calls_it_off_when_decides_about_the_fee() {
    let at = |ms, by, fee| {
        let _ = given::<Trips>([requested(), assigned()])
            .at(now() + ms)
            .when(cancel(by))
            .then([E::Cancelled(cancelled(by, fee, now() + ms))])
            .when(cancel(by))
            .then_nothing()
            .when(request("V1"))
            .then_nothing()
            .then_state(|trip| trip.phase == TripPhase::Cancelled);
    };
    at(120_000, CancelledBy::Rider, CancellationFee::None);
    at(120_001, CancelledBy::Rider, CancellationFee::LateCancellation);
    at(120_001, CancelledBy::Driver, CancellationFee::None);
    at(120_001, CancelledBy::Operator, CancellationFee::None);
    at(120_001, CancelledBy::System, CancellationFee::None);
}

#[test]
fn a_trip_that_was_undone_before_it_was_done_never_comes() {
    given::<Trips>([])
        .when(cancel(CancelledBy::Rider))
        .then_refused("no-such-trip")
        .when(cancel(CancelledBy::System))
        .then_events(|events| matches!(events, [E::Cancelled(TripCancelled { trip, .. })] if trip == "t1"))
        .when(cancel(CancelledBy::System))
        .then_nothing()
        .when(request("V1"))
        .then_refused("trip-cancelled");
}

#[test]
fn under_way_only_the_platform_and_an_operator_can_end_it() {
    let _ = given::<Trips>(under_way())
        .at(now() + 300_000)
        .when(cancel(CancelledBy::Rider))
        .then_refused("under-way")
        .when(cancel(CancelledBy::Driver))
        .then_refused("under-way")
        .when(C::Conclude { reason: String::new(), mark: None })
        .then_refused("bad-value")
        .when(C::Conclude { reason: "vehicle lost".into(), mark: Some(mark(700, 0)) })
        .then_refused("mark-in-the-future")
        .by("user/olga")
        .when(C::Conclude { reason: "vehicle lost".into(), mark: Some(mark(260, 900)) })
        .then_events(|events| {
            let concluded = Concluded { by: "user/olga".into(), reason: "vehicle lost".into() };
            events[0] == E::Concluded(concluded)
                && matches!(&events[1], E::Completed(done) if done.distance_m == 840 && done.end == mark(260, 900))
        })
        .when(cancel(CancelledBy::Operator))
        .then_refused("trip-ended")
        .then_state(|trip| trip.phase == TripPhase::Completed);
    given::<Trips>([requested(), assigned()])
        .when(C::Conclude { reason: "x".into(), mark: None })
        .then_refused("not-under-way");
}

#[test]
fn nobody_waits_for_ever() {
    let no_vehicle = |event: &E| matches!(event, E::Cancelled(c) if c.reason == "no-vehicle-in-time" && c.fee == CancellationFee::None);
    given::<Trips>([requested()])
        .at(now() + 599_999)
        .when(C::Sweep)
        .then_nothing()
        .at(now() + 600_000)
        .when(C::Sweep)
        .then_events(|events| events.len() == 1 && no_vehicle(&events[0]))
        .when(C::Sweep)
        .then_nothing();
    // Five minutes from the vehicle's arrival, not from when we heard of it.
    let _ = given::<Trips>([requested(), assigned(), set_off(1, false, -9), reached(0, 60, 0, false)])
        .at(now() + 359_999)
        .when(C::Sweep)
        .then_nothing()
        .at(now() + 360_000)
        .when(C::Sweep)
        .then_events(|events| {
            matches!(events, [E::NoShow(c)] if c.waited_ms == 300_000 && c.fee == CancellationFee::NoShow)
        })
        .when(report(Left(0), 361, 80))
        .then_refused("trip-ended")
        .when(cancel(CancelledBy::System))
        .then_nothing()
        .then_state(|trip| trip.phase == TripPhase::NoShow);
    // Its vehicle was not asked in half a day: whether the rider came is not known, and costs nothing.
    let unheard = |event: &E| matches!(event, E::Cancelled(c) if c.reason == "vehicle-fell-silent" && c.fee == CancellationFee::None);
    let _ = given::<Trips>([requested(), assigned(), set_off(1, false, -9), reached(0, 60, 0, false)])
        .at(now() + 360_000 + limits::SILENT_MS)
        .when(C::Sweep)
        .then_events(|events| events.len() == 1 && unheard(&events[0]))
        .then_state(|trip| trip.phase == TripPhase::Cancelled);
}

#[test]
fn a_vehicle_that_does_not_come_costs_nothing_and_one_out_of_reach_is_waited_for_longer() {
    let due_ms = now() + limits::ARRIVE_WITHIN_MS;
    let called_off = |at_ms: i64, reason: &str| {
        for past in [vec![requested(), assigned()], vec![requested(), assigned(), set_off(1, false, -9)]] {
            let _ = given::<Trips>(past).at(at_ms).when(C::Sweep).then_events(|events| {
                matches!(events, [E::Cancelled(c)] if c.reason == reason && c.fee == CancellationFee::None)
            });
        }
    };
    given::<Trips>([requested(), assigned()]).at(due_ms - 1).when(C::Sweep).then_nothing();
    called_off(due_ms, "vehicle-did-not-come");
    called_off(due_ms + limits::ARRIVE_AWAY_MS - 1, "vehicle-did-not-come");
    called_off(due_ms + limits::ARRIVE_AWAY_MS, "vehicle-fell-silent");
    let line = |phase| TripLine { phase, due_ms: Some(due_ms), ..TripLine::default() };
    for (phase, away_ms) in [
        (TripPhase::Requested, 0),
        (TripPhase::Assigned, limits::ARRIVE_AWAY_MS),
        (TripPhase::Arriving, limits::ARRIVE_AWAY_MS),
        (TripPhase::Boarding, limits::SILENT_MS),
        (TripPhase::UnderWay, 0),
    ] {
        let line = line(phase);
        assert!(!line.is_ripe(true, due_ms - 1) && line.is_ripe(true, due_ms), "{phase:?}");
        assert!(!line.is_ripe(false, due_ms + away_ms - 1), "{phase:?}");
        assert!(line.is_ripe(false, due_ms + away_ms), "{phase:?}");
    }
    assert!(!TripLine::default().is_ripe(true, i64::MAX), "it has ended");
}

#[test]
fn stops_ahead_can_change() {
    let change = |from, stops| C::ChangeStops { from, stops, planned_distance_m: Some(3_000) };
    let changed =
        |from, stops| E::StopsChanged(StopsChanged { from, stops, planned_distance_m: Some(3_000) });
    let mut past = under_way();
    past[0] = requested_with(vec![stop(0), stop(500), stop(1_000)]);
    let _ = given::<Trips>(past)
        .when(change(0, vec![stop(5), stop(6)]))
        .then_refused("stop-passed")
        .when(change(4, vec![stop(5)]))
        .then_refused("no-such-stop")
        .when(change(1, vec![]))
        .then_refused("bad-value")
        .when(change(1, vec![stop(500), stop(1_000)]))
        .then_nothing()
        .when(change(1, vec![stop(2_000)]))
        .then([changed(1, vec![stop(2_000)])])
        .at(now() + 400_000)
        .when(report(Entered(1), 390, 2_000))
        .then([reached(1, 390, 2_000, false)])
        .when(change(2, vec![stop(3_000)]))
        .then_refused("stop-passed")
        .when(report(AtRest, 391, 2_000))
        .then_events(
            |events| matches!(events, [.., E::Completed(done)] if done.stops == 0 && done.distance_m == 1_940),
        );
}

#[test]
fn a_trip_is_rated_by_its_rider_in_time_and_otherwise_for_a_day() {
    let rate = |rider: &str, stars| C::Rate { rider: rider.into(), stars, comment: None };
    given::<Trips>(under_way())
        .when(rate("ada", 5))
        .then_refused("not-completed")
        .at(now() + 400_000)
        .when(report(Left(1), 300, 1_060))
        .then_events(|events| matches!(events, [.., E::Completed(_)]))
        .when(rate("bob", 5))
        .then_refused("not-the-rider")
        .when(rate("ada", 0))
        .then_refused("bad-value")
        .when(rate("ada", 6))
        .then_refused("bad-value")
        .at(now() + 300_000 + 7 * 24 * 3_600_000 + 1)
        .when(rate("ada", 5))
        .then_refused("rating-closed")
        .at(now() + 300_000 + 7 * 24 * 3_600_000)
        .when(rate("ada", 4))
        .then([E::Rated(Rated { stars: 4, comment: None, time_ms: now() + 300_000 + 7 * 24 * 3_600_000 })])
        .when(rate("ada", 4))
        .then_nothing()
        .when(rate("ada", 5))
        .then_events(|events| matches!(events, [E::Rated(rated)] if rated.stars == 5))
        .then_state(|trip| {
            let rating = trip.rating.as_ref().unwrap();
            rating.rated_ms == rating.changed_ms && rating.stars == 5
        })
        .at(now() + 300_000 + 8 * 24 * 3_600_000)
        .when(C::Rate { rider: "ada".into(), stars: 5, comment: Some(Sealed::new(vec![1])) })
        .then_events(|events| matches!(events, [E::Rated(rated)] if rated.comment.is_some()))
        .then_state(|trip| {
            let rating = trip.rating.as_ref().unwrap();
            rating.changed_ms - rating.rated_ms == limits::RATING_CHANGE_MS
        })
        .when(rate("bob", 1))
        .then_refused("not-the-rider")
        .at(now() + 300_001 + 8 * 24 * 3_600_000)
        .when(rate("ada", 1))
        .then_refused("already-rated");
}

#[test]
fn a_share_link_ends_by_time_by_wish_and_with_the_trip() {
    let (token, other) = ([42; 32], [43; 32]);
    let link = |token: &[u8], ms| C::Share { token_hash: share::hash(token), expires_ms: now() + ms };
    let follows = |token: [u8; 32], ms: i64| {
        move |trip: &remuda_trips::Trip| share::may_follow(trip, &token, now() + ms)
    };
    let scenario = given::<Trips>(under_way())
        .when(link(&token, 0))
        .then_refused("bad-value")
        .when(link(&token, limits::SHARE_MS_MAX + 1))
        .then_refused("bad-value")
        .when(link(&token, 2_000_000))
        .then_events(|events| events.len() == 1)
        .when(link(&token, 2_000_000))
        .then_nothing()
        .then_state(follows(token, 1_999_999))
        .then_state(|trip| !follows(token, 2_000_000)(trip) && !follows(other, 1)(trip))
        .when(link(&other, 2_000_000))
        .then_events(|events| events.len() == 1)
        .then_state(follows(other, 1))
        .when(C::Unshare { token_hash: share::hash(&other) })
        .then_events(|events| events.len() == 1)
        .when(C::Unshare { token_hash: share::hash(&other) })
        .then_nothing()
        .then_state(|trip| !follows(other, 1)(trip) && follows(token, 1)(trip));
    assert!(!format!("{:?}", scenario.state()).contains("42, 42, 42, 42"), "only the hash is kept");
    let id = share::id_of(&share::hash(&token));
    assert_eq!((id.len(), share::find(scenario.state(), &id).unwrap().token_hash), (16, share::hash(&token)));
    assert_eq!(share::find(scenario.state(), &share::id_of(&share::hash(&other))), None);
    let _ = scenario
        .at(now() + 400_000)
        .when(report(Left(1), 300, 1_060))
        .then_events(|events| matches!(events, [.., E::Completed(_)]))
        .then_state(|trip| share::ends_ms(trip, &trip.shares[0]) == now() + 2_000_000)
        .then_state(follows(token, 1_999_999))
        .then_state(|trip| !follows(token, 2_000_000)(trip));
    let _ = given::<Trips>(under_way())
        .when(link(&token, limits::SHARE_MS_MAX))
        .then_events(|events| events.len() == 1)
        .at(now() + 400_000)
        .when(report(Left(1), 300, 1_060))
        .then_events(|events| matches!(events, [.., E::Completed(_)]))
        .then_state(|trip| {
            share::ends_ms(trip, &trip.shares[0]) == now() + 300_000 + limits::SHARE_AFTER_END_MS
        })
        .then_state(follows(token, 299_999 + limits::SHARE_AFTER_END_MS))
        .then_state(|trip| !follows(token, 300_000 + limits::SHARE_AFTER_END_MS)(trip));
    let mut scenario = given::<Trips>(under_way());
    for n in 0..limits::SHARES_MAX {
        scenario =
            scenario.when(link(&[n as u8; 32], 1_000 + n as i64)).then_events(|events| events.len() == 1);
    }
    let _ = scenario
        .when(link(&token, 5_000))
        .then_refused("too-many-shares")
        .at(now() + 1_000)
        .when(link(&[99; 32], 5_000))
        .then_events(|events| events.len() == 1)
        .then_state(|trip| {
            trip.shares.len() == limits::SHARES_MAX && share::may_follow(trip, &[99; 32], now() + 1_001)
        });
}
