//! Messages. First byte = wire version, then a kind, then postcard.

use bytes::Bytes;
use remuda_model::{ConnectionId, Epoch, Incarnation, Lane, Seq, SignalId};
use serde::{Deserialize, Serialize};

use crate::frame::ClockQuality;

/// What the agent holds of one lane and incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneState {
    /// Lane.
    pub lane: Lane,
    /// Incarnation.
    pub incarnation: Incarnation,
    /// The number the next frame will get (for a past incarnation: last + 1).
    pub next_seq: Seq,
    /// Oldest seq still held; `next_seq` when empty.
    pub floor: Seq,
    /// Highest `durable` ever seen in an Ack; 0 when none.
    pub acked: Seq,
}

/// Says who speaks and what it holds. Repeated with back-off until the Welcome of this connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// This connection.
    pub connection: ConnectionId,
    /// Oldest wire version the agent speaks.
    pub wire_min: u8,
    /// Newest wire version the agent speaks.
    pub wire_max: u8,
    /// The agent's version.
    pub agent_version: String,
    /// Counts starts of the agent.
    pub boot: u32,
    /// Registry revision.
    pub registry: u16,
    /// Hash of the customer's registry file; 0 when there is none.
    pub registry_hash: u64,
    /// Every lane and incarnation held, older incarnations first.
    pub lanes: Vec<LaneState>,
    /// Highest shard epoch ever seen.
    pub highest_epoch: Epoch,
    /// Commands begun without a final result.
    pub open_commands: Vec<[u8; 16]>,
    /// Revision of the policy in force; 0 = the default.
    pub policy_revision: u32,
    /// State of the wall clock.
    pub clock: ClockQuality,
}

/// The cloud's two numbers for one lane and incarnation, and the credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneAck {
    /// Lane.
    pub lane: Lane,
    /// Incarnation.
    pub incarnation: Incarnation,
    /// In the cloud's hands up to here.
    pub received: Seq,
    /// Safe up to here.
    pub durable: Seq,
    /// Bytes in flight the lane may have beyond `durable`, absolute.
    pub credit: u32,
}

/// Answers a Hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The connection greeted; others are ignored.
    pub connection: ConnectionId,
    /// Wire version to use.
    pub wire: u8,
    /// Epoch of the vehicle's shard.
    pub epoch: Epoch,
    /// Server time, ms since 1970 UTC.
    pub server_time_ms: i64,
    /// One per lane and incarnation of the Hello.
    pub acks: Vec<LaneAck>,
    /// The cloud has no twin: send every current value once.
    pub resync: bool,
}

/// Cumulative acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The numbers.
    pub ack: LaneAck,
    /// Epoch of the vehicle's shard.
    pub epoch: Epoch,
    /// Server time, ms since 1970 UTC.
    pub server_time_ms: i64,
    /// A higher seq was dropped: go back to `received + 1`.
    pub missing: bool,
    /// No Hello yet on this connection: say it.
    pub greet: bool,
}

/// Why the floor stands where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FloorReason {
    /// Everything below was acked.
    Acked,
    /// The outbox was full.
    Full,
    /// Older than 180 days.
    Age,
    /// The disk lost it.
    Damaged,
}

/// Frames of one lane and incarnation, contiguous from `first_seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frames {
    /// Lane.
    pub lane: Lane,
    /// Incarnation.
    pub incarnation: Incarnation,
    /// Oldest seq still held.
    pub floor: Seq,
    /// Why.
    pub floor_reason: FloorReason,
    /// Seq of the first frame.
    pub first_seq: Seq,
    /// Encoded frames (`frame::encode`), shared with the payload they were decoded from.
    pub frames: Vec<Bytes>,
}

/// Newest values, sent only while `samples` has a backlog; lossy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Incarnation of the values.
    pub incarnation: Incarnation,
    /// Start counter.
    pub boot: u32,
    /// Wall clock, ms, when known.
    pub wall_ms: Option<i64>,
    /// Signal, raw value, monotonic time in ms.
    pub values: Vec<(SignalId, i64, u64)>,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FarewellReason {
    /// The last will: the connection broke.
    Lost,
    /// The agent stops.
    Stopping,
    /// The vehicle goes to sleep.
    Sleeping,
}

/// Ends a connection; also the last will.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Farewell {
    /// Which connection.
    pub connection: ConnectionId,
    /// Why.
    pub reason: FarewellReason,
}

/// What a command asks. Variants are only ever added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandKind {
    /// Lock or unlock.
    Lock(bool),
    /// Sound the horn.
    Honk,
    /// Limit the speed, km/h.
    SpeedLimit(u16),
    /// Restart the agent.
    Reboot,
}

/// A signed command (UPLINK section 7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its id.
    pub id: [u8; 16],
    /// Epoch of the shard that sent it.
    pub epoch: Epoch,
    /// Expiry in server time, ms since 1970 UTC.
    pub expires_ms: i64,
    /// The incarnation it is meant for.
    pub incarnation: Incarnation,
    /// What to do.
    pub kind: CommandKind,
    /// ed25519 over vehicle id and all of the above, 64 bytes.
    pub signature: Vec<u8>,
}

/// A collection policy document (UPLINK section 8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its revision, from 1.
    pub revision: u32,
    /// The document, JSON (`remuda_edge_agent_core::policy`).
    pub document: String,
}

/// Vehicle to cloud.
#[derive(Debug, Clone, PartialEq)]
pub enum Up {
    /// On `session`.
    Hello(Hello),
    /// On a lane's channel.
    Frames(Frames),
    /// On `live`.
    Live(Live),
    /// On `session`.
    Farewell(Farewell),
}

/// Cloud to vehicle.
#[derive(Debug, Clone, PartialEq)]
pub enum Down {
    /// Answers a Hello.
    Welcome(Welcome),
    /// Acknowledges.
    Ack(Ack),
    /// Commands.
    Command(Command),
    /// Sets the policy.
    Policy(Policy),
}

/// Why a payload is not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Nothing in it, or longer than a payload may be.
    #[error("the payload has {0} bytes")]
    Size(usize),
    /// A wire version this code does not speak.
    #[error("wire version {0} is not spoken here")]
    Version(u8),
    /// A kind of message this version does not have.
    #[error("message kind {0} is unknown")]
    Kind(u8),
    /// The rest does not decode, or has bytes left over.
    #[error("the message is malformed")]
    Malformed,
    /// A count or text over its limit.
    #[error("the message is over a limit")]
    Limit,
}

impl Up {
    /// Encodes at [`crate::WIRE_VERSION`].
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }

    /// Decodes any version in `WIRE_VERSION_MIN..=WIRE_VERSION`. Frames share `payload`'s memory.
    pub fn decode(_payload: &Bytes) -> Result<Self, DecodeError> {
        todo!()
    }
}

impl Down {
    /// Encodes at [`crate::WIRE_VERSION`].
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }

    /// Decodes any version in `WIRE_VERSION_MIN..=WIRE_VERSION`.
    pub fn decode(_payload: &[u8]) -> Result<Self, DecodeError> {
        todo!()
    }
}
