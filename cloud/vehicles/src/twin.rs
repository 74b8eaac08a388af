//! The twin: the newest value of each signal. A cache of what the lake holds.

use remuda_contracts::fleet::{Position, TwinValue};
use remuda_model::{Incarnation, SignalId};
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::signals;

/// In what order agents' starts were greeted: that orders their values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greetings {
    // Oldest first.
    order: Vec<(Incarnation, u32)>,
    next: u32,
}

impl Greetings {
    /// The rank of an incarnation; given on first sight, higher than all before.
    pub fn rank(&mut self, incarnation: Incarnation) -> u32 {
        if let Some((_, rank)) = self.order.iter().rev().find(|(i, _)| *i == incarnation) {
            return *rank;
        }
        if self.order.len() >= limits::GREETINGS_MAX {
            self.order.remove(0);
        }
        self.next += 1;
        self.order.push((incarnation, self.next));
        self.next
    }

    /// All that are remembered, the one greeted last at the end.
    pub fn known(&self) -> impl Iterator<Item = Incarnation> + '_ {
        self.order.iter().map(|(incarnation, _)| *incarnation)
    }

    /// The incarnation greeted last.
    pub fn newest(&self) -> Option<Incarnation> {
        self.order.last().map(|(incarnation, _)| *incarnation)
    }
}

/// When a value was sampled: by greeting across incarnations, by (boot, mono) within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Moment {
    /// Rank of the incarnation.
    pub rank: u32,
    /// Start counter.
    pub boot: u32,
    /// Monotonic clock, ns.
    pub mono_ns: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Value {
    signal: SignalId,
    at: Moment,
    raw: i64,
    sampled_ms: i64,
}

/// Newest values of one vehicle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twin {
    // Ascending by signal.
    values: Vec<Value>,
}

impl Twin {
    /// Knows nothing yet.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Takes values of one moment; older ones than what it holds change nothing. `sampled_ms` is 0 when unknown.
    pub fn apply(&mut self, at: Moment, sampled_ms: i64, values: &[(SignalId, i64)]) {
        for (signal, raw) in values {
            let value = Value { signal: *signal, at, raw: *raw, sampled_ms };
            match self.values.binary_search_by_key(signal, |v| v.signal) {
                Ok(found) if self.values[found].at <= at => self.values[found] = value,
                Ok(_) => {}
                Err(_) if self.values.len() >= limits::TWIN_SIGNALS_MAX => {}
                Err(place) => self.values.insert(place, value),
            }
        }
    }

    /// Drops the values of which it is said, by signal and time of the sample (ms since 1970 UTC, 0 when unknown); whether
    /// there were any.
    pub fn forget(&mut self, is_gone: impl Fn(SignalId, i64) -> bool) -> bool {
        let before = self.values.len();
        self.values.retain(|value| !is_gone(value.signal, value.sampled_ms));
        self.values.len() != before
    }

    fn get(&self, signal: SignalId) -> Option<&Value> {
        self.values.binary_search_by_key(&signal, |v| v.signal).ok().map(|at| &self.values[at])
    }

    fn physical(&self, signal: SignalId) -> Option<f64> {
        self.get(signal).map(|v| signals::physical(signal, v.raw))
    }

    /// Where the vehicle is, when it said so.
    pub fn position(&self) -> Option<Position> {
        let latitude = self.physical(signals::LATITUDE)?;
        let longitude = self.physical(signals::LONGITUDE)?;
        Some(Position {
            latitude_e7: (latitude * 1e7).round() as i32,
            longitude_e7: (longitude * 1e7).round() as i32,
            heading_deg: self.physical(signals::HEADING).unwrap_or_default() as f32,
            speed_kmh: self.physical(signals::SPEED).unwrap_or_default() as f32,
        })
    }

    /// State of charge, or fuel level, percent.
    pub fn charge_percent(&self) -> Option<f32> {
        signals::CHARGE.iter().find_map(|signal| self.physical(*signal)).map(|percent| percent as f32)
    }

    /// All values, ascending by signal.
    pub fn values(&self) -> Vec<TwinValue> {
        let view = |v: &Value| TwinValue { signal: v.signal, raw: v.raw, sampled_ms: v.sampled_ms };
        self.values.iter().map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_greeting_then_boot_then_monotonic_time() {
        let mut greetings = Greetings::default();
        let first = greetings.rank(Incarnation(99));
        let second = greetings.rank(Incarnation(1));
        assert!(second > first && greetings.rank(Incarnation(99)) == first);
        let mut twin = Twin::default();
        let signal = signals::SPEED;
        let at = |rank, boot, mono_ns| Moment { rank, boot, mono_ns };
        let raw = |twin: &Twin| twin.values()[0].raw;
        twin.apply(at(second, 2, 10), 0, &[(signal, 1)]);
        twin.apply(at(first, 3, 99), 0, &[(signal, 2)]);
        assert_eq!(raw(&twin), 1);
        twin.apply(at(second, 2, 9), 0, &[(signal, 3)]);
        assert_eq!(raw(&twin), 1);
        twin.apply(at(second, 3, 1), 0, &[(signal, 4)]);
        assert_eq!(raw(&twin), 4);
    }
}
