//! Largest triangle three buckets: the points of a line that keep its shape.
//!
//! Sveinn Steinarsson, "Downsampling Time Series for Visual Representation" (University of Iceland, 2013), section 4.2. The
//! areas are compared in whole numbers, multiplied by the size of the next bucket instead of divided by it, so that what
//! is picked depends on no rounding; only where that would overflow 128 bits they are compared as floats.

/// Places of the points to keep, ascending: `points` of them, or all when there are no more. `times` ascend.
pub fn lttb(times: &[i64], values: &[i64], points: usize) -> Vec<usize> {
    let n = times.len().min(values.len());
    if points >= n {
        return (0..n).collect();
    }
    match points {
        0 => return Vec::new(),
        1 => return vec![0],
        2 => return vec![0, n - 1],
        _ => {}
    }
    // The first and the last point are kept; those between are cut into as equal buckets as there are points to pick.
    let bound = |bucket: usize| 1 + (bucket as u128 * (n - 2) as u128 / (points - 2) as u128) as usize;
    let mut kept = Vec::with_capacity(points);
    kept.push(0);
    let mut picked = 0;
    for bucket in 0..points - 2 {
        let (from, to) = (bound(bucket), bound(bucket + 1));
        let next = if bucket + 3 == points { n - 1..n } else { to..bound(bucket + 2) };
        picked = Triangle::new(times, values, picked, next).largest(from..to);
        kept.push(picked);
    }
    kept.push(n - 1);
    kept
}

/// The point picked before and the mean of the next bucket, as seen from the former.
struct Triangle<'a> {
    times: &'a [i64],
    values: &'a [i64],
    time: i64,
    value: i64,
    /// Size of the next bucket, and the sums of its times and values less those of the point before.
    count: i128,
    time_sum: i128,
    value_sum: i128,
}

/// Bits that a number takes, its sign aside.
fn bits(number: i128) -> u32 {
    128 - number.unsigned_abs().leading_zeros()
}

impl<'a> Triangle<'a> {
    fn new(times: &'a [i64], values: &'a [i64], before: usize, next: std::ops::Range<usize>) -> Self {
        let (time, value) = (times[before], values[before]);
        let sum =
            |of: &[i64], from: i64| -> i128 { of.iter().map(|x| i128::from(*x) - i128::from(from)).sum() };
        Self {
            times,
            values,
            time,
            value,
            count: next.len() as i128,
            time_sum: sum(&times[next.clone()], time),
            value_sum: sum(&values[next], value),
        }
    }

    /// The first point of those that span the largest area.
    fn largest(&self, bucket: std::ops::Range<usize>) -> usize {
        let relative = |i: usize| {
            (
                i128::from(self.times[i]) - i128::from(self.time),
                i128::from(self.values[i]) - i128::from(self.value),
            )
        };
        let widest = bucket.clone().map(|i| {
            let (time, value) = relative(i);
            (bits(time) + bits(self.value_sum)).max(bits(value) + bits(self.time_sum))
        });
        // Twice the area, times the size of the next bucket: |b x c| with the point before as the origin.
        if widest.max().unwrap_or_default() < 126 {
            best(bucket, |i| {
                let (time, value) = relative(i);
                (time * self.value_sum - value * self.time_sum).unsigned_abs()
            })
        } else {
            let count = self.count as f64;
            let (to_time, to_value) = (self.time_sum as f64 / count, self.value_sum as f64 / count);
            best(bucket, |i| {
                let (time, value) = relative(i);
                (time as f64 * to_value - value as f64 * to_time).abs()
            })
        }
    }
}

fn best<A: PartialOrd>(bucket: std::ops::Range<usize>, area: impl Fn(usize) -> A) -> usize {
    let mut best = bucket.start;
    let mut largest = area(best);
    for i in bucket.skip(1) {
        let area = area(i);
        if area > largest {
            (best, largest) = (i, area);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the thesis has it, in floats.
    fn published(times: &[f64], values: &[f64], threshold: usize) -> Vec<usize> {
        let n = times.len();
        if threshold >= n {
            return (0..n).collect();
        }
        let every = (n - 2) as f64 / (threshold - 2) as f64;
        let mut sampled = vec![0];
        let mut a = 0;
        for i in 0..threshold - 2 {
            let start = ((i + 1) as f64 * every).floor() as usize + 1;
            let end = (((i + 2) as f64 * every).floor() as usize + 1).min(n);
            let length = (end - start) as f64;
            let x: f64 = times[start..end].iter().sum::<f64>() / length;
            let y: f64 = values[start..end].iter().sum::<f64>() / length;
            let (from, to) = ((i as f64 * every).floor() as usize + 1, start);
            let mut max = -1.0;
            let mut next = from;
            for j in from..to {
                let area = ((times[a] - x) * (values[j] - values[a])
                    - (times[a] - times[j]) * (y - values[a]))
                    .abs()
                    * 0.5;
                if area > max {
                    (max, next) = (area, j);
                }
            }
            sampled.push(next);
            a = next;
        }
        sampled.push(n - 1);
        sampled
    }

    #[test]
    fn small_numbers_are_all_or_the_ends() {
        let (times, values) = ([1, 2, 3, 4, 5], [0, 9, 0, -9, 0]);
        let cases: [(usize, &[usize]); 6] = [
            (0, &[]),
            (1, &[0]),
            (2, &[0, 4]),
            (3, &[0, 1, 4]),
            (5, &[0, 1, 2, 3, 4]),
            (9, &[0, 1, 2, 3, 4]),
        ];
        for (points, kept) in cases {
            assert_eq!(lttb(&times, &values, points), kept, "{points}");
        }
        assert!(lttb(&[], &[], 7).is_empty());
    }

    #[test]
    fn a_spike_is_kept_and_extremes_do_not_overflow() {
        let times: Vec<i64> = (0..1_000).map(|i| i * 1_000_000_000).collect();
        let mut values = vec![5; 1_000];
        values[617] = 900;
        assert!(lttb(&times, &values, 20).contains(&617));
        let wild: Vec<i64> = (0..1_000).map(|i| if i % 2 == 0 { i64::MIN } else { i64::MAX }).collect();
        let far: Vec<i64> = (0..1_000).map(|i| i * (i64::MAX / 1_000)).collect();
        assert_eq!(lttb(&far, &wild, 50).len(), 50);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Where floats hold every number exactly, and buckets are of one size, the published program picks the same.
        #[test]
        fn it_picks_what_the_published_program_picks(
            steps in prop::collection::vec((1_i64..9, -1_000_i64..1_000), 66..67),
            points in prop::sample::select(vec![3_usize, 4, 6, 10, 18, 34]),
        ) {
            let mut at = 0;
            let times: Vec<i64> = steps.iter().map(|(step, _)| { at += step; at }).collect();
            let values: Vec<i64> = steps.iter().map(|(_, value)| *value).collect();
            let floats = |of: &[i64]| of.iter().map(|x| *x as f64).collect::<Vec<_>>();
            prop_assert_eq!(lttb(&times, &values, points), published(&floats(&times), &floats(&values), points));
        }

        #[test]
        fn it_keeps_both_ends_and_ascends(values in prop::collection::vec(any::<i64>(), 3..200), points in 2_usize..210) {
            let times: Vec<i64> = (0..values.len() as i64).collect();
            let kept = lttb(&times, &values, points);
            prop_assert_eq!(kept.len(), points.min(values.len()));
            prop_assert!(kept.is_sorted_by(|a, b| a < b));
            prop_assert_eq!((kept[0], kept[kept.len() - 1]), (0, values.len() - 1));
        }
    }
}
