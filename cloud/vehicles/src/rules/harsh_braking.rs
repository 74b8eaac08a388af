//! Harsh braking: a longitudinal deceleration beyond a threshold, for some samples and some time.

use serde::{Deserialize, Serialize};

use super::{FindingKind, Sample, value_of};
use crate::signals;

const NS_PER_MS: u64 = 1_000_000;

/// Settings. Decelerations are negative accelerations, m/s^2.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HarshBrakingSettings {
    /// Raised at or below this, m/s^2. 0.36 g, in the middle of what fleets use.
    pub threshold_mps2: f64,
    /// Cleared above this, m/s^2.
    pub release_mps2: f64,
    /// Samples in a row that it takes: one alone may be a pothole.
    pub samples_min: u16,
    /// Time it takes, ms.
    pub hold_ms: u64,
    /// An alert stays open, and no other begins, for at least this long, ms.
    pub refractory_ms: u64,
    /// Without an accelerometer: how far apart two speeds may be, ms, to derive a deceleration.
    pub speed_interval_ms: (u64, u64),
    /// A measured acceleration holds until the next one, but no longer than this, ms.
    pub accelerometer_timeout_ms: u64,
}

impl Default for HarshBrakingSettings {
    fn default() -> Self {
        Self {
            threshold_mps2: -3.5,
            release_mps2: -2.0,
            samples_min: 2,
            hold_ms: 200,
            refractory_ms: 10_000,
            speed_interval_ms: (100, 2_500),
            accelerometer_timeout_ms: 5_000,
        }
    }
}

/// State of the rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HarshBraking {
    boot: u32,
    accelerometer: Option<(u64, f64)>,
    speed: Option<(u64, f64)>,
    run: u16,
    run_since_ns: u64,
    worst_mps2: f64,
    raised_ns: Option<u64>,
}

impl HarshBraking {
    /// Evaluates a row; answers kind, value and threshold of what it found.
    pub(super) fn step(
        &mut self,
        settings: &HarshBrakingSettings,
        sample: &Sample<'_>,
    ) -> Option<(FindingKind, f64, f64)> {
        if sample.boot != self.boot {
            // The monotonic clock began again: times from before mean nothing.
            let open = self.raised_ns.map(|_| sample.mono_ns);
            *self = Self { boot: sample.boot, raised_ns: open, ..Self::default() };
        }
        let now = sample.mono_ns;
        let (acceleration, since) = self.acceleration(settings, sample)?;
        if let Some(raised) = self.raised_ns {
            let over = now.saturating_sub(raised) >= settings.refractory_ms * NS_PER_MS;
            if acceleration > settings.release_mps2 && over {
                self.raised_ns = None;
                self.run = 0;
                return Some((FindingKind::Clear, acceleration, settings.release_mps2));
            }
            return None;
        }
        if acceleration > settings.threshold_mps2 {
            self.run = 0;
            return None;
        }
        if self.run == 0 {
            self.run_since_ns = since;
            self.worst_mps2 = acceleration;
        }
        self.run = self.run.saturating_add(1);
        self.worst_mps2 = self.worst_mps2.min(acceleration);
        let held = now.saturating_sub(self.run_since_ns) >= settings.hold_ms * NS_PER_MS;
        if self.run < settings.samples_min || !held {
            return None;
        }
        self.raised_ns = Some(now);
        self.run = 0;
        Some((FindingKind::Raise, self.worst_mps2, settings.threshold_mps2))
    }

    /// The acceleration now, and since when it holds.
    fn acceleration(&mut self, settings: &HarshBrakingSettings, sample: &Sample<'_>) -> Option<(f64, u64)> {
        let now = sample.mono_ns;
        let speed = value_of(sample.values, signals::SPEED);
        let before = self.speed;
        if let Some(kmh) = speed {
            self.speed = Some((now, kmh));
        }
        if let Some(measured) = value_of(sample.values, signals::ACCELERATION_LONGITUDINAL) {
            self.accelerometer = Some((now, measured));
            return Some((measured, now));
        }
        let timeout_ns = settings.accelerometer_timeout_ms * NS_PER_MS;
        if let Some((_, held)) = self.accelerometer.filter(|(last, _)| now.saturating_sub(*last) < timeout_ns)
        {
            // Agents send a value when it changes: until then it holds.
            return Some((held, now));
        }
        let (then, kmh_before) = before?;
        let elapsed_ns = now.checked_sub(then)?;
        let (shortest, longest) = settings.speed_interval_ms;
        if elapsed_ns < shortest * NS_PER_MS {
            // Too close for a quotient: keep the earlier speed as the base.
            self.speed = before;
            return None;
        }
        if elapsed_ns > longest * NS_PER_MS {
            return None;
        }
        let metres_per_second = (speed? - kmh_before) / 3.6;
        Some((metres_per_second / (elapsed_ns as f64 / 1e9), then))
    }
}

#[cfg(test)]
mod tests {
    use remuda_model::{Incarnation, SignalId};

    use super::*;

    fn run(signal: SignalId, steps: &[(u64, f64)]) -> Vec<(u64, FindingKind)> {
        let mut rule = HarshBraking::default();
        let settings = HarshBrakingSettings::default();
        let mut found = Vec::new();
        for (ms, value) in steps {
            let values = [(signal, signals::raw(signal, *value))];
            let sample = Sample {
                incarnation: Incarnation(1),
                seq: 1,
                row: 0,
                boot: 1,
                mono_ns: ms * NS_PER_MS,
                values: &values,
            };
            if let Some((kind, ..)) = rule.step(&settings, &sample) {
                found.push((*ms, kind));
            }
        }
        found
    }

    #[test]
    fn raised_when_held_and_cleared_after_the_refractory_time() {
        let steps = [
            (0, -1.0),
            (100, -4.0),
            (200, -4.5),
            (300, -4.2),
            (400, -4.8),
            (500, 0.0),
            (10_300, 0.0),
            (10_400, 0.0),
        ];
        let found = run(signals::ACCELERATION_LONGITUDINAL, &steps);
        assert_eq!(found, [(300, FindingKind::Raise), (10_300, FindingKind::Clear)]);
    }

    #[test]
    fn a_measured_value_holds_until_the_next() {
        let mut rule = HarshBraking::default();
        let settings = HarshBrakingSettings::default();
        let mut step = |ms: u64, signal, value| {
            let values = [(signal, signals::raw(signal, value))];
            let (incarnation, mono_ns) = (Incarnation(1), ms * NS_PER_MS);
            let sample = Sample { incarnation, seq: 1, row: 0, boot: 1, mono_ns, values: &values };
            rule.step(&settings, &sample).map(|(kind, ..)| kind)
        };
        assert_eq!(step(0, signals::ACCELERATION_LONGITUDINAL, -5.0), None);
        assert_eq!(step(1_000, signals::SPEED, 40.0), Some(FindingKind::Raise));
    }

    #[test]
    fn one_bump_is_not_harsh_braking() {
        let steps = [(0, -6.0), (100, 0.0), (200, -6.0), (300, -1.0)];
        assert_eq!(run(signals::ACCELERATION_LONGITUDINAL, &steps), []);
    }

    #[test]
    fn without_an_accelerometer_the_speed_tells() {
        let braking =
            [(0, 90.0), (1_000, 75.0), (2_000, 59.0), (3_000, 58.0), (13_000, 58.0), (14_000, 58.0)];
        let found = run(signals::SPEED, &braking);
        assert_eq!(found, [(2_000, FindingKind::Raise), (14_000, FindingKind::Clear)]);
        let gentle = [(0, 90.0), (1_000, 85.0), (2_000, 80.0), (3_000, 75.0)];
        assert_eq!(run(signals::SPEED, &gentle), []);
        // A hole in the data is not a deceleration.
        assert_eq!(run(signals::SPEED, &[(0, 90.0), (60_000, 0.0), (61_000, 0.0)]), []);
    }
}
