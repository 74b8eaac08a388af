//! When to try again: pure, so that a schedule can be shown, tested and resumed after a restart.

use crate::Failure;
use crate::limits::RETRY_AFTER_S_MAX;

/// The schedule of attempts for one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPlan {
    /// Wait after the first failure, ms; doubled by each further one.
    pub first_wait_ms: u64,
    /// Longest wait, ms.
    pub longest_wait_ms: u64,
    /// Attempts in all.
    pub attempts_max: u32,
    /// From the first attempt on, ms: older messages are given up.
    pub lifetime_ms: u64,
}

impl Default for RetryPlan {
    /// 5 s doubled up to 4 hours, at most 15 attempts in 3 days: Standard Webhooks advises several tries over
    /// days.
    fn default() -> Self {
        let hour_ms = 3_600_000;
        Self {
            first_wait_ms: 5_000,
            longest_wait_ms: 4 * hour_ms,
            attempts_max: 15,
            lifetime_ms: 72 * hour_ms,
        }
    }
}

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again at this time, ms since 1970 UTC.
    RetryAt(i64),
    /// Give up.
    GiveUp,
}

impl RetryPlan {
    /// What to do after `attempts` attempts, the last of which failed at `now_ms`. `jitter` is any number of
    /// the message, such as a hash of its id: it spreads the retries of many messages over half of the wait.
    pub fn after(&self, failure: &Failure, attempts: u32, first_ms: i64, now_ms: i64, jitter: u64) -> Next {
        if !failure.is_worth_a_retry() {
            return Next::GiveUp;
        }
        self.next(attempts, first_ms, now_ms, jitter, failure.retry_after_s())
    }

    /// The same for failures that are not HTTP's; `asked_s` is a wait that the other side asked for.
    pub fn next(&self, attempts: u32, first_ms: i64, now_ms: i64, jitter: u64, asked_s: Option<u64>) -> Next {
        if attempts >= self.attempts_max {
            return Next::GiveUp;
        }
        let doublings = attempts.saturating_sub(1).min(40);
        let longest = self.first_wait_ms.saturating_mul(1 << doublings).min(self.longest_wait_ms);
        // Spread over the upper half: never immediately, never longer than planned.
        let wait = longest / 2 + mix(jitter, attempts) % (longest / 2 + 1);
        let asked_ms = asked_s.map_or(0, |s| s.min(RETRY_AFTER_S_MAX) * 1_000);
        let at = now_ms.saturating_add_unsigned(wait.max(asked_ms));
        if at > first_ms.saturating_add_unsigned(self.lifetime_ms) { Next::GiveUp } else { Next::RetryAt(at) }
    }
}

/// splitmix64, so that neighbouring attempts get unrelated waits.
fn mix(seed: u64, attempts: u32) -> u64 {
    let mut z = seed.wrapping_add(u64::from(attempts).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(status: u16, retry_after_s: Option<u64>) -> Failure {
        Failure::Refused { status, retry_after_s, excerpt: String::new() }
    }

    #[test]
    fn what_will_never_work_is_given_up_at_once() {
        let plan = RetryPlan::default();
        for failure in [refused(400, None), refused(410, None), Failure::Redirect { status: 302 }] {
            assert_eq!(plan.after(&failure, 1, 0, 0, 1), Next::GiveUp);
        }
        for failure in [refused(500, None), refused(429, None), Failure::Timeout { seconds: 20 }] {
            assert_ne!(plan.after(&failure, 1, 0, 0, 1), Next::GiveUp);
        }
    }

    #[test]
    fn a_receiver_may_ask_for_patience_but_not_for_ever() {
        let plan = RetryPlan::default();
        assert_eq!(plan.after(&refused(503, Some(60)), 1, 0, 0, 1), Next::RetryAt(60_000));
        assert_eq!(plan.after(&refused(503, Some(u64::MAX)), 1, 0, 0, 1), Next::RetryAt(3_600_000));
    }

    proptest! {
        /// Every schedule ends, in time, and its waits lie between half the doubled wait and the longest.
        #[test]
        fn every_schedule_ends(jitter in any::<u64>()) {
            let plan = RetryPlan::default();
            let (mut now, mut attempts) = (0_i64, 1);
            while let Next::RetryAt(at) = plan.after(&refused(500, None), attempts, 0, now, jitter) {
                let longest = (plan.first_wait_ms << (attempts - 1)).min(plan.longest_wait_ms);
                let wait = u64::try_from(at - now).expect("forward");
                prop_assert!((longest / 2..=longest).contains(&wait), "{wait} after {attempts}");
                (now, attempts) = (at, attempts + 1);
            }
            prop_assert!(attempts <= plan.attempts_max);
            prop_assert!(now.unsigned_abs() <= plan.lifetime_ms);
        }
    }
}
