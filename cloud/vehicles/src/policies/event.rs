//! Facts in an organisation's stream of policies, and their envelope.

use remuda_eventsourcing::{NewEvent, StreamId};
use remuda_model::{OrganizationId, SHARDS, ShardId, VehicleId, shard};
use serde::{Deserialize, Serialize};

use super::Target;
use crate::event::fnv1a_128;

/// Kind of aggregate in the journal.
pub const AGGREGATE: &str = "policies";
/// Version of the payloads this code writes.
pub const SCHEMA_VERSION: u16 = 1;

/// Whom a policy is meant for, as it stands in the journal. Variants are only ever added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum For {
    /// Every vehicle.
    All,
    /// Vehicles whose id begins so.
    Prefix(String),
    /// These vehicles.
    Vehicles(Vec<VehicleId>),
}

impl From<Target> for For {
    fn from(target: Target) -> Self {
        match target {
            Target::All => Self::All,
            Target::Prefix(prefix) => Self::Prefix(prefix),
            Target::Vehicles(vehicles) => Self::Vehicles(vehicles),
        }
    }
}

/// A fact. Variants are only ever added at the end; their payloads are postcard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicyEvent {
    /// A policy has this document now; its revision is the event's version.
    Set {
        /// Its name.
        name: String,
        /// The document.
        document: String,
    },
    /// A policy is meant for these.
    Assigned {
        /// Its name.
        name: String,
        /// Whom.
        target: For,
    },
    /// These have no assignment of their own any more.
    Unassigned {
        /// Whom.
        target: For,
    },
    /// A policy is gone.
    Deleted {
        /// Its name.
        name: String,
    },
}

impl PolicyEvent {
    /// The type in the envelope.
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::Set { .. } => "policies.set",
            Self::Assigned { .. } => "policies.assigned",
            Self::Unassigned { .. } => "policies.unassigned",
            Self::Deleted { .. } => "policies.deleted",
        }
    }

    /// The fact in its envelope.
    pub fn envelope(&self, stream: StreamId, version: u64, time_ms: i64, who: &str) -> NewEvent {
        let causation_id = format!("change/{version}");
        let identity =
            [stream.organization.as_str(), AGGREGATE, &stream.aggregate_id, &causation_id].join("\n");
        NewEvent {
            event_id: fnv1a_128(identity.as_bytes()).to_be_bytes(),
            version,
            event_type: self.event_type().to_owned(),
            schema_version: SCHEMA_VERSION,
            time_ms,
            correlation_id: stream.aggregate_id.clone(),
            causation_id,
            actor: who.to_owned(),
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

/// An organisation's stream.
pub fn stream_of(organization: OrganizationId) -> StreamId {
    let aggregate_id = organization.as_str().to_owned();
    StreamId { organization, aggregate_type: AGGREGATE.to_owned(), aggregate_id }
}

/// The shard whose owner writes it.
pub fn shard_of(organization: &OrganizationId) -> ShardId {
    let hash = shard::fnv1a_64(organization.as_str().as_bytes());
    ShardId::new((hash % u64::from(SHARDS)) as u16).expect("a remainder of the number of shards is below it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_the_first_schema_are_pinned() {
        let event = PolicyEvent::Assigned { name: "a".into(), target: For::Prefix("VAN".into()) };
        assert_eq!(postcard::to_allocvec(&event).unwrap(), [1, 1, b'a', 1, 3, b'V', b'A', b'N']);
        let envelope = event.envelope(stream_of(OrganizationId::default()), 3, 5, "somebody");
        assert_eq!(PolicyEvent::open(&envelope), Some(event));
        assert_eq!(
            (envelope.actor.as_str(), envelope.event_type.as_str()),
            ("somebody", "policies.assigned")
        );
    }
}
