//! What a user's aggregate refuses. Refusals are expected; each has a stable code.

use remuda_eventsourcing::Refusal;

use crate::hours::Limit;

/// Why a wish was not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserRefusal {
    /// Nobody has this id.
    #[error("there is no such user; register them first")]
    NoSuchUser,
    /// Somebody has this id.
    #[error("another user is registered under this id; choose another id")]
    AlreadyRegistered,
    /// They may not.
    #[error("the user is suspended; reinstate them first")]
    Suspended,
    /// They are being erased, or are.
    #[error("the user is erased or is being erased; register a new one")]
    Erased,
    /// A role is missing.
    #[error("the user is no {0}; grant the role first")]
    RoleMissing(&'static str),
    /// The last role.
    #[error("a user has at least one role; grant another first, or suspend the user")]
    LastRole,
    /// The role is in use.
    #[error("the role is in use: {0}")]
    RoleInUse(&'static str),
    /// A value that cannot be.
    #[error("{0}")]
    BadValue(&'static str),
    /// Consent to a text that was replaced.
    #[error("version {given} of this text is older than version {known}, which was answered already")]
    OutdatedConsent {
        /// Said now.
        given: u32,
        /// Said before.
        known: u32,
    },
    /// There is nothing to take back.
    #[error("no consent was given for this purpose")]
    NoConsent,
    /// Nobody recorded it.
    #[error("no licence has this id; list the user's licences to see which there are")]
    NoSuchLicence,
    /// None that fits.
    #[error("the driver has no licence of class {0}")]
    LicenceMissing(String),
    /// It is over.
    #[error("the driver's licence of class {0} is no longer valid")]
    LicenceExpired(String),
    /// Too many of something.
    #[error("at most {max} {what}")]
    TooMany {
        /// What.
        what: &'static str,
        /// How many may be.
        max: usize,
    },
    /// The driver has driven enough.
    #[error("{0}")]
    HoursExhausted(Limit),
    /// Drives already.
    #[error("the driver drives already; stop first")]
    AlreadyDriving,
    /// Does not drive.
    #[error("the driver does not drive")]
    NotDriving,
    /// A time before what is known, or ahead of now.
    #[error("this time lies before what is known of the driver, or ahead of now")]
    TimeOutOfOrder,
    /// Another currency.
    #[error("the user's credits are in {0}")]
    WrongCurrency(String),
    /// Not enough.
    #[error("{available} minor units are free, {wanted} are needed; top up first")]
    InsufficientCredits {
        /// Free.
        available: i64,
        /// Needed.
        wanted: i64,
    },
    /// The key is another hold's.
    #[error("a hold with this key exists and holds another amount; use a new key")]
    HoldKeyReused,
    /// It is over.
    #[error("the hold with this key has ended; use a new key")]
    HoldEnded,
    /// Paid already.
    #[error("the hold was captured already; refund instead")]
    HoldCaptured,
    /// Nobody made it.
    #[error("there is no hold with this key")]
    NoSuchHold,
    /// More than there is.
    #[error("{wanted} minor units are more than the {max} that are held")]
    CaptureExceedsHold {
        /// Asked for.
        wanted: i64,
        /// There.
        max: i64,
    },
    /// More than was paid.
    #[error("{wanted} minor units are more than the {max} that were captured and not given back yet")]
    RefundExceedsCapture {
        /// Asked for.
        wanted: i64,
        /// There.
        max: i64,
    },
    /// The name is another payment's.
    #[error("this reference stands for another amount; use a new reference")]
    ReferenceReused,
    /// Credits are set aside.
    #[error("{0} holds are open; wait until the bookings end, or cancel them")]
    OpenHolds(usize),
    /// A ride is on.
    #[error("{0} trips are running; wait until they end, or cancel them")]
    TripRunning(usize),
    /// Money is left.
    #[error("{0} minor units of credits are left; pay them out first, or give them up")]
    CreditsLeft(i64),
    /// Nobody asked for it.
    #[error("no erasure was ordered for this user")]
    ErasureNotOrdered,
}

impl Refusal for UserRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NoSuchUser => "no-such-user",
            Self::AlreadyRegistered => "already-registered",
            Self::Suspended => "user-suspended",
            Self::Erased => "user-erased",
            Self::RoleMissing(_) => "role-missing",
            Self::LastRole => "last-role",
            Self::RoleInUse(_) => "role-in-use",
            Self::BadValue(_) => "bad-value",
            Self::OutdatedConsent { .. } => "outdated-consent",
            Self::NoConsent => "no-consent",
            Self::NoSuchLicence => "no-such-licence",
            Self::LicenceMissing(_) => "licence-missing",
            Self::LicenceExpired(_) => "licence-expired",
            Self::TooMany { .. } => "too-many",
            Self::HoursExhausted(_) => "hours-exhausted",
            Self::AlreadyDriving => "already-driving",
            Self::NotDriving => "not-driving",
            Self::TimeOutOfOrder => "time-out-of-order",
            Self::WrongCurrency(_) => "wrong-currency",
            Self::InsufficientCredits { .. } => "insufficient-credits",
            Self::HoldKeyReused => "hold-key-reused",
            Self::HoldEnded => "hold-ended",
            Self::HoldCaptured => "hold-captured",
            Self::NoSuchHold => "no-such-hold",
            Self::CaptureExceedsHold { .. } => "capture-exceeds-hold",
            Self::RefundExceedsCapture { .. } => "refund-exceeds-capture",
            Self::ReferenceReused => "reference-reused",
            Self::OpenHolds(_) => "open-holds",
            Self::TripRunning(_) => "trip-running",
            Self::CreditsLeft(_) => "credits-left",
            Self::ErasureNotOrdered => "erasure-not-ordered",
        }
    }
}
