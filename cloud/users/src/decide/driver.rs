//! Decisions about licences and driving hours.

use remuda_eventsourcing::Context;

use super::{Decision, check_sealed, text};
use crate::command::UserCommand;
use crate::error::UserRefusal;
use crate::event::{DrivingStarted, DrivingStopped, LicenceRecorded, LicenceRemoved, UserEvent};
use crate::hours::{HoursRules, remaining};
use crate::limits;
use crate::state::{Licence, Role, User, UserPhase};

pub(super) fn decide(user: &User, command: &UserCommand, context: &Context) -> Decision {
    match command {
        UserCommand::RecordLicence(licence) => record(user, licence),
        UserCommand::RemoveLicence { id } => {
            if !user.licences.iter().any(|licence| licence.id == *id) {
                return Err(UserRefusal::NoSuchLicence);
            }
            Ok(vec![UserEvent::LicenceRemoved(LicenceRemoved { id: id.clone() })])
        }
        UserCommand::StartDriving { at_ms, class, rules } => {
            start(user, *at_ms, class, rules, context.now_ms)
        }
        UserCommand::StopDriving { at_ms } => stop(user, *at_ms, context.now_ms),
        _ => Ok(vec![]),
    }
}

fn driver(user: &User) -> Result<(), UserRefusal> {
    if user.roles.contains(&Role::Driver) { Ok(()) } else { Err(UserRefusal::RoleMissing("driver")) }
}

fn record(user: &User, licence: &Licence) -> Decision {
    driver(user)?;
    text(&licence.id, "a licence's id has 1 to 256 bytes")?;
    check_sealed(&licence.number)?;
    let class = |class: &String| {
        (1..=8).contains(&class.len()) && class.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    if licence.classes.is_empty()
        || licence.classes.len() > limits::LICENCE_CLASSES_MAX
        || !licence.classes.iter().all(class)
    {
        return Err(UserRefusal::BadValue("a licence has 1 to 24 classes such as `B` or `C1E`"));
    }
    if user.licences.contains(licence) {
        return Ok(vec![]);
    }
    let replaces = user.licences.iter().any(|known| known.id == licence.id);
    if !replaces && user.licences.len() >= limits::LICENCES_MAX {
        return Err(UserRefusal::TooMany {
            what: "licences are kept of a driver",
            max: limits::LICENCES_MAX,
        });
    }
    Ok(vec![UserEvent::LicenceRecorded(LicenceRecorded { licence: licence.clone() })])
}

fn start(user: &User, at_ms: i64, class: &str, rules: &HoursRules, now_ms: i64) -> Decision {
    driver(user)?;
    if user.driving_since_ms == Some(at_ms) {
        return Ok(vec![]);
    }
    if user.phase == UserPhase::Suspended {
        return Err(UserRefusal::Suspended);
    }
    if user.driving_since_ms.is_some() {
        return Err(UserRefusal::AlreadyDriving);
    }
    let last = user.driven.last().map_or(i64::MIN, |period| period.to_ms);
    if at_ms < last || at_ms > now_ms.saturating_add(limits::CLOCK_TOLERANCE_MS) {
        return Err(UserRefusal::TimeOutOfOrder);
    }
    let mut fitting = user.licences.iter().filter(|licence| licence.classes.contains(class)).peekable();
    if fitting.peek().is_none() {
        return Err(UserRefusal::LicenceMissing(class.into()));
    }
    if !fitting.any(|licence| licence.valid_until_ms >= at_ms) {
        return Err(UserRefusal::LicenceExpired(class.into()));
    }
    match remaining(&user.driven, None, at_ms, rules).exhausted() {
        Some(limit) => Err(UserRefusal::HoursExhausted(limit)),
        None => Ok(vec![UserEvent::DrivingStarted(DrivingStarted { at_ms })]),
    }
}

fn stop(user: &User, at_ms: i64, now_ms: i64) -> Decision {
    let Some(from_ms) = user.driving_since_ms else {
        let known = user.driven.last().is_some_and(|period| period.to_ms == at_ms);
        return if known { Ok(vec![]) } else { Err(UserRefusal::NotDriving) };
    };
    if at_ms < from_ms || at_ms > now_ms.saturating_add(limits::CLOCK_TOLERANCE_MS) {
        return Err(UserRefusal::TimeOutOfOrder);
    }
    Ok(vec![UserEvent::DrivingStopped(DrivingStopped { from_ms, to_ms: at_ms })])
}
