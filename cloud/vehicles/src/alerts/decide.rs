//! What follows from an act, given the alerts.

use remuda_contracts::alerts::{AlertAct, SnoozeEnd};

use super::{
    Alert, AlertBook, AlertCommand, AlertEvent, AlertPhase, AlertRefusal, AlertStep, Entry, EntryKind, limits,
};

/// The fact that follows; none when the wish is already so.
pub fn decide(book: &AlertBook, command: AlertCommand) -> Result<Option<AlertEvent>, AlertRefusal> {
    let AlertCommand::Act { alert: id, act, by, request_id, expected, now_ms } = command else {
        return Ok(end_snooze(book, &command));
    };
    texts(&act, &request_id)?;
    let alert = book.get(id).ok_or(AlertRefusal::NoSuchAlert)?;
    // Before anything else: the first try may have changed the very things that are looked at below.
    if let Some(entry) = remembered(alert, &request_id) {
        return if is_same(entry, &act) { Ok(None) } else { Err(AlertRefusal::RequestIdReused) };
    }
    if expected.is_some_and(|expected| expected != alert.revision) {
        return Err(AlertRefusal::Changed);
    }
    Ok(step_of(alert, act, now_ms)?.map(|step| AlertEvent {
        alert: id,
        revision: alert.revision + 1,
        step,
        by,
        request_id,
        time_ms: now_ms,
    }))
}

fn step_of(alert: &Alert, act: AlertAct, now_ms: i64) -> Result<Option<AlertStep>, AlertRefusal> {
    if alert.phase.is_over() {
        return Err(AlertRefusal::Cleared);
    }
    Ok(Some(match act {
        AlertAct::Acknowledge { note } => match alert.phase {
            // Who came first looks after it.
            AlertPhase::Acknowledged(_) => return Ok(None),
            _ => AlertStep::Acknowledged { note },
        },
        AlertAct::Snooze { end, note } => {
            let until_ms = until(end, now_ms);
            let soonest = now_ms.saturating_add(limits::SNOOZE_MS_MIN);
            let latest = now_ms.saturating_add(limits::SNOOZE_MS_MAX);
            if !(soonest..=latest).contains(&until_ms) {
                return Err(AlertRefusal::Snooze);
            }
            match alert.phase {
                AlertPhase::Snoozed { until_ms: known, .. } if known == until_ms => return Ok(None),
                _ => AlertStep::Snoozed { until_ms, note },
            }
        }
        AlertAct::Unsnooze => match alert.phase {
            AlertPhase::Snoozed { .. } => AlertStep::Unsnoozed,
            _ => return Err(AlertRefusal::NotSnoozed),
        },
        AlertAct::Clear { reason } => {
            let rule = alert.rule();
            if !rule.clears_by_hand() {
                return Err(AlertRefusal::RuleClears(rule.as_str()));
            }
            AlertStep::ClearedByHand { reason }
        }
    }))
}

const fn until(end: SnoozeEnd, now_ms: i64) -> i64 {
    match end {
        SnoozeEnd::At(until_ms) => until_ms,
        SnoozeEnd::After(ms) => now_ms.saturating_add(ms),
    }
}

fn end_snooze(book: &AlertBook, command: &AlertCommand) -> Option<AlertEvent> {
    let AlertCommand::EndSnooze { alert: id, now_ms } = command else { return None };
    let alert = book.get(*id)?;
    let AlertPhase::Snoozed { until_ms, .. } = alert.phase else { return None };
    (until_ms <= *now_ms).then(|| AlertEvent {
        alert: *id,
        revision: alert.revision + 1,
        step: AlertStep::SnoozeEnded,
        by: String::new(),
        request_id: String::new(),
        time_ms: *now_ms,
    })
}

fn texts(act: &AlertAct, request_id: &str) -> Result<(), AlertRefusal> {
    let (text, needed) = match act {
        AlertAct::Acknowledge { note } | AlertAct::Snooze { note, .. } => (note.as_str(), false),
        AlertAct::Clear { reason } => (reason.as_str(), true),
        AlertAct::Unsnooze => ("", false),
    };
    if needed && text.trim().is_empty() {
        return Err(AlertRefusal::Text("say why the alert is cleared; it stands in the journal"));
    }
    if text.len() > limits::NOTE_BYTES || text.chars().any(char::is_control) {
        return Err(AlertRefusal::Text("a note or reason is one line of at most 256 bytes"));
    }
    if request_id.len() > limits::REQUEST_ID_BYTES || request_id.chars().any(char::is_control) {
        return Err(AlertRefusal::Text("a request id has at most 64 bytes"));
    }
    Ok(())
}

fn remembered<'a>(alert: &'a Alert, request_id: &str) -> Option<&'a Entry> {
    alert.history.iter().find(|entry| !request_id.is_empty() && entry.request_id == request_id)
}

fn is_same(entry: &Entry, act: &AlertAct) -> bool {
    let said = entry.acted.note.as_str();
    match (entry.kind, act) {
        (EntryKind::Acknowledged, AlertAct::Acknowledge { note }) => note == said,
        // What was asked for at that time.
        (EntryKind::Snoozed(until_ms), AlertAct::Snooze { end, note }) => {
            until_ms == until(*end, entry.acted.time_ms) && note == said
        }
        (EntryKind::Unsnoozed, AlertAct::Unsnooze) => true,
        (EntryKind::ClearedByHand, AlertAct::Clear { reason }) => reason == said,
        _ => false,
    }
}
