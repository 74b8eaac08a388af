//! What an approval refuses. Refusals are expected; each has a stable code.

use remuda_eventsourcing::Refusal;

/// Why a wish was not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalRefusal {
    /// Nobody asked.
    #[error("there is no such approval")]
    NoSuchApproval,
    /// Another one has this request id.
    #[error("another request with this id says something else; use a new request id")]
    RequestIdReused,
    /// Who asked cannot be the second person.
    #[error("whoever asked cannot be the second person, by whatever token; somebody else must approve")]
    SelfApproval,
    /// What was seen is not what waits.
    #[error("what waits is not what you saw; look at it again and approve its present hash")]
    ContentChanged,
    /// It is decided.
    #[error("this was {0} already")]
    AlreadyDecided(&'static str),
    /// Its time is over.
    #[error("its time is over; ask again with a new request id")]
    Expired,
    /// A text that cannot be.
    #[error("{0}")]
    BadText(&'static str),
}

impl Refusal for ApprovalRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NoSuchApproval => "no-such-approval",
            Self::RequestIdReused => "request-id-reused",
            Self::SelfApproval => "self-approval",
            Self::ContentChanged => "content-changed",
            Self::AlreadyDecided(_) => "already-decided",
            Self::Expired => "approval-expired",
            Self::BadText(_) => "bad-value",
        }
    }
}
