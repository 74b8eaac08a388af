//! Times, in the order in which they can be said.

use std::time::Duration;

/// Durations in milliseconds, sorted.
pub struct Times(Vec<f64>);

impl Times {
    pub fn new(times: impl IntoIterator<Item = Duration>) -> Self {
        let mut times: Vec<f64> = times.into_iter().map(|time| time.as_secs_f64() * 1_000.0).collect();
        times.sort_unstable_by(f64::total_cmp);
        Self(times)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that this share of all is not longer than, ms; 0 when there is none.
    pub fn at(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
    }
}
