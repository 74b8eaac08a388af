//! What follows from a report or a wish, given a vehicle's troubles.

use std::collections::BTreeMap;

use remuda_eventsourcing::Context;

use super::command::DiagnosticsCommand;
use super::error::DiagnosticsRefusal;
use super::event::{DiagnosticsEvent, DtcAcknowledged, DtcCleared, DtcSeen};
use super::limits;
use super::state::{DtcKey, Severity, Troubles};

type Decision = Result<Vec<DiagnosticsEvent>, DiagnosticsRefusal>;

/// The facts that follow; none when it is already so.
///
/// # Errors
/// When the rules of [`DiagnosticsRefusal`] forbid it.
pub fn decide(state: &Troubles, command: &DiagnosticsCommand, context: &Context) -> Decision {
    match command {
        DiagnosticsCommand::Report { key, severity, freeze_frame, at_ms } => {
            check_key(key)?;
            check_time(*at_ms, context)?;
            report(state, key, *severity, freeze_frame, *at_ms)
        }
        DiagnosticsCommand::Clear { key, at_ms } => {
            check_time(*at_ms, context)?;
            let dtc = state.dtcs.get(key).ok_or(DiagnosticsRefusal::NoSuchDtc)?;
            // A clearing that comes late says nothing about what has come since.
            let gone = !dtc.active || *at_ms < dtc.last_seen_ms;
            let cleared = DtcCleared { key: key.clone(), at_ms: *at_ms };
            Ok(if gone { vec![] } else { vec![DiagnosticsEvent::Cleared(cleared)] })
        }
        DiagnosticsCommand::Acknowledge { key, note } => {
            let dtc = state.dtcs.get(key).ok_or(DiagnosticsRefusal::NoSuchDtc)?;
            if note.len() > limits::NOTE_BYTES_MAX {
                return Err(DiagnosticsRefusal::BadValue("a note has at most 512 bytes"));
            }
            match &dtc.acknowledged {
                _ if !dtc.active => Err(DiagnosticsRefusal::DtcCleared),
                Some(known) if known.by == context.actor && known.note == *note => Ok(vec![]),
                _ => Ok(vec![DiagnosticsEvent::Acknowledged(DtcAcknowledged {
                    key: key.clone(),
                    by: context.actor.clone(),
                    note: note.clone(),
                    time_ms: context.now_ms,
                })]),
            }
        }
    }
}

fn report(
    state: &Troubles,
    key: &DtcKey,
    severity: Severity,
    freeze_frame: &BTreeMap<String, i64>,
    at_ms: i64,
) -> Decision {
    let too_long = |name: &String| name.is_empty() || name.len() > limits::NAME_BYTES_MAX;
    if freeze_frame.len() > limits::FREEZE_SIGNALS_MAX || freeze_frame.keys().any(too_long) {
        return Err(DiagnosticsRefusal::BadValue(
            "a freeze frame has at most 32 signals with names of 1 to 96 bytes",
        ));
    }
    let seen = DtcSeen { key: key.clone(), severity, freeze_frame: freeze_frame.clone(), at_ms };
    match state.dtcs.get(key) {
        Some(dtc) if dtc.active => {
            let again = at_ms >= dtc.last_seen_ms.saturating_add(limits::SAME_OCCURRENCE_MS);
            let worse = severity > dtc.severity && at_ms >= dtc.last_seen_ms;
            let earlier = at_ms < dtc.first_seen_ms;
            Ok(if again || worse || earlier { vec![DiagnosticsEvent::Repeated(seen)] } else { vec![] })
        }
        // Told late: it is gone since.
        Some(dtc) if at_ms <= dtc.last_seen_ms => Ok(vec![]),
        Some(_) => Ok(vec![DiagnosticsEvent::Raised(seen)]),
        None => {
            let active = state.dtcs.values().filter(|dtc| dtc.active).count();
            if active >= limits::DTCS_MAX {
                return Err(DiagnosticsRefusal::TooManyDtcs(active));
            }
            Ok(vec![DiagnosticsEvent::Raised(seen)])
        }
    }
}

fn check_time(at_ms: i64, context: &Context) -> Result<(), DiagnosticsRefusal> {
    let ahead = at_ms > context.now_ms.saturating_add(limits::CLOCK_TOLERANCE_MS);
    if ahead { Err(DiagnosticsRefusal::InTheFuture) } else { Ok(()) }
}

/// SAE J2012: a system, a digit 0 to 3, three hexadecimal digits; then perhaps a failure type of two.
fn is_code(code: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
    let (base, failure) = match code.split_once('-') {
        Some((base, failure)) => (base, Some(failure)),
        None => (code, None),
    };
    let base = match base.as_bytes() {
        [system, digit, rest @ ..] => {
            b"PCBU".contains(system)
                && (b'0'..=b'3').contains(digit)
                && rest.len() == 3
                && rest.iter().all(|b| hex(*b))
        }
        _ => false,
    };
    base && failure.is_none_or(|failure| failure.len() == 2 && failure.bytes().all(hex))
}

fn check_key(key: &DtcKey) -> Result<(), DiagnosticsRefusal> {
    if key.ecu.is_empty() || key.ecu.len() > limits::NAME_BYTES_MAX {
        return Err(DiagnosticsRefusal::BadValue("an ECU's name has 1 to 96 bytes"));
    }
    if !is_code(&key.code) {
        return Err(DiagnosticsRefusal::BadValue(
            "a trouble code is one of SAE J2012, such as P0420 or P0420-1C",
        ));
    }
    Ok(())
}
