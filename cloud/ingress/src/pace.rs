//! How fast a vehicle may speak, and how often it may come.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// What a vehicle may do to the door. Rates are held by not reading for a moment, so that TCP pushes back and nothing
/// is lost; what comes too often is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VehicleLimits {
    /// Messages a second, and as many at once.
    pub messages_per_second: u32,
    /// Bytes a second, and as many at once.
    pub bytes_per_second: u32,
    /// Logins of one vehicle in a minute.
    pub logins_per_minute: u32,
    /// Connections from one address in a minute that failed by the fault of who made them (of IPv6, from one /64):
    /// whole fleets may come from one address, but not unable to say who they are.
    pub failures_per_minute: u32,
}

impl VehicleLimits {
    /// None at all: for measuring the door itself.
    pub const NONE: Self = Self {
        messages_per_second: u32::MAX,
        bytes_per_second: u32::MAX,
        logins_per_minute: u32::MAX,
        failures_per_minute: u32::MAX,
    };
}

impl Default for VehicleLimits {
    fn default() -> Self {
        Self {
            messages_per_second: 2_000,
            bytes_per_second: 8 << 20,
            logins_per_minute: 120,
            failures_per_minute: 6_000,
        }
    }
}

/// A token bucket that holds one second's worth, kept as the time until which everything so far is paid for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    paid_until: Duration,
}

/// What a bucket holds, in time.
const BURST: Duration = Duration::from_secs(1);

impl Bucket {
    /// Takes this much, whether it is there or not.
    pub fn take(&mut self, amount: u64, per_second: u32, now: Duration) {
        let cost = Duration::from_nanos(amount.saturating_mul(1_000_000_000) / u64::from(per_second.max(1)));
        self.paid_until = self.paid_until.max(now) + cost;
    }

    /// When it is not overdrawn any more.
    pub fn even_at(&self) -> Duration {
        self.paid_until.saturating_sub(BURST)
    }
}

/// Counts events per key over the last minute: a sliding estimate out of two windows, so that old keys go by
/// themselves and memory is bounded by what one window may hold.
#[derive(Debug)]
pub(crate) struct PerMinute<K> {
    keys_max: usize,
    begun: Duration,
    current: HashMap<K, u32>,
    previous: HashMap<K, u32>,
}

const WINDOW: Duration = Duration::from_secs(60);

impl<K: Eq + Hash> PerMinute<K> {
    /// A window that would hold more keys than this ends early: then they are counted too low, never too high.
    pub fn new(keys_max: usize) -> Self {
        Self { keys_max, begun: Duration::ZERO, current: HashMap::new(), previous: HashMap::new() }
    }

    /// Counts one.
    pub fn add(&mut self, key: K, now: Duration) {
        self.turn(now);
        if self.current.len() >= self.keys_max && !self.current.contains_key(&key) {
            self.previous = std::mem::take(&mut self.current);
            self.begun = now;
        }
        let count = self.current.entry(key).or_default();
        *count = count.saturating_add(1);
    }

    /// About how many there were over the last minute.
    pub fn count(&mut self, key: &K, now: Duration) -> u32 {
        self.turn(now);
        let of = |window: &HashMap<K, u32>| window.get(key).copied().unwrap_or(0);
        let passed_ms = (now.saturating_sub(self.begun)).as_millis().min(WINDOW.as_millis()) as u64;
        let window_ms = WINDOW.as_millis() as u64;
        let rest = u64::from(of(&self.previous)) * (window_ms - passed_ms) / window_ms;
        of(&self.current).saturating_add(rest as u32)
    }

    fn turn(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.begun);
        if passed < WINDOW {
            return;
        }
        self.previous = std::mem::take(&mut self.current);
        if passed >= 2 * WINDOW {
            self.previous.clear();
            self.begun = now;
        } else {
            self.begun += WINDOW;
        }
    }
}

/// Whom an address stands for: in IPv6 a subscriber has a /64 of them.
pub(crate) fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_bucket_holds_a_second_and_fills_with_time() {
        let mut bucket = Bucket::default();
        bucket.take(100, 100, s(10));
        assert!(bucket.even_at() <= s(10), "a second's worth at once is fine");
        bucket.take(50, 100, s(10));
        assert_eq!(bucket.even_at(), Duration::from_millis(10_500));
        bucket.take(1, 100, s(60));
        assert!(bucket.even_at() < s(60), "silence is not saved up beyond the burst, nor is debt kept");
    }

    #[test]
    fn a_minute_slides() {
        let mut logins = PerMinute::new(10);
        for _ in 0..60 {
            logins.add("van", s(30));
        }
        assert_eq!((logins.count(&"van", s(59)), logins.count(&"bus", s(59))), (60, 0));
        assert_eq!(logins.count(&"van", s(90)), 30, "half of the window before still counts");
        assert_eq!(logins.count(&"van", s(180)), 0);
    }

    #[test]
    fn many_keys_cost_bounded_memory() {
        let mut failures = PerMinute::new(100);
        for key in 0..100_000 {
            failures.add(key, s(1));
            assert!(failures.current.len() <= 100 && failures.previous.len() <= 100);
        }
        assert_eq!(failures.count(&99_999, s(1)), 1);
    }

    #[test]
    fn one_subscriber_is_one_key() {
        let of = |text: &str| subscriber(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
