//! What is known of a vehicle's troubles.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// Good to know.
    Info,
    /// To the workshop, some day.
    Warning,
    /// To the workshop, now.
    Critical,
}

/// A code of an ECU.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DtcKey {
    /// Which ECU, such as `engine`.
    pub ecu: String,
    /// SAE J2012: `P0420`, with a failure type where the ECU tells one: `P0420-1C`.
    pub code: String,
}

/// Somebody has looked at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who.
    pub by: String,
    /// What they say.
    pub note: String,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// A trouble code. Times are the vehicle's, ms since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dtc {
    /// How bad; the worst that was reported since it is active.
    pub severity: Severity,
    /// It is there now.
    pub active: bool,
    /// First seen.
    pub first_seen_ms: i64,
    /// Last seen, or gone.
    pub last_seen_ms: i64,
    /// How often it came.
    pub occurrences: u32,
    /// Signals (VSS path, as scaled integers) when it last came.
    pub freeze_frame: BTreeMap<String, i64>,
    /// Who has looked at it since it came.
    pub acknowledged: Option<Acknowledgement>,
}

/// A vehicle's troubles.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Troubles {
    /// By ECU and code, active and gone. Bounded by [`super::limits::DTCS_MAX`].
    pub dtcs: BTreeMap<DtcKey, Dtc>,
}

impl Troubles {
    /// The worst that is there and nobody has looked at.
    pub fn worst_open(&self) -> Option<Severity> {
        self.dtcs
            .values()
            .filter(|dtc| dtc.active && dtc.acknowledged.is_none())
            .map(|dtc| dtc.severity)
            .max()
    }
}
