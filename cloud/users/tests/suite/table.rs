//! Each command in each state.

use std::path::Path;

use remuda_eventsourcing::Aggregate;
use remuda_eventsourcing::table;
use remuda_eventsourcing::testing::context;
use remuda_users::event::{Erased, ErasureOrdered, LicenceRecorded, Suspended};
use remuda_users::hours::HoursRules;
use remuda_users::state::{Preferences, Purpose, Role, User};
use remuda_users::{UserCommand as C, UserEvent as E, Users};

use crate::support::*;

fn after(events: &[E]) -> User {
    let mut user = User::default();
    events.iter().for_each(|event| Users::evolve(&mut user, event));
    user
}

#[test]
fn the_table_of_decisions_is_true() {
    let ada = [
        registered(&[Role::Rider, Role::Driver]),
        topped_up(100),
        E::LicenceRecorded(LicenceRecorded { licence: licence(now()) }),
    ];
    let with = |more: &[E]| after(&[&ada, more].concat());
    let ordered = E::ErasureOrdered(ErasureOrdered { forfeited: 100, time_ms: now() });
    let states = [
        ("unknown", User::default()),
        ("active", with(&[])),
        ("active, a hold open", with(&[held("b1", 60)])),
        ("suspended, a hold open", with(&[held("b1", 60), E::Suspended(Suspended { reason: "x".into() })])),
        ("erasing", with(std::slice::from_ref(&ordered))),
        ("erased", with(&[ordered, E::Erased(Erased { time_ms: now() })])),
    ];
    let commands = [
        ("Register", register(&[Role::Staff])),
        (
            "ChangeProfile",
            C::ChangeProfile([(remuda_users::state::PersonalField::Phone, Some(sealed("p")))].into()),
        ),
        (
            "ChangePreferences",
            C::ChangePreferences(Preferences { locale: "de".into(), ..Preferences::default() }),
        ),
        ("GrantRole", C::GrantRole(Role::Staff)),
        ("RevokeRole (rider)", C::RevokeRole(Role::Rider)),
        ("Suspend", C::Suspend { reason: "x".into() }),
        ("Reinstate", C::Reinstate),
        ("GiveConsent", C::GiveConsent { purpose: Purpose::Terms, version: 1 }),
        ("WithdrawConsent", C::WithdrawConsent { purpose: Purpose::Terms }),
        ("RecordLicence", C::RecordLicence(licence(now() + 1))),
        ("RemoveLicence", C::RemoveLicence { id: "at-1".into() }),
        ("StartDriving", C::StartDriving { at_ms: now(), class: "B".into(), rules: HoursRules::default() }),
        ("StopDriving", C::StopDriving { at_ms: now() }),
        ("TopUp", C::TopUp { amount: euros(5), reference: "p2".into() }),
        ("Hold", hold("b2", 30)),
        ("Release", release("b1")),
        ("Capture", capture("b1", 50)),
        ("Refund", C::Refund { key: "b1".into(), amount: 1, reference: "r1".into() }),
        ("ExpireHolds", C::ExpireHolds),
        ("OrderErasure", C::OrderErasure { running_trips: vec![], forfeit: true }),
        ("ConfirmErased", C::ConfirmErased),
    ];
    let table = table::decisions::<Users>(&states, &commands, &context());
    table::check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"), &table).unwrap();
}
