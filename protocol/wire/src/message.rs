//! Messages: what one MQTT payload says.
//!
//! ```text
//! payload = wire version u8 (1) | kind u8 | body
//! kind    = up: 1 Hello, 2 Frames, 3 Live, 4 Farewell, 5 Status, 6 Watching; down: 65 Welcome, 66 Ack, 67 Command, 68 Policy, 69 Ask,
//!           70 HandOver, 71 Watch
//! body    = the struct's fields in the order of this page, in postcard:
//!           u8, bool one byte; u16, u32, u64, counts LEB128 varints; i64 a zigzag varint; an Option 0, or 1 and the
//!           value; text and lists a count (of bytes, of entries), then so many; arrays of bytes as they are; an
//!           enum the varint number of its variant, from 0 in the order of this page, then the variant's fields
//! Frames  = lane | incarnation | floor | floor_reason | first_seq | count | count times (length varint | frame)
//! ```
//!
//! Nothing follows a body. Kinds and variants are only ever added, fields never change: what differs is a new kind, or
//! a new wire version. `protocol/vectors` pins bytes of each.

use bytes::Bytes;
use remuda_model::{ConnectionId, Epoch, Incarnation, Lane, Seq, SignalId};
use serde::{Deserialize, Serialize};

use crate::bits::{self, Reader};
use crate::counted;
use crate::frame::ClockQuality;
use crate::marks::{TripWatch, Watching};
use crate::{WIRE_VERSION, WIRE_VERSION_MIN, limits};

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
    #[serde(deserialize_with = "counted::lanes")]
    pub lanes: Vec<LaneState>,
    /// Highest shard epoch ever seen.
    pub highest_epoch: Epoch,
    /// Commands begun without a final result.
    #[serde(deserialize_with = "counted::lanes")]
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
    #[serde(deserialize_with = "counted::lanes")]
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
    #[serde(deserialize_with = "counted::signals")]
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
    /// Answer a question that the vehicle asked.
    Answer {
        /// The question's id.
        question: [u8; 16],
        /// Number of the option to take, from 0.
        option: u8,
    },
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
    /// Its revision, from 1; 0 with an empty document: back to the vehicle's built-in policy.
    pub revision: u32,
    /// The document, JSON (`remuda_policy`).
    pub document: String,
}

impl Policy {
    /// Tells documents of one revision apart, such as after a cloud was restored from a backup; 0 for the built-in one.
    pub fn fingerprint(&self) -> u32 {
        if self.revision == 0 { 0 } else { crc32c::crc32c(self.document.as_bytes()) }
    }
}

/// The cloud's farewell: the door closes as planned, and the vehicle is to come back at a time of its own choosing
/// within the spread, so that not all come at once. Whatever else closes the connection means nothing of the kind. An
/// agent too old to know it comes back after its usual pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// Longest time until the vehicle is back, ms after the close.
    pub spread_ms: u32,
}

/// Asks a vehicle for its [`Status`], now and whenever it changes, for the life of the connection. An agent too old to
/// know it says nothing, and an agent sends no status to a cloud that did not ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Least time between two of them, s.
    pub interval_s: u16,
}

/// What kind of link a vehicle has, as far as its agent was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum LinkKind {
    /// Nobody said; treated as metered.
    #[default]
    Unknown,
    /// Every byte costs.
    Metered,
    /// Bytes cost nothing.
    Wifi,
}

/// How much of its policy a vehicle collects (UPLINK section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum CollectionLevel {
    /// All of it.
    #[default]
    Full,
    /// The same signals, rarer: the data budget is nearly spent.
    Stretched,
    /// Events alone: the data budget is spent.
    EventsOnly,
}

/// A vehicle's data budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetStatus {
    /// The month it is counted for, as 202_611; 0 when no trusted time was known yet.
    pub month: u32,
    /// Bytes spent over metered links.
    pub spent_bytes: u64,
    /// Bytes there are.
    pub bytes: u64,
}

/// A policy that the vehicle did not take over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRefused {
    /// Which.
    pub revision: u32,
    /// Why, a sentence.
    pub reason: String,
}

/// How a vehicle is doing: what it reports against what is desired of it. Lossy; the newest one counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The connection it was said on.
    pub connection: ConnectionId,
    /// Revision of the policy in force; 0 = the built-in one.
    pub policy_revision: u32,
    /// [`Policy::fingerprint`] of the policy in force.
    pub policy_fingerprint: u32,
    /// The last policy that was not taken over, if it came after the one in force.
    pub policy_refused: Option<PolicyRefused>,
    /// State of the wall clock.
    pub clock: ClockQuality,
    /// The link.
    pub link: LinkKind,
    /// How much is collected.
    pub collection: CollectionLevel,
    /// Samples wait in the outbox for a link that costs nothing, or for the next month.
    pub bulk_held: bool,
    /// The data budget, if there is one.
    pub budget: Option<BudgetStatus>,
    /// Frames in the outbox, of all lanes and incarnations.
    pub frames_held: u64,
    /// Frames shed since the agent started.
    pub frames_shed: u64,
    /// Records that its disk damaged, since the agent started.
    pub frames_damaged: u64,
    /// Readings dropped since the agent started, because there were too many signals.
    pub readings_dropped: u64,
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
    /// On `session`.
    Status(Status),
    /// On `session`.
    Watching(Watching),
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
    /// Asks for the status.
    Ask(Ask),
    /// Says farewell, for a while.
    HandOver(HandOver),
    /// Sets what to watch of a trip.
    Watch(TripWatch),
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

/// Everything of a [`Frames`] but the frames.
#[derive(Serialize, Deserialize)]
struct FramesHead {
    lane: Lane,
    incarnation: Incarnation,
    floor: Seq,
    floor_reason: FloorReason,
    first_seq: Seq,
    count: u32,
}

const HELLO: u8 = 1;
const FRAMES: u8 = 2;
const LIVE: u8 = 3;
const FAREWELL: u8 = 4;
const WELCOME: u8 = 65;
const ACK: u8 = 66;
const COMMAND: u8 = 67;
const POLICY: u8 = 68;
const STATUS: u8 = 5;
const ASK: u8 = 69;
const HAND_OVER: u8 = 70;
const WATCHING: u8 = 6;
const WATCH: u8 = 71;

/// Most bytes that a [`Frames`] message needs beside its frames' own bytes, for `frames` of them.
pub const fn frames_overhead(frames: usize) -> usize {
    // Version, kind, lane, reason; incarnation, floor and first seq as varints; the count; a length each.
    4 + 3 * 10 + 5 + frames * 3
}

impl Up {
    /// Encodes at [`crate::WIRE_VERSION`].
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello(message) => put(HELLO, message),
            Self::Live(message) => put(LIVE, message),
            Self::Farewell(message) => put(FAREWELL, message),
            Self::Frames(message) => put_frames(message),
            Self::Status(message) => put(STATUS, message),
            Self::Watching(message) => put(WATCHING, message),
        }
    }

    /// Decodes any version in `WIRE_VERSION_MIN..=WIRE_VERSION`. Frames share `payload`'s memory.
    pub fn decode(payload: &Bytes) -> Result<Self, DecodeError> {
        let (kind, body) = open(payload)?;
        match kind {
            HELLO => {
                let hello: Hello = take(body)?;
                let short = hello.agent_version.len() <= limits::TEXT_BYTES_MAX;
                let few = hello.lanes.len() <= limits::HELLO_LANES_MAX;
                let open = hello.open_commands.len() <= limits::HELLO_LANES_MAX;
                if short && few && open { Ok(Self::Hello(hello)) } else { Err(DecodeError::Limit) }
            }
            FRAMES => take_frames(payload, body).map(Self::Frames),
            LIVE => {
                let live: Live = take(body)?;
                let few = live.values.len() <= limits::BLOCK_SIGNALS_MAX;
                if few { Ok(Self::Live(live)) } else { Err(DecodeError::Limit) }
            }
            FAREWELL => take(body).map(Self::Farewell),
            STATUS => {
                let status: Status = take(body)?;
                let reason = status.policy_refused.as_ref().map_or(0, |refused| refused.reason.len());
                let short = reason <= limits::TEXT_BYTES_MAX;
                if short { Ok(Self::Status(status)) } else { Err(DecodeError::Limit) }
            }
            WATCHING => {
                let watching: Watching = take(body)?;
                if watching.is_within_limits() {
                    Ok(Self::Watching(watching))
                } else {
                    Err(DecodeError::Limit)
                }
            }
            other => Err(DecodeError::Kind(other)),
        }
    }
}

impl Down {
    /// Encodes at [`crate::WIRE_VERSION`].
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Welcome(message) => put(WELCOME, message),
            Self::Ack(message) => put(ACK, message),
            Self::Command(message) => put(COMMAND, message),
            Self::Policy(message) => put(POLICY, message),
            Self::Ask(message) => put(ASK, message),
            Self::HandOver(message) => put(HAND_OVER, message),
            Self::Watch(message) => put(WATCH, message),
        }
    }

    /// Decodes any version in `WIRE_VERSION_MIN..=WIRE_VERSION`.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let (kind, body) = open(payload)?;
        match kind {
            WELCOME => {
                let welcome: Welcome = take(body)?;
                let few = welcome.acks.len() <= limits::HELLO_LANES_MAX;
                if few { Ok(Self::Welcome(welcome)) } else { Err(DecodeError::Limit) }
            }
            ACK => take(body).map(Self::Ack),
            COMMAND => {
                let command: Command = take(body)?;
                let signed = command.signature.len() <= limits::TEXT_BYTES_MAX;
                if signed { Ok(Self::Command(command)) } else { Err(DecodeError::Limit) }
            }
            POLICY => take(body).map(Self::Policy),
            ASK => take(body).map(Self::Ask),
            HAND_OVER => take(body).map(Self::HandOver),
            WATCH => {
                let watch: TripWatch = take(body)?;
                if watch.is_within_limits() { Ok(Self::Watch(watch)) } else { Err(DecodeError::Limit) }
            }
            other => Err(DecodeError::Kind(other)),
        }
    }
}

/// Checks size and version; answers kind and body.
fn open(payload: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
    if payload.len() > limits::PAYLOAD_BYTES_MAX {
        return Err(DecodeError::Size(payload.len()));
    }
    match payload {
        [version, ..] if !(WIRE_VERSION_MIN..=WIRE_VERSION).contains(version) => {
            Err(DecodeError::Version(*version))
        }
        [_, kind, body @ ..] => Ok((*kind, body)),
        _ => Err(DecodeError::Size(payload.len())),
    }
}

fn put<T: Serialize>(kind: u8, message: &T) -> Vec<u8> {
    // A Vec grows and our types have nothing that postcard refuses.
    postcard::to_extend(message, vec![WIRE_VERSION, kind]).unwrap_or_default()
}

fn take<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        _ => Err(DecodeError::Malformed),
    }
}

fn put_frames(message: &Frames) -> Vec<u8> {
    let Frames { lane, incarnation, floor, floor_reason, first_seq, ref frames } = *message;
    let count = frames.len() as u32;
    let mut out = put(FRAMES, &FramesHead { lane, incarnation, floor, floor_reason, first_seq, count });
    out.reserve(frames.iter().map(|f| f.len() + 3).sum());
    for frame in frames {
        bits::put_varint(&mut out, frame.len() as u64);
        out.extend_from_slice(frame);
    }
    out
}

fn take_frames(payload: &Bytes, body: &[u8]) -> Result<Frames, DecodeError> {
    let (head, rest) = postcard::take_from_bytes::<FramesHead>(body).map_err(|_| DecodeError::Malformed)?;
    let FramesHead { lane, incarnation, floor, floor_reason, first_seq, count } = head;
    let mut reader = Reader::new(rest);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > limits::FRAMES_MAX {
        return Err(DecodeError::Limit);
    }
    // A frame costs at least the byte of its length.
    if count == 0 || count > reader.left() || first_seq == 0 || first_seq.checked_add(count as u64).is_none()
    {
        return Err(DecodeError::Malformed);
    }
    let mut frames = Vec::with_capacity(count);
    for _ in 0..count {
        let length = reader.count(limits::PAYLOAD_BYTES_MAX).ok_or(DecodeError::Malformed)?;
        frames.push(payload.slice_ref(reader.bytes(length).ok_or(DecodeError::Malformed)?));
    }
    if reader.left() > 0 {
        return Err(DecodeError::Malformed);
    }
    Ok(Frames { lane, incarnation, floor, floor_reason, first_seq, frames })
}
