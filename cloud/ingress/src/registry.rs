//! Which connection a vehicle has, and the way down to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

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
    pub(crate) queued_bytes: AtomicUsize,
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

    fn full(&self) -> DownlinkError {
        self.metrics.downlink_drops.inc();
        DownlinkError::Full
    }
}

impl DownlinkPort for Port {
    fn send(&self, payload: Bytes) -> Result<(), DownlinkError> {
        let length = payload.len();
        if self.queued_bytes.load(Ordering::Relaxed) + length > DOWNLINK_BYTES_MAX {
            return Err(self.full());
        }
        match self.messages.try_send(payload) {
            Ok(()) => {
                self.queued_bytes.fetch_add(length, Ordering::Relaxed);
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(_)) => Err(self.full()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(DownlinkError::Gone),
        }
    }

    fn kick(&self, reason: &'static str) {
        self.kick_reason.lock().get_or_insert(reason);
        // A permit is kept when the connection is not waiting just now.
        self.kicked.notify_one();
    }
}

/// One connection a vehicle: the newer wins.
#[derive(Default)]
pub(crate) struct Registry {
    next: AtomicU64,
    connected: Mutex<HashMap<VehicleId, (ConnectionGeneration, Arc<Port>)>>,
}

impl Registry {
    /// Enters a connection; an older one of the same vehicle is kicked.
    pub fn enter(&self, vehicle: VehicleId, port: Arc<Port>) -> ConnectionGeneration {
        let mut connected = self.connected.lock();
        // Numbered under the lock, so that the order of numbers is the order of entering.
        let generation = ConnectionGeneration(self.next.fetch_add(1, Ordering::Relaxed) + 1);
        if let Some((_, older)) = connected.insert(vehicle, (generation, port)) {
            older.kick("taken_over");
        }
        generation
    }

    /// Forgets a connection, unless a newer one has taken its place.
    pub fn leave(&self, vehicle: &VehicleId, generation: ConnectionGeneration) {
        let mut connected = self.connected.lock();
        if connected.get(vehicle).is_some_and(|(present, _)| *present == generation) {
            connected.remove(vehicle);
        }
    }

    /// Ends a vehicle's connection.
    pub fn kick(&self, vehicle: &VehicleId, reason: &'static str) -> bool {
        let connected = self.connected.lock();
        connected.get(vehicle).map(|(_, port)| port.kick(reason)).is_some()
    }

    /// Ends every connection.
    pub fn kick_all(&self, reason: &'static str) {
        self.connected.lock().values().for_each(|(_, port)| port.kick(reason));
    }
}
