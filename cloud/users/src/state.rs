//! What is known of a user.

use std::collections::{BTreeMap, BTreeSet};

use remuda_contracts::sealed::Sealed;
use serde::{Deserialize, Serialize};

use crate::credits::Credits;
use crate::hours::Period;

/// What somebody is in this organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Rides.
    Rider,
    /// Drives.
    Driver,
    /// Works in the office.
    Staff,
}

/// A field about a person. Only ever stored sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PersonalField {
    /// Full name.
    Name,
    /// Address for e-mail.
    Email,
    /// Telephone number.
    Phone,
    /// Postal address.
    Address,
    /// Date of birth.
    BirthDate,
}

impl PersonalField {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Name, Self::Email, Self::Phone, Self::Address, Self::BirthDate];

    /// Its name: bound into the ciphertext, so never renamed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Address => "address",
            Self::BirthDate => "birth-date",
        }
    }
}

/// How somebody may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Channel {
    /// In the app.
    InApp,
    /// By e-mail.
    Email,
    /// By a customer's webhook.
    Webhook,
}

/// A time of the day at which nothing may ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietHours {
    /// Minute of the local day it begins at, 0 to 1,439.
    pub from_minute: u16,
    /// Minute of the local day it ends at; less than `from_minute` when it spans midnight.
    pub to_minute: u16,
    /// Minutes that the local time is ahead of UTC, -720 to 840.
    pub utc_offset_minutes: i16,
}

impl QuietHours {
    /// Is it quiet at this time, ms since 1970 UTC?
    pub fn covers(&self, now_ms: i64) -> bool {
        let minute = (now_ms.div_euclid(60_000) + i64::from(self.utc_offset_minutes)).rem_euclid(1440) as u16;
        if self.from_minute <= self.to_minute {
            (self.from_minute..self.to_minute).contains(&minute)
        } else {
            minute >= self.from_minute || minute < self.to_minute
        }
    }
}

/// How somebody wants to be spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preferences {
    /// Language, BCP 47, such as `de-AT`.
    pub locale: String,
    /// Ways that are open.
    pub channels: BTreeSet<Channel>,
    /// When not to ring.
    pub quiet_hours: Option<QuietHours>,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            locale: "en".into(),
            channels: BTreeSet::from([Channel::InApp, Channel::Email]),
            quiet_hours: None,
        }
    }
}

/// What consent is given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Purpose {
    /// The terms of the service.
    Terms,
    /// How data is handled.
    Privacy,
    /// News and offers.
    Marketing,
    /// Keeping where somebody rode, beyond what the ride needs.
    LocationHistory,
}

/// The last word about a purpose. All the words stand in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// Version of the text.
    pub version: u32,
    /// Yes, or taken back.
    pub given: bool,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// A driving licence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Licence {
    /// What it is called here, such as `at-1`; not its number.
    pub id: String,
    /// Its number.
    pub number: Sealed,
    /// What it is for, such as `B`, `C1E`.
    pub classes: BTreeSet<String>,
    /// Last moment, ms since 1970 UTC.
    pub valid_until_ms: i64,
}

/// Where a user stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum UserPhase {
    /// Nobody has registered under this id.
    #[default]
    Unknown,
    /// As it should be.
    Active,
    /// May not book or drive.
    Suspended,
    /// Is being erased: the key goes.
    Erasing,
    /// The key is gone: what was personal reads as erased.
    Erased,
}

/// A user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Where they stand.
    pub phase: UserPhase,
    /// What they are.
    pub roles: BTreeSet<Role>,
    /// About the person, sealed.
    pub profile: BTreeMap<PersonalField, Sealed>,
    /// How they want to be spoken to.
    pub preferences: Preferences,
    /// What they said yes and no to.
    pub consents: BTreeMap<Purpose, Consent>,
    /// What they may drive. Bounded by [`crate::limits::LICENCES_MAX`].
    pub licences: Vec<Licence>,
    /// When they drove, oldest first. Bounded by [`crate::limits::PERIODS_MAX`].
    pub driven: Vec<Period>,
    /// Driving since, ms since 1970 UTC.
    pub driving_since_ms: Option<i64>,
    /// Their credits.
    pub credits: Credits,
    /// When they registered, ms since 1970 UTC.
    pub registered_ms: i64,
}
