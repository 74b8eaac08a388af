//! What the machine asks of its shell, and what it is told at its start.

use bytes::Bytes;
use remuda_model::{ConnectionId, Incarnation, Lane, Seq};
use remuda_wire::topic::Channel;
use remuda_wire::{CommandKind, Decided, FloorReason};

/// One lane and incarnation as the outbox holds it at the agent's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Lane.
    pub lane: Lane,
    /// Incarnation.
    pub incarnation: Incarnation,
    /// Oldest seq still held; `made + 1` when none.
    pub floor: Seq,
    /// Why.
    pub floor_reason: FloorReason,
    /// Highest seq ever durable.
    pub made: Seq,
}

/// What to shed, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShedUntil {
    /// At least so many bytes are free (and at least one frame goes).
    Bytes(u64),
    /// Every frame from the floor on whose wall clock is known and earlier.
    Before {
        /// ms since 1970 UTC.
        wall_ms: i64,
    },
}

/// One frame read back, or the news that its record is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The frame as it was appended.
    Frame(Bytes),
    /// The checksum does not match, or the record is gone.
    Damaged,
}

/// Work for the shell, to be done in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Append to the outbox; answer `handle_made` once it is durable.
    Append {
        /// Lane; the incarnation is the agent's own.
        lane: Lane,
        /// Seq of the first frame.
        first: Seq,
        /// Encoded frames.
        frames: Vec<Bytes>,
        /// Do not wait for others: an event.
        at_once: bool,
    },
    /// Read from the outbox; answer `handle_read` with contiguous records from `from`, at least one.
    Read {
        /// Lane.
        lane: Lane,
        /// Incarnation.
        incarnation: Incarnation,
        /// First seq.
        from: Seq,
        /// Last seq that may be read.
        to: Seq,
        /// Stop before the records exceed so many bytes, but never before the first.
        bytes_max: usize,
    },
    /// Everything up to here is safe in the cloud.
    Trim {
        /// Lane.
        lane: Lane,
        /// Incarnation.
        incarnation: Incarnation,
        /// Last seq that may go.
        up_to: Seq,
    },
    /// Shed; answer `handle_shed` once the record of it is durable.
    Shed {
        /// Lane.
        lane: Lane,
        /// Incarnation.
        incarnation: Incarnation,
        /// How much.
        until: ShedUntil,
        /// Why.
        reason: FloorReason,
    },
    /// Connect; answer `handle_connected` or `handle_disconnected`.
    Connect {
        /// The connection to be.
        connection: ConnectionId,
        /// Payload of the last will, for the session channel.
        will: Vec<u8>,
    },
    /// Close the connection after everything sent is out; answer `handle_disconnected`.
    Disconnect,
    /// Publish.
    Send {
        /// Where.
        channel: Channel,
        /// What.
        payload: Vec<u8>,
    },
    /// Make this state durable; answer `handle_saved`.
    Save(Vec<u8>),
    /// Carry out a command; answer `handle_outcome`.
    Perform {
        /// Its id.
        id: [u8; 16],
        /// What to do.
        kind: CommandKind,
    },
    /// Take an option of a question; answer `handle_acted` when it was asked. A safe default may be wanted again after a
    /// restart.
    Act {
        /// The question's id.
        question: [u8; 16],
        /// Number of the option, from 0.
        option: u8,
        /// Why this one. None: it could not be asked, and this is its safe default.
        why: Option<Decided>,
    },
}
