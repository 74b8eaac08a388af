//! Between a door (our MQTT endpoint, or an external broker) and the shards.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use remuda_model::{ShardId, VehicleId};
use remuda_wire::Channel;

/// Numbers a door's connections, ascending for the life of the process: of two connections of a vehicle the higher
/// one is the newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionGeneration(pub u64);

/// What the door says to a shard.
#[derive(Debug)]
pub enum Arrival {
    /// A vehicle was authenticated and admitted.
    Connected {
        /// The connection.
        generation: ConnectionGeneration,
        /// Who; from its credentials, never from the client id.
        vehicle: VehicleId,
        /// How to answer.
        downlink: Downlink,
    },
    /// The connection is gone.
    Disconnected {
        /// The connection.
        generation: ConnectionGeneration,
        /// Who.
        vehicle: VehicleId,
    },
    /// A message, not decoded yet; topic, vehicle and shard were checked.
    Payload {
        /// The connection.
        generation: ConnectionGeneration,
        /// Who.
        vehicle: VehicleId,
        /// Which channel.
        channel: Channel,
        /// The message.
        payload: Bytes,
        /// When the door read it, ms since 1970 UTC.
        received_ms: i64,
    },
}

impl Arrival {
    /// Who it is about.
    pub fn vehicle(&self) -> &VehicleId {
        match self {
            Self::Connected { vehicle, .. }
            | Self::Disconnected { vehicle, .. }
            | Self::Payload { vehicle, .. } => vehicle,
        }
    }
}

/// The intake is closed: the node is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node takes no more messages; it is stopping")]
pub struct IntakeClosed;

/// The shards' bounded intake, as a door sees it.
#[async_trait]
pub trait Intake: Send + Sync + 'static {
    /// Hands over one arrival; waits while the shard is full, during which the door does not read that socket.
    async fn offer(&self, shard: ShardId, arrival: Arrival) -> Result<(), IntakeClosed>;
}

/// Why a message was not sent down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DownlinkError {
    /// The connection's bounded queue is full; the vehicle reads too slowly. The message was dropped and counted.
    #[error("the vehicle's downlink is full")]
    Full,
    /// The connection is gone.
    #[error("the vehicle's connection is gone")]
    Gone,
}

/// What a door does for one connection.
pub trait DownlinkPort: Send + Sync {
    /// Queues a message on the vehicle's `down` topic. Never waits.
    fn send(&self, payload: Bytes) -> Result<(), DownlinkError>;
    /// Ends the connection.
    fn kick(&self, reason: &'static str);
}

/// A connection's way back to its vehicle.
#[derive(Clone)]
pub struct Downlink(Arc<dyn DownlinkPort>);

impl Downlink {
    /// Wraps a door's port.
    pub fn new(port: Arc<dyn DownlinkPort>) -> Self {
        Self(port)
    }

    /// Queues a message on the vehicle's `down` topic. Never waits.
    pub fn send(&self, payload: Bytes) -> Result<(), DownlinkError> {
        self.0.send(payload)
    }

    /// Ends the connection.
    pub fn kick(&self, reason: &'static str) {
        self.0.kick(reason);
    }
}

impl fmt::Debug for Downlink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Downlink")
    }
}
