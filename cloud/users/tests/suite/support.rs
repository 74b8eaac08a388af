//! A user and what is said to them.

use std::collections::{BTreeMap, BTreeSet};

use remuda_contracts::money::{Currency, Money};
use remuda_contracts::sealed::Sealed;
use remuda_eventsourcing::testing::context;
use remuda_users::event::{Held, Registered, ToppedUp};
use remuda_users::state::{Licence, PersonalField, Preferences, Role};
use remuda_users::{UserCommand, UserEvent};

/// The kit's time.
pub fn now() -> i64 {
    context().now_ms
}

pub fn euros(minor_units: i64) -> Money {
    Money { minor_units, currency: Currency::EUR }
}

pub fn sealed(text: &str) -> Sealed {
    Sealed::new(text.as_bytes().to_vec())
}

pub fn profile() -> BTreeMap<PersonalField, Sealed> {
    BTreeMap::from([(PersonalField::Name, sealed("n")), (PersonalField::Email, sealed("e"))])
}

pub fn register(roles: &[Role]) -> UserCommand {
    UserCommand::Register {
        roles: roles.iter().copied().collect(),
        profile: profile(),
        preferences: Preferences::default(),
        currency: Currency::EUR,
    }
}

pub fn registered(roles: &[Role]) -> UserEvent {
    UserEvent::Registered(Registered {
        roles: roles.iter().copied().collect(),
        profile: profile(),
        preferences: Preferences::default(),
        currency: Currency::EUR,
        time_ms: now(),
    })
}

pub fn rider() -> UserEvent {
    registered(&[Role::Rider])
}

pub fn topped_up(amount: i64) -> UserEvent {
    UserEvent::CreditsToppedUp(ToppedUp { amount, reference: "p1".into() })
}

pub fn held(key: &str, amount: i64) -> UserEvent {
    UserEvent::CreditsHeld(Held { key: key.into(), amount, expires_ms: now() + 60_000 })
}

pub fn hold(key: &str, amount: i64) -> UserCommand {
    UserCommand::Hold { key: key.into(), amount: euros(amount), expires_ms: now() + 60_000 }
}

pub fn release(key: &str) -> UserCommand {
    UserCommand::Release { key: key.into() }
}

pub fn capture(key: &str, amount: i64) -> UserCommand {
    UserCommand::Capture { key: key.into(), amount }
}

pub fn licence(valid_until_ms: i64) -> Licence {
    Licence { id: "at-1".into(), number: sealed("l"), classes: BTreeSet::from(["B".into()]), valid_until_ms }
}
