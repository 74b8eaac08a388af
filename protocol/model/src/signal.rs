//! The signal registry: COVESA VSS paths compiled to numbers (DESIGN D10).
//!
//! A value travels and rests as a scaled integer: `physical = raw * scale`. A signal's (id, type, unit, scale)
//! never changes; a new scale is a new id. Ids from 0x8000 are a customer's own.

use serde::{Deserialize, Serialize};

pub use crate::registry::*;
pub use crate::signal_class::{SignalClass, UnknownClass};

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
    /// What it says of people.
    pub class: SignalClass,
}

impl SignalDef {
    /// The physical value of a raw one, in the signal's unit.
    pub fn to_physical(&self, raw: i64) -> f64 {
        raw as f64 * self.scale
    }

    /// The raw value nearest to a physical one; saturates, and a NaN is 0.
    pub fn to_raw(&self, physical: f64) -> i64 {
        let steps = physical / self.scale;
        // `f64::round` needs std; a cast truncates towards zero and saturates.
        (if steps < 0.0 { steps - 0.5 } else { steps + 0.5 }) as i64
    }
}

/// Revision of the built-in registry; frames carry it.
pub const REGISTRY_REVISION: u16 = 1;

/// The signal with this id.
pub fn by_id(id: SignalId) -> Option<&'static SignalDef> {
    // The table is dense: id n stands at n - 1 (a test holds it to that).
    REGISTRY.get(usize::from(id.0).checked_sub(1)?)
}

/// A signal's class; a customer's own signals are technical unless their file says otherwise.
pub fn class_of(id: SignalId) -> SignalClass {
    by_id(id).map_or(SignalClass::Technical, |def| def.class)
}

/// The signal with this VSS path.
pub fn by_path(path: &str) -> Option<&'static SignalDef> {
    let at = BY_PATH.binary_search_by_key(&path, |place| REGISTRY[usize::from(*place)].path).ok()?;
    REGISTRY.get(usize::from(BY_PATH[at]))
}

/// Places in [`REGISTRY`], ascending by path.
const BY_PATH: [u16; REGISTRY.len()] = places_by_path();

const fn places_by_path() -> [u16; REGISTRY.len()] {
    let mut places = [0; REGISTRY.len()];
    let mut sorted = 0;
    while sorted < places.len() {
        // Insertion sort: the slice's own sorts are not const.
        let mut at = sorted;
        while at > 0 && is_before(REGISTRY[sorted].path, REGISTRY[places[at - 1] as usize].path) {
            places[at] = places[at - 1];
            at -= 1;
        }
        places[at] = sorted as u16;
        sorted += 1;
    }
    places
}

const fn is_before(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut i = 0;
    while i < left.len() && i < right.len() {
        if left[i] != right[i] {
            return left[i] < right[i];
        }
        i += 1;
    }
    left.len() < right.len()
}
