//! What one may want of a message.

use super::Request;

/// A wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotificationCommand {
    /// Send it.
    Request(Request),
    /// Its text can be made in this language; it may be sent from a time on.
    Render {
        /// The language.
        locale: String,
        /// When the person may be disturbed, ms since 1970 UTC.
        not_before_ms: i64,
    },
    /// It has left.
    MarkSent {
        /// The other side's word for it.
        receipt: String,
    },
    /// An attempt failed.
    MarkFailed {
        /// Why, without addresses.
        reason: String,
        /// Would another attempt have a chance?
        worth_a_retry: bool,
        /// How long the other side asks us to wait, s.
        retry_after_s: Option<u64>,
    },
    /// An operator gives a dead letter another life.
    Retry,
    /// The person has seen it.
    MarkRead,
    /// The person says that they know.
    Acknowledge,
    /// Not wanted any more; before it was requested: never send it.
    Cancel {
        /// Why.
        reason: String,
    },
}
