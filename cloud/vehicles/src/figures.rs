//! Figures of the running system, for a progress line: counters in memory, never the ledger's source.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

// Quarter octaves from 1 ms: 80 of them reach 17 minutes.
const BUCKETS: usize = 80;

/// Counters since the start.
#[derive(Debug)]
pub(crate) struct Figures {
    pub accepted: AtomicU64,
    pub durable: AtomicU64,
    pub samples: AtomicU64,
    pub decisions: AtomicU64,
    pub active: AtomicI64,
    latency: [AtomicU64; BUCKETS],
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            accepted: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            decisions: AtomicU64::new(0),
            active: AtomicI64::new(0),
            latency: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }
}

/// What [`crate::VehicleHandle::figures`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FiguresNow {
    /// Vehicles greeted on a living connection.
    pub vehicles_online: u64,
    /// Frames of both lanes taken in sequence since the start.
    pub frames_accepted: u64,
    /// Frames of both lanes that became durable since the start.
    pub frames_durable: u64,
    /// Values in durable frames since the start.
    pub samples_durable: u64,
    /// Decisions of rules that became durable since the start.
    pub decisions: u64,
    /// Bytes in flight.
    pub in_flight_bytes: u64,
    /// Median of receive to durable, ms.
    pub ack_p50_ms: f64,
    /// 95th percentile of receive to durable, ms.
    pub ack_p95_ms: f64,
}

impl Figures {
    /// Notes that `frames` became durable `ms` after the door read them.
    pub fn latency(&self, ms: i64, frames: u64) {
        let ms = ms.max(1) as f64;
        let bucket = ((ms.log2() * 4.0) as usize).min(BUCKETS - 1);
        self.latency[bucket].fetch_add(frames, Relaxed);
    }

    /// A quantile of the latency, ms; the upper edge of its bucket.
    pub fn quantile(&self, q: f64) -> f64 {
        let counts: Vec<u64> = self.latency.iter().map(|c| c.load(Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return 0.0;
        }
        let rank = (total as f64 * q).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return 2f64.powf((bucket + 1) as f64 / 4.0);
            }
        }
        2f64.powf(BUCKETS as f64 / 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_quarter_octave() {
        let figures = Figures::default();
        assert_eq!(figures.quantile(0.5), 0.0);
        for ms in 1..=1_000 {
            figures.latency(ms, 1);
        }
        let (p50, p95) = (figures.quantile(0.5), figures.quantile(0.95));
        assert!((500.0..600.0).contains(&p50), "{p50}");
        assert!((950.0..1_140.0).contains(&p95), "{p95}");
    }
}
