//! What is asked of a vehicle's orders.

use remuda_model::{Epoch, Incarnation};
use remuda_wire::CommandKind;
use remuda_wire::frame::CommandOutcome;

use super::event::OrderId;

/// An order as somebody gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    /// What makes a repetition recognisable; the order's id follows from it.
    pub request_id: String,
    /// What to do.
    pub kind: CommandKind,
    /// Why.
    pub reason: String,
    /// Who wants it.
    pub requested_by: String,
    /// How long it may wait for the vehicle, ms.
    pub ttl_ms: i64,
}

/// A wish; [`super::decide()`] may refuse it. Times are server time, ms since 1970 UTC.
#[derive(Debug, Clone, PartialEq)]
pub enum OrderCommand {
    /// Take an order.
    Queue {
        /// Its id.
        id: OrderId,
        /// What it says.
        order: NewOrder,
        /// Version of the vehicle's stream: reports up to there answer earlier orders.
        reports_before: u64,
        /// Now.
        now_ms: i64,
    },
    /// The vehicle is there: the order is about to go out.
    Send {
        /// Which.
        id: OrderId,
        /// The start of the agent that it is meant for.
        incarnation: Incarnation,
        /// Epoch of the shard that sends it.
        epoch: Epoch,
        /// Now.
        now_ms: i64,
    },
    /// The vehicle reported something about it.
    Answer {
        /// Which.
        id: OrderId,
        /// What.
        outcome: CommandOutcome,
        /// Now.
        now_ms: i64,
    },
    /// The start of the agent that it was sent to has ended, and everything that one said was heard.
    Orphan {
        /// Which.
        id: OrderId,
        /// Now.
        now_ms: i64,
    },
    /// Somebody does not want it any more.
    Cancel {
        /// Which.
        id: OrderId,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// Now.
        now_ms: i64,
    },
    /// Time has passed.
    Sweep {
        /// Which.
        id: OrderId,
        /// Now.
        now_ms: i64,
    },
}
