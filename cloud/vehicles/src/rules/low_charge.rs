//! Low charge: state of charge, or fuel level, with hysteresis.

use serde::{Deserialize, Serialize};

use super::{FindingKind, Sample, value_of};
use crate::signals;

/// Settings, percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LowChargeSettings {
    /// Raised below this.
    pub raise_percent: f64,
    /// Cleared above this.
    pub clear_percent: f64,
}

impl Default for LowChargeSettings {
    fn default() -> Self {
        Self { raise_percent: 15.0, clear_percent: 20.0 }
    }
}

/// State of the rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LowCharge {
    /// Not yet seen, or seen only between the thresholds.
    #[default]
    Unknown,
    /// Enough.
    Enough,
    /// Raised.
    Low,
}

impl LowCharge {
    /// Evaluates a row; answers kind, value and threshold of what it found.
    pub(super) fn step(
        &mut self,
        settings: &LowChargeSettings,
        sample: &Sample<'_>,
    ) -> Option<(FindingKind, f64, f64)> {
        let percent = charge_percent(sample)?;
        let (next, kind, threshold) = match *self {
            Self::Unknown | Self::Enough if percent < settings.raise_percent => {
                (Self::Low, FindingKind::Raise, settings.raise_percent)
            }
            Self::Unknown if percent > settings.clear_percent => {
                (Self::Enough, FindingKind::Settle, settings.clear_percent)
            }
            Self::Low if percent > settings.clear_percent => {
                (Self::Enough, FindingKind::Clear, settings.clear_percent)
            }
            _ => return None,
        };
        *self = next;
        Some((kind, percent, threshold))
    }
}

fn charge_percent(sample: &Sample<'_>) -> Option<f64> {
    signals::CHARGE.iter().find_map(|signal| value_of(sample.values, *signal))
}

#[cfg(test)]
mod tests {
    use remuda_model::Incarnation;

    use super::*;

    fn run(percents: &[f64]) -> Vec<FindingKind> {
        let mut rule = LowCharge::default();
        let signal = signals::CHARGE[0];
        let mut found = Vec::new();
        for (place, percent) in percents.iter().enumerate() {
            let values = [(signal, signals::raw(signal, *percent))];
            let (incarnation, seq) = (Incarnation(1), place as u64 + 1);
            let sample = Sample { incarnation, seq, row: 0, boot: 1, mono_ns: 0, values: &values };
            found.extend(rule.step(&LowChargeSettings::default(), &sample).map(|(kind, ..)| kind));
        }
        found
    }

    #[test]
    fn raises_and_clears_with_hysteresis() {
        use FindingKind::{Clear, Raise, Settle};
        assert_eq!(
            run(&[50.0, 16.0, 14.0, 16.0, 14.0, 19.0, 21.0, 16.0, 14.0]),
            [Settle, Raise, Clear, Raise]
        );
        assert_eq!(run(&[18.0, 14.0, 20.0, 25.0]), [Raise, Clear]);
        assert_eq!(run(&[18.0, 19.0]), []);
    }
}
