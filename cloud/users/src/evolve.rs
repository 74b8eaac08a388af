//! What a fact does to what is known of a user. Cannot fail.

use crate::credits::{Credits, EndedHold, Hold, HoldEnd, Reference};
use crate::event::UserEvent;
use crate::hours::Period;
use crate::limits;
use crate::state::{Consent, Preferences, User, UserPhase};

/// Takes a fact in.
pub fn evolve(user: &mut User, event: &UserEvent) {
    use UserEvent as E;
    match event {
        E::Registered(e) => {
            user.phase = UserPhase::Active;
            user.roles = e.roles.clone();
            user.profile = e.profile.clone();
            user.preferences = e.preferences.clone();
            user.credits.currency = Some(e.currency);
            user.registered_ms = e.time_ms;
        }
        E::ProfileChanged(e) => {
            for (field, value) in &e.changes {
                match value {
                    Some(value) => user.profile.insert(*field, value.clone()),
                    None => user.profile.remove(field),
                };
            }
        }
        E::PreferencesChanged(e) => user.preferences = e.preferences.clone(),
        E::RoleGranted(e) => {
            user.roles.insert(e.role);
        }
        E::RoleRevoked(e) => {
            user.roles.remove(&e.role);
        }
        E::Suspended(_) => user.phase = UserPhase::Suspended,
        E::Reinstated(_) => user.phase = UserPhase::Active,
        E::ConsentGiven(e) => {
            user.consents.insert(e.purpose, Consent { version: e.version, given: true, time_ms: e.time_ms });
        }
        E::ConsentWithdrawn(e) => {
            user.consents.insert(e.purpose, Consent { version: e.version, given: false, time_ms: e.time_ms });
        }
        E::LicenceRecorded(e) => {
            user.licences.retain(|licence| licence.id != e.licence.id);
            user.licences.push(e.licence.clone());
        }
        E::LicenceRemoved(e) => user.licences.retain(|licence| licence.id != e.id),
        E::DrivingStarted(e) => user.driving_since_ms = Some(e.at_ms),
        E::DrivingStopped(e) => {
            user.driving_since_ms = None;
            user.driven.push(Period { from_ms: e.from_ms, to_ms: e.to_ms });
            user.driven.retain(|period| period.to_ms > e.to_ms - limits::PERIODS_MS);
            bound(&mut user.driven, limits::PERIODS_MAX);
        }
        E::CreditsToppedUp(e) => came_in(&mut user.credits, &e.reference, e.amount),
        E::CreditsHeld(e) => {
            user.credits.available -= e.amount;
            user.credits.holds.insert(e.key.clone(), Hold { amount: e.amount, expires_ms: e.expires_ms });
        }
        E::HoldReleased(e) => ended(&mut user.credits, &e.key, e.amount, HoldEnd::Released),
        E::HoldExpired(e) => ended(&mut user.credits, &e.key, e.amount, HoldEnd::Expired),
        E::HoldCaptured(e) => {
            ended(&mut user.credits, &e.key, e.returned, HoldEnd::Captured { amount: e.amount, refunded: 0 });
        }
        E::CreditsRefunded(e) => {
            came_in(&mut user.credits, &e.reference, e.amount);
            let hold = user.credits.ended.iter_mut().rev().find(|ended| ended.key == e.key);
            if let Some(EndedHold { end: HoldEnd::Captured { refunded, .. }, .. }) = hold {
                *refunded += e.amount;
            }
        }
        E::ErasureOrdered(_) => {
            user.phase = UserPhase::Erasing;
            user.credits.available = 0;
        }
        E::Erased(_) => {
            user.phase = UserPhase::Erased;
            // Nothing could open them any more. Consents stay: that somebody agreed must be provable.
            user.profile.clear();
            user.licences.clear();
            user.driven.clear();
            user.preferences = Preferences::default();
        }
    }
}

fn came_in(credits: &mut Credits, reference: &str, amount: i64) {
    credits.available += amount;
    credits.references.push(Reference { reference: reference.into(), amount });
    bound(&mut credits.references, limits::REFERENCES_MAX);
}

fn ended(credits: &mut Credits, key: &str, returned: i64, end: HoldEnd) {
    credits.holds.remove(key);
    credits.available += returned;
    credits.ended.push(EndedHold { key: key.into(), end });
    bound(&mut credits.ended, limits::ENDED_HOLDS_MAX);
}

/// Forgets the oldest.
fn bound<T>(list: &mut Vec<T>, max: usize) {
    if list.len() > max {
        list.drain(..list.len() - max);
    }
}
