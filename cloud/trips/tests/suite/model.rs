//! Whatever is said in whatever order: phases only go forward, a trip completes once, a repetition does nothing.

use proptest::prelude::*;
use remuda_contracts::trips::CancelledBy;
use remuda_eventsourcing::testing::context;
use remuda_eventsourcing::{Aggregate, Context};
use remuda_trips::command::Observation;
use remuda_trips::state::TripPhase;
use remuda_trips::{Trip, TripCommand as C, TripEvent as E, Trips};

use crate::support::*;

const STOPS: u16 = 3;

fn observation() -> impl Strategy<Value = Observation> {
    prop_oneof![
        Just(Observation::SetOff),
        (0..STOPS).prop_map(Observation::Entered),
        (0..STOPS).prop_map(Observation::Left),
        Just(Observation::AtRest),
    ]
}

fn command() -> impl Strategy<Value = C> {
    let by = prop_oneof![Just(CancelledBy::Rider), Just(CancelledBy::Operator), Just(CancelledBy::System)];
    prop_oneof![
        4 => Just(request_of("V1", vec![stop(0), stop(500), stop(1_000)])),
        2 => prop_oneof![Just("V1"), Just("V2")].prop_map(|v| C::Assign { vehicle: v.into(), driver: None }),
        1 => Just(C::Unassign { reason: "x".into() }),
        24 => (observation(), 0..900_i64, 0..1_000_i32).prop_map(|(what, second, east_m)| report(what, second, east_m)),
        1 => by.prop_map(cancel),
        1 => Just(C::Conclude { reason: "x".into(), mark: None }),
        2 => Just(C::Sweep),
        1 => (0..7_u8).prop_map(|stars| C::Rate { rider: "ada".into(), stars, comment: None }),
        1 => (0..3_u8).prop_map(|n| C::Share { token_hash: [n; 32], expires_ms: now() + 1_000_000 }),
    ]
}

fn rank(phase: TripPhase) -> u8 {
    match phase {
        TripPhase::Unknown => 0,
        // Another vehicle may take it.
        TripPhase::Requested | TripPhase::Assigned | TripPhase::Arriving => 1,
        TripPhase::Boarding => 2,
        TripPhase::UnderWay => 3,
        TripPhase::Completed | TripPhase::Cancelled | TripPhase::NoShow => 4,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_trip_goes_one_way_and_ends_once(commands in prop::collection::vec((command(), 0..40_000_i64), 1..60)) {
        let mut trip = Trip::default();
        let mut at = Context { now_ms: now(), ..context() };
        let mut ends = 0;
        for (command, passed_ms) in commands {
            at.now_ms += passed_ms;
            let before = trip.phase;
            let Ok(events) = Trips::decide(&trip, &command, &at) else { continue };
            for event in &events {
                Trips::evolve(&mut trip, event);
                let stored = Trips::encode(event);
                prop_assert_eq!(&Trips::decode(stored.event_type, stored.schema_version, &stored.payload).unwrap(), event);
                match event {
                    E::Completed(done) => {
                        ends += 1;
                        prop_assert!(done.duration_ms >= 0 && done.waiting_ms >= 0);
                        prop_assert_eq!(&done.parties.vehicle, "V1");
                    }
                    E::Cancelled(c) | E::NoShow(c) => {
                        ends += 1;
                        prop_assert!(c.waited_ms >= 0 && c.since_assigned_ms.is_none_or(|ms| ms >= 0));
                    }
                    _ => {}
                }
            }
            prop_assert!(rank(before) <= rank(trip.phase), "{:?} > {:?}", before, trip.phase);
            prop_assert!(!before.is_final() || before == trip.phase, "the first end stays");
            prop_assert_eq!(ends, i32::from(trip.phase.is_final()));
            prop_assert!(trip.phase != TripPhase::UnderWay || trip.visits[0].left.is_some());
            prop_assert!(trip.visits.is_empty() || trip.visits.len() == usize::from(STOPS));
            prop_assert!(rank(trip.phase) != 1 || (trip.phase == TripPhase::Requested) == trip.assigned_ms.is_none());
            // A vehicle sends again what it does not know to have arrived.
            if let C::Report { .. } = command {
                let again = Trips::decide(&trip, &command, &at);
                prop_assert_eq!(again.map(|events| events.len()), Ok(0), "{:?}", command);
            }
        }
    }

    /// However the reports of a ride are shuffled, as long as the last one comes last, the ride is counted, once, and the figures
    /// that money needs are the same.
    #[test]
    fn the_order_of_reports_does_not_change_the_bill(
        order in Just(vec![0_usize, 1, 2, 3, 4, 5]).prop_shuffle(),
        repeated in prop::collection::vec(0..6_usize, 0..4),
    ) {
        use Observation::{Entered, Left, SetOff, AtRest};
        let ride = [(SetOff, 10, -500), (Entered(0), 60, 0), (Left(0), 200, 60), (Entered(1), 250, 460), (Left(1), 280, 560),
            (Entered(2), 325, 960)];
        let mut trip = Trip::default();
        let at = Context { now_ms: now() + 400_000, ..context() };
        let does = |trip: &mut Trip, command: C, at: &Context| {
            let events = Trips::decide(trip, &command, at).unwrap_or_default();
            events.iter().for_each(|event| Trips::evolve(trip, event));
            events
        };
        does(&mut trip, request_of("V1", vec![stop(0), stop(500), stop(1_000)]), &context());
        // A vehicle sends in order; what is lost on the way it sends again, after what came later.
        for round in [&order[..], &repeated[..], &[0, 1, 2, 3, 4, 5], &[0, 1, 2, 3, 4, 5]] {
            for &n in round {
                let (what, second, east_m) = ride[n];
                does(&mut trip, report(what, second, east_m), &at);
            }
        }
        let events = does(&mut trip, report(AtRest, 330, 1_000), &at);
        let [E::Completed(done)] = &events[..] else {
            return Err(TestCaseError::fail(format!("{events:?} in {trip:?}")));
        };
        prop_assert_eq!((done.distance_m, done.duration_ms, done.waiting_ms), (940, 130_000, 20_000));
    }
}
