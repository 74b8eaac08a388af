//! The collection policy (docs/uplink.md section 8): what is sampled, how often, on what change.
//!
//! ```json
//! { "others": { "min_interval_ms": 1000, "heartbeat_ms": 60000 },
//!   "signals": { "Vehicle.Speed": { "dead_band": { "physical": 0.5 }, "min_interval_ms": 100 } } }
//! ```

use std::collections::BTreeMap;

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
}

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
}

/// A policy ready for use; share it between agents.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    others: Option<Rule>,
    rules: Vec<(SignalId, Rule)>,
}

const DAY_MS: u32 = 86_400_000;

impl Policy {
    /// Every reading is a sample: for replays.
    pub fn everything() -> Self {
        Self { others: Some(Rule { on_change: false, ..Rule::default() }), rules: Vec::new() }
    }

    /// Parses and checks a document.
    pub fn parse(json: &str) -> Result<Self, PolicyError> {
        let document: Document = serde_json::from_str(json)?;
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
        Ok(Self { others, rules })
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
        Self { others: Some(slow), rules }
    }
}

impl Rule {
    /// Is the difference between two raw values worth telling?
    pub(crate) fn changed(&self, before: i64, now: i64) -> bool {
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
            ("[", "valid"),
        ] {
            let sentence = Policy::parse(bad).expect_err("wrong").to_string();
            assert!(sentence.contains(word), "{sentence}");
        }
    }
}
