//! What the shell asks of the aggregate.

use remuda_model::{Lane, Seq};

use crate::event::{AlertFact, Place};
use crate::geofences::CrossingEvent;

/// A wish; [`crate::decide`] may refuse it.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Record a report of the events lane.
    Report {
        /// Which frame.
        place: Place,
        /// The frame as it came.
        payload: Vec<u8>,
        /// When the door read it, ms since 1970 UTC.
        received_ms: i64,
    },
    /// Record that frames of the events lane will never come.
    Gap {
        /// The first.
        place: Place,
        /// The last.
        to: Seq,
        /// Why.
        reason: &'static str,
    },
    /// Record a frame of the events lane that cannot be used.
    Quarantine {
        /// Which frame.
        place: Place,
        /// Why.
        reason: &'static str,
        /// The frame as it came.
        raw: Vec<u8>,
    },
    /// A frame in quarantine could be read.
    Reprocess {
        /// Its lane.
        lane: Lane,
        /// Which.
        place: Place,
    },
    /// A rule found an alert's beginning.
    Raise(AlertFact),
    /// A rule found an alert's end.
    Clear(AlertFact),
    /// A rule looked for the first time in this incarnation and found everything in order: an alert left open by an
    /// earlier incarnation ends.
    Settle(AlertFact),
    /// It crossed the edge of a geofence.
    Cross(CrossingEvent),
}
