//! Trip marks: what a vehicle notices of its trip, through tunnels, kills and slow disks.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use remuda_edge_agent_core::{Agent, Held, Output, Reading, Record, RefuseAll, SavedState, Settings};
use remuda_model::signal::{CONSUMED_ENERGY, LATITUDE, LONGITUDE, ODOMETER, SPEED};
use remuda_model::{ConnectionId, Epoch, Incarnation, Lane, VehicleId};
use remuda_wire::frame;
use remuda_wire::{
    Body, Down, Event, Fence, FloorReason, Observation, TripMarked, TripPlace, TripWatch, Up, WatchedTrip,
    Welcome,
};

use Observation::{AtRest, Entered, Left, SetOff};

const S: u64 = 1_000_000_000;
const SERVER_MS: i64 = 1_767_225_600_000;
/// 100 m of latitude, 1e-7 degrees.
const HUNDRED_M: i32 = 8_993;
const NORTH: i32 = 481_000_000;
const EAST: i32 = 115_000_000;

fn stop(hundreds: i32) -> Fence {
    Fence { latitude_e7: NORTH + HUNDRED_M * hundreds, longitude_e7: EAST, radius_m: 50 }
}

fn trip(version: u64, stops: &[i32]) -> WatchedTrip {
    let stops = stops.iter().map(|hundreds| stop(*hundreds)).collect();
    WatchedTrip { trip: "ride-1".into(), version, stops, place: TripPlace::default() }
}

fn watch(trip: WatchedTrip) -> Down {
    Down::Watch(TripWatch { trip: Some(trip) })
}

/// An agent with its disk; what is on it survives [`Bench::kill`].
struct Bench {
    agent: Agent,
    incarnation: u64,
    machine: u64,
    /// Frames of the events lane, by start, as they became durable.
    outbox: Vec<(u64, Bytes)>,
    saved: Vec<u8>,
    waiting: Vec<Vec<u8>>,
    hold_saves: bool,
    connections: u32,
    watching: Vec<Option<(String, u64)>>,
    samples: u64,
    odometer: i64,
}

fn agent(incarnation: u64, machine: u64, saved: &[u8], held: &[Held], now: u64) -> Agent {
    let vehicle = VehicleId::new("VAN1").expect("an id");
    let settings = Settings { machine, ..Settings::new(vehicle, Incarnation(incarnation), 1) };
    let state = if saved.is_empty() {
        SavedState::default()
    } else {
        SavedState::decode(saved).expect("what it saved")
    };
    Agent::new(settings, Arc::new(RefuseAll), state, held, now)
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self {
            agent: agent(1, 7, &[], &[], 0),
            incarnation: 1,
            machine: 7,
            outbox: vec![],
            saved: vec![],
            waiting: vec![],
            hold_saves: false,
            connections: 0,
            watching: vec![],
            samples: 0,
            odometer: 10_000_000,
        };
        bench.drive(0);
        bench
    }

    fn drive(&mut self, now: u64) {
        while let Some(output) = self.agent.poll_output() {
            match output {
                Output::Append { lane, first, frames, .. } => {
                    let last = first + frames.len() as u64 - 1;
                    match lane {
                        Lane::Events => self.outbox.extend(frames.into_iter().map(|f| (self.incarnation, f))),
                        Lane::Samples => self.samples = last,
                    }
                    self.agent.handle_made(lane, last, 0, now);
                }
                Output::Save(state) => self.waiting.push(state),
                Output::Send { payload, .. } => {
                    if let Up::Watching(watching) = Up::decode(&payload.into()).expect("ours") {
                        self.watching.push(watching.trip);
                    }
                }
                Output::Read { lane, incarnation, from, .. } => {
                    self.agent.handle_read(lane, incarnation, from, vec![Record::Damaged], now);
                }
                _ => {}
            }
            if !self.hold_saves {
                self.flush(now);
            }
        }
    }

    /// Everything saved so far becomes durable.
    fn flush(&mut self, now: u64) {
        for state in std::mem::take(&mut self.waiting) {
            self.saved = state;
            self.agent.handle_saved(now);
        }
    }

    fn connect(&mut self, now: u64) {
        self.agent.handle_timeout(now);
        self.agent.handle_connected(now);
        self.drive(now);
        self.connections += 1;
        self.welcome(now);
    }

    fn welcome(&mut self, now: u64) {
        let incarnation = Incarnation(self.incarnation);
        let welcome = Welcome {
            connection: ConnectionId { incarnation, counter: self.connections },
            wire: 1,
            epoch: Epoch(1),
            server_time_ms: SERVER_MS + (now / 1_000_000) as i64,
            acks: vec![],
            resync: false,
        };
        self.say(&Down::Welcome(welcome), now);
    }

    fn say(&mut self, message: &Down, now: u64) {
        self.agent.handle_payload(&message.encode(), now);
        self.drive(now);
    }

    /// A second of driving, to so many metres north.
    fn at(&mut self, metres: i32, kmh: i64, now: u64) {
        self.odometer += kmh * 10 / 36 * 10;
        let readings = [
            (LATITUDE, i64::from(NORTH + HUNDRED_M * metres / 100)),
            (LONGITUDE, i64::from(EAST)),
            (SPEED, kmh * 100),
            (ODOMETER, self.odometer),
            (CONSUMED_ENERGY, self.odometer / 1_000),
        ];
        let readings = readings.map(|(signal, raw)| Reading { signal, raw, mono_ns: now });
        self.agent.handle_readings(&readings, now);
        self.agent.handle_timeout(now);
        self.drive(now);
    }

    /// The power is cut, and comes back: with the same clock, or the machine's next.
    fn kill(&mut self, machine: u64, now: u64) {
        self.waiting.clear();
        self.incarnation += 1;
        (self.machine, self.connections) = (machine, 0);
        let mut held = Vec::new();
        for incarnation in 1..self.incarnation {
            let made = self.outbox.iter().filter(|(of, _)| *of == incarnation).count() as u64;
            held.push(Held {
                lane: Lane::Events,
                incarnation: Incarnation(incarnation),
                floor: 1,
                floor_reason: FloorReason::Acked,
                made,
            });
        }
        self.agent = agent(self.incarnation, machine, &self.saved, &held, now);
        self.drive(now);
    }

    /// Marks in the outbox, in the order in which they are sent; those told twice once.
    fn marks(&self) -> Vec<TripMarked> {
        let mut names = std::collections::BTreeSet::new();
        let events =
            self.outbox.iter().filter_map(|(_, bytes)| match frame::decode(bytes).expect("sound").body {
                Body::Event(Event::TripMarked(mark)) => Some(mark),
                _ => None,
            });
        events.filter(|mark| names.insert((mark.noticed_by, mark.number))).collect()
    }

    fn noticed(&self) -> Vec<Observation> {
        self.marks().iter().map(|mark| mark.observation).collect()
    }
}

/// When the marks were noticed, s.
fn seconds(bench: &Bench) -> Vec<Option<i64>> {
    bench.marks().iter().map(|mark| mark.time_ms.map(|ms| (ms - SERVER_MS) / 1_000)).collect()
}

#[test]
fn a_ride_is_marked_with_what_money_needs() {
    let mut bench = Bench::new();
    bench.connect(S);
    assert!(bench.watching.is_empty(), "a cloud that gave it nothing hears nothing");
    bench.at(0, 0, 2 * S);
    bench.say(&watch(trip(1, &[2, 10])), 3 * S);
    assert_eq!(bench.watching, [Some(("ride-1".to_owned(), 1))]);
    for (second, (metres, kmh)) in [
        (50, 40),
        (190, 20),
        (200, 0),
        (200, 0),
        (215, 12),
        (400, 50),
        (600, 0),
        (700, 50),
        (985, 20),
        (1_000, 0),
    ]
    .into_iter()
    .enumerate()
    {
        bench.at(metres, kmh, (10 + second as u64) * S);
    }
    assert_eq!(bench.noticed(), [SetOff, Entered(0), AtRest, Left(0), Entered(1), AtRest]);
    let marks = bench.marks();
    let left = &marks[3];
    assert_eq!(left.time_ms, Some(SERVER_MS + 14_000), "it left when it set off in the fence");
    assert_eq!((left.latitude_e7, left.speed_e2), (NORTH + HUNDRED_M * 215 / 100, 1_200));
    assert_eq!((left.stop, left.number, left.noticed_by), (Some(stop(2)), 4, Incarnation(1)));
    let end = &marks[5];
    assert!(end.odometer_m.expect("told") > left.odometer_m.expect("told"));
    assert!(end.energy_wh.expect("told") <= left.energy_wh.expect("told"));
    assert_eq!(end.incarnation, Incarnation(1));
    assert!(left.samples < end.samples && end.samples <= bench.samples, "{} {}", end.samples, bench.samples);
    // Said again, it is no news; withdrawn, nothing is noticed any more.
    bench.welcome(29 * S);
    let before = bench.outbox.len();
    bench.say(&watch(trip(1, &[2, 10])), 30 * S);
    bench.say(&Down::Watch(TripWatch { trip: None }), 31 * S);
    let same = Some(("ride-1".to_owned(), 1));
    assert_eq!(bench.watching[1..], [same.clone(), same, None]);
    bench.at(2_000, 50, 40 * S);
    assert_eq!(bench.outbox.len(), before);
}

#[test]
fn in_a_tunnel_a_kill_costs_no_mark_and_times_stay_right() {
    let mut bench = Bench::new();
    bench.connect(S);
    bench.say(&watch(trip(1, &[2, 10])), 2 * S);
    bench.agent.handle_disconnected(3 * S);
    bench.at(190, 20, 10 * S);
    bench.at(200, 0, 11 * S);
    bench.kill(7, 12 * S);
    bench.at(210, 20, 13 * S);
    bench.at(500, 50, 14 * S);
    bench.kill(7, 15 * S);
    bench.at(990, 10, 16 * S);
    bench.at(1_000, 0, 17 * S);
    assert_eq!(bench.noticed(), [SetOff, Entered(0), AtRest, Left(0), Entered(1), AtRest]);
    let times: Vec<_> =
        bench.marks().iter().map(|mark| mark.time_ms.map(|ms| (ms - SERVER_MS) / 1_000)).collect();
    assert_eq!(times, [10, 10, 11, 13, 16, 17].map(Some), "one clock through three starts of the agent");
    let starts: Vec<_> = bench.marks().iter().map(|mark| mark.incarnation.0).collect();
    assert_eq!(starts, [1, 1, 1, 2, 3, 3]);
    bench.connect(20 * S);
    assert_eq!(bench.watching.last(), Some(&Some(("ride-1".to_owned(), 1))), "it says what it holds");
}

#[test]
fn a_time_that_is_not_known_yet_is_waited_for_and_one_that_nobody_can_know_is_not() {
    let mut bench = Bench::new();
    bench.connect(S);
    bench.say(&watch(trip(1, &[2, 10])), 2 * S);
    // The machine itself starts anew, in the tunnel.
    bench.kill(8, S);
    bench.at(200, 0, 5 * S);
    assert_eq!(bench.noticed(), [], "it waits, durable, for a time");
    bench.connect(9 * S);
    let marks = bench.marks();
    assert_eq!(bench.noticed(), [Entered(0), AtRest]);
    assert_eq!(marks[0].time_ms, Some(SERVER_MS + 5_000));
    bench.kill(9, S);
    bench.at(400, 50, 2 * S);
    assert_eq!(bench.marks().len(), 2);
    bench.kill(10, S);
    assert_eq!(bench.marks().len(), 2, "its clock is gone, and what is noticed later may not come before it");
    bench.at(1_000, 0, 3 * S);
    bench.connect(9 * S);
    assert_eq!(bench.noticed()[2..], [SetOff, Left(0), Entered(1), AtRest]);
    assert_eq!(seconds(&bench)[2..], [1, 1, 3, 3].map(Some), "it counts from the start that found it");
}

#[test]
fn a_time_that_was_known_by_a_clock_that_is_gone_is_kept() {
    let mut bench = Bench::new();
    bench.connect(S);
    bench.say(&watch(trip(1, &[2, 10])), 2 * S);
    bench.hold_saves = true;
    bench.at(200, 0, 5 * S);
    // It is saved, and the machine starts anew before it is told.
    bench.saved = bench.waiting.pop().expect("a save");
    bench.hold_saves = false;
    bench.kill(8, 6 * S);
    assert_eq!(bench.noticed(), [Entered(0), AtRest]);
    bench.at(400, 50, 7 * S);
    bench.kill(8, 8 * S);
    bench.connect(9 * S);
    assert_eq!(bench.noticed(), [Entered(0), AtRest, SetOff, Left(0)]);
    assert_eq!(seconds(&bench), [5, 5, 7, 7].map(Some));
}

#[test]
fn nothing_is_told_before_it_is_on_the_disk() {
    let mut bench = Bench::new();
    bench.connect(S);
    bench.hold_saves = true;
    bench.say(&watch(trip(1, &[2, 10])), 2 * S);
    assert!(bench.watching.is_empty(), "not saved yet");
    bench.flush(2 * S);
    bench.drive(2 * S);
    assert_eq!(bench.watching.len(), 1);
    bench.at(200, 0, 3 * S);
    assert_eq!(bench.noticed(), []);
    bench.kill(7, 4 * S);
    bench.hold_saves = false;
    bench.at(200, 0, 5 * S);
    assert_eq!(bench.noticed(), [Entered(0), AtRest], "noticed again, under another name");
    assert_eq!(bench.marks()[0].noticed_by, Incarnation(2));
}

#[test]
fn other_stops_are_watched_from_where_it_is_and_an_older_version_is_not() {
    let mut bench = Bench::new();
    bench.connect(S);
    bench.say(&watch(trip(3, &[2, 10, 20])), 2 * S);
    bench.at(200, 0, 3 * S);
    bench.say(&watch(trip(2, &[2, 30])), 4 * S);
    assert_eq!(bench.watching.last(), Some(&Some(("ride-1".to_owned(), 3))));
    bench.say(&watch(trip(5, &[2, 12])), 5 * S);
    assert_eq!(bench.watching.last(), Some(&Some(("ride-1".to_owned(), 5))));
    for (second, (metres, kmh)) in [(400, 50), (1_000, 50), (1_200, 0)].into_iter().enumerate() {
        bench.at(metres, kmh, (10 + second as u64) * S);
    }
    assert_eq!(bench.noticed(), [Entered(0), AtRest, SetOff, Left(0), Entered(1), AtRest]);
    assert_eq!(bench.marks()[4].stop, Some(stop(12)));
    let other = WatchedTrip { trip: "ride-2".into(), ..trip(1, &[12, 20]) };
    bench.say(&watch(other), 20 * S);
    assert_eq!(bench.noticed()[6..], [Entered(0), AtRest], "it stands there already");
    assert_eq!(bench.marks()[6].trip, "ride-2");
    assert_eq!(seconds(&bench)[6..], [20, 20].map(Some), "not before it had that trip");
    bench.at(1_500, 50, 21 * S);
    assert_eq!(bench.noticed()[8..], [SetOff, Left(0)]);
}

#[test]
fn stops_that_were_withdrawn_may_come_back_older() {
    let mut bench = Bench::new();
    bench.connect(S);
    bench.say(&watch(trip(9, &[2, 30])), 2 * S);
    bench.say(&Down::Watch(TripWatch { trip: None }), 3 * S);
    bench.say(&watch(trip(5, &[2, 10])), 4 * S);
    assert_eq!(bench.watching.last(), Some(&Some(("ride-1".to_owned(), 5))));
    for (second, (metres, kmh)) in [(200, 0), (400, 50), (1_000, 0)].into_iter().enumerate() {
        bench.at(metres, kmh, (10 + second as u64) * S);
    }
    assert_eq!(bench.noticed(), [Entered(0), AtRest, SetOff, Left(0), Entered(1), AtRest]);
    assert_eq!(bench.marks()[4].stop, Some(stop(10)), "the older drop-off");
}

proptest! {
    /// Whenever the power is cut, and whatever of the last saves is lost: the marks are those of a drive without a cut,
    /// each once by its name.
    #[test]
    fn cuts_neither_lose_nor_double_marks(
        cuts in proptest::collection::vec((0..3_u8, any::<bool>()), 24),
    ) {
        let drive: [(i32, i64); 24] = [
            (0, 0), (50, 40), (100, 40), (150, 30), (180, 20), (200, 0), (200, 0), (205, 8), (208, 0), (210, 10),
            (250, 30), (400, 50), (500, 0), (600, 50), (960, 30), (1_000, 0), (1_010, 10), (1_080, 40), (1_200, 50),
            (1_500, 50), (1_960, 20), (2_000, 0), (2_050, 20), (2_300, 50),
        ];
        let mut whole = Bench::new();
        let mut broken = Bench::new();
        for bench in [&mut whole, &mut broken] {
            bench.connect(S);
            bench.say(&watch(trip(1, &[2, 10, 20])), 2 * S);
        }
        for (second, ((metres, kmh), (cut, slow))) in drive.into_iter().zip(cuts).enumerate() {
            let now = (10 + 2 * second as u64) * S;
            whole.at(metres, kmh, now);
            broken.hold_saves = slow && cut == 1;
            broken.at(metres, kmh, now);
            if cut == 1 {
                broken.kill(7, now + S / 2);
                broken.hold_saves = false;
                // The sensors go on: what was lost with the save is seen again.
                broken.at(metres, kmh, now + S);
            }
        }
        prop_assert_eq!(broken.noticed(), whole.noticed());
        let near = |bench: &Bench| bench.marks().iter().map(|m| (m.stop, m.latitude_e7)).collect::<Vec<_>>();
        prop_assert_eq!(near(&broken), near(&whole));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// However often it stands still at its stops while nobody can know the time: each arrival, first rest and departure is told
    /// with its time and odometer, in order.
    #[test]
    fn rests_without_end_cost_no_other_mark_its_time(rests in proptest::collection::vec(0..50_u32, 3)) {
        let mut bench = Bench::new();
        bench.connect(S);
        bench.say(&watch(trip(1, &[2, 10, 20])), 2 * S);
        // The machine itself starts anew, in a tunnel.
        bench.kill(8, S);
        let mut drive = vec![];
        for (metres, rests) in [200, 1_000, 2_000].into_iter().zip(rests) {
            drive.extend([(metres - 100, 40), (metres - 40, 20), (metres - 40, 0)]);
            drive.extend((0..rests).flat_map(|_| [(metres, 10), (metres, 0)]));
        }
        drive.push((2_300, 50));
        let mut now = 2 * S;
        for (metres, kmh) in drive {
            bench.at(metres, kmh, now);
            now += S;
        }
        bench.connect(now);
        let marks = bench.marks();
        prop_assert!(marks.iter().all(|mark| mark.time_ms.is_some() && mark.odometer_m.is_some()));
        prop_assert!(marks.iter().map(|mark| mark.time_ms).is_sorted());
        let mut noticed = bench.noticed();
        noticed.dedup();
        let mut expected = vec![SetOff];
        expected.extend((0..3).flat_map(|stop| [Entered(stop), AtRest, Left(stop)]));
        prop_assert_eq!(noticed, expected);
    }
}
