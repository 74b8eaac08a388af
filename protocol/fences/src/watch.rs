//! The watch over one trip.

use remuda_model::{Incarnation, Seq};
use remuda_wire::{Fence, Observation, TripPlace};
use serde::{Deserialize, Serialize};

use crate::ground::{OUTSIDE, distance_m};

/// Below this a vehicle is at rest, 0.01 km/h.
const REST_E2: u32 = 100;
/// Above this it has set off, 0.01 km/h: a push in the car park has not.
const SET_OFF_E2: u32 = 500;

/// A vehicle at one moment: where it is, and what its instruments say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// When, ms of any clock that one watch keeps to.
    pub at_ms: i64,
    /// 1e-7 degrees, north positive.
    pub latitude_e7: i32,
    /// 1e-7 degrees, east positive.
    pub longitude_e7: i32,
    /// 0.01 km/h.
    pub speed_e2: u32,
    /// Odometer, m.
    pub odometer_m: Option<u64>,
    /// As [`energy_wh`] reckons it.
    pub energy_wh: Option<i64>,
    /// The start of the agent that numbers samples, and the last number it had given.
    pub samples: Option<(Incarnation, Seq)>,
}

/// Energy left, Wh, from a zero of the vehicle's own: counters of what was charged and used in its whole life, kWh. Only
/// differences mean something, and those of a ride are what it used.
pub fn energy_wh(charged_kwh: Option<f64>, consumed_kwh: Option<f64>) -> Option<i64> {
    // A vehicle that never tells of charging has not charged since it began to count.
    Some(((charged_kwh.unwrap_or(0.0) - consumed_kwh?) * 1e3).round() as i64)
}

/// Turns a vehicle's positions into what it noticed of one trip. Only the fence that comes next, and the one it stands in, count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    place: TripPlace,
    /// When it last set off in the fence that it is in: if it leaves without another rest, that was leaving.
    set_off: Option<Sight>,
    last_ms: Option<i64>,
}

impl Watch {
    /// Goes on from a place. Nothing up to `last_ms` is looked at.
    pub const fn from(place: TripPlace, last_ms: Option<i64>) -> Self {
        Self { place, set_off: None, last_ms }
    }

    /// How far it has come.
    pub const fn place(&self) -> TripPlace {
        self.place
    }

    /// Whether it stands, or drives, in the fence of a stop.
    pub const fn is_inside(&self) -> bool {
        self.place.inside.is_some()
    }

    /// Another clock from here on: times so far say nothing any more.
    pub const fn forget_times(&mut self) {
        (self.set_off, self.last_ms) = (None, None);
    }

    /// The stops change from `before` to `after`. What it knows of stops that stay is kept, what it knows of others forgotten.
    /// Where somebody else, `known`, has seen it farther along, that counts: this watch came from an older copy.
    pub fn change(&mut self, before: &[Fence], after: &[Fence], known: TripPlace) {
        let same = before.iter().zip(after).take_while(|(one, other)| one == other).count();
        let kept = u16::try_from(same).unwrap_or(u16::MAX);
        if self.place.next > kept {
            self.place.next = kept;
        }
        if self.place.inside.is_some_and(|inside| inside >= kept) {
            (self.place.inside, self.set_off) = (None, None);
        }
        if known.next > self.place.next {
            (self.place.next, self.place.inside, self.set_off) = (known.next, known.inside, None);
        }
    }

    /// What is noticed now, in the order of time, each with the moment that it is of. A moment before the last says nothing; the
    /// same again, nothing new.
    pub fn observe(&mut self, stops: &[Fence], now: &Sight) -> Vec<(Observation, Sight)> {
        if self.last_ms.is_some_and(|last_ms| now.at_ms < last_ms) {
            return vec![];
        }
        self.last_ms = Some(now.at_ms);
        let mut seen = Vec::new();
        if !self.place.moving && now.speed_e2 > SET_OFF_E2 {
            self.place.moving = true;
            self.set_off = self.place.inside.map(|_| *now);
            seen.push((Observation::SetOff, *now));
        }
        let radii = |stop: u16| {
            stops.get(usize::from(stop)).map(|stop| {
                let (there, here) =
                    ((stop.latitude_e7, stop.longitude_e7), (now.latitude_e7, now.longitude_e7));
                distance_m(there, here) / f64::from(stop.radius_m)
            })
        };
        if let Some(inside) = self.place.inside
            && radii(inside).is_some_and(|radii| radii > OUTSIDE)
        {
            self.place.inside = None;
            seen.push((Observation::Left(inside), self.set_off.take().unwrap_or(*now)));
        }
        let mut entered = false;
        if self.place.inside.is_none() && radii(self.place.next).is_some_and(|radii| radii <= 1.0) {
            self.place.inside = Some(self.place.next);
            self.set_off = None;
            seen.push((Observation::Entered(self.place.next), *now));
            self.place.next += 1;
            entered = true;
        }
        let rests = self.place.moving && now.speed_e2 < REST_E2;
        if rests {
            self.place.moving = false;
            self.set_off = None;
        }
        // Or it stood there already when the trip came.
        if rests || (entered && !self.place.moving) {
            seen.push((Observation::AtRest, *now));
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Observation::{AtRest, Entered, Left, SetOff};

    fn stop(longitude_e7: i32) -> Fence {
        Fence { latitude_e7: 482_000_000, longitude_e7, radius_m: 50 }
    }

    fn at(at_ms: i64, longitude_e7: i32, speed_kmh: u32) -> Sight {
        Sight {
            at_ms,
            latitude_e7: 482_000_000,
            longitude_e7,
            speed_e2: speed_kmh * 100,
            odometer_m: None,
            energy_wh: None,
            samples: None,
        }
    }

    fn names(told: &[(Observation, Sight)]) -> Vec<Observation> {
        told.iter().map(|(observation, _)| *observation).collect()
    }

    // 100 m are about 13,490 units of longitude here.
    const DRIVE: [(i32, u32); 12] = [
        (-50_000, 0),
        (-40_000, 30),
        (-7_000, 20),
        (-6_000, 10),
        (0, 0),
        (7_000, 4),
        (7_500, 10),
        (20_000, 50),
        (200_000, 50),
        (100_000, 50),
        (195_000, 20),
        (200_000, 0),
    ];

    #[test]
    fn a_drive_past_the_stops_is_told_in_order() {
        let stops = [stop(0), stop(100_000), stop(200_000)];
        let mut watch = Watch::default();
        let mut told = Vec::new();
        for (n, (longitude, speed)) in DRIVE.into_iter().enumerate() {
            told.extend(watch.observe(&stops, &at(n as i64, longitude, speed)));
        }
        let expected = [SetOff, Entered(0), AtRest, SetOff, Left(0), Entered(1), Left(1), Entered(2), AtRest];
        assert_eq!(names(&told), expected, "the drop-off is not reached before the stop in between");
        assert_eq!(told[4].1.at_ms, 6, "setting off in the fence was leaving");
        assert_eq!(told[6].1.at_ms, 10, "it did not rest at the second stop: it left when it was out");
        assert_eq!(watch.observe(&stops, &at(3, 900_000, 50)), [], "an old position says nothing");
    }

    #[test]
    fn a_vehicle_that_moves_up_in_the_fence_leaves_when_it_sets_off_for_good() {
        let stops = [stop(0), stop(100_000)];
        let mut watch = Watch::default();
        let mut told = Vec::new();
        for (n, (longitude, speed)) in
            [(0, 0), (1_000, 8), (2_000, 0), (3_000, 9), (5_000, 20), (20_000, 50)].into_iter().enumerate()
        {
            told.extend(watch.observe(&stops, &at(n as i64, longitude, speed)));
        }
        assert_eq!(names(&told), [Entered(0), AtRest, SetOff, AtRest, SetOff, Left(0)]);
        assert_eq!(told[5].1.at_ms, 3);
    }

    #[test]
    fn a_vehicle_that_stands_at_the_pick_up_already_has_arrived() {
        let stops = [stop(0), stop(100_000)];
        let mut watch = Watch::default();
        assert_eq!(names(&watch.observe(&stops, &at(0, 0, 0))), [Entered(0), AtRest]);
        assert_eq!(watch.observe(&stops, &at(1, 0, 0)), []);
    }

    #[test]
    fn other_stops_make_it_forget_those_alone() {
        let before = [stop(0), stop(100_000), stop(200_000)];
        let after = [stop(0), stop(150_000), stop(200_000)];
        let place = |next, inside| TripPlace { next, inside, moving: true };
        let changed = |at, known| {
            let mut watch = Watch::from(at, None);
            watch.change(&before, &after, known);
            watch.place()
        };
        let nothing = TripPlace::default();
        assert_eq!(changed(place(1, Some(0)), nothing), place(1, Some(0)), "what comes later changed");
        assert_eq!(changed(place(2, Some(1)), nothing), place(1, None), "that stop is elsewhere now");
        assert_eq!(changed(place(0, None), place(1, Some(0))), place(1, Some(0)), "the cloud knows more");
        assert_eq!(changed(place(1, None), place(1, Some(0))), place(1, None), "it has left meanwhile");
    }

    proptest! {
        /// However it drives: stops are reached in order and once, each is left before the next is reached, and going on
        /// from what was saved says the same as never having stopped.
        #[test]
        fn stops_are_reached_in_order_and_a_restart_changes_nothing(
            drive in proptest::collection::vec((-50_000..250_000_i32, 0..60_u32), 1..80),
            restarts in proptest::collection::vec(any::<bool>(), 80),
        ) {
            let stops = [stop(0), stop(100_000), stop(200_000)];
            let (mut whole, mut broken) = (Watch::default(), Watch::default());
            let mut told = Vec::new();
            for (n, (longitude, speed)) in drive.into_iter().enumerate() {
                let sight = at(n as i64, longitude, speed);
                let seen = whole.observe(&stops, &sight);
                if restarts[n] {
                    broken = Watch { set_off: broken.set_off, ..Watch::from(broken.place(), broken.last_ms) };
                }
                prop_assert_eq!(&broken.observe(&stops, &sight), &seen);
                told.extend(seen);
            }
            let mut expected = (0..3).flat_map(|stop| [Entered(stop), Left(stop)]);
            for (observation, _) in told {
                if observation.stop().is_some() {
                    prop_assert_eq!(Some(observation), expected.next());
                }
            }
        }
    }
}
