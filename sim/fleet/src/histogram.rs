//! Durations, counted in buckets that grow: bounded memory, any thread, quantiles within 6 percent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets per doubling.
const STEPS: u64 = 8;
/// Doublings above 64 us: up to 19 hours.
const DOUBLINGS: u64 = 30;
const UNIT_US: u64 = 64;

/// Counts durations from 64 us up.
#[derive(Debug)]
pub struct Histogram {
    buckets: Vec<AtomicU64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: (0..STEPS * DOUBLINGS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Histogram {
    /// Counts `times` events that took this long.
    pub fn record(&self, took: Duration, times: u64) {
        let units = u64::try_from(took.as_micros()).unwrap_or(u64::MAX) / UNIT_US;
        self.buckets[bucket(units)].fetch_add(times, Ordering::Relaxed);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|b| b.load(Ordering::Relaxed)).sum()
    }

    /// The duration that this share of all does not exceed; zero when nothing was counted.
    pub fn quantile(&self, share: f64) -> Duration {
        let total = self.count();
        let wanted = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (number, count) in self.buckets.iter().enumerate() {
            seen += count.load(Ordering::Relaxed);
            if total > 0 && seen >= wanted {
                return Duration::from_micros(upper_us(number as u64));
            }
        }
        Duration::ZERO
    }
}

/// The first bucket holds what is below two units; then eight to every doubling.
fn bucket(units: u64) -> usize {
    let units = units.max(1);
    let doubling = u64::from(units.ilog2());
    let within = if doubling >= 3 { (units >> (doubling - 3)) & 7 } else { (units << (3 - doubling)) & 7 };
    (doubling * STEPS + within).min(STEPS * DOUBLINGS - 1) as usize
}

fn upper_us(bucket: u64) -> u64 {
    let (doubling, within) = (bucket / STEPS, bucket % STEPS);
    (UNIT_US << doubling) * (STEPS + within + 1) / STEPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near_the_truth() {
        let histogram = Histogram::default();
        for ms in 1..=1_000 {
            histogram.record(Duration::from_millis(ms), 1);
        }
        assert_eq!(histogram.count(), 1_000);
        for (share, truth) in [(0.5, 500.0), (0.95, 950.0), (1.0, 1_000.0)] {
            let got = histogram.quantile(share).as_secs_f64() * 1_000.0;
            assert!((got / truth - 1.0).abs() < 0.13, "{share}: {got} instead of {truth}");
        }
    }

    #[test]
    fn extremes_are_counted_too() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        histogram.record(Duration::ZERO, 1);
        histogram.record(Duration::MAX, 1);
        assert_eq!(histogram.count(), 2);
    }
}
