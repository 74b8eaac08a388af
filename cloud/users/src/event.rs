//! Facts about a user, and their bytes. Personal values are ciphertext; an erased user's stream stays valid.

use std::collections::{BTreeMap, BTreeSet};

use remuda_contracts::money::Currency;
use remuda_contracts::sealed::Sealed;
use remuda_eventsourcing::event_codec;
use serde::{Deserialize, Serialize};

use crate::state::{Licence, PersonalField, Preferences, Purpose, Role};

/// Somebody registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// What they are.
    pub roles: BTreeSet<Role>,
    /// About the person, sealed.
    pub profile: BTreeMap<PersonalField, Sealed>,
    /// How they want to be spoken to.
    pub preferences: Preferences,
    /// Currency of their credits.
    pub currency: Currency,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// Fields were set (a value) or taken away (none).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileChanged {
    /// Which, and to what.
    pub changes: BTreeMap<PersonalField, Option<Sealed>>,
}

/// They want to be spoken to in another way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreferencesChanged {
    /// How.
    pub preferences: Preferences,
}

/// They are something more, or something less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleChanged {
    /// What.
    pub role: Role,
}

/// They may not book or drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspended {
    /// Why.
    pub reason: String,
}

/// They may again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reinstated {}

/// They said yes, or took it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentSaid {
    /// What for.
    pub purpose: Purpose,
    /// Version of the text.
    pub version: u32,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// A licence counts, or replaces the one with its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenceRecorded {
    /// The licence.
    pub licence: Licence,
}

/// A licence does not count any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenceRemoved {
    /// Which.
    pub id: String,
}

/// They drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrivingStarted {
    /// Since when, ms since 1970 UTC.
    pub at_ms: i64,
}

/// They have stopped driving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrivingStopped {
    /// Since when they had driven, ms since 1970 UTC.
    pub from_ms: i64,
    /// When they stopped, ms since 1970 UTC.
    pub to_ms: i64,
}

/// Credits came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToppedUp {
    /// How much, minor units.
    pub amount: i64,
    /// The payment's own name.
    pub reference: String,
}

/// Credits were set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Whose hold it is.
    pub key: String,
    /// How much, minor units.
    pub amount: i64,
    /// When it goes back by itself, ms since 1970 UTC.
    pub expires_ms: i64,
}

/// A hold went back, by wish or by time. With an amount of zero it was called off before it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldReturned {
    /// Which.
    pub key: String,
    /// How much, minor units.
    pub amount: i64,
}

/// Somebody was paid from a hold; the rest went back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// Which.
    pub key: String,
    /// How much was paid, minor units.
    pub amount: i64,
    /// How much went back, minor units.
    pub returned: i64,
}

/// Some of what was captured was given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refunded {
    /// Of which hold.
    pub key: String,
    /// How much, minor units.
    pub amount: i64,
    /// The refund's own name.
    pub reference: String,
}

/// The person is to be erased: the effect of this fact is that the key is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureOrdered {
    /// Credits that were given up, minor units.
    pub forfeited: i64,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// The key is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserEvent {
    /// See [`Registered`].
    Registered(Registered),
    /// See [`ProfileChanged`].
    ProfileChanged(ProfileChanged),
    /// See [`PreferencesChanged`].
    PreferencesChanged(PreferencesChanged),
    /// See [`RoleChanged`].
    RoleGranted(RoleChanged),
    /// See [`RoleChanged`].
    RoleRevoked(RoleChanged),
    /// See [`Suspended`].
    Suspended(Suspended),
    /// See [`Reinstated`].
    Reinstated(Reinstated),
    /// See [`ConsentSaid`].
    ConsentGiven(ConsentSaid),
    /// See [`ConsentSaid`].
    ConsentWithdrawn(ConsentSaid),
    /// See [`LicenceRecorded`].
    LicenceRecorded(LicenceRecorded),
    /// See [`LicenceRemoved`].
    LicenceRemoved(LicenceRemoved),
    /// See [`DrivingStarted`].
    DrivingStarted(DrivingStarted),
    /// See [`DrivingStopped`].
    DrivingStopped(DrivingStopped),
    /// See [`ToppedUp`].
    CreditsToppedUp(ToppedUp),
    /// See [`Held`].
    CreditsHeld(Held),
    /// See [`HoldReturned`].
    HoldReleased(HoldReturned),
    /// See [`HoldReturned`].
    HoldExpired(HoldReturned),
    /// See [`Captured`].
    HoldCaptured(Captured),
    /// See [`Refunded`].
    CreditsRefunded(Refunded),
    /// See [`ErasureOrdered`].
    ErasureOrdered(ErasureOrdered),
    /// See [`Erased`].
    Erased(Erased),
}

event_codec!(UserEvent {
    Registered = "user.registered" 1,
    ProfileChanged = "user.profile-changed" 1,
    PreferencesChanged = "user.preferences-changed" 1,
    RoleGranted = "user.role-granted" 1,
    RoleRevoked = "user.role-revoked" 1,
    Suspended = "user.suspended" 1,
    Reinstated = "user.reinstated" 1,
    ConsentGiven = "user.consent-given" 1,
    ConsentWithdrawn = "user.consent-withdrawn" 1,
    LicenceRecorded = "user.licence-recorded" 1,
    LicenceRemoved = "user.licence-removed" 1,
    DrivingStarted = "user.driving-started" 1,
    DrivingStopped = "user.driving-stopped" 1,
    CreditsToppedUp = "user.credits-topped-up" 1,
    CreditsHeld = "user.credits-held" 1,
    HoldReleased = "user.hold-released" 1,
    HoldExpired = "user.hold-expired" 1,
    HoldCaptured = "user.hold-captured" 1,
    CreditsRefunded = "user.credits-refunded" 1,
    ErasureOrdered = "user.erasure-ordered" 1,
    Erased = "user.erased" 1,
});
