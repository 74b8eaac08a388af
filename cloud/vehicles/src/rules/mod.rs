//! Rules over samples: pure and deterministic. What they find depends only on the rows of one incarnation, in
//! sequence, so that anybody can evaluate them again over the lake.

pub mod harsh_braking;
pub mod low_charge;

use remuda_model::{Incarnation, Seq, SignalId};
use serde::{Deserialize, Serialize};

pub use harsh_braking::{HarshBraking, HarshBrakingSettings};
pub use low_charge::{LowCharge, LowChargeSettings};

use crate::event::{Cause, RuleId};
use crate::limits;

/// One row of samples, as rules see it.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// Start of the agent that made it.
    pub incarnation: Incarnation,
    /// Its frame.
    pub seq: Seq,
    /// Its place in the frame.
    pub row: u32,
    /// Start counter of the agent.
    pub boot: u32,
    /// Monotonic clock of that boot, ns.
    pub mono_ns: u64,
    /// Values, ascending by signal.
    pub values: &'a [(SignalId, i64)],
}

/// What a rule found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// An alert's beginning.
    Raise,
    /// An alert's end.
    Clear,
    /// The first look of this incarnation found everything in order; becomes a decision only when an earlier
    /// incarnation left the alert open.
    Settle,
}

/// A finding with its cause and values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    /// What was found.
    pub kind: FindingKind,
    /// By which row.
    pub cause: Cause,
    /// The value, in the rule's unit.
    pub value: f64,
    /// The threshold it passed, same unit.
    pub threshold: f64,
}

/// Settings of every rule.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RuleSettings {
    /// Harsh braking.
    pub harsh_braking: HarshBrakingSettings,
    /// Low charge.
    pub low_charge: LowChargeSettings,
}

/// State of every rule for one incarnation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct RuleState {
    incarnation: Incarnation,
    harsh_braking: HarshBraking,
    low_charge: LowCharge,
}

/// State of the rules of one vehicle.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    // Few, in order of first use.
    states: Vec<RuleState>,
}

impl Rules {
    /// Evaluates a row; `found` gets what the rules found, in a fixed order.
    pub fn evaluate(&mut self, settings: &RuleSettings, sample: &Sample<'_>, found: &mut Vec<Finding>) {
        let at = self.states.iter().position(|s| s.incarnation == sample.incarnation).unwrap_or_else(|| {
            if self.states.len() >= limits::RULE_INCARNATIONS_MAX {
                self.states.remove(0);
            }
            self.states.push(RuleState {
                incarnation: sample.incarnation,
                harsh_braking: HarshBraking::default(),
                low_charge: LowCharge::default(),
            });
            self.states.len() - 1
        });
        let state = &mut self.states[at];
        let mut push = |rule, step: Option<(FindingKind, f64, f64)>| {
            if let Some((kind, value, threshold)) = step {
                let Sample { incarnation, seq, row, .. } = *sample;
                found.push(Finding { kind, cause: Cause { rule, incarnation, seq, row }, value, threshold });
            }
        };
        push(RuleId::HarshBraking, state.harsh_braking.step(&settings.harsh_braking, sample));
        push(RuleId::LowCharge, state.low_charge.step(&settings.low_charge, sample));
    }
}

/// The physical value of a signal in a row.
pub(crate) fn value_of(values: &[(SignalId, i64)], signal: SignalId) -> Option<f64> {
    let at = values.binary_search_by_key(&signal, |(id, _)| *id).ok()?;
    Some(crate::signals::physical(signal, values[at].1))
}
