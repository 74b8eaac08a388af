//! What follows from a wish, given what is known of a user.

use std::collections::BTreeMap;

use remuda_contracts::sealed::Sealed;
use remuda_eventsourcing::Context;

use crate::command::UserCommand;
use crate::error::UserRefusal;
use crate::event::{
    ConsentSaid, Erased, ErasureOrdered, PreferencesChanged, ProfileChanged, Registered, Reinstated,
    RoleChanged, Suspended, UserEvent,
};
use crate::limits;
use crate::state::{PersonalField, Preferences, Purpose, Role, User, UserPhase};

mod account;
mod driver;

type Decision = Result<Vec<UserEvent>, UserRefusal>;

/// The facts that follow; none when the wish is already so.
///
/// # Errors
/// When the rules of [`UserRefusal`] forbid it.
pub fn decide(user: &User, command: &UserCommand, context: &Context) -> Decision {
    use UserCommand as C;
    if let C::Register { .. } = command {
        return register(user, command, context.now_ms);
    }
    match (user.phase, command) {
        // What a saga undoes must end well whatever became of the user: nobody there holds nothing.
        (UserPhase::Unknown, C::Release { .. }) => return Ok(vec![]),
        (UserPhase::Unknown, _) => return Err(UserRefusal::NoSuchUser),
        (UserPhase::Erasing, C::ConfirmErased) => {
            return Ok(vec![UserEvent::Erased(Erased { time_ms: context.now_ms })]);
        }
        (UserPhase::Erasing, C::OrderErasure { .. })
        | (UserPhase::Erased, C::OrderErasure { .. } | C::ConfirmErased)
        | (UserPhase::Erasing | UserPhase::Erased, C::Release { .. } | C::ExpireHolds) => return Ok(vec![]),
        (UserPhase::Erasing | UserPhase::Erased, _) => return Err(UserRefusal::Erased),
        (UserPhase::Active | UserPhase::Suspended, _) => {}
    }
    match command {
        C::Register { .. } => register(user, command, context.now_ms),
        C::ChangeProfile(changes) => change_profile(user, changes),
        C::ChangePreferences(preferences) => {
            check_preferences(preferences)?;
            Ok(if user.preferences == *preferences {
                vec![]
            } else {
                vec![UserEvent::PreferencesChanged(PreferencesChanged { preferences: preferences.clone() })]
            })
        }
        C::GrantRole(role) => Ok(if user.roles.contains(role) {
            vec![]
        } else {
            vec![UserEvent::RoleGranted(RoleChanged { role: *role })]
        }),
        C::RevokeRole(role) => revoke(user, *role),
        C::Suspend { reason } => {
            text(reason, "say in 1 to 256 bytes why")?;
            Ok(match user.phase {
                UserPhase::Suspended => vec![],
                _ => vec![UserEvent::Suspended(Suspended { reason: reason.clone() })],
            })
        }
        C::Reinstate => Ok(match user.phase {
            UserPhase::Suspended => vec![UserEvent::Reinstated(Reinstated {})],
            _ => vec![],
        }),
        C::GiveConsent { purpose, version } => give_consent(user, *purpose, *version, context.now_ms),
        C::WithdrawConsent { purpose } => match user.consents.get(purpose) {
            None => Err(UserRefusal::NoConsent),
            Some(consent) if !consent.given => Ok(vec![]),
            Some(consent) => Ok(vec![UserEvent::ConsentWithdrawn(ConsentSaid {
                purpose: *purpose,
                version: consent.version,
                time_ms: context.now_ms,
            })]),
        },
        C::RecordLicence(_) | C::RemoveLicence { .. } | C::StartDriving { .. } | C::StopDriving { .. } => {
            driver::decide(user, command, context)
        }
        C::TopUp { .. }
        | C::Hold { .. }
        | C::Release { .. }
        | C::Capture { .. }
        | C::Refund { .. }
        | C::ExpireHolds => account::decide(user, command, context),
        C::OrderErasure { running_trips, forfeit } => {
            order_erasure(user, running_trips, *forfeit, context.now_ms)
        }
        C::ConfirmErased => Err(UserRefusal::ErasureNotOrdered),
    }
}

fn register(user: &User, command: &UserCommand, time_ms: i64) -> Decision {
    let UserCommand::Register { roles, profile, preferences, currency } = command else { return Ok(vec![]) };
    match user.phase {
        UserPhase::Unknown => {}
        UserPhase::Erasing | UserPhase::Erased => return Err(UserRefusal::Erased),
        _ if user.profile == *profile && user.roles == *roles && user.credits.currency == Some(*currency) => {
            return Ok(vec![]);
        }
        _ => return Err(UserRefusal::AlreadyRegistered),
    }
    if roles.is_empty() {
        return Err(UserRefusal::BadValue("a user has at least one role"));
    }
    if !profile.contains_key(&PersonalField::Name) {
        return Err(UserRefusal::BadValue("a user has a name"));
    }
    profile.values().try_for_each(check_sealed)?;
    check_preferences(preferences)?;
    Ok(vec![UserEvent::Registered(Registered {
        roles: roles.clone(),
        profile: profile.clone(),
        preferences: preferences.clone(),
        currency: *currency,
        time_ms,
    })])
}

fn change_profile(user: &User, changes: &BTreeMap<PersonalField, Option<Sealed>>) -> Decision {
    if changes.get(&PersonalField::Name) == Some(&None) {
        return Err(UserRefusal::BadValue("a user has a name; change it instead of taking it away"));
    }
    changes.values().flatten().try_for_each(check_sealed)?;
    // Sealing is deterministic (see `privacy`), so the same value again is seen to be the same.
    let changes: BTreeMap<_, _> = changes
        .iter()
        .filter(|(field, value)| user.profile.get(field) != value.as_ref())
        .map(|(field, value)| (*field, value.clone()))
        .collect();
    Ok(if changes.is_empty() { vec![] } else { vec![UserEvent::ProfileChanged(ProfileChanged { changes })] })
}

fn revoke(user: &User, role: Role) -> Decision {
    if !user.roles.contains(&role) {
        return Ok(vec![]);
    }
    match role {
        Role::Driver if user.driving_since_ms.is_some() => {
            return Err(UserRefusal::RoleInUse("the driver drives; wait until they stop"));
        }
        Role::Rider if !user.credits.holds.is_empty() => {
            return Err(UserRefusal::RoleInUse("the rider has open bookings; wait until they end"));
        }
        _ => {}
    }
    if user.roles.len() == 1 {
        return Err(UserRefusal::LastRole);
    }
    Ok(vec![UserEvent::RoleRevoked(RoleChanged { role })])
}

fn give_consent(user: &User, purpose: Purpose, version: u32, time_ms: i64) -> Decision {
    if version == 0 {
        return Err(UserRefusal::BadValue("versions of a text begin at 1"));
    }
    match user.consents.get(&purpose) {
        Some(known) if version < known.version => {
            Err(UserRefusal::OutdatedConsent { given: version, known: known.version })
        }
        Some(known) if known.given && version == known.version => Ok(vec![]),
        _ => Ok(vec![UserEvent::ConsentGiven(ConsentSaid { purpose, version, time_ms })]),
    }
}

fn order_erasure(user: &User, running_trips: &[String], forfeit: bool, time_ms: i64) -> Decision {
    if running_trips.len() > limits::RUNNING_TRIPS_MAX {
        return Err(UserRefusal::TooMany { what: "running trips are named", max: limits::RUNNING_TRIPS_MAX });
    }
    if !running_trips.is_empty() {
        return Err(UserRefusal::TripRunning(running_trips.len()));
    }
    if user.driving_since_ms.is_some() {
        return Err(UserRefusal::AlreadyDriving);
    }
    if !user.credits.holds.is_empty() {
        return Err(UserRefusal::OpenHolds(user.credits.holds.len()));
    }
    let forfeited = user.credits.available;
    if forfeited > 0 && !forfeit {
        return Err(UserRefusal::CreditsLeft(forfeited));
    }
    Ok(vec![UserEvent::ErasureOrdered(ErasureOrdered { forfeited, time_ms })])
}

fn check_sealed(value: &Sealed) -> Result<(), UserRefusal> {
    if value.as_bytes().is_empty() || value.as_bytes().len() > limits::SEALED_BYTES_MAX {
        return Err(UserRefusal::BadValue("a personal field has 1 to 512 bytes"));
    }
    Ok(())
}

fn check_preferences(preferences: &Preferences) -> Result<(), UserRefusal> {
    let locale = &preferences.locale;
    let tagged = locale
        .split('-')
        .all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    if !tagged || locale.len() > 35 || locale.split('-').next().is_none_or(|language| language.len() < 2) {
        return Err(UserRefusal::BadValue("a locale is a language tag (BCP 47) such as `en` or `de-AT`"));
    }
    if let Some(quiet) = preferences.quiet_hours {
        if quiet.from_minute >= 1440 || quiet.to_minute >= 1440 {
            return Err(UserRefusal::BadValue("quiet hours are minutes of a day, 0 to 1439"));
        }
        if !(-720..=840).contains(&quiet.utc_offset_minutes) {
            return Err(UserRefusal::BadValue("local time is -720 to 840 minutes ahead of UTC"));
        }
    }
    Ok(())
}

fn text(text: &str, advice: &'static str) -> Result<(), UserRefusal> {
    if text.is_empty() || text.len() > limits::TEXT_BYTES_MAX {
        Err(UserRefusal::BadValue(advice))
    } else {
        Ok(())
    }
}
