//! Between a door (our MQTT endpoint, or an external broker) and the shards.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use remuda_model::{ShardId, VehicleId};
use remuda_wire::{Channel, TraceContext};
use serde::{Deserialize, Serialize};

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
        /// What the vehicle said about its trace; most messages have none.
        trace: Option<Box<TraceContext>>,
    },
    /// The door refused something of a vehicle that it knows; several refusals are one arrival, at most one a second
    /// and reason.
    Refused {
        /// Who.
        vehicle: VehicleId,
        /// Why.
        reason: DoorRefusal,
        /// How often since the last one.
        count: u64,
    },
}

/// Why a door refused something of a vehicle that it knows. Stored in snapshots: variants are only ever added at the
/// end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DoorRefusal {
    /// More messages a second than it may send; the door paused reading.
    MessageRate,
    /// More bytes a second than it may send; the door paused reading.
    ByteRate,
    /// It connected too often; the login was turned down.
    ConnectRate,
    /// It is kept out; the login was turned down.
    Denied,
    /// A packet over its limit; the connection ended.
    TooLarge,
    /// It broke a rule of MQTT or used a part of it that the door does not have; the connection ended.
    Protocol,
    /// It published to another vehicle's topic; the connection ended.
    ForeignTopic,
    /// It published to a shard that is not its own; the connection ended.
    WrongShard,
    /// It published to a topic that no vehicle has; the connection ended.
    BadTopic,
    /// It may not subscribe to that.
    ForeignFilter,
}

impl DoorRefusal {
    /// The stable code, in metrics and on the vehicle.
    pub const fn code(self) -> &'static str {
        match self {
            Self::MessageRate => "message_rate",
            Self::ByteRate => "byte_rate",
            Self::ConnectRate => "connect_rate",
            Self::Denied => "denied",
            Self::TooLarge => "too_large",
            Self::Protocol => "protocol",
            Self::ForeignTopic => "foreign_topic",
            Self::WrongShard => "wrong_shard",
            Self::BadTopic => "bad_topic",
            Self::ForeignFilter => "foreign_filter",
        }
    }
}

impl Arrival {
    /// Who it is about.
    pub fn vehicle(&self) -> &VehicleId {
        match self {
            Self::Connected { vehicle, .. }
            | Self::Disconnected { vehicle, .. }
            | Self::Payload { vehicle, .. }
            | Self::Refused { vehicle, .. } => vehicle,
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
