//! Chance from a seed: SplitMix64 (Steele, Lea, Flood 2014), eight bytes of state.

/// A stream of numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dice(u64);

/// Mixes a number so that neighbours have nothing in common.
pub(crate) const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Dice {
    /// A stream of its own for each `stream` of a seed.
    pub(crate) const fn new(seed: u64, stream: u64) -> Self {
        Self(mix(seed ^ mix(stream)))
    }

    pub(crate) fn next(&mut self) -> u64 {
        let value = mix(self.0);
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        value
    }

    /// 0 to 1, without 1.
    pub(crate) fn share(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u32 << 24) as f32
    }

    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.share()
    }

    /// 0 to `count` - 1.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.next()) * count as u128) >> 64) as usize
    }

    pub(crate) fn chance(&mut self, probability: f32) -> bool {
        self.share() < probability
    }
}

/// -1 to 1 from what identifies a reading: sensors are noisy, and yet reading them changes nothing.
pub(crate) fn noise(vehicle: u64, time_ms: u64, sensor: u64) -> f32 {
    let value = mix(vehicle << 40 ^ time_ms << 8 ^ sensor);
    (value >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
}
