//! What people did about an alert, as facts of the vehicle's stream.

use serde::{Deserialize, Serialize};

use super::AlertId;

/// What happened to an alert besides what its rule found. Variants are only ever added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlertStep {
    /// Somebody looks after it.
    Acknowledged {
        /// What they said; may be empty.
        note: String,
    },
    /// Quiet until a time.
    Snoozed {
        /// When it comes back, ms since 1970 UTC.
        until_ms: i64,
        /// What they said; may be empty.
        note: String,
    },
    /// Somebody ended the snooze.
    Unsnoozed,
    /// The snooze's time ran out and it was still open.
    SnoozeEnded,
    /// Somebody ended it.
    ClearedByHand {
        /// Why.
        reason: String,
    },
}

/// One step of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertEvent {
    /// Which alert.
    pub alert: AlertId,
    /// The alert's revision after it.
    pub revision: u32,
    /// What.
    pub step: AlertStep,
    /// Who; empty for time itself.
    pub by: String,
    /// The request's own name for itself; empty when it has none.
    pub request_id: String,
    /// Server time, ms since 1970 UTC.
    pub time_ms: i64,
}

impl AlertEvent {
    /// The type in the envelope.
    pub const fn event_type(&self) -> &'static str {
        match self.step {
            AlertStep::Acknowledged { .. } => "vehicle.alert-acknowledged",
            AlertStep::Snoozed { .. } => "vehicle.alert-snoozed",
            AlertStep::Unsnoozed => "vehicle.alert-unsnoozed",
            AlertStep::SnoozeEnded => "vehicle.alert-snooze-ended",
            AlertStep::ClearedByHand { .. } => "vehicle.alert-cleared-by-hand",
        }
    }

    /// What identifies the fact, however often it is replayed.
    pub fn causation(&self) -> String {
        format!("alert/{}/{}", self.alert, self.revision)
    }
}
