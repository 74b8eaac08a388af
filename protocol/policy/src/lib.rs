//! The collection policy (docs/uplink.md section 8): what is sampled, how often, on what change, under which data
//! budget. One parser for the vehicle that obeys it and the cloud that stores it.
//!
//! ```json
//! { "others": { "min_interval_ms": 1000, "heartbeat_ms": 60000 },
//!   "signals": { "Vehicle.Speed": { "dead_band": { "physical": 0.5 }, "min_interval_ms": 100 } },
//!   "budget": { "megabytes_per_month": 200, "stretch_from_percent": 80, "stretch_factor": 10, "bulk": "wifi" } }
//! ```
//!
//! Owns: the document's form and its checks, rules by signal, the budget's figures. Deliberately absent: who gets which
//! policy (`remuda-vehicles`), and counting bytes (`remuda-edge-agent-core`).

mod budget;

use std::collections::BTreeMap;

pub use budget::{Budget, BudgetError, Bulk, Collection};

use remuda_model::{SignalId, signal};
use serde::{Deserialize, Serialize};

/// Smallest change worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadBand {
    /// In raw steps.
    Raw(u64),
    /// In the signal's unit.
    Physical(f64),
}

/// How one signal is collected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Only when it changed (by more than the dead band); otherwise whenever the interval allows.
    pub on_change: bool,
    /// Least time between two samples, ms; a change in between is told at its end.
    pub min_interval_ms: u32,
    /// Changes up to this much are not told.
    pub dead_band: Option<DeadBand>,
    /// An unchanged value is told again after so long, while readings come, ms.
    pub heartbeat_ms: Option<u32>,
}

impl Default for Rule {
    fn default() -> Self {
        Self { on_change: true, min_interval_ms: 0, dead_band: None, heartbeat_ms: None }
    }
}

/// The document: rules by VSS path (or `0x8001` for a customer's own signal), and one for all others.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    /// Signals that are not listed; without it they are not collected.
    #[serde(default)]
    others: Option<Rule>,
    /// Listed signals.
    #[serde(default)]
    signals: BTreeMap<String, Rule>,
    /// What sending may cost; without it there is no bound.
    #[serde(default)]
    budget: Budget,
}

/// Longest document, bytes: it goes down in one message and into one event of the journal.
pub const DOCUMENT_BYTES_MAX: usize = 48 * 1024;

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// No JSON of the right shape.
    #[error("the policy is not valid: {0}; correct the document")]
    Json(#[from] serde_json::Error),
    /// A signal nobody knows.
    #[error("the policy names the signal {0}, which is not in the registry; use a VSS path or 0x8000 and up")]
    Signal(String),
    /// A dead band that is no size.
    #[error("the dead band of {0} must be a number from 0 up, and raw where many signals share it")]
    DeadBand(String),
    /// An interval longer than a day.
    #[error("an interval of {0} is over a day (86400000 ms); shorten it")]
    Interval(String),
    /// A budget that makes no sense.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// A document that is too long.
    #[error("the policy has {0} bytes, more than the {DOCUMENT_BYTES_MAX} that fit a message; shorten it")]
    TooLong(usize),
}

/// A policy ready for use; share it between agents.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    others: Option<Rule>,
    rules: Vec<(SignalId, Rule)>,
    budget: Budget,
}

const DAY_MS: u32 = 86_400_000;
/// What a shorter interval counts as before it is stretched, ms: ten times nothing would save nothing.
const STRETCHED_MS_MIN: u32 = 1_000;

impl Policy {
    /// Every reading is a sample: for replays.
    pub fn everything() -> Self {
        let others = Some(Rule { on_change: false, ..Rule::default() });
        Self { others, rules: Vec::new(), budget: Budget::default() }
    }

    /// Parses and checks a document.
    pub fn parse(json: &str) -> Result<Self, PolicyError> {
        if json.len() > DOCUMENT_BYTES_MAX {
            return Err(PolicyError::TooLong(json.len()));
        }
        let document: Document = serde_json::from_str(json)?;
        document.budget.check()?;
        let mut rules = Vec::with_capacity(document.signals.len());
        for (path, rule) in &document.signals {
            let own = || u16::from_str_radix(path.strip_prefix("0x")?, 16).ok().filter(|id| *id >= 0x8000);
            let def = signal::by_path(path);
            let id = def.map(|def| def.id).or_else(|| own().map(SignalId));
            let id = id.ok_or_else(|| PolicyError::Signal(path.clone()))?;
            rules.push((id, checked(path, rule, def.map(|def| def.scale))?));
        }
        rules.sort_unstable_by_key(|(id, _)| *id);
        let others = document.others.map(|rule| checked("others", &rule, None)).transpose()?;
        Ok(Self { others, rules, budget: document.budget })
    }

    /// What sending may cost.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The rule of a signal; `None` when it is not collected.
    pub fn rule(&self, signal: SignalId) -> Option<&Rule> {
        match self.rules.binary_search_by_key(&signal, |(id, _)| *id) {
            Ok(at) => Some(&self.rules[at].1),
            Err(_) => self.others.as_ref(),
        }
    }
}

/// The rule with its dead band in raw steps.
fn checked(name: &str, rule: &Rule, scale: Option<f64>) -> Result<Rule, PolicyError> {
    if rule.min_interval_ms > DAY_MS || rule.heartbeat_ms.is_some_and(|ms| ms > DAY_MS) {
        return Err(PolicyError::Interval(name.to_owned()));
    }
    let dead_band = match (rule.dead_band, scale) {
        // A hair more, so that 0.5 over a scale of 0.01 is 50 and not 49.
        (Some(DeadBand::Physical(size)), Some(scale)) if size >= 0.0 && size.is_finite() => {
            Some(DeadBand::Raw((size / scale + 1e-9) as u64))
        }
        (Some(DeadBand::Physical(_)), _) => return Err(PolicyError::DeadBand(name.to_owned())),
        (raw, _) => raw,
    };
    Ok(Rule { dead_band, ..*rule })
}

impl Default for Policy {
    /// The fleet signals: position and slow values once a second, what braking rules need ten times a second.
    fn default() -> Self {
        let rule = |min_interval_ms, heartbeat_ms| Rule {
            min_interval_ms,
            heartbeat_ms: Some(heartbeat_ms),
            ..Rule::default()
        };
        let (fast, place, slow) = (rule(100, 10_000), rule(1_000, 30_000), rule(1_000, 60_000));
        let mut rules = vec![
            (signal::SPEED, fast),
            (signal::LATITUDE, place),
            (signal::LONGITUDE, place),
            (signal::HEADING, place),
            (signal::ACCELERATION_LONGITUDINAL, fast),
            (signal::ACCELERATION_LATERAL, fast),
            (signal::BRAKE_PEDAL, fast),
        ];
        rules.sort_unstable_by_key(|(id, _)| *id);
        Self { others: Some(slow), rules, budget: Budget::default() }
    }
}

impl Rule {
    /// The rule while the budget is nearly spent: `factor` times rarer, of at least a second.
    #[must_use]
    pub fn stretched(&self, factor: u8) -> Self {
        let times = |ms: u32| ms.saturating_mul(u32::from(factor)).min(DAY_MS);
        let min_interval_ms = times(self.min_interval_ms.max(STRETCHED_MS_MIN));
        Self { min_interval_ms, heartbeat_ms: self.heartbeat_ms.map(times), ..*self }
    }

    /// Is the difference between two raw values worth telling?
    pub fn changed(&self, before: i64, now: i64) -> bool {
        let band = match self.dead_band {
            Some(DeadBand::Raw(band)) => band,
            // Made raw when the document was read.
            Some(DeadBand::Physical(_)) | None => 0,
        };
        before.abs_diff(now) > band
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn physical_dead_bands_become_raw_steps() {
        let policy = Policy::parse(
            r#"{"signals":{"Vehicle.Speed":{"dead_band":{"physical":0.5},"min_interval_ms":100},"0x8001":{}}}"#,
        )
        .expect("valid");
        let rule = policy.rule(signal::SPEED).expect("listed");
        assert_eq!((rule.dead_band, rule.min_interval_ms), (Some(DeadBand::Raw(50)), 100));
        assert!(policy.rule(SignalId(0x8001)).is_some());
        assert!(policy.rule(signal::CHARGE).is_none());
    }

    #[test]
    fn what_is_unknown_is_an_error() {
        for (bad, word) in [
            (r#"{"signal":{}}"#, "signal"),
            (r#"{"signals":{"Vehicle.Speed":{"interval":1}}}"#, "interval"),
            (r#"{"signals":{"Vehicle.Spede":{}}}"#, "Vehicle.Spede"),
            (r#"{"signals":{"Vehicle.Speed":{"dead_band":{"physical":-1.0}}}}"#, "dead band"),
            (r#"{"others":{"heartbeat_ms":86400001}}"#, "day"),
            (r#"{"budget":{"megabytes_per_month":0}}"#, "megabytes_per_month"),
            (r#"{"budget":{"stretch_factor":1}}"#, "stretch_factor"),
            (r#"{"budget":{"stretch_from_percent":101}}"#, "stretch_from_percent"),
            (r#"{"budget":{"bulk":"fax"}}"#, "fax"),
            ("[", "valid"),
        ] {
            let sentence = Policy::parse(bad).expect_err("wrong").to_string();
            assert!(sentence.contains(word), "{sentence}");
        }
    }

    #[test]
    fn a_stretched_rule_is_rarer_but_never_over_a_day() {
        let rule = Rule { min_interval_ms: 100, heartbeat_ms: Some(60_000_000), ..Rule::default() };
        let stretched = rule.stretched(10);
        assert_eq!((stretched.min_interval_ms, stretched.heartbeat_ms), (10_000, Some(DAY_MS)));
        assert_eq!(Rule { min_interval_ms: 5_000, ..rule }.stretched(2).min_interval_ms, 10_000);
    }

    #[test]
    fn a_document_that_fits_no_message_is_refused() {
        let long = format!("{{{}}}", " ".repeat(DOCUMENT_BYTES_MAX));
        assert!(matches!(Policy::parse(&long), Err(PolicyError::TooLong(_))));
    }
}
