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
pub struct LowCharge {
    /// A battery spoke: from then on a hybrid's tank is not looked at.
    has_battery: bool,
    level: Level,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Level {
    /// Not yet seen, or seen only between the thresholds.
    #[default]
    Unknown,
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
        let percent = self.percent(sample)?;
        let (next, kind, threshold) = match self.level {
            Level::Unknown | Level::Enough if percent < settings.raise_percent => {
                (Level::Low, FindingKind::Raise, settings.raise_percent)
            }
            Level::Unknown if percent > settings.clear_percent => {
                (Level::Enough, FindingKind::Settle, settings.clear_percent)
            }
            Level::Low if percent > settings.clear_percent => {
                (Level::Enough, FindingKind::Clear, settings.clear_percent)
            }
            _ => return None,
        };
        self.level = next;
        Some((kind, percent, threshold))
    }

    fn percent(&mut self, sample: &Sample<'_>) -> Option<f64> {
        let [battery, tank] = signals::CHARGE;
        let charge = value_of(sample.values, battery);
        self.has_battery |= charge.is_some();
        if self.has_battery { charge } else { value_of(sample.values, tank) }
    }
}

#[cfg(test)]
mod tests {
    use remuda_model::Incarnation;

    use super::*;

    fn run(percents: &[f64]) -> Vec<FindingKind> {
        run_of(percents.iter().map(|percent| (signals::CHARGE[0], *percent)))
    }

    fn run_of(steps: impl Iterator<Item = (remuda_model::SignalId, f64)>) -> Vec<FindingKind> {
        let mut rule = LowCharge::default();
        let mut found = Vec::new();
        for (place, (signal, percent)) in steps.enumerate() {
            let values = [(signal, signals::raw(signal, percent))];
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

    #[test]
    fn a_hybrid_is_judged_by_its_battery() {
        use FindingKind::Raise;
        let [battery, tank] = signals::CHARGE;
        let found = run_of([(battery, 18.0), (tank, 90.0), (battery, 12.0), (tank, 90.0)].into_iter());
        assert_eq!(found, [Raise]);
        assert_eq!(run_of([(tank, 10.0)].into_iter()), [Raise]);
    }
}
