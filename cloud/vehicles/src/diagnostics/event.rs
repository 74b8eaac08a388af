//! Facts about a vehicle's troubles, and their bytes.

use std::collections::BTreeMap;

use remuda_eventsourcing::event_codec;
use serde::{Deserialize, Serialize};

use super::state::{DtcKey, Severity};

/// A code is there: for the first time, or again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DtcSeen {
    /// Which.
    pub key: DtcKey,
    /// How bad.
    pub severity: Severity,
    /// Signals at that moment.
    pub freeze_frame: BTreeMap<String, i64>,
    /// The vehicle's time, ms since 1970 UTC.
    pub at_ms: i64,
}

/// A code is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DtcCleared {
    /// Which.
    pub key: DtcKey,
    /// When, ms since 1970 UTC.
    pub at_ms: i64,
}

/// Somebody has looked at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DtcAcknowledged {
    /// Which.
    pub key: DtcKey,
    /// Who.
    pub by: String,
    /// What they say.
    pub note: String,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiagnosticsEvent {
    /// It came: not known, or gone before.
    Raised(DtcSeen),
    /// It occurred again while it was there, or is worse than before.
    Repeated(DtcSeen),
    /// It is gone.
    Cleared(DtcCleared),
    /// Somebody has looked at it.
    Acknowledged(DtcAcknowledged),
}

event_codec!(DiagnosticsEvent {
    Raised = "vehicle-diagnostics.dtc-raised" 1,
    Repeated = "vehicle-diagnostics.dtc-repeated" 1,
    Cleared = "vehicle-diagnostics.dtc-cleared" 1,
    Acknowledged = "vehicle-diagnostics.dtc-acknowledged" 1,
});
