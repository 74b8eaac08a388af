//! What one batch of messages leads to, gathered before anything is written.

use bytes::Bytes;
use remuda_lake::Row;
use remuda_model::{Incarnation, Lane, Seq};
use tokio::sync::OwnedSemaphorePermit;

use super::reports::is_question;
use super::watches::is_mark;
use crate::command::Command;
use crate::event::{Place, VehicleEvent};
use crate::reception::Taken;
use crate::state::Marks;

/// What is gathered over one batch.
#[derive(Default)]
pub(crate) struct Batch {
    pub rows: Vec<Row>,
    pub wishes: Vec<Command>,
    pub permit: Option<OwnedSemaphorePermit>,
    pub marks: Marks,
    pub frames: u64,
    pub samples: u64,
    /// When the oldest of its frames was read, ms since 1970 UTC.
    pub received_ms: Option<i64>,
    pub acks: Vec<AckDue>,
}

/// An Ack that goes out at the end of the batch; one a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AckDue {
    pub lane: Lane,
    pub incarnation: Incarnation,
    pub missing: bool,
    pub greet: bool,
}

impl Batch {
    /// Notes that a lane is to be acked.
    pub fn ack(&mut self, due: AckDue) {
        add_ack(&mut self.acks, due);
    }
}

/// Adds an Ack to those that are due; one a lane.
pub(crate) fn add_ack(acks: &mut Vec<AckDue>, due: AckDue) {
    match acks.iter_mut().find(|a| a.lane == due.lane && a.incarnation == due.incarnation) {
        Some(there) => {
            there.missing |= due.missing;
            there.greet |= due.greet;
        }
        None => acks.push(due),
    }
}

/// Something of the events lane that was taken and waits to be appended.
pub(crate) struct Deferred {
    pub incarnation: Incarnation,
    pub received_ms: i64,
    pub taken: Taken,
    /// What it holds of the node's budget, until it is appended.
    pub _permit: Option<OwnedSemaphorePermit>,
}

impl Deferred {
    /// The command it becomes.
    pub fn command(&self) -> Command {
        let place = |seq| Place { incarnation: self.incarnation, seq };
        let bytes = |raw: &Bytes| raw.to_vec();
        match &self.taken {
            Taken::Gap { from, to, reason } => Command::Gap { place: place(*from), to: *to, reason },
            Taken::Quarantined { seq, reason, raw } => {
                Command::Quarantine { place: place(*seq), reason, raw: bytes(raw) }
            }
            Taken::Frame { frame, raw } => Command::Report {
                place: place(frame.header.seq),
                payload: bytes(raw),
                received_ms: self.received_ms,
            },
        }
    }

    /// The last number it stands for.
    pub fn last(&self) -> Seq {
        match &self.taken {
            Taken::Gap { to, .. } => *to,
            Taken::Quarantined { seq, .. } => *seq,
            Taken::Frame { frame, .. } => frame.header.seq,
        }
    }

    /// It is about a question.
    pub fn is_question(&self) -> bool {
        matches!(&self.taken, Taken::Frame { frame, .. } if is_question(frame))
    }

    /// It is a trip mark.
    pub fn is_mark(&self) -> bool {
        matches!(&self.taken, Taken::Frame { frame, .. } if is_mark(frame))
    }

    /// It stands for frames that will never come.
    pub fn is_gap(&self) -> bool {
        matches!(self.taken, Taken::Gap { .. })
    }
}

/// A contribution without an answer.
pub(crate) struct Ticket {
    pub number: u64,
    pub marks: Marks,
    pub decisions: Vec<VehicleEvent>,
    pub frames: u64,
    pub samples: u64,
    pub received_ms: i64,
    /// What it holds of the node's budget, until it is answered.
    pub permit: Option<OwnedSemaphorePermit>,
}
