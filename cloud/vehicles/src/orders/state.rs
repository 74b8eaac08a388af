//! What the stream of a vehicle's orders says.

use remuda_model::{Epoch, Incarnation};
use remuda_wire::CommandKind;
use serde::{Deserialize, Serialize};

use super::event::OrderId;

/// How far an order is. The first final phase stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderPhase {
    /// It waits for the vehicle.
    Queued,
    /// It went out.
    Sent {
        /// The start of the agent that it is meant for.
        incarnation: Incarnation,
        /// Epoch of the shard.
        epoch: Epoch,
    },
    /// The vehicle has begun.
    Accepted {
        /// The start of the agent that has it.
        incarnation: Incarnation,
    },
    /// Final: the vehicle did it.
    Done,
    /// Final: the vehicle tried in vain.
    Failed(String),
    /// Final: its time ran out.
    Expired,
    /// Final: the vehicle did not obey, with a stable reason code.
    Refused(String),
    /// Final: nobody will know.
    Unknown,
    /// Final: taken back before it was sent.
    Cancelled,
}

impl OrderPhase {
    /// Nothing changes it any more.
    pub const fn is_final(&self) -> bool {
        !matches!(self, Self::Queued | Self::Sent { .. } | Self::Accepted { .. })
    }

    /// The start of the agent that was given it, while it is open.
    pub const fn incarnation(&self) -> Option<Incarnation> {
        match self {
            Self::Sent { incarnation, .. } | Self::Accepted { incarnation } => Some(*incarnation),
            _ => None,
        }
    }
}

/// One order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Which.
    pub id: OrderId,
    /// The request's own name for itself.
    pub request_id: String,
    /// What to do.
    pub kind: CommandKind,
    /// Why.
    pub reason: String,
    /// Who wants it.
    pub requested_by: String,
    /// When it was taken, ms since 1970 UTC.
    pub queued_ms: i64,
    /// Never obeyed after this, server time, ms since 1970 UTC.
    pub expires_ms: i64,
    /// How far it is.
    pub phase: OrderPhase,
    /// When it got there, ms since 1970 UTC.
    pub changed_ms: i64,
    /// How often it was sent.
    pub sends: u32,
    /// Version of the vehicle's stream when it was taken.
    pub reports_before: u64,
}

/// A vehicle's orders.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// Version of the last event.
    pub version: u64,
    /// Not final, in order of arrival. Bounded by [`crate::limits::ORDERS_OPEN_MAX`].
    pub open: Vec<Order>,
    /// Final, oldest first. The newest [`crate::limits::ORDERS_FINISHED_MAX`] are kept.
    pub finished: Vec<Order>,
}

impl Orders {
    /// An order that is remembered.
    pub fn get(&self, id: OrderId) -> Option<&Order> {
        self.open.iter().chain(self.finished.iter().rev()).find(|order| order.id == id)
    }

    /// Earliest version of the vehicle's stream after which an open order may be answered.
    pub fn reports_from(&self) -> Option<u64> {
        self.open.iter().map(|order| order.reports_before + 1).min()
    }
}
