//! The rules, told one by one.

use std::collections::BTreeMap;

use remuda_contracts::money::Money;
use remuda_eventsourcing::testing::given;
use remuda_users::event::{
    Captured, ConsentSaid, DrivingStarted, DrivingStopped, Erased, ErasureOrdered, HoldReturned,
    LicenceRecorded, ProfileChanged, Refunded, RoleChanged, Suspended,
};
use remuda_users::hours::HoursRules;
use remuda_users::state::{PersonalField, Purpose, QuietHours, Role, UserPhase};
use remuda_users::{UserCommand as C, UserEvent as E, Users, limits};

use crate::support::*;

const HOUR: i64 = 3_600_000;

#[test]
fn somebody_registers_once() {
    given::<Users>([])
        .when(C::Reinstate)
        .then_refused("no-such-user")
        .when(register(&[]))
        .then_refused("bad-value")
        .when(register(&[Role::Rider]))
        .then([rider()])
        .when(register(&[Role::Rider]))
        .then_nothing()
        .when(register(&[Role::Staff]))
        .then_refused("already-registered");
}

#[test]
fn a_profile_changes_by_what_differs() {
    let change = |field, value: Option<&str>| C::ChangeProfile(BTreeMap::from([(field, value.map(sealed))]));
    given::<Users>([rider()])
        .when(change(PersonalField::Email, Some("e")))
        .then_nothing()
        .when(change(PersonalField::Email, None))
        .then([E::ProfileChanged(ProfileChanged { changes: BTreeMap::from([(PersonalField::Email, None)]) })])
        .when(change(PersonalField::Email, None))
        .then_nothing()
        .when(change(PersonalField::Name, None))
        .then_refused("bad-value")
        .when(change(PersonalField::Name, Some("")))
        .then_refused("bad-value");
}

#[test]
fn roles_come_and_go_but_not_the_last_nor_one_in_use() {
    given::<Users>([rider(), topped_up(100), held("b1", 60)])
        .when(C::RevokeRole(Role::Driver))
        .then_nothing()
        .when(C::RevokeRole(Role::Rider))
        .then_refused("role-in-use")
        .when(release("b1"))
        .then([E::HoldReleased(HoldReturned { key: "b1".into(), amount: 60 })])
        .when(C::RevokeRole(Role::Rider))
        .then_refused("last-role")
        .when(C::GrantRole(Role::Staff))
        .then([E::RoleGranted(RoleChanged { role: Role::Staff })])
        .when(C::RevokeRole(Role::Rider))
        .then([E::RoleRevoked(RoleChanged { role: Role::Rider })])
        .when(hold("b2", 1))
        .then_refused("role-missing");
}

#[test]
fn consent_is_versioned_and_may_be_taken_back() {
    let give = |version| C::GiveConsent { purpose: Purpose::Privacy, version };
    let said = |version| ConsentSaid { purpose: Purpose::Privacy, version, time_ms: now() };
    let withdraw = C::WithdrawConsent { purpose: Purpose::Privacy };
    given::<Users>([rider()])
        .when(withdraw.clone())
        .then_refused("no-consent")
        .when(give(0))
        .then_refused("bad-value")
        .when(give(2))
        .then([E::ConsentGiven(said(2))])
        .when(give(2))
        .then_nothing()
        .when(give(1))
        .then_refused("outdated-consent")
        .when(withdraw.clone())
        .then([E::ConsentWithdrawn(said(2))])
        .when(withdraw)
        .then_nothing()
        .when(give(2))
        .then([E::ConsentGiven(said(2))]);
}

#[test]
fn a_hold_is_its_key_and_the_balance_stays_above_zero() {
    given::<Users>([rider(), topped_up(100)])
        .when(hold("b1", 60))
        .then([held("b1", 60)])
        .when(hold("b1", 60))
        .then_nothing()
        .when(hold("b1", 61))
        .then_refused("hold-key-reused")
        .when(hold("b2", 41))
        .then_refused("insufficient-credits")
        .when(capture("b1", 61))
        .then_refused("capture-exceeds-hold")
        .when(capture("b1", 45))
        .then([E::HoldCaptured(Captured { key: "b1".into(), amount: 45, returned: 15 })])
        .when(capture("b1", 45))
        .then_nothing()
        .when(capture("b1", 44))
        .then_refused("hold-captured")
        .when(release("b1"))
        .then_refused("hold-captured")
        .when(hold("b1", 60))
        .then_refused("hold-captured")
        .then_state(|user| user.credits.available == 55 && user.credits.held() == 0)
        .when(C::Hold {
            key: "b3".into(),
            amount: Money { minor_units: 1, currency: "CHF".parse().unwrap() },
            expires_ms: now() + 1,
        })
        .then_refused("wrong-currency");
}

#[test]
fn what_is_undone_before_it_is_done_stays_undone() {
    given::<Users>([rider(), topped_up(100)])
        .when(release("b1"))
        .then([E::HoldReleased(HoldReturned { key: "b1".into(), amount: 0 })])
        .when(release("b1"))
        .then_nothing()
        .when(hold("b1", 60))
        .then_refused("hold-ended")
        .when(capture("b1", 1))
        .then_refused("hold-ended")
        .when(capture("b9", 1))
        .then_refused("no-such-hold");
    given::<Users>([]).when(release("b1")).then_nothing();
}

#[test]
fn a_hold_goes_back_by_itself_when_its_time_is_over() {
    let expired = E::HoldExpired(HoldReturned { key: "b1".into(), amount: 60 });
    given::<Users>([rider(), topped_up(100), held("b1", 60)])
        .at(now() + 59_999)
        .when(C::ExpireHolds)
        .then_nothing()
        .at(now() + 60_000)
        .when(C::ExpireHolds)
        .then([expired.clone()])
        .when(hold("b1", 60))
        .then_refused("hold-ended");
    let later = C::Hold { key: "b2".into(), amount: euros(100), expires_ms: now() + 70_000 };
    let _ = given::<Users>([rider(), topped_up(100), held("b1", 60)])
        .at(now() + 60_000)
        .when(later)
        .then_events(|events| events.len() == 2 && events[0] == expired)
        .then_state(|user| user.credits.available == 0 && user.credits.held() == 100);
    let wrong = |expires_ms| C::Hold { key: "b".into(), amount: euros(1), expires_ms };
    given::<Users>([rider(), topped_up(1)])
        .when(wrong(now()))
        .then_refused("bad-value")
        .when(wrong(now() + limits::HOLD_MS_MAX + 1))
        .then_refused("bad-value");
}

#[test]
fn holds_and_amounts_are_bounded() {
    let mut past = vec![rider(), topped_up(1_000)];
    past.extend((0..limits::HOLDS_MAX).map(|n| held(&format!("b{n}"), 1)));
    let top_up = |amount, reference: &str| C::TopUp { amount: euros(amount), reference: reference.into() };
    given::<Users>(past)
        .when(hold("one more", 1))
        .then_refused("too-many")
        .at(now() + 60_000)
        .when(C::Hold { key: "x".into(), amount: euros(1), expires_ms: now() + 60_001 })
        .then_events(|events| events.len() == limits::HOLDS_MAX + 1)
        .when(top_up(0, "z"))
        .then_refused("bad-value")
        .when(top_up(i64::MAX, "z"))
        .then_refused("bad-value")
        .when(top_up(1_000, "p1"))
        .then_nothing()
        .when(top_up(999, "p1"))
        .then_refused("reference-reused");
}

#[test]
fn what_was_captured_can_be_given_back_once() {
    let refund =
        |amount, reference: &str| C::Refund { key: "b1".into(), amount, reference: reference.into() };
    let _ = given::<Users>([rider(), topped_up(100), held("b1", 60)])
        .when(refund(1, "r1"))
        .then_refused("no-such-hold")
        .when(capture("b1", 50))
        .then([E::HoldCaptured(Captured { key: "b1".into(), amount: 50, returned: 10 })])
        .when(refund(30, "r1"))
        .then([E::CreditsRefunded(Refunded { key: "b1".into(), amount: 30, reference: "r1".into() })])
        .when(refund(30, "r1"))
        .then_nothing()
        .when(refund(21, "r2"))
        .then_refused("refund-exceeds-capture")
        .then_state(|user| user.credits.available == 80);
}

#[test]
fn a_suspended_user_books_nothing_but_gets_their_money_back() {
    let suspend = C::Suspend { reason: "fraud?".into() };
    given::<Users>([rider(), topped_up(100), held("b1", 60)])
        .when(suspend.clone())
        .then([E::Suspended(Suspended { reason: "fraud?".into() })])
        .when(suspend)
        .then_nothing()
        .when(hold("b2", 1))
        .then_refused("user-suspended")
        .when(release("b1"))
        .then([E::HoldReleased(HoldReturned { key: "b1".into(), amount: 60 })])
        .when(C::Reinstate)
        .then_events(|events| events.len() == 1)
        .when(C::Reinstate)
        .then_nothing();
}

#[test]
fn a_driver_drives_with_a_licence_and_not_for_ever() {
    let start =
        |at_ms, class: &str| C::StartDriving { at_ms, class: class.into(), rules: HoursRules::default() };
    let t = now();
    let valid = licence(t + 12 * HOUR);
    given::<Users>([registered(&[Role::Driver])])
        .when(start(t, "B"))
        .then_refused("licence-missing")
        .when(C::RecordLicence(valid.clone()))
        .then([E::LicenceRecorded(LicenceRecorded { licence: valid.clone() })])
        .when(C::RecordLicence(valid))
        .then_nothing()
        .when(start(t, "C"))
        .then_refused("licence-missing")
        .when(start(t + 13 * HOUR, "B"))
        .then_refused("time-out-of-order")
        .when(start(t, "B"))
        .then([E::DrivingStarted(DrivingStarted { at_ms: t })])
        .when(start(t, "B"))
        .then_nothing()
        .when(start(t + 1, "B"))
        .then_refused("already-driving")
        .at(t + 5 * HOUR)
        .when(C::StopDriving { at_ms: t - 1 })
        .then_refused("time-out-of-order")
        .when(C::StopDriving { at_ms: t + 9 * HOUR / 2 })
        .then([E::DrivingStopped(DrivingStopped { from_ms: t, to_ms: t + 9 * HOUR / 2 })])
        .when(C::StopDriving { at_ms: t + 9 * HOUR / 2 })
        .then_nothing()
        .when(C::StopDriving { at_ms: t + 5 * HOUR })
        .then_refused("not-driving")
        .when(start(t + 5 * HOUR, "B"))
        .then_refused("hours-exhausted")
        .at(t + 6 * HOUR)
        .when(start(t + 6 * HOUR, "B"))
        .then_events(|events| events.len() == 1);
    given::<Users>([registered(&[Role::Driver])])
        .when(C::RecordLicence(licence(t - 1)))
        .then_events(|events| events.len() == 1)
        .when(start(t, "B"))
        .then_refused("licence-expired")
        .when(C::RemoveLicence { id: "at-1".into() })
        .then_events(|events| events.len() == 1)
        .when(C::RemoveLicence { id: "at-1".into() })
        .then_refused("no-such-licence");
    given::<Users>([rider()]).when(start(t, "B")).then_refused("role-missing");
}

#[test]
fn nobody_is_erased_in_the_middle_of_something() {
    let order = |trips: &[&str], forfeit| C::OrderErasure {
        running_trips: trips.iter().map(|&trip| trip.to_owned()).collect(),
        forfeit,
    };
    let _ = given::<Users>([rider(), topped_up(100), held("b1", 60)])
        .when(order(&[], true))
        .then_refused("open-holds")
        .when(order(&["t1"], true))
        .then_refused("trip-running")
        .when(C::ConfirmErased)
        .then_refused("erasure-not-ordered")
        .when(capture("b1", 60))
        .then_events(|events| events.len() == 1)
        .when(order(&[], false))
        .then_refused("credits-left")
        .when(order(&[], true))
        .then([E::ErasureOrdered(ErasureOrdered { forfeited: 40, time_ms: now() })])
        .when(order(&[], true))
        .then_nothing()
        .when(hold("b2", 1))
        .then_refused("user-erased")
        .when(release("b2"))
        .then_nothing()
        .when(C::ConfirmErased)
        .then([E::Erased(Erased { time_ms: now() })])
        .when(C::ConfirmErased)
        .then_nothing()
        .when(register(&[Role::Rider]))
        .then_refused("user-erased")
        .then_state(|user| user.phase == UserPhase::Erased && user.profile.is_empty());
}

#[test]
fn quiet_hours_may_span_midnight() {
    let at = |hour: i64| 1_699_833_600_000 + hour * HOUR;
    let night = QuietHours { from_minute: 22 * 60, to_minute: 7 * 60, utc_offset_minutes: 60 };
    assert!(!night.covers(at(20)) && night.covers(at(21)) && night.covers(at(5)) && !night.covers(at(6)));
    let noon = QuietHours { from_minute: 12 * 60, to_minute: 13 * 60, utc_offset_minutes: 0 };
    assert!(noon.covers(at(12)) && !noon.covers(at(13)));
    let change = |quiet| {
        C::ChangePreferences(remuda_users::state::Preferences {
            quiet_hours: Some(quiet),
            ..Default::default()
        })
    };
    given::<Users>([rider()])
        .when(change(QuietHours { from_minute: 1440, to_minute: 0, utc_offset_minutes: 0 }))
        .then_refused("bad-value")
        .when(change(night))
        .then_events(|events| events.len() == 1)
        .when(change(night))
        .then_nothing();
    for locale in ["", "x", "en_US", "e n", "waytoolongpart", "en-"] {
        let preferences = remuda_users::state::Preferences { locale: locale.into(), ..Default::default() };
        let _ = given::<Users>([rider()]).when(C::ChangePreferences(preferences)).then_refused("bad-value");
    }
}
