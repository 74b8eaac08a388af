//! Events that must be read for ever. Cases are only ever added.

use remuda_eventsourcing::testing::{golden_event, written_now};
use remuda_users::event::{
    Captured, ConsentSaid, DrivingStarted, DrivingStopped, Erased, ErasureOrdered, HoldReturned,
    LicenceRecorded, LicenceRemoved, PreferencesChanged, ProfileChanged, Refunded, Reinstated, RoleChanged,
    Suspended,
};
use remuda_users::state::{PersonalField, Preferences, Purpose, QuietHours, Role};
use remuda_users::{UserEvent as E, Users};

use crate::support::*;

fn cases() -> Vec<(E, &'static str)> {
    let quiet = QuietHours { from_minute: 1320, to_minute: 420, utc_offset_minutes: 60 };
    let said = ConsentSaid { purpose: Purpose::Marketing, version: 3, time_ms: 1 };
    let returned = HoldReturned { key: "k".into(), amount: 300 };
    vec![
        (registered(&[Role::Rider, Role::Driver]), "0200010200016e01016502656e020001000345555280a0abfef962"),
        (
            E::ProfileChanged(ProfileChanged {
                changes: [(PersonalField::Phone, Some(sealed("p"))), (PersonalField::BirthDate, None)].into(),
            }),
            "02020101700400",
        ),
        (
            E::PreferencesChanged(PreferencesChanged {
                preferences: Preferences { quiet_hours: Some(quiet), ..Preferences::default() },
            }),
            "02656e02000101a80aa40378",
        ),
        (E::RoleGranted(RoleChanged { role: Role::Staff }), "02"),
        (E::RoleRevoked(RoleChanged { role: Role::Rider }), "00"),
        (E::Suspended(Suspended { reason: "x".into() }), "0178"),
        (E::Reinstated(Reinstated {}), ""),
        (E::ConsentGiven(said), "020302"),
        (E::ConsentWithdrawn(said), "020302"),
        (E::LicenceRecorded(LicenceRecorded { licence: licence(5) }), "0461742d31016c0101420a"),
        (E::LicenceRemoved(LicenceRemoved { id: "at-1".into() }), "0461742d31"),
        (E::DrivingStarted(DrivingStarted { at_ms: 7 }), "0e"),
        (E::DrivingStopped(DrivingStopped { from_ms: 7, to_ms: 9 }), "0e12"),
        (topped_up(100), "c801027031"),
        (held("b1", 60), "02623178c0c9b2fef962"),
        (E::HoldReleased(returned.clone()), "016bd804"),
        (E::HoldExpired(returned), "016bd804"),
        (E::HoldCaptured(Captured { key: "k".into(), amount: 200, returned: 100 }), "016b9003c801"),
        (E::CreditsRefunded(Refunded { key: "k".into(), amount: 1, reference: "r".into() }), "016b020172"),
        (E::ErasureOrdered(ErasureOrdered { forfeited: 5, time_ms: 6 }), "0a0c"),
        (E::Erased(Erased { time_ms: 6 }), "0c"),
    ]
}

#[test]
fn what_was_written_is_read_for_ever() {
    if std::env::var_os("REMUDA_WRITE_TABLES").is_some() {
        cases().iter().for_each(|(event, _)| println!("golden {}", written_now::<Users>(event)));
        return;
    }
    let mut types: Vec<&str> = Vec::new();
    for (event, hex) in cases() {
        golden_event::<Users>(event.event_type(), 1, hex, &event);
        types.push(event.event_type());
    }
    types.dedup();
    assert_eq!(types, E::TYPES.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "every event has a case");
}
