//! The line that a vehicle follows, and how much of it is left. Pure.

use crate::fences::{distance_m, offset_m};
use crate::limits;

/// A route as a line of places (latitude, longitude, 1e-7 degrees).
#[derive(Debug, Clone, PartialEq)]
pub struct RouteLine {
    points: Vec<(i32, i32)>,
    /// From the start to each point, m.
    along_m: Vec<f64>,
}

/// Where a position lies on a route.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OnRoute {
    /// From the start, m.
    pub along_m: f64,
    /// Beside the line, m.
    pub off_m: f64,
}

impl RouteLine {
    /// A line through these places; none when there are fewer than two, or too many.
    pub fn new(points: Vec<(i32, i32)>) -> Option<Self> {
        if !(2..=limits::ROUTE_POINTS_MAX).contains(&points.len()) {
            return None;
        }
        let mut along_m = vec![0.0];
        let mut sum = 0.0;
        for pair in points.windows(2) {
            sum += distance_m(pair[0], pair[1]);
            along_m.push(sum);
        }
        Some(Self { points, along_m })
    }

    /// Its length, m.
    pub fn length_m(&self) -> f64 {
        self.along_m.last().copied().unwrap_or_default()
    }

    /// The nearest place on the line that is not before `from_m`: a vehicle does not drive back, and a route may cross itself.
    /// Looks no farther than `window_m` ahead, unless nothing there is within 200 m.
    pub fn locate(&self, position: (i32, i32), from_m: f64, window_m: f64) -> OnRoute {
        let near = self.nearest(position, from_m, from_m + window_m);
        if near.off_m <= 200.0 {
            return near;
        }
        let anywhere = self.nearest(position, 0.0, f64::INFINITY);
        if anywhere.off_m < near.off_m { anywhere } else { near }
    }

    fn nearest(&self, position: (i32, i32), from_m: f64, to_m: f64) -> OnRoute {
        let mut best = OnRoute { along_m: from_m.min(self.length_m()), off_m: f64::INFINITY };
        for (at, pair) in self.points.windows(2).enumerate() {
            let (start_m, end_m) = (self.along_m[at], self.along_m[at + 1]);
            if end_m < from_m || start_m > to_m {
                continue;
            }
            let (px, py) = offset_m(pair[0], position);
            let (sx, sy) = offset_m(pair[0], pair[1]);
            let square = sx * sx + sy * sy;
            // Not before where it was: the road back may lie beside the road out.
            let least =
                if end_m > start_m { ((from_m - start_m) / (end_m - start_m)).clamp(0.0, 1.0) } else { 0.0 };
            let share = if square == 0.0 { 0.0 } else { ((px * sx + py * sy) / square).clamp(least, 1.0) };
            let off_m = (px - share * sx).hypot(py - share * sy);
            if off_m < best.off_m {
                best = OnRoute { along_m: start_m + share * (end_m - start_m), off_m };
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_found_on_the_line_and_never_behind() {
        // 1,000 m north, 1,000 m back south on the same road, some metres beside it.
        let line = RouteLine::new(vec![(0, 0), (89_932, 0), (89_932, 100), (0, 100)]).expect("a line");
        assert!((line.length_m() - 2_001.0).abs() < 1.0, "{}", line.length_m());
        let out = line.locate((44_966, 0), 0.0, 1_500.0);
        assert!((out.along_m - 500.0).abs() < 1.0 && out.off_m < 0.1, "{out:?}");
        let back = line.locate((44_966, 0), 900.0, 1_500.0);
        assert!((back.along_m - 1_501.0).abs() < 1.0, "on the way back: {back:?}");
        let astray = line.locate((0, 100_000), 100.0, 200.0);
        assert!(astray.off_m > 1_000.0, "{astray:?}");
        assert!(RouteLine::new(vec![(0, 0)]).is_none());
        let still = RouteLine::new(vec![(5, 5), (5, 5)]).expect("a line");
        assert_eq!(still.locate((5, 5), 0.0, 10.0), OnRoute { along_m: 0.0, off_m: 0.0 });
    }
}
