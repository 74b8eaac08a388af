//! Who speaks through the broker. A broker tells nobody who connects, so connections are made up from what vehicles
//! say: pure bookkeeping, time comes in.
//!
//! A connection begins with the first message of a vehicle that is not known, or with the Hello of a newer connection.
//! It ends with the Farewell of the connection that was greeted (the vehicle's own word, or its last will), with a
//! silence that three questions did not end, with a kick, or when there are too many.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use remuda_contracts::uplink::{Arrival, ConnectionGeneration, Downlink};
use remuda_model::shard::fnv1a_64;
use remuda_model::{ConnectionId, VehicleId};
use remuda_wire::{Channel, Up};

use super::downlink::{Port, PortHandle};
use crate::registry::next_generation;

/// Questions before a silent vehicle counts as gone: one may be lost, and its answer too.
const ASKS: u8 = 3;
/// Longest pause between two questions: far more than a round trip.
const ASK_PAUSE_MAX: Duration = Duration::from_secs(20);
/// Time over which all vehicles are asked after the broker was away: the answers are Hellos, and cost something.
const ASK_ALL_WITHIN: Duration = Duration::from_secs(30);
/// Of how many vehicles one is forgotten when there are too many: looking for the silent ones is a walk over all.
const EVICTED_SHARE: usize = 128;

/// A message on a vehicle's own `up` topic.
pub(crate) struct Message {
    pub vehicle: VehicleId,
    pub channel: Channel,
    pub payload: Bytes,
    pub received_ms: i64,
}

/// What came of a message, or of time.
#[derive(Debug, Default)]
pub(crate) struct Out {
    /// For the shards, in this order.
    pub arrivals: Vec<Arrival>,
    /// Vehicles to ask whether they are there.
    pub asks: Vec<VehicleId>,
    /// Why connections ended.
    pub ended: Vec<&'static str>,
}

struct Session {
    generation: ConnectionGeneration,
    port: Arc<Port>,
    greeted: Option<ConnectionId>,
    heard: Instant,
    /// When it is asked, or given up.
    due: Instant,
    asks: u8,
}

/// The vehicles of one receiving connection.
pub(crate) struct Sessions {
    known: HashMap<VehicleId, Session>,
    silence: Duration,
    ask_pause: Duration,
    vehicles_max: usize,
}

/// What a session message says of connections.
enum Said {
    Hello(ConnectionId),
    Farewell(ConnectionId),
    Other,
}

impl Said {
    fn of(channel: Channel, payload: &Bytes) -> Self {
        if channel != Channel::Session {
            return Self::Other;
        }
        match Up::decode(payload) {
            Ok(Up::Hello(hello)) => Self::Hello(hello.connection),
            Ok(Up::Farewell(farewell)) => Self::Farewell(farewell.connection),
            // Whoever it is for refuses and counts it.
            _ => Self::Other,
        }
    }
}

impl Sessions {
    pub fn new(silence: Duration, vehicles_max: usize) -> Self {
        let ask_pause = (silence / 8).min(ASK_PAUSE_MAX);
        Self { known: HashMap::new(), silence, ask_pause, vehicles_max: vehicles_max.max(1) }
    }

    /// Takes a message; `open` makes the way back of a new connection, or says why there
    /// is none.
    pub fn hear(
        &mut self,
        message: Message,
        now: Instant,
        open: impl FnOnce() -> Result<Arc<Port>, &'static str>,
        out: &mut Out,
    ) -> Result<(), &'static str> {
        let Message { vehicle, channel, payload, received_ms } = message;
        let said = Said::of(channel, &payload);
        if self.known.get(&vehicle).is_some_and(|session| session.port.is_kicked()) {
            self.end(&vehicle, "kicked", out);
        }
        let known = self.known.get(&vehicle);
        if matches!(said, Said::Farewell(_)) && known.is_none() {
            // Nobody thinks that it is there.
            return Err("late_farewell");
        }
        let newer = known.is_none_or(|session| match (&said, session.greeted) {
            // A late repetition by the connection before; the shard knows, too.
            (Said::Hello(c), Some(g)) if c.incarnation == g.incarnation => c.counter > g.counter,
            (Said::Hello(_), Some(_)) => true,
            _ => false,
        });
        if newer {
            self.begin(vehicle, open()?, now, out);
        }
        let Some(session) = self.known.get_mut(&vehicle) else { return Ok(()) };
        session.heard = now;
        session.due = now + self.silence;
        session.asks = 0;
        let generation = session.generation;
        if let Said::Hello(connection) = said {
            session.greeted.get_or_insert(connection);
        }
        let greeted = session.greeted;
        out.arrivals.push(Arrival::Payload {
            generation,
            vehicle,
            channel,
            payload,
            received_ms,
            trace: None,
        });
        if let Said::Farewell(connection) = said
            && greeted.is_none_or(|g| g == connection)
        {
            self.end(&vehicle, "farewell", out);
        }
        Ok(())
    }

    fn begin(&mut self, vehicle: VehicleId, port: Arc<Port>, now: Instant, out: &mut Out) {
        if self.known.len() >= self.vehicles_max && !self.known.contains_key(&vehicle) {
            self.evict(out);
        }
        let generation = next_generation();
        let downlink = Downlink::new(Arc::new(PortHandle(Arc::clone(&port))));
        let session =
            Session { generation, port, greeted: None, heard: now, due: now + self.silence, asks: 0 };
        // The newer first, so that the vehicle is never gone in between.
        out.arrivals.push(Arrival::Connected { generation, vehicle, downlink });
        if let Some(older) = self.known.insert(vehicle, session) {
            older.end(vehicle, "taken_over", out);
        }
    }

    /// Forgets the longest silent ones; they are known again when they speak.
    fn evict(&mut self, out: &mut Out) {
        let mut by_silence: Vec<(Instant, VehicleId)> =
            self.known.iter().map(|(vehicle, session)| (session.heard, *vehicle)).collect();
        let count = by_silence.len().div_ceil(EVICTED_SHARE);
        by_silence.select_nth_unstable(count - 1);
        for (_, vehicle) in &by_silence[..count] {
            self.end(vehicle, "evicted", out);
        }
    }

    fn end(&mut self, vehicle: &VehicleId, reason: &'static str, out: &mut Out) {
        if let Some(session) = self.known.remove(vehicle) {
            session.end(*vehicle, reason, out);
        }
    }

    /// Asks those who have been silent, gives up those who do not answer, ends those who were kicked.
    pub fn sweep(&mut self, now: Instant, out: &mut Out) {
        let mut gone = Vec::new();
        for (vehicle, session) in &mut self.known {
            if session.port.is_kicked() {
                // Not asked: its next message begins a new connection, and a shard that is away wants no storm.
                gone.push((*vehicle, "kicked"));
            } else if now >= session.due && session.asks >= ASKS {
                gone.push((*vehicle, "silent"));
            } else if now >= session.due {
                session.asks += 1;
                session.due = now + self.ask_pause;
                out.asks.push(*vehicle);
            }
        }
        for (vehicle, reason) in gone {
            self.end(&vehicle, reason, out);
        }
    }

    /// Nothing was heard for a while, wills included: everybody will be asked who does not speak first.
    pub fn doubt_all(&mut self, now: Instant) {
        let within = ASK_ALL_WITHIN.min(self.silence).as_millis() as u64;
        for (vehicle, session) in &mut self.known {
            // Spread by id, so that a fleet does not answer at once.
            let spread = Duration::from_millis(fnv1a_64(vehicle.as_str().as_bytes()) % within.max(1));
            session.asks = 0;
            session.due = now + spread;
        }
    }

    /// Ends them all.
    pub fn end_all(&mut self, reason: &'static str, out: &mut Out) {
        for (vehicle, session) in self.known.drain() {
            session.end(vehicle, reason, out);
        }
    }

    /// Ends, at the next occasion, the connections of vehicles of which this is true.
    pub fn kick_all(&self, of: impl Fn(&VehicleId) -> bool) {
        self.known.iter().filter(|(vehicle, _)| of(vehicle)).for_each(|(_, session)| session.port.kick());
    }

    /// Ends a vehicle's connection at the next occasion; false when it has none.
    pub fn kick(&self, vehicle: &VehicleId) -> bool {
        self.known.get(vehicle).map(|session| session.port.kick()).is_some()
    }
}

impl Session {
    fn end(self, vehicle: VehicleId, reason: &'static str, out: &mut Out) {
        self.port.close();
        out.ended.push(reason);
        out.arrivals.push(Arrival::Disconnected { generation: self.generation, vehicle });
    }
}

#[cfg(test)]
mod tests {
    use remuda_model::{Incarnation, Lane};
    use remuda_wire::{Farewell, FarewellReason};

    use super::*;
    use crate::external::downlink::DownQueue;

    struct Scene {
        sessions: Sessions,
        now: Instant,
    }

    impl Scene {
        fn new(vehicles_max: usize) -> Self {
            Self { sessions: Sessions::new(Duration::from_secs(80), vehicles_max), now: Instant::now() }
        }

        fn hear(&mut self, id: &str, channel: Channel, payload: Vec<u8>) -> Vec<String> {
            let (mut out, port) = (Out::default(), || Ok(Port::new(van(id), DownQueue::for_tests())));
            let message = Message { vehicle: van(id), channel, payload: payload.into(), received_ms: 0 };
            match self.sessions.hear(message, self.now, port, &mut out) {
                Ok(()) => told(&out),
                Err(reason) => vec![reason.to_owned()],
            }
        }

        fn sweep_after(&mut self, seconds: u64) -> (Vec<String>, usize) {
            self.now += Duration::from_secs(seconds);
            let mut out = Out::default();
            self.sessions.sweep(self.now, &mut out);
            (told(&out), out.asks.len())
        }
    }

    fn van(id: &str) -> VehicleId {
        VehicleId::new(id).expect("an id")
    }

    fn told(out: &Out) -> Vec<String> {
        let reasons = out.ended.iter().map(|reason| format!("({reason})"));
        let arrivals = out.arrivals.iter().map(|arrival| match arrival {
            Arrival::Connected { vehicle, .. } => format!("+{vehicle}"),
            Arrival::Disconnected { vehicle, .. } => format!("-{vehicle}"),
            Arrival::Payload { vehicle, .. } | Arrival::Refused { vehicle, .. } => format!("{vehicle}"),
        });
        arrivals.chain(reasons).collect()
    }

    fn connection(incarnation: u64, counter: u32) -> ConnectionId {
        ConnectionId { incarnation: Incarnation(incarnation), counter }
    }

    fn farewell(connection: ConnectionId) -> Vec<u8> {
        Up::Farewell(Farewell { connection, reason: FarewellReason::Lost }).encode()
    }

    fn hello(connection: ConnectionId) -> Vec<u8> {
        Up::Hello(remuda_wire::Hello {
            connection,
            wire_min: 1,
            wire_max: 1,
            agent_version: String::new(),
            boot: 1,
            registry: 1,
            registry_hash: 0,
            lanes: Vec::new(),
            highest_epoch: remuda_model::Epoch(0),
            open_commands: Vec::new(),
            policy_revision: 0,
            clock: remuda_wire::ClockQuality::Unknown,
        })
        .encode()
    }

    const SAMPLES: Channel = Channel::Lane(Lane::Samples);

    #[test]
    fn a_connection_begins_with_the_first_word_and_ends_with_its_own_farewell() {
        let mut scene = Scene::new(10);
        assert_eq!(scene.hear("A", SAMPLES, vec![1]), ["+A", "A"]);
        assert_eq!(scene.hear("A", Channel::Session, hello(connection(7, 2))), ["A"]);
        assert_eq!(scene.hear("A", Channel::Session, hello(connection(7, 2))), ["A"]);
        // The will of the connection before it comes late.
        assert_eq!(scene.hear("A", Channel::Session, farewell(connection(7, 1))), ["A"]);
        assert_eq!(scene.hear("A", Channel::Session, hello(connection(7, 1))), ["A"]);
        assert_eq!(scene.hear("A", Channel::Session, farewell(connection(7, 2))), ["A", "-A", "(farewell)"]);
        assert_eq!(scene.hear("A", Channel::Session, farewell(connection(7, 2))), ["late_farewell"]);
        assert_eq!(scene.hear("A", SAMPLES, vec![1]), ["+A", "A"]);
    }

    #[test]
    fn a_newer_hello_is_a_newer_connection() {
        let mut scene = Scene::new(10);
        assert_eq!(scene.hear("A", Channel::Session, hello(connection(7, 1))), ["+A", "A"]);
        for newer in [connection(7, 2), connection(3, 1)] {
            let told = scene.hear("A", Channel::Session, hello(newer));
            assert_eq!(told, ["+A", "-A", "A", "(taken_over)"]);
        }
    }

    #[test]
    fn silence_is_asked_about_before_it_ends_a_connection() {
        let mut scene = Scene::new(10);
        scene.hear("A", SAMPLES, vec![1]);
        assert_eq!(scene.sweep_after(79), (vec![], 0));
        assert_eq!(scene.sweep_after(1), (vec![], 1));
        assert_eq!(scene.sweep_after(9), (vec![], 0));
        assert_eq!(scene.sweep_after(1), (vec![], 1));
        // It answers: all begins anew.
        scene.hear("A", Channel::Session, hello(connection(7, 1)));
        assert_eq!(scene.sweep_after(79), (vec![], 0));
        for _ in 0..3 {
            assert_eq!(scene.sweep_after(10), (vec![], 1));
        }
        assert_eq!(scene.sweep_after(10), (vec!["-A".to_owned(), "(silent)".to_owned()], 0));
        assert_eq!(scene.sweep_after(100), (vec![], 0));
    }

    #[test]
    fn after_an_absence_everybody_is_asked_soon() {
        let mut scene = Scene::new(100);
        for id in 0..50 {
            scene.hear(&format!("V{id}"), SAMPLES, vec![1]);
        }
        scene.sessions.doubt_all(scene.now);
        let asked: Vec<usize> = (0..3).map(|_| scene.sweep_after(10).1).collect();
        assert!(asked.iter().all(|count| *count > 0), "spread: {asked:?}");
        assert!(asked.iter().sum::<usize>() >= 50, "{asked:?}");
    }

    #[test]
    fn the_longest_silent_makes_room() {
        let mut scene = Scene::new(2);
        for id in ["A", "B", "A"] {
            scene.now += Duration::from_secs(1);
            scene.hear(id, SAMPLES, vec![1]);
        }
        assert_eq!(scene.hear("C", SAMPLES, vec![1]), ["-B", "+C", "C", "(evicted)"]);
        assert_eq!(scene.hear("A", SAMPLES, vec![1]), ["A"]);
    }

    #[test]
    fn a_kicked_vehicle_begins_anew() {
        let mut scene = Scene::new(2);
        scene.hear("A", SAMPLES, vec![1]);
        assert!(scene.sessions.kick(&van("A")));
        assert_eq!(scene.hear("A", SAMPLES, vec![1]), ["-A", "+A", "A", "(kicked)"]);
        assert!(scene.sessions.kick(&van("A")));
        assert_eq!(scene.sweep_after(0), (vec!["-A".to_owned(), "(kicked)".to_owned()], 0));
        assert!(!scene.sessions.kick(&van("A")));
    }
}
