//! What people, and time, ask of an alert.

use remuda_contracts::alerts::AlertAct;

use super::AlertId;

/// A wish; [`super::decide()`] may refuse it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertCommand {
    /// Somebody acts on an alert.
    Act {
        /// Which.
        alert: AlertId,
        /// What to do.
        act: AlertAct,
        /// Who.
        by: String,
        /// Makes a repetition recognisable; empty when nobody will repeat it.
        request_id: String,
        /// The revision that they saw; none when any will do.
        expected: Option<u32>,
        /// Server time, ms since 1970 UTC.
        now_ms: i64,
    },
    /// Time has passed: a snooze that is over ends.
    EndSnooze {
        /// Of which.
        alert: AlertId,
        /// Server time, ms since 1970 UTC.
        now_ms: i64,
    },
}
