//! Events that must be read for ever. Cases are only ever added.

use remuda_contracts::sealed::Sealed;
use remuda_contracts::trips::{
    CancellationFee, CancelledBy, DistanceSource, TRIP_CANCELLED, TRIP_COMPLETED, TRIP_NO_SHOW,
    TRIP_SCHEMA_VERSION, TripCompleted,
};
use remuda_eventsourcing::testing::{golden_event, written_now};
use remuda_trips::event::{Concluded, Rated, Shared, StopsChanged, Unassigned, Unshared, VisitCorrected};
use remuda_trips::{TripEvent as E, Trips};

use crate::support::*;

fn cases() -> Vec<(E, &'static str)> {
    let facts = cancelled(CancelledBy::Rider, CancellationFee::LateCancellation, now() + 5);
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
    vec![
        (
            requested(),
            "02743103616461000001067669656e6e61000280f2d5cb0380bbb99b01320080f2d5cb03b0f8c99b01320001e807809f49c0cf2480d30e80d30e8090e4c00401027131c413034555520109626f6f6b696e672d3180a0abfef962",
        ),
        (assigned(), "0256310080a0abfef962"),
        (E::Unassigned(Unassigned { vehicle: "V1".into(), reason: "x".into() }), "0256310178"),
        (set_off(1, true, 5), "d0afabfef96280f2d5cb03c6c5b99b010185ade204019e8d0601010101"),
        (reached(0, 2, 5, false), "00a0bfabfef96280f2d5cb03c6c5b99b010185ade204019e8d0601010200"),
        (left(0, 3, 5, false), "00f0ceabfef96280f2d5cb03c6c5b99b010185ade204019e8d0601010300"),
        (
            E::VisitCorrected(VisitCorrected { stop: 1, entered: true, mark: mark(4, 5) }),
            "0101c0deabfef96280f2d5cb03c6c5b99b010185ade204019e8d06010104",
        ),
        (
            E::StopsChanged(StopsChanged { from: 1, stops: vec![stop(7)], planned_distance_m: Some(9) }),
            "010180f2d5cb03e2c9b99b0132000109",
        ),
        (E::Concluded(Concluded { by: "user/olga".into(), reason: "x".into() }), "09757365722f6f6c67610178"),
        (
            E::Completed(completed),
            "027431036164610256310001067669656e6e610080a0abfef96280d5c3fef96280f2d5cb03c8b9ba9b0101bcade20401888d060101c801a0c4d3fef96280f2d5cb03b0f8c99b0101e8b4e20401908a060101ca02ac0700a0ef0f01f802c0b8020001027131c413034555520109626f6f6b696e672d31",
        ),
        (
            E::Cancelled(facts.clone()),
            "027431036164610256310001067669656e6e6100000f6368616e676564206d79206d696e64018aa0abfef962010a000001027131c413034555520109626f6f6b696e672d31",
        ),
        (
            E::NoShow(facts),
            "027431036164610256310001067669656e6e6100000f6368616e676564206d79206d696e64018aa0abfef962010a000001027131c413034555520109626f6f6b696e672d31",
        ),
        (E::Rated(Rated { stars: 4, comment: Some(Sealed::new(vec![1, 2])), time_ms: 6 }), "04010201020c"),
        (
            E::Shared(Shared { token_hash: [7; 32], expires_ms: 8 }),
            "070707070707070707070707070707070707070707070707070707070707070710",
        ),
        (
            E::Unshared(Unshared { token_hash: [7; 32] }),
            "0707070707070707070707070707070707070707070707070707070707070707",
        ),
    ]
}

#[test]
fn what_was_written_is_read_for_ever() {
    if std::env::var_os("REMUDA_WRITE_TABLES").is_some() {
        cases().iter().for_each(|(event, _)| println!("golden {}", written_now::<Trips>(event)));
        return;
    }
    let mut types: Vec<&str> = Vec::new();
    for (event, hex) in cases() {
        golden_event::<Trips>(event.event_type(), 1, hex, &event);
        types.push(event.event_type());
    }
    assert_eq!(types, E::TYPES.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "every event has a case");
}

#[test]
fn what_others_read_is_called_as_they_know_it() {
    for name in [TRIP_COMPLETED, TRIP_CANCELLED, TRIP_NO_SHOW] {
        assert!(E::TYPES.contains(&(name, TRIP_SCHEMA_VERSION)), "{name}");
    }
}
