//! What is known of a message.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::channels::Channel;

/// Where a message is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Nothing has happened.
    #[default]
    New,
    /// Somebody wants it.
    Requested,
    /// Its text can be made; it waits until the person may be disturbed.
    Rendered,
    /// An attempt failed; another follows.
    Failed,
    /// It has left, or lies in the inbox.
    Sent,
    /// Given up; an operator may try again.
    DeadLetter,
    /// Seen in the inbox.
    Read,
    /// The person said that they know.
    Acknowledged,
    /// Not wanted any more, before it left.
    Cancelled,
}

impl Status {
    /// Stable name, for people and filters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Requested => "requested",
            Self::Rendered => "rendered",
            Self::Failed => "failed",
            Self::Sent => "sent",
            Self::DeadLetter => "dead-letter",
            Self::Read => "read",
            Self::Acknowledged => "acknowledged",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What somebody wants to be said. Parameters must be no personal data: names and addresses are asked for
/// when it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// To whom: a user's id.
    pub recipient: String,
    /// How.
    pub channel: Channel,
    /// What kind.
    pub kind: String,
    /// For the placeholders.
    pub parameters: BTreeMap<String, String>,
    /// Passes quiet hours.
    pub urgent: bool,
    /// Of no use afterwards, ms since 1970 UTC.
    pub expires_ms: i64,
}

/// What is known of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationState {
    /// Where it is.
    pub status: Status,
    /// What somebody wants.
    pub request: Option<Request>,
    /// When it was requested, or given another life by an operator, ms since 1970 UTC.
    pub since_ms: i64,
    /// Not before, ms since 1970 UTC: quiet hours, or the next attempt.
    pub due_ms: i64,
    /// Attempts since then.
    pub attempts: u32,
    /// Why the last one failed.
    pub last_failure: Option<String>,
}
