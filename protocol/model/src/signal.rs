//! The signal registry: COVESA VSS paths compiled to numbers (DESIGN D10).
//!
//! A value travels and rests as a scaled integer: `physical = raw * scale`. A signal's (id, type, unit, scale)
//! never changes; a new scale is a new id. Ids from 0x8000 are a customer's own.

use serde::{Deserialize, Serialize};

/// A signal's number in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SignalId(pub u16);

/// How a raw value is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalKind {
    /// `physical = raw * scale`, in `unit`.
    Number,
    /// 0 or 1.
    Boolean,
    /// Index into these names.
    Enumeration(&'static [&'static str]),
}

/// One signal of the registry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignalDef {
    /// Its number.
    pub id: SignalId,
    /// Its VSS path, such as `Vehicle.Speed`.
    pub path: &'static str,
    /// How to read it.
    pub kind: SignalKind,
    /// Its unit as VSS writes it (`km/h`, `degrees`, `percent`), or empty.
    pub unit: &'static str,
    /// Physical value of one raw step.
    pub scale: f64,
}

/// Revision of the built-in registry; frames carry it.
pub const REGISTRY_REVISION: u16 = 1;
