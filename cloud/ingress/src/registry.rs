//! Which connection a vehicle has, and the way down to it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use remuda_contracts::uplink::{ConnectionGeneration, DownlinkError, DownlinkPort};
use remuda_model::VehicleId;
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
    metrics: DoorMetrics,
}

impl Port {
    pub(crate) fn new(metrics: DoorMetrics) -> (Arc<Self>, mpsc::Receiver<Bytes>) {
        let (messages, queue) = mpsc::channel(DOWNLINK_MESSAGES_MAX);
        let port = Self {
            messages,
            queued_bytes: AtomicUsize::new(0),
            kick_reason: Mutex::new(None),
            kicked: Notify::new(),
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

/// Why connections end when the door does.
pub(crate) const STOPPING: &str = "stopping";
/// Most vehicles on the deny list: a fleet whose enrolments were all revoked at once.
const DENIED_MAX: usize = 100_000;

/// One connection a vehicle: the newer wins. A denied vehicle has none.
#[derive(Default)]
pub(crate) struct Registry {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    last: u64,
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
            return Err("denied");
        }
        // Numbered under the lock, so that the order of numbers is the order of entering.
        inner.last += 1;
        let generation = ConnectionGeneration(inner.last);
        if let Some((_, older)) = inner.connected.insert(vehicle, (generation, port)) {
            older.kick("taken_over");
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

    /// Keeps a vehicle out from now on; false when the list is full.
    pub fn deny(&self, vehicle: VehicleId) -> bool {
        let mut inner = self.inner.lock();
        if let Some((_, port)) = inner.connected.get(&vehicle) {
            port.kick("denied");
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

    /// Ends every connection and enters no more.
    pub fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.connected.values().for_each(|(_, port)| port.kick(STOPPING));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_downlink_is_bounded_in_messages_and_bytes_and_counts_what_it_drops() {
        let metrics = DoorMetrics::default();
        let (port, mut queue) = Port::new(metrics.clone());
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
        let new = || Port::new(DoorMetrics::default()).0;
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
}
