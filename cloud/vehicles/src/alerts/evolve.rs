//! What a fact does to the alerts. Cannot fail.

use super::{Acted, Alert, AlertBook, AlertEvent, AlertPhase, AlertStep, Entry, EntryKind};
use crate::event::{AlertFact, Timeliness};

/// A rule found an alert's beginning.
pub fn raised(book: &mut AlertBook, fact: &AlertFact) {
    if fact.timeliness == Timeliness::Historical {
        return;
    }
    match book.open.iter_mut().find(|alert| alert.rule() == fact.cause.rule) {
        // A restarted agent that finds the same again does not raise a second one.
        Some(alert) => {
            alert.occurrences += 1;
            alert.write_down(of_rule(EntryKind::RaisedAgain, fact));
        }
        None => book.open.push(Alert::new(*fact)),
    }
}

/// A rule found an alert's end.
pub fn cleared(book: &mut AlertBook, fact: &AlertFact) {
    if fact.timeliness == Timeliness::Historical {
        return;
    }
    if let Some(at) = book.open.iter().position(|alert| alert.rule() == fact.cause.rule) {
        let entry = of_rule(EntryKind::Cleared, fact);
        book.end(at, entry.acted.clone(), entry);
    }
}

/// Somebody, or time, did something about one.
pub fn stepped(book: &mut AlertBook, event: &AlertEvent) {
    let Some(at) = book.open.iter().position(|alert| alert.id() == event.alert) else { return };
    let (kind, note) = match &event.step {
        AlertStep::Acknowledged { note } => (EntryKind::Acknowledged, note.as_str()),
        AlertStep::Snoozed { until_ms, note } => (EntryKind::Snoozed(*until_ms), note.as_str()),
        AlertStep::Unsnoozed => (EntryKind::Unsnoozed, ""),
        AlertStep::SnoozeEnded => (EntryKind::SnoozeEnded, ""),
        AlertStep::ClearedByHand { reason } => (EntryKind::ClearedByHand, reason.as_str()),
    };
    let acted = Acted { by: event.by.clone(), time_ms: event.time_ms, note: note.to_owned() };
    let entry = Entry { kind, acted: acted.clone(), request_id: event.request_id.clone() };
    if kind == EntryKind::ClearedByHand {
        return book.end(at, acted, entry);
    }
    let alert = &mut book.open[at];
    alert.phase = match &event.step {
        AlertStep::Acknowledged { .. } => AlertPhase::Acknowledged(acted),
        AlertStep::Snoozed { until_ms, .. } => AlertPhase::Snoozed { until_ms: *until_ms, acted },
        _ => AlertPhase::Open,
    };
    alert.write_down(entry);
    book.shrink();
}

fn of_rule(kind: EntryKind, fact: &AlertFact) -> Entry {
    let acted = Acted { time_ms: fact.sampled_ms, ..Acted::default() };
    Entry { kind, acted, request_id: String::new() }
}
