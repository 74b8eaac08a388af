//! Facts about a vehicle's orders, and their envelope.

use std::fmt;
use std::str::FromStr;

use remuda_eventsourcing::{NewEvent, StreamId};
use remuda_model::{Epoch, Incarnation, OrganizationId, VehicleId};
use remuda_wire::CommandKind;
use remuda_wire::frame::CommandOutcome;
use serde::{Deserialize, Serialize};

use crate::event::fnv1a_128;

/// Kind of aggregate in the journal.
pub const AGGREGATE: &str = "vehicle-orders";
/// Version of the payloads this code writes.
pub const SCHEMA_VERSION: u16 = 1;

/// Id of an order, unique for ever. As text 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OrderId(pub [u8; 16]);

impl OrderId {
    /// The id that belongs to a request for this vehicle: the same request has the same id, whoever computes it.
    pub fn of(organization: &OrganizationId, vehicle: &VehicleId, request_id: &str) -> Self {
        let identity = [organization.as_str(), vehicle.as_str(), "order", request_id].join("\n");
        Self(fnv1a_128(identity.as_bytes()).to_be_bytes())
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for OrderId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "an order's id has 32 hexadecimal digits";
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(wrong);
        }
        u128::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes())).map_err(|_| wrong)
    }
}

/// A fact. Variants are only ever added at the end; their payloads are postcard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OrderEvent {
    /// An order was taken.
    Queued {
        /// Which.
        id: OrderId,
        /// The request's own name for itself.
        request_id: String,
        /// What to do.
        kind: CommandKind,
        /// Why.
        reason: String,
        /// Who wants it.
        requested_by: String,
        /// Never obeyed after this, server time, ms since 1970 UTC.
        expires_ms: i64,
        /// Version of the vehicle's stream: reports up to there answer earlier orders.
        reports_before: u64,
        /// When.
        time_ms: i64,
    },
    /// It goes out to the vehicle. Written before the message is.
    Sent {
        /// Which.
        id: OrderId,
        /// The start of the agent that it is meant for.
        incarnation: Incarnation,
        /// Epoch of the shard.
        epoch: Epoch,
        /// When.
        time_ms: i64,
    },
    /// The vehicle reported about it.
    Answered {
        /// Which.
        id: OrderId,
        /// What.
        outcome: CommandOutcome,
        /// When.
        time_ms: i64,
    },
    /// The vehicle could not consider it as it was sent (another start, no time yet): it waits for its next chance.
    Returned {
        /// Which.
        id: OrderId,
        /// The vehicle's reason.
        reason: String,
        /// When.
        time_ms: i64,
    },
    /// Nobody will ever know what became of it.
    Orphaned {
        /// Which.
        id: OrderId,
        /// When.
        time_ms: i64,
    },
    /// Its time ran out before it was sent.
    Expired {
        /// Which.
        id: OrderId,
        /// When.
        time_ms: i64,
    },
    /// Somebody did not want it any more.
    Cancelled {
        /// Which.
        id: OrderId,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// When.
        time_ms: i64,
    },
}

impl OrderEvent {
    /// The type in the envelope.
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::Queued { .. } => "vehicle-orders.queued",
            Self::Sent { .. } => "vehicle-orders.sent",
            Self::Answered { .. } => "vehicle-orders.answered",
            Self::Returned { .. } => "vehicle-orders.returned",
            Self::Orphaned { .. } => "vehicle-orders.orphaned",
            Self::Expired { .. } => "vehicle-orders.expired",
            Self::Cancelled { .. } => "vehicle-orders.cancelled",
        }
    }

    /// Which order it is about.
    pub const fn id(&self) -> OrderId {
        match self {
            Self::Queued { id, .. }
            | Self::Sent { id, .. }
            | Self::Answered { id, .. }
            | Self::Returned { id, .. }
            | Self::Orphaned { id, .. }
            | Self::Expired { id, .. }
            | Self::Cancelled { id, .. } => *id,
        }
    }

    /// When it was decided, ms since 1970 UTC.
    pub const fn time_ms(&self) -> i64 {
        match self {
            Self::Queued { time_ms, .. }
            | Self::Sent { time_ms, .. }
            | Self::Answered { time_ms, .. }
            | Self::Returned { time_ms, .. }
            | Self::Orphaned { time_ms, .. }
            | Self::Expired { time_ms, .. }
            | Self::Cancelled { time_ms, .. } => *time_ms,
        }
    }

    fn actor(&self, vehicle: &str) -> String {
        match self {
            Self::Queued { requested_by, .. } => requested_by.clone(),
            Self::Cancelled { by, .. } => by.clone(),
            Self::Answered { .. } | Self::Returned { .. } => format!("vehicle/{vehicle}"),
            Self::Sent { .. } | Self::Orphaned { .. } | Self::Expired { .. } => "cloud".to_owned(),
        }
    }

    /// The fact in its envelope, at this version of the stream.
    pub fn envelope(&self, stream: StreamId, version: u64) -> NewEvent {
        let event_type = self.event_type();
        let number = version.to_string();
        let identity = [stream.organization.as_str(), &stream.aggregate_id, event_type, &number].join("\n");
        NewEvent {
            event_id: fnv1a_128(identity.as_bytes()).to_be_bytes(),
            version,
            event_type: event_type.to_owned(),
            schema_version: SCHEMA_VERSION,
            time_ms: self.time_ms(),
            causation_id: format!("order/{}", self.id()),
            correlation_id: stream.aggregate_id.clone(),
            actor: self.actor(&stream.aggregate_id),
            stream,
            // Vectors and strings always encode.
            payload: postcard::to_allocvec(self).unwrap_or_default(),
        }
    }

    /// Opens an envelope; `None` for a type or version this code does not know.
    pub fn open(event: &NewEvent) -> Option<Self> {
        if event.stream.aggregate_type != AGGREGATE || event.schema_version != SCHEMA_VERSION {
            return None;
        }
        postcard::from_bytes(&event.payload).ok().filter(|fact: &Self| fact.event_type() == event.event_type)
    }
}

/// The stream of a vehicle's orders.
pub fn orders_stream_of(organization: OrganizationId, vehicle: &VehicleId) -> StreamId {
    StreamId { organization, aggregate_type: AGGREGATE.to_owned(), aggregate_id: vehicle.as_str().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vehicle() -> VehicleId {
        VehicleId::new("VAN1").unwrap()
    }

    #[test]
    fn an_id_follows_from_its_request_and_comes_back_from_its_text() {
        let organization = OrganizationId::default();
        let id = OrderId::of(&organization, &vehicle(), "r1");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_ne!(id, OrderId::of(&organization, &vehicle(), "r2"));
        assert_ne!(id, OrderId::of(&organization, &VehicleId::new("VAN2").unwrap(), "r1"));
        for wrong in ["", "12", "g".repeat(32).as_str(), "A".repeat(32).as_str()] {
            assert!(wrong.parse::<OrderId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_envelope_opens_to_the_fact_and_bytes_of_the_first_schema_are_pinned() {
        let id = OrderId([7; 16]);
        let fact = OrderEvent::Answered { id, outcome: CommandOutcome::Failed("x".into()), time_ms: 3 };
        let stream = orders_stream_of(OrganizationId::default(), &vehicle());
        assert_eq!(OrderEvent::open(&fact.envelope(stream, 4)), Some(fact.clone()));
        let mut pinned = vec![2];
        pinned.extend([7; 16]);
        pinned.extend([2, 1, b'x', 6]);
        assert_eq!(postcard::to_allocvec(&fact).unwrap(), pinned);
        let queued = OrderEvent::Queued {
            id,
            request_id: "r".into(),
            kind: CommandKind::Lock(true),
            reason: "w".into(),
            requested_by: "o".into(),
            expires_ms: 1,
            reports_before: 5,
            time_ms: 2,
        };
        let mut pinned = vec![0];
        pinned.extend([7; 16]);
        pinned.extend([1, b'r', 0, 1, 1, b'w', 1, b'o', 2, 5, 4]);
        assert_eq!(postcard::to_allocvec(&queued).unwrap(), pinned);
    }
}
