//! Sets of seqs, as ranges.

use remuda_model::Seq;

/// Inclusive ranges of seqs, in the order they were added.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ranges(pub Vec<(Seq, Seq)>);

impl Ranges {
    pub fn add(&mut self, from: Seq, to: Seq) {
        if from <= to {
            self.0.push((from, to));
        }
    }

    /// Sorted, merged, and how many seqs were named more than once.
    pub fn merged(&self) -> (Self, u64) {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let mut merged: Vec<(Seq, Seq)> = Vec::new();
        let mut repeated = 0;
        for (from, to) in sorted {
            match merged.last_mut() {
                Some(last) if from <= last.1 => {
                    repeated += last.1.min(to) - from + 1;
                    last.1 = last.1.max(to);
                }
                Some(last) if from == last.1 + 1 => last.1 = to,
                _ => merged.push((from, to)),
            }
        }
        (Self(merged), repeated)
    }

    pub fn count(&self) -> u64 {
        self.0.iter().map(|(from, to)| to - from + 1).sum()
    }

    /// Takes out the first so many; answers how many there were of them.
    pub fn take_first(&mut self, count: u64) -> u64 {
        let mut left = count;
        let mut kept = Self::default();
        for (from, to) in std::mem::take(&mut self.0) {
            let taken = left.min(to - from + 1);
            left -= taken;
            kept.add(from + taken, to);
        }
        *self = kept;
        count - left
    }

    /// What is in `self` and not in `other`; both merged.
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Self::default();
        let mut others = other.0.iter().copied().peekable();
        for &(mut from, to) in &self.0 {
            while let Some(&(o_from, o_to)) = others.peek() {
                if o_to < from {
                    others.next();
                    continue;
                }
                if o_from > to {
                    break;
                }
                if o_from > from {
                    left.add(from, o_from - 1);
                }
                from = o_to + 1;
                if from > to {
                    break;
                }
                others.next();
            }
            left.add(from, to);
        }
        left
    }

    /// What is in both; both merged.
    pub fn common(&self, other: &Self) -> Self {
        self.without(&self.without(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_subtract() {
        let (a, _) = Ranges(vec![(1, 10), (20, 30)]).merged();
        let (b, twice) = Ranges(vec![(3, 4), (4, 5), (10, 22), (30, 40)]).merged();
        assert_eq!(twice, 1);
        assert_eq!(a.without(&b).0, vec![(1, 2), (6, 9), (23, 29)]);
        assert_eq!(a.common(&b).0, vec![(3, 5), (10, 10), (20, 22), (30, 30)]);
    }
}
