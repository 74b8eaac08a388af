//! What a request for assistance refuses. Refusals are expected; each has a stable code.

use remuda_eventsourcing::Refusal;

/// Why a wish was not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssistanceRefusal {
    /// No vehicle asked.
    #[error("there is no such request for assistance")]
    NoSuchRequest,
    /// Another has taken it.
    #[error("{0} has taken this request; let them answer it, or release it with a reason first")]
    TakenByAnother(String),
    /// Nobody has taken it.
    #[error("take the request before you answer it, so that nobody else does")]
    NotTaken,
    /// It was answered.
    #[error("this request was answered already")]
    AlreadyAnswered,
    /// Its time is over.
    #[error("the vehicle's deadline has passed: it takes its safe default, and no answer any more")]
    Expired,
    /// The vehicle has decided.
    #[error("the vehicle has decided already, and takes no answer any more")]
    AlreadyDecided,
    /// No such option.
    #[error("the vehicle did not offer this option; its options are 0 to {0}")]
    BadOption(usize),
    /// A text that cannot be.
    #[error("{0}")]
    BadText(&'static str),
}

impl Refusal for AssistanceRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NoSuchRequest => "no-such-assistance-request",
            Self::TakenByAnother(_) => "assistance-taken",
            Self::NotTaken => "assistance-not-taken",
            Self::AlreadyAnswered => "assistance-answered",
            Self::Expired => "assistance-expired",
            Self::AlreadyDecided => "assistance-decided",
            Self::BadOption(_) => "bad-option",
            Self::BadText(_) => "bad-value",
        }
    }
}
