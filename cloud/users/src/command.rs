//! What is asked of a user's aggregate. Personal values arrive sealed.

use std::collections::{BTreeMap, BTreeSet};

use remuda_contracts::money::{Currency, Money};
use remuda_contracts::sealed::Sealed;

use crate::hours::HoursRules;
use crate::state::{Licence, PersonalField, Preferences, Purpose, Role};

/// A wish; [`crate::decide()`] may refuse it.
#[derive(Debug, Clone, PartialEq)]
pub enum UserCommand {
    /// Somebody is here.
    Register {
        /// What they are; at least one.
        roles: BTreeSet<Role>,
        /// About the person; a name at least.
        profile: BTreeMap<PersonalField, Sealed>,
        /// How they want to be spoken to.
        preferences: Preferences,
        /// Currency of their credits.
        currency: Currency,
    },
    /// Set fields, or take them away.
    ChangeProfile(BTreeMap<PersonalField, Option<Sealed>>),
    /// Be spoken to in another way.
    ChangePreferences(Preferences),
    /// Be something more.
    GrantRole(Role),
    /// Be something less.
    RevokeRole(Role),
    /// No more bookings and drives.
    Suspend {
        /// Why.
        reason: String,
    },
    /// As before.
    Reinstate,
    /// Yes to a text.
    GiveConsent {
        /// What for.
        purpose: Purpose,
        /// Version of the text.
        version: u32,
    },
    /// No longer.
    WithdrawConsent {
        /// What for.
        purpose: Purpose,
    },
    /// A licence was shown; one with the same id is replaced.
    RecordLicence(Licence),
    /// It does not count any more.
    RemoveLicence {
        /// Which.
        id: String,
    },
    /// Begins to drive.
    StartDriving {
        /// Since when, ms since 1970 UTC.
        at_ms: i64,
        /// Class of licence that the vehicle needs.
        class: String,
        /// How long one may drive.
        rules: HoursRules,
    },
    /// Has stopped driving.
    StopDriving {
        /// When, ms since 1970 UTC.
        at_ms: i64,
    },
    /// Credits came in.
    TopUp {
        /// How much.
        amount: Money,
        /// The payment's own name: the same name is the same payment.
        reference: String,
    },
    /// Set credits aside.
    Hold {
        /// Whose hold it is (a saga's key): the same key is the same hold.
        key: String,
        /// How much.
        amount: Money,
        /// When it goes back by itself, ms since 1970 UTC.
        expires_ms: i64,
    },
    /// Let a hold go. One that was never made is called off: a late [`UserCommand::Hold`] with its key is refused.
    Release {
        /// Which.
        key: String,
    },
    /// Pay from a hold; what is left goes back.
    Capture {
        /// Which.
        key: String,
        /// How much, minor units, at most what is held.
        amount: i64,
    },
    /// Give back from what was captured.
    Refund {
        /// Of which hold.
        key: String,
        /// How much, minor units.
        amount: i64,
        /// The refund's own name: the same name is the same refund.
        reference: String,
    },
    /// Time has passed: holds whose time is over go back.
    ExpireHolds,
    /// Erase the person (GDPR article 17).
    OrderErasure {
        /// Trips of theirs that run, as the lists of trips say; a booking in flight shows as an open hold.
        running_trips: Vec<String>,
        /// Give up credits that are left.
        forfeit: bool,
    },
    /// The key is deleted.
    ConfirmErased,
}
