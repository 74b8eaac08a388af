//! Entities that broke, and how long each rests before it is tried again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::entities::Key;
use crate::limits;

struct Failure {
    times: u32,
    last: Instant,
    until: Instant,
}

/// Back-off of each entity, bounded in number.
#[derive(Default)]
pub(crate) struct Failures(Mutex<HashMap<Arc<Key>, Failure>>);

impl Failures {
    /// It broke; how long it rests now.
    pub fn failed(&self, key: &Arc<Key>, first: Duration) -> Duration {
        let mut failures = self.0.lock();
        let now = Instant::now();
        if failures.len() >= limits::FAILING_MAX && !failures.contains_key(key) {
            failures.retain(|_, failure| failure.until > now);
        }
        if failures.len() >= limits::FAILING_MAX && !failures.contains_key(key) {
            // So many at once is not one entity's fault; the newest go without a rest.
            return Duration::ZERO;
        }
        let failure = failures.entry(Arc::clone(key)).or_insert(Failure { times: 0, last: now, until: now });
        if failure.last.elapsed() > limits::QUIET {
            failure.times = 0;
        }
        let wait = first.saturating_mul(1 << failure.times.min(16)).min(limits::BACKOFF_MAX);
        failure.times += 1;
        failure.last = now;
        failure.until = now + wait;
        wait
    }

    /// How long it still rests.
    pub fn waits(&self, key: &Arc<Key>) -> Option<Duration> {
        let failures = self.0.lock();
        if failures.is_empty() {
            return None;
        }
        let left = failures.get(key)?.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    pub fn forget_old(&self) {
        self.0.lock().retain(|_, failure| failure.last.elapsed() <= limits::QUIET);
    }
}
