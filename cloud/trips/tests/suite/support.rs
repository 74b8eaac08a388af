//! A trip in Vienna, and what is said about it.

use remuda_contracts::money::{Currency, Money};
use remuda_contracts::trips::{
    CancellationFee, CancelledBy, Mark, QuoteReference, SamplesAt, TripCancelled, TripParties,
};
use remuda_eventsourcing::testing::context;
use remuda_trips::command::Observation;
use remuda_trips::event::{Assigned, AtStop, Requested, SetOff};
use remuda_trips::state::{Plan, Stop, Terms};
use remuda_trips::{TripCommand, TripEvent};

/// The kit's time.
pub fn now() -> i64 {
    context().now_ms
}

/// A stop so many metres east of the pick-up.
pub fn stop(east_m: i32) -> Stop {
    // 1 m is about 134.9 units of longitude at 48.2 degrees north.
    Stop { latitude_e7: 482_000_000, longitude_e7: 163_000_000 + east_m * 135, radius_m: 50, label: None }
}

/// The vehicle so many seconds after the kit's time, so many metres east of the pick-up.
pub fn mark(second: i64, east_m: i32) -> Mark {
    Mark {
        time_ms: now() + second * 1_000,
        latitude_e7: 482_000_000,
        longitude_e7: 163_000_000 + east_m * 135,
        odometer_m: Some(10_000_000 + u64::try_from(east_m.max(0)).unwrap_or_default()),
        energy_wh: Some(50_000 - i64::from(east_m) / 5),
        samples: Some(SamplesAt { incarnation: 1, seq: second.unsigned_abs() }),
    }
}

pub fn parties(vehicle: &str) -> TripParties {
    TripParties {
        rider: "ada".into(),
        vehicle: vehicle.into(),
        driver: None,
        fleet: Some("vienna".into()),
        depot: None,
    }
}

pub fn plan(stops: Vec<Stop>) -> Plan {
    let price = Money { minor_units: 1_250, currency: Currency::EUR };
    Plan {
        stops,
        planned_distance_m: Some(1_000),
        terms: Terms::default(),
        quote: Some(QuoteReference { quote_id: "q1".into(), price }),
        hold_key: Some("booking-1".into()),
    }
}

pub fn request_of(vehicle: &str, stops: Vec<Stop>) -> TripCommand {
    TripCommand::Request { id: "t1".into(), parties: parties(vehicle), plan: plan(stops) }
}

pub fn request(vehicle: &str) -> TripCommand {
    request_of(vehicle, vec![stop(0), stop(1_000)])
}

pub fn requested_with(stops: Vec<Stop>) -> TripEvent {
    TripEvent::Requested(Requested {
        id: "t1".into(),
        parties: parties(""),
        plan: plan(stops),
        time_ms: now(),
    })
}

pub fn requested() -> TripEvent {
    requested_with(vec![stop(0), stop(1_000)])
}

pub fn assigned() -> TripEvent {
    TripEvent::Assigned(Assigned { vehicle: "V1".into(), driver: None, time_ms: now() })
}

pub fn set_off(second: i64, inferred: bool, east_m: i32) -> TripEvent {
    TripEvent::SetOff(SetOff { mark: mark(second, east_m), inferred })
}

pub fn reached(stop: u16, second: i64, east_m: i32, inferred: bool) -> TripEvent {
    TripEvent::StopReached(AtStop { stop, mark: mark(second, east_m), inferred })
}

pub fn left(stop: u16, second: i64, east_m: i32, inferred: bool) -> TripEvent {
    TripEvent::StopLeft(AtStop { stop, mark: mark(second, east_m), inferred })
}

pub fn report(observation: Observation, second: i64, east_m: i32) -> TripCommand {
    TripCommand::Report { vehicle: "V1".into(), observation, stop: None, mark: mark(second, east_m) }
}

pub fn cancel(by: CancelledBy) -> TripCommand {
    TripCommand::Cancel { id: "t1".into(), by, reason: "changed my mind".into() }
}

pub fn cancelled(by: CancelledBy, fee: CancellationFee, time_ms: i64) -> TripCancelled {
    TripCancelled {
        trip: "t1".into(),
        parties: parties("V1"),
        by,
        reason: "changed my mind".into(),
        fee,
        time_ms,
        since_assigned_ms: Some(time_ms - now()),
        waited_ms: 0,
        driven_m: 0,
        quote: plan(vec![]).quote,
        hold_key: Some("booking-1".into()),
    }
}

/// Requested, assigned, arriving, boarding, under way: everything up to the drop-off.
pub fn under_way() -> Vec<TripEvent> {
    vec![requested(), assigned(), set_off(10, false, -500), reached(0, 60, 0, false), left(0, 200, 60, false)]
}
