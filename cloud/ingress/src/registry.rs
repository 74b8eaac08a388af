//! Which connection a vehicle has, and the way down to it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use remuda_contracts::uplink::{ConnectionGeneration, DoorRefusal, DownlinkError, DownlinkPort};
use remuda_identity::Certified;
use remuda_model::VehicleId;
use remuda_wire::{Down, HandOver};
use tokio::sync::{Notify, mpsc};

use crate::metrics::DoorMetrics;

/// Messages that may wait for a vehicle to read.
pub(crate) const DOWNLINK_MESSAGES_MAX: usize = 32;
/// Bytes that may wait for a vehicle to read.
const DOWNLINK_BYTES_MAX: usize = 256 * 1024;

/// The shards' end of a connection.
pub(crate) struct Port {
    messages: mpsc::Sender<Bytes>,
    queued_bytes: AtomicUsize,
    kick_reason: Mutex<Option<&'static str>>,
    pub(crate) kicked: Notify,
    /// What it came in with.
    certified: Option<Box<Certified>>,
    metrics: DoorMetrics,
}

impl Port {
    pub(crate) fn new(
        metrics: DoorMetrics,
        certified: Option<Certified>,
    ) -> (Arc<Self>, mpsc::Receiver<Bytes>) {
        let (messages, queue) = mpsc::channel(DOWNLINK_MESSAGES_MAX);
        let port = Self {
            messages,
            queued_bytes: AtomicUsize::new(0),
            kick_reason: Mutex::new(None),
            kicked: Notify::new(),
            certified: certified.map(Box::new),
            metrics,
        };
        (Arc::new(port), queue)
    }

    pub(crate) fn kick_reason(&self) -> Option<&'static str> {
        *self.kick_reason.lock()
    }

    /// The vehicle's end took a message of this length out of the queue.
    pub(crate) fn taken(&self, length: usize) {
        self.queued_bytes.fetch_sub(length, Ordering::Relaxed);
    }

    fn full(&self) -> DownlinkError {
        self.metrics.dropped("full");
        DownlinkError::Full
    }
}

impl DownlinkPort for Port {
    fn send(&self, payload: Bytes) -> Result<(), DownlinkError> {
        if self.messages.is_closed() {
            return Err(DownlinkError::Gone);
        }
        let length = payload.len();
        // Counted before it is queued, since the other end may take it at once.
        if self.queued_bytes.fetch_add(length, Ordering::Relaxed) + length > DOWNLINK_BYTES_MAX {
            self.taken(length);
            return Err(self.full());
        }
        self.messages.try_send(payload).map_err(|error| {
            self.taken(length);
            match error {
                mpsc::error::TrySendError::Full(_) => self.full(),
                mpsc::error::TrySendError::Closed(_) => DownlinkError::Gone,
            }
        })
    }

    fn kick(&self, reason: &'static str) {
        self.kick_reason.lock().get_or_insert(reason);
        // A permit is kept when the connection is not waiting just now.
        self.kicked.notify_one();
    }
}

/// Why a connection ends when its vehicle has a newer one.
pub(crate) const TAKEN_OVER: &str = "taken_over";
/// Why connections end when the door does.
pub(crate) const STOPPING: &str = "stopping";
/// Vehicles that are asked back per second: a quarter of the TLS handshakes that one core makes, so that whoever takes
/// them over has time for what they say.
const BACK_PER_SECOND: usize = 500;
/// Shortest and longest spread of a farewell, ms: a door needs a moment to open again, and nobody waits for minutes.
const SPREAD_MS: (u32, u32) = (1_000, 60_000);

fn spread_ms(connected: usize) -> u32 {
    let (least, most) = SPREAD_MS;
    u32::try_from(connected * 1_000 / BACK_PER_SECOND).unwrap_or(most).clamp(least, most)
}

/// Why a vehicle is not let in, or not kept, that is on the deny list.
pub(crate) const DENIED: &str = DoorRefusal::Denied.code();
/// Most vehicles on the deny list: a fleet whose enrolments were all revoked at once.
pub(crate) const DENIED_MAX: usize = 100_000;

/// One connection a vehicle: the newer wins. A denied vehicle has none.
#[derive(Default)]
pub(crate) struct Registry {
    inner: Mutex<Inner>,
}

/// The number of the next connection: one count for every door of the process, since a vehicle may change doors.
pub(crate) fn next_generation() -> ConnectionGeneration {
    static LAST: AtomicU64 = AtomicU64::new(0);
    ConnectionGeneration(LAST.fetch_add(1, Ordering::Relaxed) + 1)
}

#[derive(Default)]
struct Inner {
    closed: bool,
    connected: HashMap<VehicleId, (ConnectionGeneration, Arc<Port>)>,
    denied: HashSet<VehicleId>,
}

impl Registry {
    /// Enters a connection; an older one of the same vehicle is kicked.
    pub fn enter(&self, vehicle: VehicleId, port: Arc<Port>) -> Result<ConnectionGeneration, &'static str> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(STOPPING);
        }
        if inner.denied.contains(&vehicle) {
            return Err(DENIED);
        }
        // Numbered under the lock, so that the order of numbers is the order of entering.
        let generation = next_generation();
        if let Some((_, older)) = inner.connected.insert(vehicle, (generation, port)) {
            older.kick(TAKEN_OVER);
        }
        Ok(generation)
    }

    /// Forgets a connection, unless a newer one has taken its place.
    pub fn leave(&self, vehicle: &VehicleId, generation: ConnectionGeneration) {
        let connected = &mut self.inner.lock().connected;
        if connected.get(vehicle).is_some_and(|(present, _)| *present == generation) {
            connected.remove(vehicle);
        }
    }

    /// Ends a vehicle's connection.
    pub fn kick(&self, vehicle: &VehicleId, reason: &'static str) -> bool {
        let inner = self.inner.lock();
        inner.connected.get(vehicle).map(|(_, port)| port.kick(reason)).is_some()
    }

    /// Looks at the connections of these vehicles, or at all, and ends those for which `refuses` has a reason.
    pub fn review(
        &self,
        vehicles: Option<&[VehicleId]>,
        refuses: impl Fn(&VehicleId, Option<&Certified>) -> Option<&'static str>,
    ) {
        let look = |vehicle: &VehicleId, port: &Port| {
            if let Some(reason) = refuses(vehicle, port.certified.as_deref()) {
                port.kick(reason);
            }
        };
        let inner = self.inner.lock();
        match vehicles {
            Some(some) => some
                .iter()
                .filter_map(|vehicle| Some((vehicle, &inner.connected.get(vehicle)?.1)))
                .for_each(|(vehicle, port)| look(vehicle, port)),
            None => inner.connected.iter().for_each(|(vehicle, (_, port))| look(vehicle, port)),
        }
    }

    /// Keeps a vehicle out from now on; false when the list is full.
    pub fn deny(&self, vehicle: VehicleId) -> bool {
        let mut inner = self.inner.lock();
        if let Some((_, port)) = inner.connected.get(&vehicle) {
            port.kick(DENIED);
        }
        let room = inner.denied.len() < DENIED_MAX || inner.denied.contains(&vehicle);
        if room {
            inner.denied.insert(vehicle);
        }
        room
    }

    /// Takes a vehicle off the deny list.
    pub fn allow(&self, vehicle: &VehicleId) {
        self.inner.lock().denied.remove(vehicle);
    }

    /// Ends every connection, each with the word to come back spread out, and enters no more.
    pub fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        let farewell = HandOver { spread_ms: spread_ms(inner.connected.len()) };
        let farewell = Bytes::from(Down::HandOver(farewell).encode());
        for (_, port) in inner.connected.values() {
            // One that reads too slowly to hear it comes back at its own pace.
            let _ = port.send(farewell.clone());
            port.kick(STOPPING);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_downlink_is_bounded_in_messages_and_bytes_and_counts_what_it_drops() {
        let metrics = DoorMetrics::default();
        let (port, mut queue) = Port::new(metrics.clone(), None);
        let half = Bytes::from(vec![0; DOWNLINK_BYTES_MAX / 2]);
        assert_eq!(port.send(half.clone()), Ok(()));
        assert_eq!(port.send(half.clone()), Ok(()));
        assert_eq!(port.send(Bytes::from_static(b"x")), Err(DownlinkError::Full));
        port.taken(queue.try_recv().expect("queued").len());
        assert_eq!(port.send(half), Ok(()));
        while let Ok(message) = queue.try_recv() {
            port.taken(message.len());
        }
        let sent = (0..100).filter(|_| port.send(Bytes::from_static(b"x")).is_ok()).count();
        assert_eq!(sent, DOWNLINK_MESSAGES_MAX);
        assert_eq!(metrics.downlink_drops("full"), 1 + 100 - DOWNLINK_MESSAGES_MAX as u64);
        drop(queue);
        assert_eq!(port.send(Bytes::new()), Err(DownlinkError::Gone));
    }

    #[test]
    fn the_newer_wins_and_the_older_cannot_take_it_along() {
        let registry = Registry::default();
        let van = VehicleId::new("VAN1").expect("an id");
        let new = || Port::new(DoorMetrics::default(), None).0;
        let (older, newer) = (new(), new());
        let first = registry.enter(van, Arc::clone(&older)).expect("entered");
        let second = registry.enter(van, Arc::clone(&newer)).expect("entered");
        assert!(first < second);
        assert_eq!((older.kick_reason(), newer.kick_reason()), (Some("taken_over"), None));
        registry.leave(&van, first);
        assert!(registry.deny(van), "there is room");
        assert_eq!(newer.kick_reason(), Some("denied"));
        assert_eq!(registry.enter(van, new()), Err("denied"));
        registry.allow(&van);
        assert!(registry.enter(van, new()).is_ok());
        registry.close();
        assert_eq!(registry.enter(van, new()), Err(STOPPING));
    }

    #[test]
    fn a_planned_stop_says_farewell_before_it_ends_a_connection() {
        let registry = Registry::default();
        let van = VehicleId::new("VAN1").expect("an id");
        let (port, mut queue) = Port::new(DoorMetrics::default(), None);
        registry.enter(van, Arc::clone(&port)).expect("entered");
        registry.close();
        let farewell = Down::decode(&queue.try_recv().expect("said"));
        assert_eq!(farewell, Ok(Down::HandOver(HandOver { spread_ms: 1_000 })));
        assert_eq!(port.kick_reason(), Some(STOPPING));
        // The more there are, the longer they may take; nobody is sent away for long.
        assert_eq!([1_000, 15_000, 1_000_000].map(spread_ms), [2_000, 30_000, 60_000]);
    }
}
