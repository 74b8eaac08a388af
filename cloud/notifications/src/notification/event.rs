//! What happened to a message.

use remuda_eventsourcing::event_codec;
use serde::{Deserialize, Serialize};

use super::Request;

/// Somebody wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    /// What.
    pub request: Request,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// Its text can be made. The text itself is not kept: it may hold a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendered {
    /// The language.
    pub locale: String,
    /// Not before, ms since 1970 UTC.
    pub not_before_ms: i64,
}

/// It has left, or lies in the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The other side's word for it.
    pub receipt: String,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// An attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Why.
    pub reason: String,
    /// The next attempt, ms since 1970 UTC.
    pub retry_at_ms: i64,
}

/// Given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLettered {
    /// Why.
    pub reason: String,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// An operator gave it another life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
    /// Of no use afterwards, ms since 1970 UTC.
    pub expires_ms: i64,
}

/// The person has seen it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// The person knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// Not wanted any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// Why.
    pub reason: String,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // Each variant is its payload's page.
pub enum NotificationEvent {
    Requested(Requested),
    Rendered(Rendered),
    Sent(Sent),
    Failed(Failed),
    DeadLettered(DeadLettered),
    Retried(Retried),
    Read(Read),
    Acknowledged(Acknowledged),
    Cancelled(Cancelled),
}

event_codec!(NotificationEvent {
    Requested = "notification.requested" 1,
    Rendered = "notification.rendered" 1,
    Sent = "notification.sent" 1,
    Failed = "notification.failed" 1,
    DeadLettered = "notification.dead-lettered" 1,
    Retried = "notification.retried" 1,
    Read = "notification.read" 1,
    Acknowledged = "notification.acknowledged" 1,
    Cancelled = "notification.cancelled" 1,
});
