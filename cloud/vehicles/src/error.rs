//! What the vehicle domain refuses. Refusals are expected; each has a stable code.

use remuda_contracts::uplink::DoorRefusal;

/// Why a message, or a part of it, was not taken.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    thiserror::Error,
)]
pub enum Refusal {
    /// The payload is not a message.
    #[error("malformed")]
    Malformed,
    /// A wire version this code does not speak.
    #[error("version")]
    Version,
    /// A kind of message that does not belong on its channel.
    #[error("channel")]
    Channel,
    /// Its numbers contradict each other.
    #[error("inconsistent")]
    Inconsistent,
    /// Frames before any Hello on this connection.
    #[error("no-hello")]
    NoHello,
    /// From a connection that a newer one has replaced.
    #[error("stale-connection")]
    StaleConnection,
    /// More lanes and incarnations than are kept.
    #[error("unknown-lane")]
    UnknownLane,
    /// Above `received + 1`.
    #[error("ahead")]
    Ahead,
    /// Not above `received`.
    #[error("repeated")]
    Repeated,
    /// The checksum is broken.
    #[error("checksum")]
    Checksum,
    /// The node cannot hold it now.
    #[error("overload")]
    Overload,
    /// The vehicle's actor is being started again after a failure.
    #[error("restarting")]
    Restarting,
    /// The vehicle's actor failed again and again.
    #[error("parked")]
    Parked,
    /// The shard is not owned here.
    #[error("shard-lost")]
    ShardLost,
    /// The door refused it, before any message was read here.
    #[error("{}", .0.code())]
    Door(DoorRefusal),
}

impl Refusal {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::Channel => "channel",
            Self::Inconsistent => "inconsistent",
            Self::NoHello => "no-hello",
            Self::StaleConnection => "stale-connection",
            Self::UnknownLane => "unknown-lane",
            Self::Ahead => "ahead",
            Self::Repeated => "repeated",
            Self::Checksum => "checksum",
            Self::Overload => "overload",
            Self::Restarting => "restarting",
            Self::Parked => "parked",
            Self::ShardLost => "shard-lost",
            Self::Door(reason) => reason.code(),
        }
    }
}

/// Why a command to the aggregate was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefusal {
    /// The stream already holds this frame.
    #[error("already recorded")]
    AlreadyRecorded,
    /// It would leave a hole.
    #[error("out of sequence")]
    OutOfSequence,
}
