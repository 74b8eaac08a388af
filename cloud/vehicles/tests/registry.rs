//! What a vehicle is: the rules, their table, their bytes, and whatever is told in whatever order.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use proptest::prelude::*;
use remuda_eventsourcing::testing::{context, given, golden_event, written_now};
use remuda_eventsourcing::{Aggregate, Context, table};
use remuda_vehicles::registry::event::{
    Changed, FirmwareReported, OdometerAdvanced, Registered, Retired, SensorFitted, SensorRemoved,
    ServiceFellDue, ServicePlanned, Serviced, TripCounted,
};
use remuda_vehicles::registry::state::{Powertrain, Sensor, ServicePlan};
use remuda_vehicles::registry::{
    Registry, RegistryCommand as C, RegistryEvent as E, VehicleDetails, VehicleRecord, limits,
};

const DAY: i64 = 24 * 3_600_000;

fn now() -> i64 {
    context().now_ms
}

fn details(seats: u16) -> VehicleDetails {
    VehicleDetails {
        manufacturer: "Acme".into(),
        model: "Pod".into(),
        year: 2024,
        powertrain: Powertrain::Electric,
        seats,
        capabilities: ["ccs-2".into()].into(),
        licence_class: "B".into(),
        plate: None,
        fleet: Some("vienna".into()),
        depot: None,
    }
}

fn register() -> C {
    C::Register { details: details(4), odometer_m: 1_000 }
}

fn registered() -> E {
    E::Registered(Registered { details: details(4), odometer_m: 1_000, time_ms: now() })
}

fn sensor() -> Sensor {
    Sensor { signal: "Vehicle.Speed".into(), part: "p1".into(), fitted_ms: 5 }
}

fn plan() -> ServicePlan {
    ServicePlan { every_m: Some(10_000), every_ms: Some(30 * DAY) }
}

fn planned() -> E {
    E::ServicePlanned(ServicePlanned { plan: plan() })
}

fn count(trip: &str, distance_m: u64, odometer_m: Option<u64>) -> C {
    C::CountTrip { trip: trip.into(), distance_m, odometer_m }
}

fn counted(trip: &str, distance_m: u64, odometer_m: u64) -> E {
    E::TripCounted(TripCounted { trip: trip.into(), distance_m, odometer_m })
}

fn fell_due(odometer_m: u64, ms: i64) -> E {
    E::ServiceFellDue(ServiceFellDue { odometer_m, time_ms: now() + ms })
}

fn serviced(odometer_m: u64, ms: i64) -> C {
    C::RecordService { odometer_m, at_ms: now() + ms, note: "oil".into() }
}

#[test]
fn a_vehicle_is_registered_changed_and_retired() {
    given::<Registry>([])
        .when(C::Change(details(5)))
        .then_refused("vehicle-not-registered")
        .when(register())
        .then([registered()])
        .when(register())
        .then_nothing()
        .when(C::Register { details: details(5), odometer_m: 0 })
        .then_refused("vehicle-already-registered")
        .when(C::Change(details(5)))
        .then([E::Changed(Changed { details: details(5) })])
        .when(C::Change(details(5)))
        .then_nothing()
        .when(C::Change(details(limits::SEATS_MAX + 1)))
        .then_refused("bad-value")
        .when(C::Change(VehicleDetails { capabilities: ["Child Seat".into()].into(), ..details(5) }))
        .then_refused("bad-value")
        .when(C::Retire { reason: "sold".into() })
        .then([E::Retired(Retired { reason: "sold".into() })])
        .when(C::Retire { reason: "sold".into() })
        .then_nothing()
        .when(register())
        .then_refused("vehicle-retired")
        .when(count("t1", 10, None))
        .then([counted("t1", 10, 1_010)]);
}

#[test]
fn sensors_and_firmware_are_what_was_told_last() {
    let fit = C::FitSensor { name: "speed".into(), sensor: sensor() };
    let firmware = |version: &str, ms| C::ReportFirmware {
        ecu: "engine".into(),
        version: version.into(),
        at_ms: now() + ms,
    };
    let told = |version: &str, ms| {
        E::FirmwareReported(FirmwareReported {
            ecu: "engine".into(),
            version: version.into(),
            at_ms: now() + ms,
        })
    };
    given::<Registry>([registered()])
        .when(fit.clone())
        .then([E::SensorFitted(SensorFitted { name: "speed".into(), sensor: sensor() })])
        .when(fit)
        .then_nothing()
        .when(C::RemoveSensor { name: "speed".into() })
        .then([E::SensorRemoved(SensorRemoved { name: "speed".into() })])
        .when(C::RemoveSensor { name: "speed".into() })
        .then_refused("no-such-sensor")
        .when(firmware("1.0", 0))
        .then([told("1.0", 0)])
        .when(firmware("1.0", 1))
        .then_nothing()
        .when(firmware("0.9", -1))
        .then_nothing()
        .when(firmware("1.1", 2))
        .then([told("1.1", 2)])
        .when(firmware("1.2", limits::CLOCK_TOLERANCE_MS + 1))
        .then_refused("time-out-of-order");
}

#[test]
fn an_odometer_goes_up_and_a_trip_counts_once() {
    let odometer = |odometer_m| C::ReportOdometer { odometer_m };
    let _ = given::<Registry>([registered()])
        .when(odometer(999))
        .then_nothing()
        .when(odometer(5_000))
        .then([E::OdometerAdvanced(OdometerAdvanced { odometer_m: 5_000 })])
        .when(odometer(5_000 + limits::STEP_M_MAX + 1))
        .then_refused("odometer-jumps")
        .when(count("t1", 700, Some(5_800)))
        .then([counted("t1", 700, 5_800)])
        .when(count("t1", 700, Some(5_800)))
        .then_nothing()
        .when(count("t2", 100, None))
        .then([counted("t2", 100, 5_900)])
        // Told late: the vehicle has driven on.
        .when(count("t3", 300, Some(5_100)))
        .then([counted("t3", 300, 5_900)])
        .when(count("t4", 300, Some(u64::MAX)))
        .then([counted("t4", 300, 5_900)])
        .when(count("t5", limits::STEP_M_MAX + 1, None))
        .then_refused("bad-value")
        .then_state(|state| (state.trips, state.trips_m, state.odometer_m) == (4, 1_400, 5_900));
}

#[test]
fn service_falls_due_once_by_distance_or_time() {
    given::<Registry>([registered()])
        .when(C::PlanService(ServicePlan { every_m: None, every_ms: None }))
        .then_refused("bad-value")
        .when(C::PlanService(plan()))
        .then([planned()])
        .when(C::PlanService(plan()))
        .then_nothing()
        .when(count("t1", 9_999, None))
        .then([counted("t1", 9_999, 10_999)])
        .when(count("t2", 1, None))
        .then([counted("t2", 1, 11_000), fell_due(11_000, 0)])
        .when(count("t3", 1, None))
        .then([counted("t3", 1, 11_001)])
        .at(now() + DAY)
        .when(serviced(11_500, 2 * DAY))
        .then_refused("time-out-of-order")
        .when(serviced(11_500, DAY))
        .then([E::Serviced(Serviced { odometer_m: 11_500, at_ms: now() + DAY, note: "oil".into() })])
        .when(serviced(11_500, DAY))
        .then_nothing()
        .when(serviced(11_500, 0))
        .then_refused("time-out-of-order")
        .at(now() + 31 * DAY - 1)
        .when(C::CheckService)
        .then_nothing()
        .at(now() + 31 * DAY)
        .when(C::CheckService)
        .then([fell_due(11_500, 31 * DAY)])
        .when(C::CheckService)
        .then_nothing();
}

#[test]
fn the_table_of_decisions_is_true() {
    let after = |events: &[E]| {
        let mut state = VehicleRecord::default();
        events.iter().for_each(|event| Registry::evolve(&mut state, event));
        state
    };
    let fitted = E::SensorFitted(SensorFitted { name: "speed".into(), sensor: sensor() });
    let retired = E::Retired(Retired { reason: "sold".into() });
    let states = [
        ("unknown", after(&[])),
        ("registered", after(&[registered(), fitted.clone()])),
        ("service planned", after(&[registered(), fitted.clone(), planned()])),
        ("service due", after(&[registered(), fitted.clone(), planned(), fell_due(11_000, 0)])),
        ("retired", after(&[registered(), fitted, retired])),
    ];
    let commands = [
        ("Register", register()),
        ("Change", C::Change(details(5))),
        ("Retire", C::Retire { reason: "sold".into() }),
        ("FitSensor", C::FitSensor { name: "battery".into(), sensor: sensor() }),
        ("RemoveSensor", C::RemoveSensor { name: "speed".into() }),
        ("ReportFirmware", C::ReportFirmware { ecu: "engine".into(), version: "1".into(), at_ms: now() }),
        ("ReportOdometer", C::ReportOdometer { odometer_m: 20_000 }),
        ("CountTrip", count("t1", 20_000, None)),
        ("PlanService", C::PlanService(plan())),
        ("RecordService", serviced(11_000, 1)),
        ("CheckService, late", C::CheckService),
    ];
    let late = Context { now_ms: now() + 31 * DAY, ..context() };
    let table = table::decisions::<Registry>(&states, &commands, &late);
    table::check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/registry/README.md"), &table).unwrap();
}

fn cases() -> Vec<(E, &'static str)> {
    vec![
        (
            E::Registered(Registered { details: details(4), odometer_m: 1_000, time_ms: 5 }),
            "0441636d6503506f64e80f000401056363732d3201420001067669656e6e6100e8070a",
        ),
        (
            E::Changed(Changed { details: details(5) }),
            "0441636d6503506f64e80f000501056363732d3201420001067669656e6e6100",
        ),
        (E::Retired(Retired { reason: "x".into() }), "0178"),
        (
            E::SensorFitted(SensorFitted { name: "s".into(), sensor: sensor() }),
            "01730d56656869636c652e53706565640270310a",
        ),
        (E::SensorRemoved(SensorRemoved { name: "s".into() }), "0173"),
        (
            E::FirmwareReported(FirmwareReported { ecu: "e".into(), version: "1".into(), at_ms: 5 }),
            "016501310a",
        ),
        (E::OdometerAdvanced(OdometerAdvanced { odometer_m: 300 }), "ac02"),
        (counted("t", 300, 301), "0174ac02ad02"),
        (planned(), "01904e0180a0f6a713"),
        (E::ServiceFellDue(ServiceFellDue { odometer_m: 300, time_ms: 5 }), "ac020a"),
        (E::Serviced(Serviced { odometer_m: 300, at_ms: 5, note: "n".into() }), "ac020a016e"),
    ]
}

#[test]
fn what_was_written_is_read_for_ever() {
    if std::env::var_os("REMUDA_WRITE_TABLES").is_some() {
        cases().iter().for_each(|(event, _)| println!("golden {}", written_now::<Registry>(event)));
        return;
    }
    let mut types: Vec<&str> = Vec::new();
    for (event, hex) in cases() {
        golden_event::<Registry>(event.event_type(), 1, hex, &event);
        types.push(event.event_type());
    }
    assert_eq!(types, E::TYPES.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "every event has a case");
}

fn command() -> impl Strategy<Value = C> {
    let trip = (0..9_u8).prop_map(|n| format!("t{n}"));
    prop_oneof![
        1 => Just(register()),
        4 => (trip, 0..5_000_u64, prop::option::of(0..40_000_u64)).prop_map(|(trip, distance_m, odometer_m)| {
            C::CountTrip { trip, distance_m, odometer_m }
        }),
        2 => (0..40_000_u64).prop_map(|odometer_m| C::ReportOdometer { odometer_m }),
        1 => (1..9_000_u64).prop_map(|m| C::PlanService(ServicePlan { every_m: Some(m), every_ms: None })),
        1 => (0..40_000_u64, 0..DAY).prop_map(|(odometer_m, ms)| serviced(odometer_m, ms)),
        1 => Just(C::CheckService),
        1 => Just(C::Retire { reason: "x".into() }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mileage_only_grows_and_each_trip_counts_once(commands in prop::collection::vec(command(), 1..60)) {
        let mut state = VehicleRecord::default();
        let at = Context { now_ms: now() + DAY, ..context() };
        let mut counted = std::collections::BTreeMap::new();
        for command in commands {
            let before = state.odometer_m;
            let Ok(events) = Registry::decide(&state, &command, &at) else { continue };
            for event in &events {
                if let E::TripCounted(e) = event {
                    prop_assert_eq!(counted.insert(e.trip.clone(), e.distance_m), None, "{} twice", &e.trip);
                }
                Registry::evolve(&mut state, event);
            }
            prop_assert!(state.odometer_m >= before);
            prop_assert_eq!(state.trips_m, counted.values().sum::<u64>());
            prop_assert_eq!(Registry::decide(&state, &command, &at).map(|events| events.len()), Ok(0), "{:?}", command);
        }
    }
}
