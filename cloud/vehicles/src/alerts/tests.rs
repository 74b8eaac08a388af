//! Alerts against a naive model, their table, their bytes.

use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;
use remuda_contracts::alerts::{AlertAct, SnoozeEnd};
use remuda_eventsourcing::table;
use remuda_model::Incarnation;

use super::{
    AlertCommand, AlertEvent, AlertId, AlertPhase, AlertRefusal, AlertStep, EntryKind, decide, limits,
};
use crate::event::{AlertFact, Cause, RuleId, Timeliness, VehicleEvent};
use crate::evolve::evolve;
use crate::state::VehicleState;
use crate::vehicle::{Memory, Vehicle};

const NOW: i64 = 1_800_000_000_000;
const MINUTE: i64 = 60_000;

fn fact(rule: RuleId, seq: u64, timeliness: Timeliness) -> AlertFact {
    let cause = Cause { rule, incarnation: Incarnation(7), seq, row: 0 };
    AlertFact { cause, value: 14.0, threshold: 15.0, sampled_ms: NOW - 1_000 + seq as i64, timeliness }
}

fn raised(rule: RuleId, seq: u64) -> VehicleEvent {
    VehicleEvent::AlertRaised(fact(rule, seq, Timeliness::Timely))
}

fn cleared(rule: RuleId, seq: u64) -> VehicleEvent {
    VehicleEvent::AlertCleared(fact(rule, seq, Timeliness::Timely))
}

fn id(rule: RuleId, seq: u64) -> AlertId {
    AlertId(fact(rule, seq, Timeliness::Timely).cause)
}

fn act(alert: AlertId, act: AlertAct, now_ms: i64) -> AlertCommand {
    let (by, request_id) = ("user/ada".to_owned(), String::new());
    AlertCommand::Act { alert, act, by, request_id, expected: None, now_ms }
}

fn acknowledge() -> AlertAct {
    AlertAct::Acknowledge { note: "on it".into() }
}

fn snooze(until_ms: i64) -> AlertAct {
    AlertAct::Snooze { end: SnoozeEnd::At(until_ms), note: String::new() }
}

fn snooze_for(ms: i64) -> AlertAct {
    AlertAct::Snooze { end: SnoozeEnd::After(ms), note: String::new() }
}

fn clear() -> AlertAct {
    AlertAct::Clear { reason: "the driver was told".into() }
}

/// Decides and evolves; what followed.
fn run(state: &mut VehicleState, command: AlertCommand) -> Result<Option<AlertEvent>, AlertRefusal> {
    let event = decide(&state.book, command)?;
    if let Some(event) = &event {
        evolve(state, &VehicleEvent::Alert(event.clone()));
    }
    Ok(event)
}

fn after(events: &[VehicleEvent], acts: &[AlertAct]) -> VehicleState {
    let mut state = VehicleState::default();
    events.iter().for_each(|event| evolve(&mut state, event));
    for wish in acts {
        run(&mut state, act(id(RuleId::HarshBraking, 1), wish.clone(), NOW)).unwrap();
    }
    state
}

#[test]
fn the_table_of_decisions_is_true() {
    let rule = RuleId::HarshBraking;
    let open = [raised(rule, 1)];
    let states = [
        ("not known", after(&[], &[])),
        ("open", after(&open, &[])),
        ("acknowledged", after(&open, &[acknowledge()])),
        ("snoozed", after(&open, &[snooze(NOW + 10 * MINUTE)])),
        ("cleared", after(&open, &[clear()])),
    ];
    let alert = id(rule, 1);
    let stale = |mut command: AlertCommand| {
        if let AlertCommand::Act { expected, .. } = &mut command {
            *expected = Some(99);
        }
        command
    };
    let now = NOW + MINUTE;
    let commands = [
        ("Acknowledge", act(alert, acknowledge(), now)),
        ("Acknowledge, with an old etag", stale(act(alert, acknowledge(), now))),
        ("Snooze", act(alert, snooze(now + 20 * MINUTE), now)),
        ("Snooze until the same time", act(alert, snooze(NOW + 10 * MINUTE), now)),
        ("Snooze until too late", act(alert, snooze(now + limits::SNOOZE_MS_MAX + 1), now)),
        ("Snooze for 7 days", act(alert, snooze_for(limits::SNOOZE_MS_MAX), now)),
        ("Snooze for too long", act(alert, snooze_for(limits::SNOOZE_MS_MAX + 1), now)),
        ("Unsnooze", act(alert, AlertAct::Unsnooze, now)),
        ("Clear", act(alert, clear(), now)),
        ("Clear, without a reason", act(alert, AlertAct::Clear { reason: " ".into() }, now)),
        ("EndSnooze, too early", AlertCommand::EndSnooze { alert, now_ms: now }),
        ("EndSnooze", AlertCommand::EndSnooze { alert, now_ms: NOW + 10 * MINUTE }),
    ];
    let mut table = String::from("| |");
    states.iter().for_each(|(name, _)| write!(table, " {name} |").unwrap());
    table.push_str("\n|---|");
    table.push_str(&"---|".repeat(states.len()));
    for (name, command) in commands {
        write!(table, "\n| **{name}** |").unwrap();
        for (_, state) in &states {
            let answer = match decide(&state.book, command.clone()) {
                Ok(None) => "-".to_owned(),
                Ok(Some(event)) => event.event_type().trim_start_matches("vehicle.alert-").to_owned(),
                Err(refusal) => format!("*{}*", refusal.code()),
            };
            write!(table, " {answer} |").unwrap();
        }
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/alerts/README.md");
    table::check(&page, &table).unwrap();
}

#[test]
fn what_a_vehicle_measures_ends_when_it_says_so() {
    let rule = RuleId::LowCharge;
    let mut state = VehicleState::default();
    evolve(&mut state, &raised(rule, 1));
    let refused = run(&mut state, act(id(rule, 1), clear(), NOW));
    assert_eq!(refused, Err(AlertRefusal::RuleClears("low-charge")));
    run(&mut state, act(id(rule, 1), acknowledge(), NOW)).unwrap();
    // The agent starts anew and finds it again: nobody is called.
    evolve(&mut state, &raised(rule, 2));
    let alert = &state.book.open[0];
    assert_eq!((alert.occurrences, alert.revision, state.book.open.len()), (2, 3, 1));
    assert!(!alert.wants_attention());
    evolve(&mut state, &cleared(rule, 3));
    assert!(state.book.open.is_empty() && state.alerts.is_empty());
    assert!(matches!(state.book.ended[0].phase, AlertPhase::Cleared(_)));
    evolve(&mut state, &raised(rule, 4));
    assert_eq!((state.book.open[0].id(), state.book.open[0].occurrences), (id(rule, 4), 1));
}

#[test]
fn a_request_is_recognised_and_its_id_stands_for_nothing_else() {
    let alert = id(RuleId::HarshBraking, 1);
    let mut state = after(&[raised(RuleId::HarshBraking, 1)], &[]);
    let named = |wish: AlertAct| {
        let (by, request_id) = ("user/ada".to_owned(), "r1".to_owned());
        AlertCommand::Act { alert, act: wish, by, request_id, expected: Some(1), now_ms: NOW }
    };
    assert!(run(&mut state, named(acknowledge())).unwrap().is_some());
    let before = state.clone();
    // Although the etag is the old one by now.
    assert_eq!(run(&mut state, named(acknowledge())), Ok(None));
    assert_eq!(run(&mut state, named(clear())), Err(AlertRefusal::RequestIdReused));
    let other = AlertAct::Acknowledge { note: "another note".into() };
    assert_eq!(run(&mut state, named(other)), Err(AlertRefusal::RequestIdReused));
    assert_eq!(state, before);
    let long = AlertAct::Acknowledge { note: "x".repeat(257) };
    assert!(matches!(run(&mut state, named(long)), Err(AlertRefusal::Text(_))));
}

#[test]
fn a_snooze_for_a_while_is_recognised_whenever_it_is_asked_for_again() {
    let alert = id(RuleId::HarshBraking, 1);
    let mut state = after(&[raised(RuleId::HarshBraking, 1)], &[]);
    let named = |wish: AlertAct, now_ms| {
        let (by, request_id) = ("user/ada".to_owned(), "r1".to_owned());
        AlertCommand::Act { alert, act: wish, by, request_id, expected: None, now_ms }
    };
    let done = run(&mut state, named(snooze_for(limits::SNOOZE_MS_MAX), NOW)).unwrap().unwrap();
    let until_ms = NOW + limits::SNOOZE_MS_MAX;
    assert_eq!(done.step, AlertStep::Snoozed { until_ms, note: String::new() });
    assert_eq!(run(&mut state, named(snooze_for(limits::SNOOZE_MS_MAX), NOW + 3_000)), Ok(None));
    for other in [snooze_for(limits::SNOOZE_MS_MAX - 1), snooze(until_ms + 3_000)] {
        assert_eq!(run(&mut state, named(other, NOW + 3_000)), Err(AlertRefusal::RequestIdReused));
    }
    for wrong in [i64::MIN, -1, limits::SNOOZE_MS_MIN - 1, limits::SNOOZE_MS_MAX + 1, i64::MAX] {
        assert_eq!(run(&mut state, act(alert, snooze_for(wrong), NOW)), Err(AlertRefusal::Snooze), "{wrong}");
    }
}

#[test]
fn ids_are_read_back_and_nothing_else_is() {
    let alert = AlertId(Cause { rule: RuleId::LowCharge, incarnation: Incarnation(255), seq: 9, row: 3 });
    assert_eq!(alert.to_string(), "low-charge-00000000000000ff-9-3");
    assert_eq!(alert.to_string().parse(), Ok(alert));
    for wrong in [
        "",
        "low-charge",
        "low-charge-ff-9-3",
        "low-charge-00000000000000FF-9-3",
        "low-charge-00000000000000ff-09-3",
        "no-rule-00000000000000ff-9-3",
        "low-charge-00000000000000ff-9-3-",
    ] {
        assert_eq!(wrong.parse::<AlertId>(), Err(AlertRefusal::NoSuchAlert), "{wrong}");
    }
}

#[test]
fn what_was_written_is_read_for_ever() {
    let event = |step, by: &str, request_id: &str| {
        let alert = AlertId(Cause { rule: RuleId::LowCharge, incarnation: Incarnation(3), seq: 4, row: 5 });
        let (by, request_id) = (by.to_owned(), request_id.to_owned());
        VehicleEvent::Alert(AlertEvent { alert, revision: 2, step, by, request_id, time_ms: 6 })
    };
    let cases = [
        (event(AlertStep::Acknowledged { note: "n".into() }, "u", "r"), "06010304050200016e017501720c"),
        (
            event(AlertStep::Snoozed { until_ms: 7, note: "n".into() }, "u", ""),
            "060103040502010e016e0175000c",
        ),
        (event(AlertStep::Unsnoozed, "u", ""), "060103040502020175000c"),
        (event(AlertStep::SnoozeEnded, "", ""), "0601030405020300000c"),
        (event(AlertStep::ClearedByHand { reason: "n".into() }, "u", ""), "06010304050204016e0175000c"),
    ];
    for (event, hex) in cases {
        let bytes = postcard::to_allocvec(&event).unwrap();
        let written = bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        assert_eq!(written, hex, "{event:?}");
        assert_eq!(postcard::from_bytes::<VehicleEvent>(&bytes), Ok(event));
    }
}

#[test]
fn a_snapshot_that_is_older_than_this_book_is_read() {
    let mut state = after(&[raised(RuleId::LowCharge, 1), raised(RuleId::HarshBraking, 1)], &[]);
    let bytes = Vehicle::snapshot(&state, Memory::default().encode(), 9);
    let (restored, position) = Vehicle::restore(&bytes).unwrap();
    assert_eq!((&restored.state, position), (&state, 9));
    // As it was written before: neither the alerts nor the reprocessed frames stood behind it.
    let mut behind = postcard::to_allocvec(&state.reprocessed).unwrap();
    behind = postcard::to_extend(&(1u8, &*state.book), behind).unwrap();
    behind = postcard::to_extend(&(1u8, &*state.inside), behind).unwrap();
    for cut in [bytes.len() - behind.len(), bytes.len() - behind.len() + 2] {
        let (old, _) = Vehicle::restore(&bytes[..cut]).unwrap();
        assert_eq!(old.state.book, state.book, "open alerts begin their history when they are first read");
    }
    // A book of a later release is not guessed at: the stream is read from its beginning.
    let mut later = bytes.clone();
    let at = bytes.len() - behind.len() + 2;
    later[at] = 2;
    assert!(Vehicle::restore(&later).is_none());
    run(&mut state, act(id(RuleId::LowCharge, 1), acknowledge(), NOW)).unwrap();
    let bytes = Vehicle::snapshot(&state, Memory::default().encode(), 9);
    assert_eq!(Vehicle::restore(&bytes).unwrap().0.state, state);
}

#[test]
fn however_much_is_said_a_vehicle_s_alerts_stay_small() {
    let mut state = VehicleState::default();
    for seq in 1..100 {
        evolve(&mut state, &raised(RuleId::HarshBraking, seq));
        for n in 0..40 {
            let wish = match n % 2 {
                0 => AlertAct::Acknowledge { note: "n".repeat(limits::NOTE_BYTES) },
                _ => AlertAct::Snooze {
                    end: SnoozeEnd::At(NOW + MINUTE + n),
                    note: "s".repeat(limits::NOTE_BYTES),
                },
            };
            run(&mut state, act(id(RuleId::HarshBraking, seq), wish, NOW)).unwrap();
        }
        run(&mut state, act(id(RuleId::HarshBraking, seq), clear(), NOW)).unwrap();
        let bytes = postcard::to_allocvec(&*state.book).unwrap().len();
        assert!(bytes <= limits::BOOK_BYTES_MAX, "{bytes} bytes after {seq}");
        let last = state.book.ended.last().unwrap();
        assert_eq!(last.id(), id(RuleId::HarshBraking, seq));
        assert_eq!(
            (last.history.len(), last.left_out),
            (limits::HISTORY_MAX + 1, 41 - limits::HISTORY_MAX as u32)
        );
    }
}

#[test]
fn the_newest_end_of_a_snooze_stays_however_often_its_rule_finds_it_again() {
    let rule = RuleId::HarshBraking;
    let mut state =
        after(&[raised(rule, 1)], &[snooze(NOW + MINUTE), AlertAct::Unsnooze, snooze(NOW + 2 * MINUTE)]);
    let (alert, now_ms) = (id(rule, 1), NOW + 2 * MINUTE);
    run(&mut state, AlertCommand::EndSnooze { alert, now_ms }).unwrap();
    for seq in 2..100 {
        evolve(&mut state, &raised(rule, seq));
    }
    let found = state.book.get(alert).unwrap();
    assert_eq!(found.history.len(), limits::HISTORY_MAX + 1);
    assert_eq!(found.history.len() as u32 + found.left_out, found.revision);
    let ends = found
        .history
        .iter()
        .filter(|entry| matches!(entry.kind, EntryKind::SnoozeEnded | EntryKind::Unsnoozed));
    assert_eq!(ends.map(|entry| entry.acted.time_ms).collect::<Vec<_>>(), [now_ms]);
    assert!(found.wants_attention());
}

/// How the model knows an alert.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    Open,
    Acknowledged,
    Snoozed(i64),
    Cleared,
}

/// One alert of the model, in a list that only grows.
#[derive(Debug, Clone)]
struct Model {
    alert: AlertId,
    seen: Seen,
    found: u32,
    changes: u32,
}

#[derive(Debug, Clone)]
enum Op {
    Raise(RuleId, Timeliness),
    Clear(RuleId, Timeliness),
    /// Acts on the alert so many places from the end of the model's list, with the etag or an old one.
    Act(usize, AlertAct, bool),
    /// Time passes, ms, and what is due ends.
    Wait(i64),
}

fn ops() -> impl Strategy<Value = Op> {
    let rule = || prop_oneof![Just(RuleId::HarshBraking), Just(RuleId::LowCharge)];
    let when = || prop_oneof![4 => Just(Timeliness::Timely), 1 => Just(Timeliness::Late), 1 => Just(Timeliness::Historical)];
    let wish = prop_oneof![
        3 => Just(acknowledge()),
        // From now on; the test adds the time.
        3 => (prop_oneof![Just(0), Just(MINUTE), Just(5 * MINUTE), Just(limits::SNOOZE_MS_MAX + 1)], any::<bool>())
            .prop_map(|(ms, at)| if at { snooze(ms) } else { snooze_for(ms) }),
        2 => Just(AlertAct::Unsnooze),
        2 => Just(clear()),
    ];
    prop_oneof![
        4 => (rule(), when()).prop_map(|(rule, when)| Op::Raise(rule, when)),
        3 => (rule(), when()).prop_map(|(rule, when)| Op::Clear(rule, when)),
        8 => (0usize..4, wish, prop::bool::weighted(0.9)).prop_map(|(back, wish, fresh)| Op::Act(back, wish, fresh)),
        2 => (0..10 * MINUTE).prop_map(Op::Wait),
    ]
}

/// What the model says of an act: how the alert is then, or the refusal.
fn expected(model: &Model, wish: &AlertAct, fresh: bool, now: i64) -> Result<Seen, &'static str> {
    if !fresh {
        return Err("etag-mismatch");
    }
    match (model.seen, wish) {
        (Seen::Cleared, _) => Err("alert-cleared"),
        (_, AlertAct::Acknowledge { .. }) => Ok(Seen::Acknowledged),
        (_, AlertAct::Snooze { end, .. }) => {
            let ahead = match *end {
                SnoozeEnd::At(until_ms) => until_ms - now,
                SnoozeEnd::After(ms) => ms,
            };
            let in_bounds = (limits::SNOOZE_MS_MIN..=limits::SNOOZE_MS_MAX).contains(&ahead);
            if in_bounds { Ok(Seen::Snoozed(now + ahead)) } else { Err("bad-snooze") }
        }
        (Seen::Snoozed(_), AlertAct::Unsnooze) => Ok(Seen::Open),
        (_, AlertAct::Unsnooze) => Err("alert-not-snoozed"),
        (_, AlertAct::Clear { .. }) if model.alert.0.rule == RuleId::LowCharge => Err("rule-clears-itself"),
        (_, AlertAct::Clear { .. }) => Ok(Seen::Cleared),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_alerts_are_as_a_naive_model_says(ops in prop::collection::vec(ops(), 1..80)) {
        let mut state = VehicleState::default();
        let mut models: Vec<Model> = Vec::new();
        let (mut now, mut seq) = (NOW, 0);
        for op in ops {
            match op {
                Op::Raise(rule, when) => {
                    seq += 1;
                    evolve(&mut state, &VehicleEvent::AlertRaised(fact(rule, seq, when)));
                    let open = models.iter_mut().find(|m| m.alert.0.rule == rule && m.seen != Seen::Cleared);
                    match open {
                        _ if when == Timeliness::Historical => {}
                        Some(model) => (model.found, model.changes) = (model.found + 1, model.changes + 1),
                        None => models.push(Model { alert: id(rule, seq), seen: Seen::Open, found: 1, changes: 1 }),
                    }
                }
                Op::Clear(rule, when) => {
                    seq += 1;
                    evolve(&mut state, &VehicleEvent::AlertCleared(fact(rule, seq, when)));
                    let open = models.iter_mut().find(|m| m.alert.0.rule == rule && m.seen != Seen::Cleared);
                    if let Some(model) = open.filter(|_| when != Timeliness::Historical) {
                        (model.seen, model.changes) = (Seen::Cleared, model.changes + 1);
                    }
                }
                Op::Act(back, wish, fresh) => {
                    let Some(at) = models.len().checked_sub(back + 1) else { continue };
                    let model = &mut models[at];
                    let wish = match wish {
                        AlertAct::Snooze { end: SnoozeEnd::At(ms), note } => {
                            AlertAct::Snooze { end: SnoozeEnd::At(ms + now), note }
                        }
                        other => other,
                    };
                    let mut command = act(model.alert, wish.clone(), now);
                    if let AlertCommand::Act { expected, .. } = &mut command {
                        *expected = Some(if fresh { model.changes } else { model.changes + 1 });
                    }
                    let before = state.clone();
                    let got = run(&mut state, command);
                    match expected(model, &wish, fresh, now) {
                        Err(code) => {
                            prop_assert_eq!(got.map_err(|refusal| refusal.code()), Err(code));
                            prop_assert_eq!(&state, &before, "a refusal changes nothing");
                        }
                        Ok(seen) => {
                            let same = seen == model.seen;
                            prop_assert_eq!(got.unwrap().is_none(), same, "{:?} {:?}", model, wish);
                            (model.seen, model.changes) = (seen, model.changes + u32::from(!same));
                        }
                    }
                }
                Op::Wait(ms) => {
                    now += ms;
                    for model in &mut models {
                        let command = AlertCommand::EndSnooze { alert: model.alert, now_ms: now };
                        let ends = matches!(model.seen, Seen::Snoozed(until) if until <= now);
                        prop_assert_eq!(run(&mut state, command).unwrap().is_some(), ends);
                        if ends {
                            (model.seen, model.changes) = (Seen::Open, model.changes + 1);
                        }
                    }
                }
            }
            // All that are not over, and of the others none that the model does not have.
            let open: Vec<AlertId> = models.iter().filter(|m| m.seen != Seen::Cleared).map(|m| m.alert).collect();
            let listed = |ids: &mut dyn Iterator<Item = AlertId>| { let mut ids: Vec<_> = ids.collect(); ids.sort(); ids };
            let wanted = listed(&mut open.into_iter());
            prop_assert_eq!(&listed(&mut state.book.open.iter().map(super::Alert::id)), &wanted);
            prop_assert_eq!(&listed(&mut state.alerts.iter().map(|fact| AlertId(fact.cause))), &wanted);
            for alert in state.book.iter() {
                let model = models.iter().find(|model| model.alert == alert.id()).unwrap();
                let seen = match &alert.phase {
                    AlertPhase::Open => Seen::Open,
                    AlertPhase::Acknowledged(_) => Seen::Acknowledged,
                    AlertPhase::Snoozed { until_ms, .. } => Seen::Snoozed(*until_ms),
                    AlertPhase::Cleared(_) => Seen::Cleared,
                };
                prop_assert_eq!((seen, alert.occurrences, alert.revision), (model.seen, model.found, model.changes));
                prop_assert_eq!(alert.history.len() as u32 + alert.left_out, alert.revision);
                let in_time = alert.fact.timeliness == Timeliness::Timely;
                prop_assert_eq!(alert.wants_attention(), model.seen == Seen::Open && in_time);
            }
            prop_assert!(state.book.ended.len() <= limits::ENDED_MAX);
        }
        let bytes = Vehicle::snapshot(&state, Memory::default().encode(), 1);
        prop_assert_eq!(Vehicle::restore(&bytes).unwrap().0.state, state);
    }
}
