//! Journeys (D15): driving found in what a vehicle measured, booked or not. Pure; rows come in order of time.
//!
//! A journey begins at the last standstill before it moves, and ends at the first one after, once that has lasted
//! [`STOP_NS`]: only then is it known that the stop was not a traffic light, so the end is back-dated. Silence counts as a
//! stop, for a vehicle that is switched off says nothing.

use remuda_contracts::history::TrackPoint;

/// A standstill, or silence, of this length ends a journey, ns.
pub const STOP_NS: i64 = 300_000_000_000;
/// What is slower stands still: speeds from wheels and GNSS tremble about zero, km/h.
pub const MOVING_KMH: f64 = 2.0;
/// What led less far was no journey but a trembling position, m.
pub const DISTANCE_MIN_M: f64 = 50.0;
/// A journey's positions in memory; beyond, every second one goes.
const TRACK_MAX: usize = 20_000;
/// A speed is believed this long; then one is made of positions, ns.
const SPEED_AGE_NS: i64 = 60_000_000_000;
/// Mean radius of the earth, m.
const EARTH_M: f64 = 6_371_008.8;

/// What one row says.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DriveSample {
    /// ns since 1970 UTC.
    pub time_ns: i64,
    /// km/h.
    pub speed_kmh: Option<f64>,
    /// m.
    pub odometer_m: Option<f64>,
    /// Latitude and longitude, 1e-7 degrees.
    pub position: Option<(i32, i32)>,
}

/// A journey.
#[derive(Debug, Clone, PartialEq)]
pub struct Journey {
    /// ns since 1970 UTC.
    pub start_ns: i64,
    /// ns since 1970 UTC.
    pub end_ns: i64,
    /// Its end is not known yet.
    pub under_way: bool,
    /// m.
    pub distance_m: f64,
    /// ns.
    pub moving_ns: i64,
    /// km/h.
    pub max_speed_kmh: f64,
    /// Its positions, from the one at its start to the one at its end.
    pub track: Vec<TrackPoint>,
}

/// An instant, and what was known then.
#[derive(Debug, Clone, Copy, Default)]
struct Moment {
    time_ns: i64,
    odometer_m: Option<f64>,
    position: Option<TrackPoint>,
    /// Metres over the positions since the journey began.
    way_m: f64,
}

/// A journey that goes on.
#[derive(Debug, Clone)]
struct Open {
    start: Moment,
    /// Since when it stands still.
    stopped: Option<Moment>,
    moving_ns: i64,
    max_speed_kmh: f64,
    track: Vec<TrackPoint>,
}

/// Finds the journeys of one vehicle.
#[derive(Debug, Clone, Default)]
pub struct JourneyFinder {
    now: Option<Moment>,
    /// Speed and when it was measured.
    speed: Option<(f64, i64)>,
    moving: bool,
    /// The last standstill.
    still: Option<Moment>,
    open: Option<Open>,
}

/// Great-circle distance, m.
fn distance_m(from: TrackPoint, to: TrackPoint) -> f64 {
    let radians = |e7: i32| (f64::from(e7) / 1e7).to_radians();
    let (from_lat, to_lat) = (radians(from.latitude_e7), radians(to.latitude_e7));
    let half = |from: f64, to: f64| ((to - from) / 2.0).sin().powi(2);
    let h = half(from_lat, to_lat)
        + from_lat.cos() * to_lat.cos() * half(radians(from.longitude_e7), radians(to.longitude_e7));
    2.0 * EARTH_M * h.sqrt().min(1.0).asin()
}

impl JourneyFinder {
    /// Takes the next row in; answers a journey that is known to have ended by it.
    pub fn push(&mut self, sample: &DriveSample) -> Option<Journey> {
        let before = self.now;
        let silence = before.is_some_and(|before| sample.time_ns - before.time_ns >= STOP_NS);
        let ended = if silence { self.close() } else { None };
        if silence {
            // Where it was last is no standstill before what comes now.
            *self = Self::default();
        }
        let before = before.filter(|_| !silence);
        let mut now = Moment { time_ns: sample.time_ns, ..before.unwrap_or_default() };
        now.odometer_m = sample.odometer_m.or(now.odometer_m);
        let derived = self.place(sample, before, &mut now);
        if let Some(kmh) = sample.speed_kmh {
            self.speed = Some((kmh, sample.time_ns));
        }
        let believed = self.speed.filter(|(_, at)| sample.time_ns - at < SPEED_AGE_NS);
        let speed = if believed.is_some() { sample.speed_kmh } else { derived };
        if self.moving
            && let (Some(open), Some(before)) = (&mut self.open, before)
        {
            open.moving_ns += now.time_ns - before.time_ns;
        }
        self.now = Some(now);
        let stopped = match speed {
            Some(kmh) if kmh >= MOVING_KMH => self.moves(now, kmh),
            Some(_) => self.stands(now),
            // Nothing new of its motion: a stop may have become long enough all the same.
            None => self.stop_is_over(now),
        };
        ended.or(stopped)
    }

    /// Takes a position in; answers the speed that it means.
    fn place(&mut self, sample: &DriveSample, before: Option<Moment>, now: &mut Moment) -> Option<f64> {
        let (latitude_e7, longitude_e7) = sample.position?;
        let point = TrackPoint { time_ns: sample.time_ns, latitude_e7, longitude_e7 };
        let last = before.and_then(|before| before.position);
        now.position = Some(point);
        let step = last.map(|last| distance_m(last, point));
        if let Some(open) = &mut self.open
            && open.stopped.is_none()
        {
            now.way_m += step.unwrap_or_default();
            open.track.push(point);
            if open.track.len() > TRACK_MAX {
                let mut place = 0;
                open.track.retain(|_| {
                    place += 1;
                    place % 2 == 1
                });
            }
        }
        let seconds = (point.time_ns - last?.time_ns) as f64 / 1e9;
        (seconds > 0.5).then(|| step.unwrap_or_default() / seconds * 3.6)
    }

    fn moves(&mut self, now: Moment, kmh: f64) -> Option<Journey> {
        let ended = self.stop_is_over(now);
        self.moving = true;
        let still = self.still.filter(|still| now.time_ns - still.time_ns < STOP_NS);
        let open = self.open.get_or_insert_with(|| {
            let start = Moment { way_m: now.way_m, ..still.unwrap_or(now) };
            let first = start.position.filter(|point| Some(*point) != now.position);
            let track = first.into_iter().chain(now.position).collect();
            Open { start, stopped: None, moving_ns: 0, max_speed_kmh: 0.0, track }
        });
        open.stopped = None;
        open.max_speed_kmh = open.max_speed_kmh.max(kmh);
        ended
    }

    fn stands(&mut self, now: Moment) -> Option<Journey> {
        self.moving = false;
        self.still = Some(now);
        if let Some(open) = &mut self.open {
            open.stopped.get_or_insert(now);
        }
        self.stop_is_over(now)
    }

    /// Ends the journey when it has stood long enough.
    fn stop_is_over(&mut self, now: Moment) -> Option<Journey> {
        let stopped = self.open.as_ref()?.stopped?;
        if now.time_ns - stopped.time_ns < STOP_NS {
            return None;
        }
        self.close()
    }

    fn close(&mut self) -> Option<Journey> {
        self.moving = false;
        let end = self.open.as_ref()?.stopped.or(self.now)?;
        journey(self.open.take()?, end, false)
    }

    /// What is known at the end of the rows; nothing is known after `known_ns`.
    pub fn finish(mut self, known_ns: i64) -> Option<Journey> {
        let now = self.now?;
        if known_ns - now.time_ns >= STOP_NS {
            return self.close();
        }
        journey(self.open.take()?, now, true)
    }
}

fn journey(open: Open, end: Moment, under_way: bool) -> Option<Journey> {
    let driven = end.odometer_m.zip(open.start.odometer_m).map(|(end, start)| end - start);
    let way = end.way_m - open.start.way_m;
    // An odometer that did not move, or ran backwards, is one that was replaced or is not read while driving.
    let distance_m = driven.filter(|driven| *driven > 0.0).unwrap_or(way);
    if distance_m < DISTANCE_MIN_M {
        return None;
    }
    let Open { start, moving_ns, max_speed_kmh, mut track, .. } = open;
    track.retain(|point| point.time_ns <= end.time_ns);
    Some(Journey {
        start_ns: start.time_ns,
        end_ns: end.time_ns,
        under_way,
        distance_m,
        moving_ns,
        max_speed_kmh,
        track,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: i64 = 1_000_000_000;

    /// A second at this speed, eastwards along the equator, with an odometer or without.
    struct Drive {
        second: i64,
        metres: f64,
        odometer: bool,
        speed: bool,
        samples: Vec<DriveSample>,
    }

    impl Drive {
        fn new() -> Self {
            Self { second: 0, metres: 0.0, odometer: true, speed: true, samples: Vec::new() }
        }

        fn at(mut self, kmh: f64, seconds: i64) -> Self {
            for _ in 0..seconds {
                self.second += 1;
                self.metres += kmh / 3.6;
                let degrees = self.metres / EARTH_M.to_radians();
                self.samples.push(DriveSample {
                    time_ns: self.second * S,
                    speed_kmh: self.speed.then_some(kmh),
                    odometer_m: self.odometer.then_some(5_000.0 + self.metres),
                    position: Some((0, (degrees * 1e7) as i32)),
                });
            }
            self
        }

        fn silent(mut self, seconds: i64) -> Self {
            self.second += seconds;
            self
        }

        fn found(&self, known_after_s: i64) -> Vec<Journey> {
            let mut finder = JourneyFinder::default();
            let mut found: Vec<Journey> = self.samples.iter().filter_map(|s| finder.push(s)).collect();
            found.extend(finder.finish((self.second + known_after_s) * S));
            found
        }
    }

    fn seconds(journeys: &[Journey]) -> Vec<(i64, i64, bool)> {
        journeys.iter().map(|j| (j.start_ns / S, j.end_ns / S, j.under_way)).collect()
    }

    #[test]
    fn both_ends_are_dated_back_to_the_standstill() {
        let drive = Drive::new().at(0.0, 60).at(36.0, 600).at(0.0, 400);
        let found = drive.found(0);
        assert_eq!(seconds(&found), [(60, 661, false)]);
        assert!((found[0].distance_m - 6_000.0).abs() < 1.0, "{}", found[0].distance_m);
        assert_eq!((found[0].moving_ns / S, found[0].max_speed_kmh), (600, 36.0));
        let track = &found[0].track;
        assert_eq!((track[0].time_ns, track[track.len() - 1].time_ns), (60 * S, 661 * S));
    }

    #[test]
    fn a_traffic_light_is_part_of_it_and_a_long_stop_is_not() {
        let drive =
            Drive::new().at(0.0, 10).at(50.0, 100).at(0.0, 200).at(50.0, 100).at(0.3, 301).at(50.0, 100);
        assert_eq!(seconds(&drive.found(0)), [(10, 411, false), (711, 811, true)]);
        assert_eq!(seconds(&drive.found(300)), [(10, 411, false), (711, 811, false)], "it was switched off");
    }

    #[test]
    fn silence_ends_a_journey_and_begins_none() {
        let drive = Drive::new().at(0.0, 5).at(50.0, 100).silent(400).at(50.0, 100).at(0.0, 20);
        assert_eq!(seconds(&drive.found(1_000)), [(5, 105, false), (506, 606, false)]);
        assert_eq!(seconds(&drive.found(1))[1], (506, 625, true), "a stop that may be a traffic light");
    }

    #[test]
    fn a_trembling_position_is_no_journey() {
        let drive = Drive::new().at(0.0, 100).at(3.0, 10).at(0.0, 1_000);
        assert!(drive.found(0).is_empty());
    }

    #[test]
    fn positions_do_where_there_is_no_odometer_and_no_speed() {
        let mut drive = Drive::new();
        (drive.odometer, drive.speed) = (false, false);
        let found = drive.at(0.0, 60).at(36.0, 600).at(0.0, 400).found(0);
        assert_eq!(seconds(&found), [(60, 661, false)]);
        assert!((found[0].distance_m - 6_000.0).abs() < 15.0, "{}", found[0].distance_m);
    }

    proptest! {
        #[test]
        fn journeys_follow_each_other(parts in prop::collection::vec((0..3_usize, 1_i64..700), 1..20)) {
            let mut drive = Drive::new();
            for (kind, seconds) in parts {
                drive = if kind == 2 { drive.silent(seconds) } else { drive.at([0.0, 60.0][kind], seconds) };
            }
            let found = drive.found(0);
            let metres: f64 = found.iter().map(|journey| journey.distance_m).sum();
            prop_assert!(metres <= drive.metres + 1.0);
            prop_assert!(found.windows(2).all(|pair| pair[0].end_ns <= pair[1].start_ns));
            for journey in &found {
                prop_assert!(journey.start_ns < journey.end_ns && journey.moving_ns <= journey.end_ns - journey.start_ns);
                prop_assert!(journey.track.is_sorted_by_key(|point| point.time_ns));
                prop_assert!(journey.track.iter().all(|p| (journey.start_ns..=journey.end_ns).contains(&p.time_ns)));
            }
        }
    }
}
