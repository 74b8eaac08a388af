//! What a vehicle reports of its troubles, and what people say to them.

use std::collections::BTreeMap;

use super::state::{DtcKey, Severity};

/// A report or a wish; [`super::decide()`] may refuse it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiagnosticsCommand {
    /// An ECU says that a code is there.
    Report {
        /// Which.
        key: DtcKey,
        /// How bad.
        severity: Severity,
        /// Signals (VSS path, as scaled integers) at that moment.
        freeze_frame: BTreeMap<String, i64>,
        /// The vehicle's time, ms since 1970 UTC.
        at_ms: i64,
    },
    /// It is gone: the ECU says so, or a workshop cleared it.
    Clear {
        /// Which.
        key: DtcKey,
        /// When, ms since 1970 UTC.
        at_ms: i64,
    },
    /// Somebody has looked at it.
    Acknowledge {
        /// Which.
        key: DtcKey,
        /// What they say.
        note: String,
    },
}
