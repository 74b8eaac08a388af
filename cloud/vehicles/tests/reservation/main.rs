//! Who has a vehicle: the rules, their table, their bytes, and whatever is asked in whatever order.

#![allow(clippy::unwrap_used)]

mod living;

use std::path::Path;

use proptest::prelude::*;
use remuda_eventsourcing::testing::{context, given, golden_event};
use remuda_eventsourcing::{Aggregate, Context, table};
use remuda_vehicles::reservation::event::{Ended, Extended, PutInService, Reserved, TakenOutOfService};
use remuda_vehicles::reservation::state::Service;
use remuda_vehicles::reservation::{
    Availability, ReservationCommand as C, ReservationEvent as E, Reservations, limits,
};

fn now() -> i64 {
    context().now_ms
}

fn reserve(key: &str) -> C {
    C::Reserve { key: key.into(), holder: format!("trip of {key}"), expires_ms: now() + 60_000 }
}

fn release(key: &str) -> C {
    C::Release { key: key.into() }
}

fn withdraw(when_free: bool) -> C {
    C::TakeOutOfService { reason: "brakes".into(), when_free }
}

fn in_service() -> E {
    E::PutInService(PutInService {})
}

fn reserved(key: &str) -> E {
    let (time_ms, expires_ms) = (now(), now() + 60_000);
    E::Reserved(Reserved { key: key.into(), holder: format!("trip of {key}"), time_ms, expires_ms })
}

fn ended(key: &str, held: bool) -> Ended {
    Ended { key: key.into(), held }
}

fn out() -> TakenOutOfService {
    TakenOutOfService { reason: "brakes".into() }
}

#[test]
fn two_bookings_for_the_last_vehicle_and_one_wins() {
    given::<Reservations>([])
        .when(reserve("a"))
        .then_refused("vehicle-not-in-service")
        .when(C::PutInService)
        .then([in_service()])
        .when(C::PutInService)
        .then_nothing()
        .when(reserve("a"))
        .then([reserved("a")])
        .when(reserve("a"))
        .then_nothing()
        .when(C::Reserve { key: "a".into(), holder: "another".into(), expires_ms: now() + 1 })
        .then_refused("reservation-key-reused")
        .when(reserve("b"))
        .then_refused("vehicle-reserved")
        .when(release("a"))
        .then([E::Released(ended("a", true))])
        .when(release("a"))
        .then_nothing()
        .when(reserve("a"))
        .then_refused("reservation-ended")
        .when(reserve("b"))
        .then([reserved("b")]);
}

#[test]
fn what_is_undone_before_it_is_done_stays_undone() {
    given::<Reservations>([in_service(), reserved("a")])
        .when(release("b"))
        .then([E::Released(ended("b", false))])
        .when(release("b"))
        .then_nothing()
        .when(reserve("b"))
        .then_refused("reservation-ended")
        .when(reserve("a"))
        .then_nothing();
}

#[test]
fn a_reservation_ends_by_itself() {
    let extend = |key: &str, ms| C::Extend { key: key.into(), expires_ms: now() + ms };
    given::<Reservations>([in_service(), reserved("a")])
        .at(now() + 59_999)
        .when(C::Expire)
        .then_nothing()
        .when(extend("b", 90_000))
        .then_refused("no-such-reservation")
        .when(extend("a", 59_999))
        .then_refused("bad-value")
        .when(extend("a", 90_000))
        .then([E::Extended(Extended { key: "a".into(), expires_ms: now() + 90_000 })])
        .when(extend("a", 90_000))
        .then_nothing()
        .at(now() + 90_000)
        .when(extend("a", 120_000))
        .then_events(|events| events.len() == 1)
        .at(now() + 120_000)
        .when(C::Expire)
        .then([E::Expired(ended("a", true))])
        .when(extend("a", 190_000))
        .then_refused("reservation-ended");
    // Nobody has swept: the next booking does.
    let later = C::Reserve { key: "b".into(), holder: "t".into(), expires_ms: now() + 70_000 };
    let _ = given::<Reservations>([in_service(), reserved("a")])
        .then_state(|state| !state.is_free(now() + 59_999) && state.is_free(now() + 60_000))
        .at(now() + 60_000)
        .when(later)
        .then_events(|events| events.len() == 2 && events[0] == E::Expired(ended("a", true)))
        .then_state(|state| state.is_held_by("b"));
    for ms in [0, limits::RESERVATION_MS_MAX + 1] {
        let wrong = C::Reserve { key: "a".into(), holder: "t".into(), expires_ms: now() + ms };
        given::<Reservations>([in_service()]).when(wrong).then_refused("bad-value");
    }
}

#[test]
fn a_vehicle_leaves_service_when_nobody_has_it() {
    given::<Reservations>([in_service(), reserved("a")])
        .when(withdraw(false))
        .then_refused("vehicle-reserved")
        .when(withdraw(true))
        .then([E::WithdrawalOrdered(out())])
        .when(withdraw(true))
        .then_nothing()
        .when(release("a"))
        .then([E::Released(ended("a", true)), E::TakenOutOfService(out())])
        .when(reserve("b"))
        .then_refused("vehicle-not-in-service")
        .when(withdraw(false))
        .then_nothing()
        .when(C::PutInService)
        .then([in_service()])
        .when(withdraw(false))
        .then([E::TakenOutOfService(out())]);
    // Called back before the ride ended.
    given::<Reservations>([in_service(), reserved("a"), E::WithdrawalOrdered(out())])
        .when(C::PutInService)
        .then([in_service()])
        .when(release("a"))
        .then([E::Released(ended("a", true))]);
    // The reservation has run out in the meantime.
    given::<Reservations>([in_service(), reserved("a"), E::WithdrawalOrdered(out())])
        .at(now() + 60_000)
        .when(C::Reserve { key: "b".into(), holder: "t".into(), expires_ms: now() + 70_000 })
        .then_refused("vehicle-not-in-service")
        .when(withdraw(false))
        .then([E::Expired(ended("a", true)), E::TakenOutOfService(out())]);
}

#[test]
fn the_table_of_decisions_is_true() {
    let after = |events: &[E]| {
        let mut state = Availability::default();
        events.iter().for_each(|event| Reservations::evolve(&mut state, event));
        state
    };
    let states = [
        ("new", after(&[])),
        ("in service", after(&[in_service()])),
        ("reserved by a", after(&[in_service(), reserved("a")])),
        ("reserved by a, leaving", after(&[in_service(), reserved("a"), E::WithdrawalOrdered(out())])),
        ("out of service", after(&[in_service(), E::TakenOutOfService(out())])),
    ];
    let commands = [
        ("PutInService", C::PutInService),
        ("TakeOutOfService", withdraw(false)),
        ("TakeOutOfService when free", withdraw(true)),
        ("Reserve (a)", reserve("a")),
        ("Reserve (b)", reserve("b")),
        ("Extend (a)", C::Extend { key: "a".into(), expires_ms: now() + 90_000 }),
        ("Release (a)", release("a")),
        ("Release (b)", release("b")),
        ("Expire", C::Expire),
    ];
    let table = table::decisions::<Reservations>(&states, &commands, &context());
    table::check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/reservation/README.md"), &table).unwrap();
}

#[test]
fn what_was_written_is_read_for_ever() {
    let cases = [
        (in_service(), ""),
        (E::TakenOutOfService(out()), "066272616b6573"),
        (E::WithdrawalOrdered(out()), "066272616b6573"),
        (
            E::Reserved(Reserved { key: "k".into(), holder: "h".into(), time_ms: 1, expires_ms: 300 }),
            "016b016802d804",
        ),
        (E::Extended(Extended { key: "k".into(), expires_ms: 300 }), "016bd804"),
        (E::Released(ended("k", true)), "016b01"),
        (E::Expired(ended("k", true)), "016b01"),
    ];
    for (event, hex) in &cases {
        golden_event::<Reservations>(event.event_type(), 1, hex, event);
    }
    let types: Vec<&str> = cases.iter().map(|(event, _)| event.event_type()).collect();
    assert_eq!(types, E::TYPES.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "every event has a case");
}

fn command() -> impl Strategy<Value = C> {
    let key = || (0..5_u8).prop_map(|n| format!("b{n}"));
    prop_oneof![
        2 => Just(C::PutInService),
        1 => any::<bool>().prop_map(withdraw),
        6 => (key(), 1..5_000_i64).prop_map(|(key, ms)| C::Reserve { holder: key.clone(), key, expires_ms: now() + ms }),
        1 => (key(), 1..9_000_i64).prop_map(|(key, ms)| C::Extend { key, expires_ms: now() + ms }),
        4 => key().prop_map(|key| C::Release { key }),
        1 => Just(C::Expire),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is asked in whatever order: between two holders there is an end, and an ended key never holds again.
    #[test]
    fn a_vehicle_has_one_holder(commands in prop::collection::vec((command(), 0..300_i64), 1..60)) {
        let mut state = Availability::default();
        let mut at = Context { now_ms: now(), ..context() };
        let mut holder: Option<String> = None;
        let mut ended: Vec<String> = Vec::new();
        for (command, passed_ms) in commands {
            at.now_ms += passed_ms;
            let Ok(events) = Reservations::decide(&state, &command, &at) else { continue };
            for event in &events {
                match event {
                    E::Reserved(e) => {
                        prop_assert_eq!(holder.replace(e.key.clone()), None, "it was somebody's");
                        prop_assert!(!ended.contains(&e.key), "{} holds again", &e.key);
                    }
                    E::Released(e) | E::Expired(e) => {
                        prop_assert_eq!(e.held, holder.as_ref() == Some(&e.key));
                        holder = holder.filter(|key| *key != e.key);
                        ended.push(e.key.clone());
                    }
                    E::TakenOutOfService(_) => prop_assert_eq!(&holder, &None, "nobody loses it on the way"),
                    E::PutInService(_) | E::WithdrawalOrdered(_) | E::Extended(_) => {}
                }
                Reservations::evolve(&mut state, event);
            }
            prop_assert_eq!(state.current.as_ref().map(|current| &current.key), holder.as_ref());
            let leaving = matches!(state.service, Service::Leaving { .. });
            prop_assert!(!leaving || holder.is_some());
            prop_assert_eq!(Reservations::decide(&state, &command, &at).map(|events| events.len()), Ok(0), "{:?}", command);
        }
    }
}
