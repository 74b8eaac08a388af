//! Where a trip's vehicle is and when it arrives, as a rider sees it. Pure; lives beside the twin, not in the journal (I2).

use remuda_contracts::trips::Mark;

use crate::limits;
use crate::route::RouteLine;

/// How quickly the reckoned speed follows the measured one: half of a change after 20 s.
const HALF_LIFE_MS: f64 = 20_000.0;
/// How far ahead on the route a vehicle is looked for, m: a minute on a motorway.
const WINDOW_M: f64 = 2_500.0;

/// What the rider sees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// 1e-7 degrees.
    pub latitude_e7: i32,
    /// 1e-7 degrees.
    pub longitude_e7: i32,
    /// When it was there, ms since 1970 UTC.
    pub time_ms: i64,
    /// Left to drive on the route, m; absent without a route.
    pub remaining_m: Option<f64>,
    /// When it arrives, ms since 1970 UTC; absent without a route.
    pub eta_ms: Option<i64>,
    /// Nothing newer has come for a while: where it is now is a guess.
    pub stale: bool,
}

/// Follows one vehicle along one route.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tracking {
    route: Option<RouteLine>,
    along_m: f64,
    /// Mean speed of late, m/s.
    speed_mps: Option<f64>,
    last: Option<Mark>,
}

impl Tracking {
    /// Along this route, from its start.
    pub const fn along(route: Option<RouteLine>) -> Self {
        Self { route, along_m: 0.0, speed_mps: None, last: None }
    }

    /// Another route from here on (a detour, the next leg); speed and position stay.
    pub fn reroute(&mut self, route: Option<RouteLine>) {
        self.route = route;
        self.along_m = 0.0;
        if let Some(last) = self.last {
            self.place(last);
        }
    }

    /// A position; an older one than the last is passed over.
    pub fn observe(&mut self, mark: Mark, speed_kmh: f32) {
        let since_ms = match self.last {
            Some(last) if mark.time_ms <= last.time_ms => return,
            Some(last) => (mark.time_ms - last.time_ms) as f64,
            None => 0.0,
        };
        let speed_mps = f64::from(speed_kmh.max(0.0)) / 3.6;
        if speed_mps.is_finite() {
            let keep = 0.5_f64.powf(since_ms / HALF_LIFE_MS);
            self.speed_mps =
                Some(self.speed_mps.map_or(speed_mps, |mean| mean * keep + speed_mps * (1.0 - keep)));
        }
        self.last = Some(mark);
        self.place(mark);
    }

    fn place(&mut self, mark: Mark) {
        if let Some(route) = &self.route {
            self.along_m =
                route.locate((mark.latitude_e7, mark.longitude_e7), self.along_m, WINDOW_M).along_m;
        }
    }

    /// What the rider sees now; none before the first position.
    pub fn seen(&self, now_ms: i64) -> Option<Seen> {
        let last = self.last?;
        let remaining_m = self.route.as_ref().map(|route| (route.length_m() - self.along_m).max(0.0));
        let speed_mps = self.speed_mps.unwrap_or_default().max(limits::ETA_SPEED_MIN_MPS);
        let eta_ms = remaining_m.map(|metres| {
            // From when it was there: what has passed since, it has driven. Never before now while it is not there.
            let eta_ms = last.time_ms.saturating_add((metres / speed_mps * 1_000.0) as i64);
            if metres > 0.0 { eta_ms.max(now_ms) } else { last.time_ms }
        });
        Some(Seen {
            latitude_e7: last.latitude_e7,
            longitude_e7: last.longitude_e7,
            time_ms: last.time_ms,
            remaining_m,
            eta_ms,
            stale: now_ms - last.time_ms > limits::STALE_MS,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time_ms: i64, latitude_e7: i32) -> Mark {
        Mark { time_ms, latitude_e7, longitude_e7: 0, odometer_m: None, energy_wh: None, samples: None }
    }

    fn north(metres: i32) -> RouteLine {
        RouteLine::new(vec![(0, 0), ((f64::from(metres) * 89.932) as i32, 0)]).expect("a line")
    }

    #[test]
    fn the_arrival_follows_from_what_is_left_and_how_fast_it_goes() {
        let mut tracking = Tracking::along(Some(north(10_000)));
        assert_eq!(tracking.seen(0), None);
        tracking.observe(at(0, 0), 36.0);
        let seen = tracking.seen(0).expect("seen");
        assert!((seen.eta_ms.unwrap() - 1_000_000).abs() < 2_000, "10 km at 10 m/s: {seen:?}");
        tracking.observe(at(100_000, 89_932), 36.0);
        let seen = tracking.seen(100_000).expect("seen");
        assert!((seen.remaining_m.unwrap() - 9_000.0).abs() < 2.0);
        assert!((seen.eta_ms.unwrap() - 1_000_000).abs() < 2_000, "on time: {seen:?}");
        tracking.observe(at(50_000, 0), 200.0);
        assert_eq!(tracking.seen(100_000), Some(seen), "an old position changes nothing");
        assert!(!seen.stale && tracking.seen(130_001).unwrap().stale);
    }

    #[test]
    fn standing_at_a_light_delays_but_not_for_ever() {
        let mut tracking = Tracking::along(Some(north(10_000)));
        tracking.observe(at(0, 0), 50.0);
        let before = tracking.seen(0).unwrap().eta_ms.unwrap();
        (1..=600).for_each(|second| tracking.observe(at(second * 1_000, 0), 0.0));
        let after = tracking.seen(600_000).unwrap().eta_ms.unwrap();
        assert!(after > before && after <= 600_000 + 2_400_000 + 2_000, "{before} {after}");
    }

    #[test]
    fn at_the_end_it_has_arrived_and_a_new_route_begins_anew() {
        let mut tracking = Tracking::along(Some(north(1_000)));
        tracking.observe(at(0, 0), 36.0);
        tracking.observe(at(100_000, 89_932), 0.0);
        let seen = tracking.seen(105_000).unwrap();
        assert!(seen.remaining_m.unwrap() < 1.0);
        tracking.reroute(None);
        assert_eq!(tracking.seen(105_000).unwrap().eta_ms, None);
    }
}
