//! Trouble codes: the rules, their table, their bytes, and whatever is reported in whatever order.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use remuda_eventsourcing::testing::{context, given, golden_event};
use remuda_eventsourcing::{Aggregate, Context, table};
use remuda_vehicles::diagnostics::event::{DtcAcknowledged, DtcCleared, DtcSeen};
use remuda_vehicles::diagnostics::{
    Diagnostics, DiagnosticsCommand as C, DiagnosticsEvent as E, DtcKey, Severity, Troubles, limits,
};

const MINUTE: i64 = 60_000;

fn now() -> i64 {
    context().now_ms
}

fn key(code: &str) -> DtcKey {
    DtcKey { ecu: "engine".into(), code: code.into() }
}

fn seen(code: &str, severity: Severity, ms: i64) -> DtcSeen {
    let freeze_frame = BTreeMap::from([("Vehicle.Speed".to_owned(), 500)]);
    DtcSeen { key: key(code), severity, freeze_frame, at_ms: now() + ms }
}

fn report_of(code: &str, severity: Severity, ms: i64) -> C {
    let DtcSeen { key, severity, freeze_frame, at_ms } = seen(code, severity, ms);
    C::Report { key, severity, freeze_frame, at_ms }
}

fn report(ms: i64) -> C {
    report_of("P0420", Severity::Warning, ms)
}

fn raised(ms: i64) -> E {
    E::Raised(seen("P0420", Severity::Warning, ms))
}

fn repeated(ms: i64) -> E {
    E::Repeated(seen("P0420", Severity::Warning, ms))
}

fn clear(ms: i64) -> C {
    C::Clear { key: key("P0420"), at_ms: now() + ms }
}

fn cleared(ms: i64) -> E {
    E::Cleared(DtcCleared { key: key("P0420"), at_ms: now() + ms })
}

fn acknowledge() -> C {
    C::Acknowledge { key: key("P0420"), note: "ordered".into() }
}

fn acknowledged() -> E {
    let (by, note) = ("user/tester".into(), "ordered".into());
    E::Acknowledged(DtcAcknowledged { key: key("P0420"), by, note, time_ms: now() })
}

#[test]
fn a_code_comes_stays_is_looked_at_and_goes() {
    let _ = given::<Diagnostics>([])
        .when(acknowledge())
        .then_refused("no-such-dtc")
        .when(clear(0))
        .then_refused("no-such-dtc")
        .when(report(0))
        .then([raised(0)])
        .then_state(|state| state.worst_open() == Some(Severity::Warning))
        .when(report(0))
        .then_nothing()
        .when(acknowledge())
        .then([acknowledged()])
        .when(acknowledge())
        .then_nothing()
        .then_state(|state| state.worst_open().is_none())
        .at(now() + 90 * MINUTE)
        .when(report(10 * MINUTE - 1))
        .then_nothing()
        .when(report(10 * MINUTE))
        .then([repeated(10 * MINUTE)])
        .then_state(|state| state.dtcs[&key("P0420")].occurrences == 2)
        .when(clear(10 * MINUTE - 1))
        .then_nothing()
        .when(clear(20 * MINUTE))
        .then([cleared(20 * MINUTE)])
        .when(clear(20 * MINUTE))
        .then_nothing()
        .when(acknowledge())
        .then_refused("dtc-cleared")
        .when(report(15 * MINUTE))
        .then_nothing()
        .when(report(30 * MINUTE))
        .then([raised(30 * MINUTE)])
        .then_state(|state| {
            let dtc = &state.dtcs[&key("P0420")];
            dtc.occurrences == 3
                && dtc.first_seen_ms == now()
                && dtc.last_seen_ms == now() + 30 * MINUTE
                && dtc.acknowledged.is_none()
        });
}

#[test]
fn what_is_worse_has_to_be_looked_at_again_and_what_is_older_came_first() {
    let _ = given::<Diagnostics>([raised(0), acknowledged()])
        .when(report_of("P0420", Severity::Critical, 1))
        .then([E::Repeated(seen("P0420", Severity::Critical, 1))])
        .then_state(|state| state.worst_open() == Some(Severity::Critical))
        .then_state(|state| state.dtcs[&key("P0420")].occurrences == 1)
        .when(report(-MINUTE))
        .then([repeated(-MINUTE)])
        .then_state(|state| {
            let dtc = &state.dtcs[&key("P0420")];
            (dtc.first_seen_ms, dtc.last_seen_ms, dtc.severity)
                == (now() - MINUTE, now() + 1, Severity::Critical)
        });
}

#[test]
fn what_cannot_be_is_refused() {
    for code in [
        "",
        "P",
        "P042",
        "P04200",
        "X0420",
        "P4420",
        "p0420",
        "P042G",
        "P0420-",
        "P0420-1",
        "P0420-1CC",
        "P0420-1c",
    ] {
        given::<Diagnostics>([]).when(report_of(code, Severity::Info, 0)).then_refused("bad-value");
    }
    for code in ["P0420", "C1234", "B3FFF", "U0100-87"] {
        given::<Diagnostics>([])
            .when(report_of(code, Severity::Info, 0))
            .then_events(|events| events.len() == 1);
    }
    given::<Diagnostics>([])
        .when(report(limits::CLOCK_TOLERANCE_MS + 1))
        .then_refused("report-in-the-future")
        .when(C::Report {
            key: key("P0420"),
            severity: Severity::Info,
            freeze_frame: (0..33).map(|n| (format!("s{n}"), 0)).collect(),
            at_ms: now(),
        })
        .then_refused("bad-value");
}

#[test]
fn a_full_list_forgets_what_is_gone_but_nothing_that_is_there() {
    let code = |n: usize| format!("P{n:04X}");
    let mut past: Vec<E> =
        (0..limits::DTCS_MAX).map(|n| E::Raised(seen(&code(n), Severity::Info, 0))).collect();
    given::<Diagnostics>(past.clone()).when(report(0)).then_refused("too-many-dtcs");
    past.push(E::Cleared(DtcCleared { key: key(&code(3)), at_ms: now() }));
    let _ = given::<Diagnostics>(past)
        .when(report(0))
        .then([raised(0)])
        .then_state(|state| state.dtcs.len() == limits::DTCS_MAX && !state.dtcs.contains_key(&key(&code(3))));
}

#[test]
fn the_table_of_decisions_is_true() {
    let after = |events: &[E]| {
        let mut state = Troubles::default();
        events.iter().for_each(|event| Diagnostics::evolve(&mut state, event));
        state
    };
    let states = [
        ("not known", after(&[])),
        ("active", after(&[raised(-60 * MINUTE)])),
        ("active, acknowledged", after(&[raised(-60 * MINUTE), acknowledged()])),
        ("gone", after(&[raised(-60 * MINUTE), cleared(-30 * MINUTE)])),
    ];
    let commands = [
        ("Report", report(0)),
        ("Report, seen just before", report(-60 * MINUTE + 1)),
        ("Report, worse", report_of("P0420", Severity::Critical, -60 * MINUTE + 1)),
        ("Report, from before", report(-90 * MINUTE)),
        ("Clear", clear(0)),
        ("Clear, from before", clear(-90 * MINUTE)),
        ("Acknowledge", acknowledge()),
    ];
    let table = table::decisions::<Diagnostics>(&states, &commands, &context());
    table::check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/diagnostics/README.md"), &table).unwrap();
}

#[test]
fn what_was_written_is_read_for_ever() {
    let seen = DtcSeen {
        key: DtcKey { ecu: "e".into(), code: "P0420".into() },
        severity: Severity::Critical,
        freeze_frame: BTreeMap::from([("v".to_owned(), 300)]),
        at_ms: 1,
    };
    let key = seen.key.clone();
    let cases = [
        (E::Raised(seen.clone()), "016505503034323002010176d80402".to_owned()),
        (E::Repeated(seen), "016505503034323002010176d80402".to_owned()),
        (E::Cleared(DtcCleared { key: key.clone(), at_ms: 1 }), "016505503034323002".to_owned()),
        (
            E::Acknowledged(DtcAcknowledged { key, by: "u".into(), note: "n".into(), time_ms: 1 }),
            "01650550303432300175016e02".to_owned(),
        ),
    ];
    for (event, hex) in &cases {
        golden_event::<Diagnostics>(event.event_type(), 1, hex, event);
    }
    assert_eq!(cases.len(), E::TYPES.len(), "every event has a case");
}

fn command() -> impl Strategy<Value = C> {
    let code = || prop_oneof![Just("P0420"), Just("U0100"), Just("C0035")];
    let severity = prop_oneof![Just(Severity::Info), Just(Severity::Warning), Just(Severity::Critical)];
    let time = || -60 * MINUTE..60 * MINUTE;
    prop_oneof![
        5 => (code(), severity, time()).prop_map(|(code, severity, ms)| report_of(code, severity, ms)),
        2 => (code(), time()).prop_map(|(code, ms)| C::Clear { key: key(code), at_ms: now() + ms }),
        1 => code().prop_map(|code| C::Acknowledge { key: key(code), note: "x".into() }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_reported_in_whatever_order(commands in prop::collection::vec(command(), 1..60)) {
        let mut state = Troubles::default();
        let at = Context { now_ms: now() + 60 * MINUTE, ..context() };
        for command in commands {
            let before = state.clone();
            let Ok(events) = Diagnostics::decide(&state, &command, &at) else { continue };
            events.iter().for_each(|event| Diagnostics::evolve(&mut state, event));
            for (key, dtc) in &state.dtcs {
                prop_assert!(dtc.first_seen_ms <= dtc.last_seen_ms && dtc.occurrences >= 1);
                if let Some(was) = before.dtcs.get(key) {
                    prop_assert!(dtc.occurrences >= was.occurrences && dtc.first_seen_ms <= was.first_seen_ms);
                    prop_assert!(dtc.last_seen_ms >= was.last_seen_ms);
                    prop_assert!(!dtc.active || !was.active || dtc.severity >= was.severity);
                }
            }
            prop_assert_eq!(Diagnostics::decide(&state, &command, &at).map(|events| events.len()), Ok(0), "{:?}", command);
        }
    }
}
