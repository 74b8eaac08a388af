//! Each command in each state.

use std::path::Path;

use remuda_contracts::trips::{CancellationFee, CancelledBy};
use remuda_eventsourcing::testing::context;
use remuda_eventsourcing::{Aggregate, Context, table};
use remuda_trips::command::Observation::*;
use remuda_trips::{Trip, TripCommand as C, TripEvent as E, Trips};

use crate::support::*;

#[test]
fn the_table_of_decisions_is_true() {
    let way = under_way();
    let after = |events: &[E]| {
        let mut trip = Trip::default();
        events.iter().for_each(|event| Trips::evolve(&mut trip, event));
        trip
    };
    let completed = {
        let mut trip = after(&way);
        let at = Context { now_ms: now() + 400_000, ..context() };
        Trips::decide(&trip, &report(Left(1), 330, 1_060), &at)
            .unwrap()
            .iter()
            .for_each(|event| Trips::evolve(&mut trip, event));
        trip
    };
    let facts = cancelled(CancelledBy::Rider, CancellationFee::None, now());
    let states = [
        ("unknown", Trip::default()),
        ("requested", after(&way[..1])),
        ("assigned", after(&way[..2])),
        ("arriving", after(&way[..3])),
        ("boarding", after(&way[..4])),
        ("under way", after(&way)),
        ("completed", completed),
        ("cancelled", after(&[requested(), E::Cancelled(facts.clone())])),
        ("no-show", after(&[&way[..4], &[E::NoShow(facts)]].concat())),
    ];
    let commands = [
        ("Request", request_of("V1", vec![stop(0), stop(700)])),
        ("Assign", C::Assign { vehicle: "V2".into(), driver: None }),
        ("Unassign", C::Unassign { reason: "x".into() }),
        ("Report SetOff", report(SetOff, 340, -9)),
        ("Report Entered(pick-up)", report(Entered(0), 341, 0)),
        ("Report Left(pick-up)", report(Left(0), 342, 60)),
        ("Report Entered(drop-off)", report(Entered(1), 343, 1_000)),
        ("Report Left(drop-off)", report(Left(1), 344, 1_060)),
        ("Report AtRest", report(AtRest, 345, 1_060)),
        (
            "Report of another vehicle",
            C::Report { vehicle: "V9".into(), observation: AtRest, stop: None, mark: mark(346, 0) },
        ),
        ("ChangeStops", C::ChangeStops { from: 1, stops: vec![stop(800)], planned_distance_m: None }),
        ("Cancel (rider)", cancel(CancelledBy::Rider)),
        ("Cancel (operator)", cancel(CancelledBy::Operator)),
        ("Cancel (saga)", cancel(CancelledBy::System)),
        ("Conclude", C::Conclude { reason: "x".into(), mark: None }),
        ("Sweep, late", C::Sweep),
        ("Rate", C::Rate { rider: "ada".into(), stars: 5, comment: None }),
        ("Share", C::Share { token_hash: [1; 32], expires_ms: now() + 4_000_000 }),
        ("Unshare", C::Unshare { token_hash: [2; 32] }),
    ];
    let late = Context { now_ms: now() + 700_000, ..context() };
    // Two tables, since one would be too wide to read.
    let (open, ended) = states.split_at(6);
    let table = [open, ended].map(|states| table::decisions::<Trips>(states, &commands, &late)).join("\n");
    table::check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"), &table).unwrap();
}
