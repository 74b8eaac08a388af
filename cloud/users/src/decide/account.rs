//! Decisions about credits.

use remuda_contracts::money::Money;
use remuda_eventsourcing::Context;

use super::{Decision, text};
use crate::command::UserCommand;
use crate::credits::HoldEnd;
use crate::error::UserRefusal;
use crate::event::{Captured, Held, HoldReturned, Refunded, ToppedUp, UserEvent};
use crate::limits;
use crate::state::{Role, User, UserPhase};

pub(super) fn decide(user: &User, command: &UserCommand, context: &Context) -> Decision {
    match command {
        UserCommand::TopUp { amount, reference } => top_up(user, *amount, reference),
        UserCommand::Hold { key, amount, expires_ms } => {
            hold(user, key, *amount, *expires_ms, context.now_ms)
        }
        UserCommand::Release { key } => release(user, key),
        UserCommand::Capture { key, amount } => capture(user, key, *amount),
        UserCommand::Refund { key, amount, reference } => refund(user, key, *amount, reference),
        UserCommand::ExpireHolds => Ok(expire(user, context.now_ms)),
        _ => Ok(vec![]),
    }
}

fn check_amount(amount: i64) -> Result<(), UserRefusal> {
    if (1..=limits::AMOUNT_MAX).contains(&amount) {
        Ok(())
    } else {
        Err(UserRefusal::BadValue("an amount is from 1 to 100000000 minor units"))
    }
}

fn check_currency(user: &User, amount: Money) -> Result<(), UserRefusal> {
    match user.credits.currency {
        Some(currency) if currency != amount.currency => {
            Err(UserRefusal::WrongCurrency(currency.to_string()))
        }
        _ => Ok(()),
    }
}

fn check_room(user: &User, amount: i64) -> Result<(), UserRefusal> {
    if user.credits.balance() > limits::BALANCE_MAX - amount {
        return Err(UserRefusal::BadValue("this is more than a user's credits may amount to"));
    }
    Ok(())
}

fn top_up(user: &User, amount: Money, reference: &str) -> Decision {
    text(reference, "a reference has 1 to 256 bytes")?;
    check_amount(amount.minor_units)?;
    check_currency(user, amount)?;
    match user.credits.reference(reference) {
        Some(known) if known == amount.minor_units => return Ok(vec![]),
        Some(_) => return Err(UserRefusal::ReferenceReused),
        None => {}
    }
    check_room(user, amount.minor_units)?;
    Ok(vec![UserEvent::CreditsToppedUp(ToppedUp { amount: amount.minor_units, reference: reference.into() })])
}

fn hold(user: &User, key: &str, amount: Money, expires_ms: i64, now_ms: i64) -> Decision {
    text(key, "a key has 1 to 256 bytes")?;
    check_amount(amount.minor_units)?;
    check_currency(user, amount)?;
    if let Some(known) = user.credits.holds.get(key) {
        return if known.amount == amount.minor_units { Ok(vec![]) } else { Err(UserRefusal::HoldKeyReused) };
    }
    match user.credits.ended(key) {
        Some(HoldEnd::Captured { .. }) => return Err(UserRefusal::HoldCaptured),
        Some(_) => return Err(UserRefusal::HoldEnded),
        None => {}
    }
    if user.phase == UserPhase::Suspended {
        return Err(UserRefusal::Suspended);
    }
    if !user.roles.contains(&Role::Rider) {
        return Err(UserRefusal::RoleMissing("rider"));
    }
    if expires_ms <= now_ms || expires_ms > now_ms.saturating_add(limits::HOLD_MS_MAX) {
        return Err(UserRefusal::BadValue("a hold ends within 7 days from now"));
    }
    // What is due goes back first: it is free, whether somebody has swept or not.
    let mut events = expire(user, now_ms);
    let returned: i64 = user.credits.due(now_ms).map(|(_, hold)| hold.amount).sum();
    if user.credits.holds.len() - events.len() >= limits::HOLDS_MAX {
        return Err(UserRefusal::TooMany { what: "holds are open at a time", max: limits::HOLDS_MAX });
    }
    let available = user.credits.available + returned;
    if available < amount.minor_units {
        return Err(UserRefusal::InsufficientCredits { available, wanted: amount.minor_units });
    }
    events.push(UserEvent::CreditsHeld(Held { key: key.into(), amount: amount.minor_units, expires_ms }));
    Ok(events)
}

fn release(user: &User, key: &str) -> Decision {
    text(key, "a key has 1 to 256 bytes")?;
    let released = |amount| vec![UserEvent::HoldReleased(HoldReturned { key: key.into(), amount })];
    match (user.credits.holds.get(key), user.credits.ended(key)) {
        (Some(hold), _) => Ok(released(hold.amount)),
        (None, Some(HoldEnd::Captured { .. })) => Err(UserRefusal::HoldCaptured),
        (None, Some(_)) => Ok(vec![]),
        (None, None) => Ok(released(0)),
    }
}

fn capture(user: &User, key: &str, amount: i64) -> Decision {
    if amount < 0 {
        return Err(UserRefusal::BadValue("an amount to capture is not negative"));
    }
    match (user.credits.holds.get(key), user.credits.ended(key)) {
        (Some(hold), _) if amount > hold.amount => {
            Err(UserRefusal::CaptureExceedsHold { wanted: amount, max: hold.amount })
        }
        (Some(hold), _) => Ok(vec![UserEvent::HoldCaptured(Captured {
            key: key.into(),
            amount,
            returned: hold.amount - amount,
        })]),
        (None, Some(HoldEnd::Captured { amount: known, .. })) if known == amount => Ok(vec![]),
        (None, Some(HoldEnd::Captured { .. })) => Err(UserRefusal::HoldCaptured),
        (None, Some(_)) => Err(UserRefusal::HoldEnded),
        (None, None) => Err(UserRefusal::NoSuchHold),
    }
}

fn refund(user: &User, key: &str, amount: i64, reference: &str) -> Decision {
    text(reference, "a reference has 1 to 256 bytes")?;
    check_amount(amount)?;
    match user.credits.reference(reference) {
        Some(known) if known == amount => return Ok(vec![]),
        Some(_) => return Err(UserRefusal::ReferenceReused),
        None => {}
    }
    let Some(HoldEnd::Captured { amount: captured, refunded }) = user.credits.ended(key) else {
        return Err(UserRefusal::NoSuchHold);
    };
    if amount > captured - refunded {
        return Err(UserRefusal::RefundExceedsCapture { wanted: amount, max: captured - refunded });
    }
    check_room(user, amount)?;
    Ok(vec![UserEvent::CreditsRefunded(Refunded { key: key.into(), amount, reference: reference.into() })])
}

fn expire(user: &User, now_ms: i64) -> Vec<UserEvent> {
    let returned = |(key, hold): (&String, &crate::credits::Hold)| {
        UserEvent::HoldExpired(HoldReturned { key: key.clone(), amount: hold.amount })
    };
    user.credits.due(now_ms).map(returned).collect()
}
