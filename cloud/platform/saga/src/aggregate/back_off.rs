//! Pauses between tries.

use remuda_model::shard::fnv1a_64;

use crate::definition::BackOff;

/// The pause after the `failed`-th failed try, ms: doubled each time, then cut by up to half, so that sagas which failed
/// together do not come back together. The same seed gives the same pause.
pub fn pause_ms(back_off: BackOff, failed: u16, seed: u64, step: u16) -> i64 {
    let doublings = u32::from(failed.saturating_sub(1)).min(31);
    let full = (u64::from(back_off.first_ms) << doublings).min(u64::from(back_off.most_ms));
    let mut dice = [0; 12];
    dice[..8].copy_from_slice(&seed.to_le_bytes());
    dice[8..10].copy_from_slice(&failed.to_le_bytes());
    dice[10..].copy_from_slice(&step.to_le_bytes());
    let cut = fnv1a_64(&dice) % (full / 2 + 1);
    // Under an hour by the definition's check, so it fits.
    (full - cut).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_the_longest_and_differ_by_seed() {
        let back_off = BackOff { first_ms: 100, most_ms: 1_000 };
        for (failed, full) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1_000), (60, 1_000)] {
            let pauses: std::collections::BTreeSet<i64> =
                (0..200).map(|seed| pause_ms(back_off, failed, seed, 0)).collect();
            assert!(pauses.iter().all(|p| (full / 2..=full).contains(p)), "{failed}: {pauses:?}");
            assert!(pauses.len() > 20, "no jitter: {pauses:?}");
        }
        assert_eq!(pause_ms(back_off, 2, 7, 1), pause_ms(back_off, 2, 7, 1));
    }
}
