//! Fences around stops: from positions to reports. Pure.

use remuda_contracts::trips::Mark;
use serde::{Deserialize, Serialize};

use crate::command::Observation;
use crate::state::{Stop, Trip, TripPhase};

/// Metres per 1e-7 degree of latitude: a sphere with the mean radius of the earth (6,371,008.8 m).
const M_PER_E7: f64 = 6_371_008.8 * std::f64::consts::PI / 180.0 * 1e-7;
/// A vehicle is out of a fence when it is this much farther away than its radius: positions jump.
const OUTSIDE: f64 = 1.2;
/// Below this a vehicle is at rest, km/h.
const REST_KMH: f32 = 1.0;
/// Above this it has set off, km/h: a push in the car park has not.
const SET_OFF_KMH: f32 = 5.0;

/// Distance between two places (latitude, longitude, 1e-7 degrees), m. On the plane that touches the earth between them:
/// right to 0.1 % up to 100 km.
pub fn distance_m(a: (i32, i32), b: (i32, i32)) -> f64 {
    let (x, y) = offset_m(a, b);
    x.hypot(y)
}

/// From `a` to `b`: east and north, m. The short way around the earth.
pub(crate) fn offset_m(a: (i32, i32), b: (i32, i32)) -> (f64, f64) {
    let middle = (f64::from(a.0) + f64::from(b.0)) / 2.0 * 1e-7;
    let mut east = f64::from(b.1) - f64::from(a.1);
    if east.abs() > 1.8e9 {
        east -= 3.6e9_f64.copysign(east);
    }
    (east * M_PER_E7 * middle.to_radians().cos(), (f64::from(b.0) - f64::from(a.0)) * M_PER_E7)
}

/// Can one place be in both fences, with what [`Watch`] allows on the way out?
pub fn overlap(a: &Stop, b: &Stop) -> bool {
    let apart = distance_m((a.latitude_e7, a.longitude_e7), (b.latitude_e7, b.longitude_e7));
    apart <= (f64::from(a.radius_m) + f64::from(b.radius_m)) * OUTSIDE
}

/// Turns a vehicle's positions into reports for one trip. Only the fence that comes next, and the one it stands in, count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The stop whose fence it is in.
    inside: Option<u16>,
    /// The stop that it will reach next.
    next: u16,
    moving: bool,
    last_ms: Option<i64>,
}

impl Watch {
    /// Goes on with a trip that was watched before: after a restart, or by another node.
    pub fn resuming(trip: &Trip) -> Self {
        let stop = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        let next = trip.next_stop().map_or_else(|| stop(trip.stops().len()), stop);
        let moving = trip.phase == TripPhase::UnderWay || trip.phase == TripPhase::Arriving;
        let last_ms = trip.last_mark.map(|mark| mark.time_ms);
        Self { inside: trip.standing_at().map(stop), next, moving, last_ms }
    }

    /// A position in the order of time, with the vehicle's figures at that moment. An older one than the last says nothing.
    pub fn observe(&mut self, stops: &[Stop], speed_kmh: f32, mark: &Mark) -> Vec<Observation> {
        if self.last_ms.is_some_and(|last_ms| mark.time_ms <= last_ms) {
            return vec![];
        }
        self.last_ms = Some(mark.time_ms);
        let mut seen = Vec::new();
        if !self.moving && speed_kmh > SET_OFF_KMH {
            self.moving = true;
            seen.push(Observation::SetOff);
        }
        let away = |stop: u16| {
            stops.get(usize::from(stop)).map(|stop| {
                let apart =
                    distance_m((stop.latitude_e7, stop.longitude_e7), (mark.latitude_e7, mark.longitude_e7));
                apart / f64::from(stop.radius_m)
            })
        };
        if let Some(inside) = self.inside
            && away(inside).is_some_and(|radii| radii > OUTSIDE)
        {
            self.inside = None;
            seen.push(Observation::Left(inside));
        }
        if self.inside.is_none() && away(self.next).is_some_and(|radii| radii <= 1.0) {
            self.inside = Some(self.next);
            seen.push(Observation::Entered(self.next));
            self.next += 1;
        }
        if self.moving && speed_kmh < REST_KMH {
            self.moving = false;
            seen.push(Observation::AtRest);
        } else if !self.moving && self.inside.is_some() && seen.contains(&Observation::Entered(self.next - 1))
        {
            // It stood there already when the trip came.
            seen.push(Observation::AtRest);
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(longitude_e7: i32) -> Stop {
        Stop { latitude_e7: 482_000_000, longitude_e7, radius_m: 50, label: None }
    }

    fn at(time_ms: i64, longitude_e7: i32) -> Mark {
        Mark {
            time_ms,
            latitude_e7: 482_000_000,
            longitude_e7,
            odometer_m: None,
            energy_wh: None,
            samples: None,
        }
    }

    #[test]
    fn distances_are_those_of_the_earth() {
        // One degree of latitude; one of longitude at 60 degrees north is half of that.
        assert!((distance_m((0, 0), (10_000_000, 0)) - 111_195.0).abs() < 1.0);
        assert!((distance_m((600_000_000, 0), (600_000_000, 10_000_000)) - 55_597.5).abs() < 1.0);
        assert!(distance_m((0, 1_799_999_999), (0, -1_799_999_999)) < 0.1, "across the date line");
    }

    #[test]
    fn a_drive_past_the_stops_is_told_in_order() {
        use Observation::*;
        // 100 m are about 13,490 units of longitude here.
        let stops = [stop(0), stop(100_000), stop(200_000)];
        let mut watch = Watch::default();
        let mut told = Vec::new();
        for (n, (longitude, speed)) in [
            (-50_000, 0.0),
            (-40_000, 30.0),
            (-7_000, 20.0),
            (-6_000, 10.0),
            (0, 0.0),
            (7_000, 4.0),
            (7_500, 10.0),
            (20_000, 50.0),
            (200_000, 50.0),
            (100_000, 50.0),
            (195_000, 20.0),
            (200_000, 0.0),
        ]
        .into_iter()
        .enumerate()
        {
            told.extend(watch.observe(&stops, speed, &at(n as i64, longitude)));
        }
        let expected = [SetOff, Entered(0), AtRest, SetOff, Left(0), Entered(1), Left(1), Entered(2), AtRest];
        assert_eq!(told, expected, "the drop-off is not reached before the stop in between");
        assert_eq!(watch.observe(&stops, 50.0, &at(3, 900_000)), [], "an old position says nothing");
    }

    #[test]
    fn a_vehicle_that_stands_at_the_pick_up_already_has_arrived() {
        let mut watch = Watch::default();
        let told = watch.observe(&[stop(0), stop(100_000)], 0.0, &at(0, 0));
        assert_eq!(told, [Observation::Entered(0), Observation::AtRest]);
        assert_eq!(watch.observe(&[stop(0), stop(100_000)], 0.0, &at(1, 0)), []);
    }

    #[test]
    fn fences_that_touch_are_known() {
        assert!(overlap(&stop(0), &stop(10_000)));
        assert!(!overlap(&stop(0), &stop(30_000)));
    }
}
