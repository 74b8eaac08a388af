//! Facts: of an organisation's geofences, and of the vehicles that cross them.

use remuda_contracts::geofences::{GeofenceId, GeofenceKind, GeofenceSpec};
use remuda_eventsourcing::{NewEvent, StreamId};
use remuda_model::{Incarnation, OrganizationId, SHARDS, Seq, ShardId, shard};
use serde::{Deserialize, Serialize};

use super::limits;
use crate::event::{Timeliness, fnv1a_128};

/// Kind of aggregate in the journal.
pub const AGGREGATE: &str = "geofences";
/// Version of the payloads this code writes.
pub const SCHEMA_VERSION: u16 = 1;

/// A fact of an organisation's geofences. Variants are only ever added at the end; their payloads are postcard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GeofenceEvent {
    /// There is one more.
    Created {
        /// Which.
        id: GeofenceId,
        /// What it is.
        spec: GeofenceSpec,
        /// The request's own name for itself; empty when it has none.
        request_id: String,
    },
    /// It is another one.
    Changed {
        /// Which.
        id: GeofenceId,
        /// What it is now.
        spec: GeofenceSpec,
        /// The request's own name for itself; empty when it has none.
        request_id: String,
    },
    /// It is gone.
    Deleted {
        /// Which.
        id: GeofenceId,
        /// The request's own name for itself; empty when it has none.
        request_id: String,
    },
}

impl GeofenceEvent {
    /// The type in the envelope.
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::Created { .. } => "geofences.created",
            Self::Changed { .. } => "geofences.changed",
            Self::Deleted { .. } => "geofences.deleted",
        }
    }

    /// Which geofence it is about.
    pub const fn id(&self) -> GeofenceId {
        match self {
            Self::Created { id, .. } | Self::Changed { id, .. } | Self::Deleted { id, .. } => *id,
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
            correlation_id: self.id().to_string(),
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

/// Which of an organisation's streams a geofence stands in.
pub fn stream_number(id: &GeofenceId) -> usize {
    (shard::fnv1a_64(id.as_str().as_bytes()) % limits::STREAMS as u64) as usize
}

/// One of an organisation's streams.
pub fn stream_of(organization: OrganizationId, number: usize) -> StreamId {
    let aggregate_id = format!("{organization}-{number:02}");
    StreamId { organization, aggregate_type: AGGREGATE.to_owned(), aggregate_id }
}

/// The shard whose owner writes a stream.
pub fn shard_of(stream: &StreamId) -> ShardId {
    let hash = shard::fnv1a_64(stream.aggregate_id.as_bytes());
    ShardId::new((hash % u64::from(SHARDS)) as u16).expect("a remainder of the number of shards is below it")
}

/// How a vehicle stands to a geofence now. Variants are only ever added at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// It went in.
    Entered,
    /// It went out.
    Left,
    /// The geofence was deleted or disabled, or is no longer for this vehicle.
    Released,
}

impl Step {
    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Entered => "entered",
            Self::Left => "left",
            Self::Released => "released",
        }
    }
}

/// A crossing as a fact of the vehicle's stream: where it was stands in the lake alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrossingEvent {
    /// Which geofence.
    pub fence: GeofenceId,
    /// What it is for, or was when it was entered.
    pub kind: GeofenceKind,
    /// What happened.
    pub step: Step,
    /// The row that made it count.
    pub incarnation: Incarnation,
    /// Its frame on the samples lane; 0 when no row did, but a change of the geofence.
    pub seq: Seq,
    /// Its place in the frame.
    pub row: u32,
    /// When the sample was taken, ms since 1970 UTC by the best clock known; 0 when unknown.
    pub sampled_ms: i64,
    /// How it relates to now.
    pub timeliness: Timeliness,
}

impl CrossingEvent {
    /// The type in the envelope.
    pub const fn event_type(&self) -> &'static str {
        match self.step {
            Step::Entered => "vehicle.geofence-entered",
            Step::Left => "vehicle.geofence-left",
            Step::Released => "vehicle.geofence-released",
        }
    }

    /// What identifies the fact, however often it is replayed.
    pub fn causation(&self) -> String {
        let Self { fence, incarnation, seq, row, sampled_ms, .. } = self;
        match seq {
            // A change of the geofence: the time tells one from another.
            0 => format!("geofence/{fence}/change/{sampled_ms}"),
            _ => format!("geofence/{fence}/{incarnation}/{seq}/{row}"),
        }
    }
}
