//! A ride from the booking to the bill, over a real journal, with a vehicle whose positions the test moves.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use remuda_contracts::business::sharing::ShareView;
use remuda_contracts::business::{BookTrip, BusinessError, Resolution};
use remuda_model::OrganizationId;
use support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ride_is_booked_driven_and_paid_through_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(&["CAR0", "CAR1"]);
    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    riders_and_vehicles(&desk, &["rita"], &["CAR0", "CAR1"]).await;
    business.settle(PATIENCE).await.unwrap();
    let booked = desk.book(&ORGANIZATION(), ride("rita"), asker("b-1")).await.unwrap();
    assert_eq!((booked.saga, booked.state, booked.vehicle.as_str()), ("completed", "assigned", "CAR0"));
    let again = desk.book(&ORGANIZATION(), ride("rita"), asker("b-1")).await.unwrap();
    assert_eq!(
        (again.id, again.vehicle),
        (booked.id, booked.vehicle),
        "the same request is the same booking"
    );
    let held = desk.user(&ORGANIZATION(), "rita").await.unwrap().held;
    assert!(held > 0);

    let at = |hundreds: i32| 481_000_000 + HUNDRED_M * hundreds;
    fleet.put("CAR0", at(1), 30.0);
    until(&desk, "b-1", "arriving").await;
    fleet.put("CAR0", at(3), 0.0);
    until(&desk, "b-1", "boarding").await;
    fleet.put("CAR0", at(8), 50.0);
    until(&desk, "b-1", "under-way").await;
    // The node stops in the middle of the ride and starts again.
    business.stop().await;
    drop((desk, business));
    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    assert_eq!(desk.trip(&ORGANIZATION(), "b-1").await.unwrap().state, "under-way");
    fleet.put("CAR0", at(15), 50.0);
    fleet.put("CAR0", at(23), 0.0);
    let done = until(&desk, "b-1", "completed").await;
    assert_eq!(done.vehicle, "CAR0");
    business.settle(PATIENCE).await.unwrap();
    let done = desk.trip(&ORGANIZATION(), "b-1").await.unwrap();
    let driven = done.distance_m.unwrap();
    assert!((1_400..=2_100).contains(&driven), "{driven} m by the odometer");
    let paid = desk.user(&ORGANIZATION(), "rita").await.unwrap();
    assert_eq!(paid.held, 0);
    assert!(paid.available < 10_000 && 10_000 - paid.available <= held, "{paid:?}, {held} were held");
    let figures = business.figures();
    assert_eq!((figures.sagas_running, figures.sagas_stuck, figures.ledger_sum_minor_units), (0, 0, 0));
    assert_eq!(figures.reactors_stopped, 0);
    // The vehicle is free again, and the nearest.
    let next = desk.book(&ORGANIZATION(), ride("rita"), asker("b-2")).await.unwrap();
    assert_eq!((next.state, next.vehicle.as_str()), ("assigned", "CAR1"), "it stands at the pick-up now");
    let cancelled = desk.cancel(&ORGANIZATION(), "b-2", "a change of plan", asker("c-2")).await.unwrap();
    assert_eq!(cancelled.state, "cancelled");
    business.settle(PATIENCE).await.unwrap();
    assert_eq!(desk.user(&ORGANIZATION(), "rita").await.unwrap().held, 0);
    business.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ride_that_is_called_off_on_the_way_is_paid_as_far_as_it_went() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(&["CAR0"]);
    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    riders_and_vehicles(&desk, &["rita"], &["CAR0"]).await;
    business.settle(PATIENCE).await.unwrap();
    desk.book(&ORGANIZATION(), ride("rita"), asker("b-1")).await.unwrap();
    let at = |hundreds: i32| 481_000_000 + HUNDRED_M * hundreds;
    for (hundreds, kmh, state) in [(1, 30.0, "arriving"), (3, 0.0, "boarding"), (8, 50.0, "under-way")] {
        fleet.put("CAR0", at(hundreds), kmh);
        until(&desk, "b-1", state).await;
    }
    let ended = desk.cancel(&ORGANIZATION(), "b-1", "the rider feels ill", asker("c-1")).await.unwrap();
    assert_eq!(ended.state, "completed");
    business.settle(PATIENCE).await.unwrap();
    let rita = desk.user(&ORGANIZATION(), "rita").await.unwrap();
    assert!(rita.held == 0 && rita.available < 10_000, "{rita:?}");
    let figures = business.figures();
    assert_eq!((figures.reactors_stopped, figures.ledger_sum_minor_units), (0, 0));
    business.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_bookings_for_the_last_vehicle_one_wins_and_one_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(&["CAR0"]);
    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    riders_and_vehicles(&desk, &["rita", "rob"], &["CAR0"]).await;
    business.settle(PATIENCE).await.unwrap();
    let named = |rider: &str| BookTrip { vehicles: vec!["CAR0".into()], ..ride(rider) };
    let organization = ORGANIZATION();
    let (one, other) = tokio::join!(
        desk.book(&organization, named("rita"), asker("b-1")),
        desk.book(&organization, named("rob"), asker("b-2")),
    );
    let mut states = [one.unwrap().state, other.unwrap().state];
    states.sort_unstable();
    assert_eq!(states, ["assigned", "not-booked"]);
    business.settle(PATIENCE).await.unwrap();
    let held =
        [desk.user(&ORGANIZATION(), "rita").await.unwrap(), desk.user(&ORGANIZATION(), "rob").await.unwrap()];
    assert_eq!(held.iter().filter(|user| user.held > 0).count(), 1, "{held:?}");
    business.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_booking_that_cannot_be_confirmed_is_undone_and_its_timeline_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (fleet, mute) = (Fleet::new(&["CAR0"]), Arc::new(AtomicBool::new(true)));
    let business = start(folder.path(), &fleet, Some(&mute)).await;
    let desk = business.desk();
    riders_and_vehicles(&desk, &["rita"], &["CAR0"]).await;
    business.settle(PATIENCE).await.unwrap();
    let trip = desk.book(&ORGANIZATION(), ride("rita"), asker("b-1")).await.unwrap();
    assert_eq!(trip.saga, "compensated", "{trip:?}");
    let (saga, lines) = desk.saga(&ORGANIZATION(), "b-1").await.unwrap();
    assert_eq!(saga.definition, "TripBookingSaga");
    assert!(lines.iter().any(|line| line.what.contains("no-address")), "{lines:#?}");
    business.settle(PATIENCE).await.unwrap();
    let user = desk.user(&ORGANIZATION(), "rita").await.unwrap();
    assert_eq!((user.available, user.held), (10_000, 0));
    // Nothing is stuck, so there is nothing to resolve.
    let refused = desk.resolve(&ORGANIZATION(), "b-1", Resolution::Retry, "why not", asker("r-1")).await;
    assert!(matches!(refused, Err(BusinessError::Refused { .. })), "{refused:?}");
    mute.store(false, Ordering::Relaxed);
    let second = desk.book(&ORGANIZATION(), ride("rita"), asker("b-2")).await.unwrap();
    assert_eq!(second.state, "assigned", "the vehicle was given back: {second:?}");
    business.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_with_a_stable_code() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(&["CAR0"]);
    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    let code = |error: BusinessError| match error {
        BusinessError::Refused { code, .. } => code,
        BusinessError::NotFound { what, .. } => format!("no {what}"),
        BusinessError::Unavailable(text) => panic!("{text}"),
    };
    let booked = |trip: BookTrip, id: &'static str| {
        let desk = Arc::clone(&desk);
        async move { desk.book(&ORGANIZATION(), trip, asker(id)).await }
    };
    assert_eq!(code(booked(ride("rita"), "b-1").await.unwrap_err()), "no-vehicle-free");
    // Nothing was promised under that name: it may be used for another ride.
    let mut longer = ride("rita");
    longer.stops[1].latitude_e7 += HUNDRED_M * 50;
    assert_eq!(code(booked(longer, "b-1").await.unwrap_err()), "no-vehicle-free");
    riders_and_vehicles(&desk, &["rita"], &["CAR0"]).await;
    business.settle(PATIENCE).await.unwrap();
    let one_stop = BookTrip { stops: ride("rita").stops[..1].to_vec(), ..ride("rita") };
    assert_eq!(code(booked(one_stop, "b-2").await.unwrap_err()), "bad-stops");
    let stranger = booked(ride("nobody"), "b-3").await.unwrap();
    assert_eq!((stranger.state, stranger.saga), ("not-booked", "compensated"));
    assert_eq!(code(desk.trip(&ORGANIZATION(), "b-9").await.unwrap_err()), "no trip");
    assert_eq!(code(desk.user(&ORGANIZATION(), "nobody").await.unwrap_err()), "no user");
    assert_eq!(code(desk.saga(&ORGANIZATION(), "b-9").await.unwrap_err()), "no saga");
    assert_eq!(code(desk.trips(&ORGANIZATION(), Some("flying"), None, 5).await.unwrap_err()), "bad-state");
    let elsewhere = OrganizationId::new("another").unwrap();
    assert_eq!(code(desk.user(&elsewhere, "rita").await.unwrap_err()), "no organization");
    business.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_follows_its_trip_through_a_restart_until_it_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(&["CAR0"]);
    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    riders_and_vehicles(&desk, &["rita"], &["CAR0"]).await;
    business.settle(PATIENCE).await.unwrap();
    let code = |error: BusinessError| match error {
        BusinessError::Refused { code, .. } => code,
        BusinessError::NotFound { what, .. } => format!("no {what}"),
        BusinessError::Unavailable(text) => panic!("{text}"),
    };
    let here = ORGANIZATION();
    assert_eq!(code(desk.share_trip(&here, "b-1", None, asker("s-0")).await.unwrap_err()), "no trip");
    desk.book(&here, ride("rita"), asker("b-1")).await.unwrap();
    let day_ms = 24 * 3_600_000;
    for wrong in [0, day_ms + 60_000] {
        let refused = desk.share_trip(&here, "b-1", Some(wrong), asker(&format!("s-{wrong}"))).await;
        assert_eq!(code(refused.unwrap_err()), "bad-value");
    }
    let link = desk.share_trip(&here, "b-1", None, asker("s-1")).await.unwrap();
    let other = desk.share_trip(&here, "b-1", Some(3_600_000), asker("s-2")).await.unwrap();
    assert!(link.token != other.token && !format!("{link:?}").contains(&link.token));
    let ids = |shares: Vec<ShareView>| shares.into_iter().map(|share| share.id).collect::<Vec<_>>();
    let both = [link.share.id.clone(), other.share.id.clone()];
    assert_eq!(ids(desk.trip_shares(&here, "b-1").await.unwrap()), both);
    business.stop().await;
    drop((desk, business));

    let business = start(folder.path(), &fleet, None).await;
    let desk = business.desk();
    business.settle(PATIENCE).await.unwrap();
    let follow = async |token: &str| desk.follow_trip(&here, "b-1", Some(token)).await.unwrap();
    let mut follower = follow(&link.token).await;
    let seen = follower.look().await.unwrap();
    assert_eq!((seen.state, seen.position, seen.vehicle), ("assigned", None, None), "it is on no record");
    let at = |hundreds: i32| 481_000_000 + HUNDRED_M * hundreds;
    fleet.put("CAR0", at(1), 30.0);
    until(&desk, "b-1", "arriving").await;
    let seen = follower.look().await.unwrap();
    assert_eq!((seen.next_stop, seen.position.unwrap().latitude_e7), ("pick-up", at(1)));
    assert!((190..=210).contains(&seen.remaining_m.unwrap()), "{seen:?}");
    assert!(seen.eta_ms.unwrap() > now_ms(), "{seen:?}");
    for (hundreds, kmh, state) in [(3, 0.0, "boarding"), (8, 50.0, "under-way")] {
        fleet.put("CAR0", at(hundreds), kmh);
        until(&desk, "b-1", state).await;
    }
    let seen = follower.look().await.unwrap();
    assert_eq!((seen.state, seen.next_stop), ("under-way", "drop-off"));
    assert!((1_450..=1_550).contains(&seen.remaining_m.unwrap()), "{seen:?}");
    // Another token, of this trip or none, is refused with the same words.
    let mut refusals = Vec::new();
    for (trip, token) in [("b-1", "share-00"), ("b-9", link.token.as_str()), ("", "")] {
        refusals.push(match desk.follow_trip(&here, trip, Some(token)).await {
            Ok(mut follower) => follower.look().await.unwrap_err(),
            Err(error) => error,
        });
    }
    desk.revoke_share(&here, "b-1", &other.share.id, asker("u-1")).await.unwrap();
    let again = desk.revoke_share(&here, "b-1", &other.share.id, asker("u-2")).await;
    assert_eq!(code(again.unwrap_err()), "no share");
    refusals.push(follow(&other.token).await.look().await.unwrap_err());
    for refusal in &refusals {
        assert_eq!(refusal, &refusals[0]);
    }
    assert_eq!(code(refusals.remove(0)), "share-invalid");
    fleet.put("CAR0", at(23), 0.0);
    until(&desk, "b-1", "completed").await;
    let seen = follower.look().await.unwrap();
    assert_eq!((seen.state, seen.ended, seen.position, seen.vehicle), ("completed", true, None, None));
    let late = desk.share_trip(&here, "b-1", None, asker("s-9")).await;
    assert_eq!(code(late.unwrap_err()), "trip-ended");
    business.stop().await;
}
