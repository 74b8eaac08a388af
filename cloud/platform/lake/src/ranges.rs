//! Sets of numbers that mostly follow each other.

use std::collections::BTreeMap;

use remuda_model::Seq;

/// Disjoint ranges, neighbours joined: first and last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ranges(BTreeMap<Seq, Seq>);

impl Ranges {
    /// Adds a range; false when all of it was there.
    pub fn insert(&mut self, from: Seq, to: Seq) -> bool {
        let to = to.max(from);
        if self.0.range(..=from).next_back().is_some_and(|(_, end)| *end >= to) {
            return false;
        }
        let (mut low, mut high) = (from, to);
        // Whatever touches it becomes part of it.
        while let Some((&begin, &end)) = self.0.range(..=high.saturating_add(1)).next_back() {
            if end.saturating_add(1) < low {
                break;
            }
            low = low.min(begin);
            high = high.max(end);
            self.0.remove(&begin);
        }
        self.0.insert(low, high);
        true
    }

    /// What is missing between a number and the last one.
    pub fn holes_after(&self, mark: Seq) -> Vec<(Seq, Seq)> {
        let mut next = mark.saturating_add(1);
        let mut holes = Vec::new();
        for (&begin, &end) in self.0.iter().filter(|(_, end)| **end >= mark) {
            if begin > next {
                holes.push((next, begin - 1));
            }
            next = next.max(end.saturating_add(1));
        }
        holes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_a_set(ops in prop::collection::vec((0..60_u64, 0..5_u64), 0..40), mark in 0..60_u64) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (from, more) in ops {
                let before = set.len();
                set.extend(from..=from + more);
                prop_assert_eq!(ranges.insert(from, from + more), set.len() > before);
                let mut last = None;
                for (&begin, &end) in &ranges.0 {
                    prop_assert!(last.is_none_or(|last: u64| last + 1 < begin), "{:?}", ranges);
                    last = Some(end);
                }
            }
            let flat: BTreeSet<u64> = ranges.0.iter().flat_map(|(&from, &to)| from..=to).collect();
            prop_assert_eq!(&flat, &set);
            let holes: Vec<u64> = ranges.holes_after(mark).into_iter().flat_map(|(from, to)| from..=to).collect();
            let last = set.last().copied().unwrap_or(0);
            let missing: Vec<u64> = (mark + 1..=last).filter(|n| !set.contains(n)).collect();
            prop_assert_eq!(holes, missing);
        }
    }
}
