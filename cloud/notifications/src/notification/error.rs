//! The message says no.

use remuda_eventsourcing::Refusal;

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotificationRefusal {
    /// Too long, too many, or empty.
    #[error("{0} is empty, too long or too many")]
    Text(&'static str),
    /// Another message under this key.
    #[error("another message was requested under this key")]
    AlreadyRequested,
    /// Nothing was requested.
    #[error("there is no such message")]
    Unknown,
    /// Cancelled before.
    #[error("the message was cancelled")]
    Cancelled,
    /// It has left already.
    #[error("the message has left already")]
    AlreadySent,
    /// It was given up.
    #[error("the message was given up; retry it first")]
    DeadLetter,
    /// Its text was not made yet.
    #[error("the message is not ready to be sent")]
    NotRendered,
    /// Nothing to give another life.
    #[error("only a message that was given up can be retried")]
    NotDead,
    /// Not in the inbox.
    #[error("only a message in the inbox can be read or acknowledged")]
    NotInInbox,
}

impl Refusal for NotificationRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Text(_) => "invalid-text",
            Self::AlreadyRequested => "already-requested",
            Self::Unknown => "unknown-notification",
            Self::Cancelled => "notification-cancelled",
            Self::AlreadySent => "already-sent",
            Self::DeadLetter => "dead-letter",
            Self::NotRendered => "not-rendered",
            Self::NotDead => "not-dead",
            Self::NotInInbox => "not-in-inbox",
        }
    }
}
