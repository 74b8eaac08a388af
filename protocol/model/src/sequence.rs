//! Numbers that order things: frames in a lane, starts of an agent, connections, owners of a shard.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A frame's number in its lane and incarnation, from 1. Zero means "none yet".
pub type Seq = u64;

/// One start of an agent: random, new at every start and whenever the outbox was lost (UPLINK section 1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One connection of an agent; ordered within an incarnation by its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConnectionId {
    /// The agent's present incarnation.
    pub incarnation: Incarnation,
    /// Counts connections since the agent's start, from 1.
    pub counter: u32,
}

/// The ownership of a shard in the cloud; only ever grows (DESIGN D5). Never used for anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// A durable stream of frames from a vehicle. `live` is a channel, not a lane: it has no sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// Alerts, command results, trip marks.
    Events,
    /// Telemetry.
    Samples,
}

impl Lane {
    /// Every lane, in the order in which they are drained.
    pub const ALL: [Self; 2] = [Self::Events, Self::Samples];

    /// The word used in topics, file names and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Samples => "samples",
        }
    }
}
