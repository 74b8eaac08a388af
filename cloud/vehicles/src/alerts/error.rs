//! Why an act is refused.

use super::limits;

/// A refusal with a stable code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlertRefusal {
    /// The vehicle has no such alert, or it ended long ago.
    #[error("this vehicle has no such alert; list its alerts to see which there are")]
    NoSuchAlert,
    /// Somebody, or the rule, changed it since.
    #[error("the alert was changed since it was read; read it again and decide anew")]
    Changed,
    /// It is over.
    #[error("the alert is over; nothing can be done about it any more")]
    Cleared,
    /// There is no snooze to end.
    #[error("the alert is not snoozed")]
    NotSnoozed,
    /// Only the rule ends it.
    #[error(
        "the rule `{0}` ends its alerts itself when the vehicle measures that all is well; snooze it for quiet until then"
    )]
    RuleClears(&'static str),
    /// The snooze ends too soon or too late.
    #[error("a snooze ends {} min to {} days from now", limits::SNOOZE_MS_MIN / 60_000, limits::SNOOZE_MS_MAX / 86_400_000)]
    Snooze,
    /// A text is too long, or missing.
    #[error("{0}")]
    Text(&'static str),
    /// The request id stands for something else.
    #[error("this request id was used for another change of this alert; use a new one")]
    RequestIdReused,
}

impl AlertRefusal {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoSuchAlert => "no-such-alert",
            Self::Changed => "etag-mismatch",
            Self::Cleared => "alert-cleared",
            Self::NotSnoozed => "alert-not-snoozed",
            Self::RuleClears(_) => "rule-clears-itself",
            Self::Snooze => "bad-snooze",
            Self::Text(_) => "bad-text",
            Self::RequestIdReused => "request-id-reused",
        }
    }
}
