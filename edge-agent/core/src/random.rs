//! Jitter from a seed, so that a run can be repeated.

/// xorshift64*: small state, good enough to spread reconnects.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `value`, or 0.
    pub(crate) fn below(&mut self, value: u64) -> u64 {
        (self.next() >> 11) % value.max(1)
    }

    /// Between half of `value` and all of it.
    pub(crate) fn half_to_full(&mut self, value: u64) -> u64 {
        let half = value / 2;
        half + (self.next() >> 11) % (value - half + 1)
    }
}
