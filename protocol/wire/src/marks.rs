//! What a vehicle watches of its trip, and what it says of it (docs/uplink.md section 6).
//!
//! The watch comes down as a desired state, of which the newest counts; marks go up as events.

use remuda_model::{ConnectionId, Incarnation, Seq};
use serde::{Deserialize, Serialize};

use crate::{counted, limits};

/// A place with a fence around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// 1e-7 degrees, north positive.
    pub latitude_e7: i32,
    /// 1e-7 degrees, east positive.
    pub longitude_e7: i32,
    /// How far around it counts as there, m.
    pub radius_m: u16,
}

/// What a vehicle noticed. Variants are only ever added at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Observation {
    /// It set off.
    SetOff,
    /// It drove into the fence of a stop; 0 = the pick-up.
    Entered(u16),
    /// It left a stop.
    Left(u16),
    /// It came to rest.
    AtRest,
}

impl Observation {
    /// The stop that it is about.
    pub const fn stop(self) -> Option<u16> {
        match self {
            Self::Entered(stop) | Self::Left(stop) => Some(stop),
            Self::SetOff | Self::AtRest => None,
        }
    }
}

/// How far a vehicle has come along the stops of its trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TripPlace {
    /// The stop that it will reach next, from 0; as many as there are: none.
    pub next: u16,
    /// The stop in whose fence it is.
    pub inside: Option<u16>,
    /// It has set off.
    pub moving: bool,
}

/// A trip to watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedTrip {
    /// Its id, 1 to [`limits::TEXT_BYTES_MAX`] bytes.
    pub trip: String,
    /// Grows whenever its stops change, or one more of them was reached.
    pub version: u64,
    /// The pick-up first, the drop-off last; 2 to [`limits::STOPS_MAX`].
    #[serde(deserialize_with = "counted::stops")]
    pub stops: Vec<Fence>,
    /// How far it had come as far as the cloud knows: a vehicle that knows better keeps to that.
    pub place: TripPlace,
}

/// What a vehicle is to watch from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TripWatch {
    /// None: nothing any more.
    pub trip: Option<WatchedTrip>,
}

impl TripWatch {
    /// Whether it can be watched.
    pub(crate) fn is_within_limits(&self) -> bool {
        self.trip.as_ref().is_none_or(|watched| {
            let stops = watched.stops.len();
            let is_stop = |stop: u16| usize::from(stop) < stops;
            is_trip(&watched.trip)
                && (2..=limits::STOPS_MAX).contains(&stops)
                && watched.stops.iter().all(Fence::is_on_earth)
                && usize::from(watched.place.next) <= stops
                && watched.place.inside.is_none_or(is_stop)
        })
    }
}

fn is_trip(id: &str) -> bool {
    (1..=limits::TEXT_BYTES_MAX).contains(&id.len())
}

fn is_on_earth(latitude_e7: i32, longitude_e7: i32) -> bool {
    latitude_e7.unsigned_abs() <= 900_000_000 && longitude_e7.unsigned_abs() <= 1_800_000_000
}

impl Fence {
    fn is_on_earth(&self) -> bool {
        self.radius_m > 0 && is_on_earth(self.latitude_e7, self.longitude_e7)
    }
}

/// Which trip a vehicle watches: said once that is on its disk, and after each Welcome. Lossy; the newest counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watching {
    /// The connection it is said on.
    pub connection: ConnectionId,
    /// The trip and the version of its stops; none: it watches nothing.
    pub trip: Option<(String, u64)>,
}

impl Watching {
    /// Whether it says no more than it may.
    pub(crate) fn is_within_limits(&self) -> bool {
        self.trip.as_ref().is_none_or(|(trip, _)| is_trip(trip))
    }
}

/// A trip mark: what a vehicle noticed of its trip, with everything that money needs of that moment.
///
/// May be told twice, after a restart; `noticed_by` and `number` name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TripMarked {
    /// The trip, as it was given to the vehicle.
    pub trip: String,
    /// The start of the agent that noticed it.
    pub noticed_by: Incarnation,
    /// Counts what that start noticed, from 1.
    pub number: u32,
    /// What.
    pub observation: Observation,
    /// The stop that it is about, as the vehicle knew it.
    pub stop: Option<Fence>,
    /// When, ms since 1970 UTC; none when the vehicle could not know.
    pub time_ms: Option<i64>,
    /// 1e-7 degrees, north positive.
    pub latitude_e7: i32,
    /// 1e-7 degrees, east positive.
    pub longitude_e7: i32,
    /// Speed, 0.01 km/h.
    pub speed_e2: u32,
    /// Odometer, m, when the vehicle has one.
    pub odometer_m: Option<u64>,
    /// Energy left, Wh, from any zero that stays: what was charged less what was used, in the vehicle's whole life.
    pub energy_wh: Option<i64>,
    /// The start of the agent that numbers the samples.
    pub incarnation: Incarnation,
    /// The last of its samples' numbers that was given then; 0 = none.
    pub samples: Seq,
}

impl TripMarked {
    /// Whether it says no more than it may.
    pub(crate) fn is_within_limits(&self) -> bool {
        is_trip(&self.trip)
            && self.number > 0
            && self.observation.stop().is_some() == self.stop.is_some()
            && self.observation.stop().is_none_or(|stop| usize::from(stop) < limits::STOPS_MAX)
            && self.stop.as_ref().is_none_or(Fence::is_on_earth)
            && is_on_earth(self.latitude_e7, self.longitude_e7)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Fence = Fence { latitude_e7: 601_699_000, longitude_e7: -249_384_000, radius_m: 80 };

    fn watch() -> WatchedTrip {
        let place = TripPlace { next: 2, inside: Some(1), moving: true };
        WatchedTrip { trip: "ride-1".into(), version: 3, stops: vec![HERE; 2], place }
    }

    #[test]
    fn what_cannot_be_watched_is_seen() {
        let good = |watched| TripWatch { trip: Some(watched) }.is_within_limits();
        assert!(good(watch()) && TripWatch { trip: None }.is_within_limits());
        let wrong: [&dyn Fn(&mut WatchedTrip); 8] = [
            &|w| w.trip.clear(),
            &|w| w.trip = "x".repeat(257),
            &|w| w.stops.truncate(1),
            &|w| w.stops = vec![HERE; 17],
            &|w| w.stops[1].radius_m = 0,
            &|w| w.stops[0].latitude_e7 = 900_000_001,
            &|w| w.place.next = 3,
            &|w| w.place.inside = Some(2),
        ];
        for (number, change) in wrong.iter().enumerate() {
            let mut changed = watch();
            change(&mut changed);
            assert!(!good(changed), "{number}");
        }
    }

    #[test]
    fn a_mark_that_says_too_much_is_seen() {
        let mark = TripMarked {
            trip: "ride-1".into(),
            noticed_by: Incarnation(1),
            number: 1,
            observation: Observation::Entered(15),
            stop: Some(HERE),
            time_ms: None,
            latitude_e7: 0,
            longitude_e7: 0,
            speed_e2: 0,
            odometer_m: None,
            energy_wh: None,
            incarnation: Incarnation(1),
            samples: 0,
        };
        assert!(mark.is_within_limits());
        let wrong: [&dyn Fn(&mut TripMarked); 6] = [
            &|m| m.trip.clear(),
            &|m| m.number = 0,
            &|m| m.observation = Observation::Left(16),
            &|m| m.stop = None,
            &|m| m.observation = Observation::AtRest,
            &|m| m.longitude_e7 = i32::MIN,
        ];
        for (number, change) in wrong.iter().enumerate() {
            let mut changed = mark.clone();
            change(&mut changed);
            assert!(!changed.is_within_limits(), "{number}");
        }
    }
}
