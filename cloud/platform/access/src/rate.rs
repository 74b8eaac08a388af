//! How often one caller may call: a token bucket each, with time as an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::limits;

/// How often.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Calls a second, lasting.
    pub per_second: f64,
    /// Calls at once.
    pub burst: f64,
}

/// A caller who called too often.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("too many calls: {per_second} a second are permitted; try again in {} ms", retry_after.as_millis())]
pub struct RateRefusal {
    /// What is permitted.
    pub per_second: f64,
    /// When there will be room.
    pub retry_after: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// The buckets of all callers.
#[derive(Debug)]
pub struct RateLimiter {
    rate: Rate,
    buckets: Mutex<HashMap<String, Bucket>>,
}

impl RateLimiter {
    /// The same rate for each caller.
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::new(HashMap::new()) }
    }

    /// Takes one call from a caller's bucket.
    ///
    /// # Errors
    /// When it is empty.
    pub fn take(&self, caller: &str, now: Instant) -> Result<(), RateRefusal> {
        let mut buckets = self.buckets.lock();
        if !buckets.contains_key(caller) {
            if buckets.len() >= limits::CALLERS_MAX {
                self.forget(&mut buckets, now);
            }
            buckets.insert(caller.to_owned(), Bucket { left: self.rate.burst, at: now });
        }
        let Some(bucket) = buckets.get_mut(caller) else { return Ok(()) };
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + since * self.rate.per_second).min(self.rate.burst);
        bucket.at = now;
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Ok(());
        }
        let retry_after = Duration::from_secs_f64((1.0 - bucket.left) / self.rate.per_second);
        Err(RateRefusal { per_second: self.rate.per_second, retry_after })
    }

    /// Whoever's bucket is full again is as good as new; if nobody's is, the half longest unseen.
    fn forget(&self, buckets: &mut HashMap<String, Bucket>, now: Instant) {
        let full = Duration::from_secs_f64(self.rate.burst / self.rate.per_second);
        buckets.retain(|_, bucket| now.saturating_duration_since(bucket.at) < full);
        if buckets.len() >= limits::CALLERS_MAX {
            let mut seen: Vec<Instant> = buckets.values().map(|bucket| bucket.at).collect();
            seen.sort_unstable();
            let middle = seen[seen.len() / 2];
            buckets.retain(|_, bucket| bucket.at > middle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate_each_on_their_own() {
        let limiter = RateLimiter::new(Rate { per_second: 10.0, burst: 5.0 });
        let begun = Instant::now();
        for _ in 0..5 {
            limiter.take("ada", begun).unwrap();
        }
        let refusal = limiter.take("ada", begun).unwrap_err();
        assert_eq!(refusal.retry_after, Duration::from_millis(100));
        assert!(refusal.to_string().contains("100 ms"));
        limiter.take("bob", begun).unwrap();
        let later = begun + Duration::from_millis(100);
        limiter.take("ada", later).unwrap();
        assert!(limiter.take("ada", later).is_err());
    }

    #[test]
    fn the_callers_are_bounded() {
        let limiter = RateLimiter::new(Rate { per_second: 1.0, burst: 10.0 });
        let begun = Instant::now();
        for n in 0..limits::CALLERS_MAX + 10 {
            limiter.take(&n.to_string(), begun + Duration::from_micros(n as u64)).unwrap();
        }
        assert!(limiter.buckets.lock().len() <= limits::CALLERS_MAX);
    }
}
