//! Facts in a vehicle's stream, and their envelope.

use std::fmt;

use remuda_contracts::geofences::{GeofenceId, GeofenceKind};
use remuda_eventsourcing::{NewEvent, StreamId};
use remuda_model::{Incarnation, Lane, OrganizationId, Seq, VehicleId};
use serde::{Deserialize, Serialize};

use crate::alerts::AlertEvent;
use crate::geofences::CrossingEvent;

/// Kind of aggregate in the journal.
pub const AGGREGATE: &str = "vehicle";
/// Version of the payloads this code writes.
pub const SCHEMA_VERSION: u16 = 1;

/// A frame's place on the events lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Start of the agent that made it.
    pub incarnation: Incarnation,
    /// Its number.
    pub seq: Seq,
}

/// What made a rule decide: the row of the frame that completed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cause {
    /// Which rule.
    pub rule: RuleId,
    /// Start of the agent that made the frame.
    pub incarnation: Incarnation,
    /// The frame on the samples lane.
    pub seq: Seq,
    /// The row in the frame.
    pub row: u32,
}

/// The rules there are. Variants are only ever added at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RuleId {
    /// The driver brakes hard.
    HarshBraking,
    /// The battery, or the tank, is nearly empty.
    LowCharge,
    /// It left this geofence and shall not.
    KeepIn(GeofenceId),
    /// It is in this geofence and shall not be.
    KeepOut(GeofenceId),
    /// It is in this geofence.
    Notify(GeofenceId),
}

impl RuleId {
    /// Every rule that is not a geofence's.
    pub const ALL: [Self; 2] = [Self::HarshBraking, Self::LowCharge];

    /// A geofence's.
    pub const fn of_geofence(kind: GeofenceKind, fence: GeofenceId) -> Self {
        match kind {
            GeofenceKind::KeepIn => Self::KeepIn(fence),
            GeofenceKind::KeepOut => Self::KeepOut(fence),
            GeofenceKind::Notify => Self::Notify(fence),
        }
    }

    /// The geofence whose rule it is.
    pub const fn geofence(self) -> Option<GeofenceId> {
        match self {
            Self::HarshBraking | Self::LowCharge => None,
            Self::KeepIn(fence) | Self::KeepOut(fence) | Self::Notify(fence) => Some(fence),
        }
    }

    /// The word in metrics and views; the same for all geofences of a kind.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HarshBraking => "harsh-braking",
            Self::LowCharge => "low-charge",
            Self::KeepIn(_) => "keep-in",
            Self::KeepOut(_) => "keep-out",
            Self::Notify(_) => "geofence",
        }
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn named(name: &str) -> Option<Self> {
        let of = |kind: GeofenceKind| {
            // The word alone does not depend on the fence.
            let prefix = Self::of_geofence(kind, GeofenceId::new("x").ok()?).as_str();
            let fence = name.strip_prefix(prefix)?.strip_prefix('-')?;
            Some(Self::of_geofence(kind, GeofenceId::new(fence).ok()?))
        };
        let plain = Self::ALL.into_iter().find(|rule| rule.as_str() == name);
        plain.or_else(|| GeofenceKind::ALL.into_iter().find_map(of))
    }
}

impl fmt::Display for RuleId {
    /// The word in ids.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.geofence() {
            Some(fence) => write!(f, "{}-{fence}", self.as_str()),
            None => f.write_str(self.as_str()),
        }
    }
}

/// How an alert relates to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Timeliness {
    /// It happens now: notify.
    Timely,
    /// It arrived late, but nothing newer is known: state changes, nobody is notified.
    Late,
    /// Newer samples were already evaluated: only recorded.
    Historical,
}

/// An alert's beginning or end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AlertFact {
    /// What made the rule decide.
    pub cause: Cause,
    /// The value that did it, in the rule's unit.
    pub value: f64,
    /// The rule's threshold at that time, same unit.
    pub threshold: f64,
    /// When the sample was taken, ms since 1970 UTC by the best clock known; 0 when unknown.
    pub sampled_ms: i64,
    /// How it relates to now.
    pub timeliness: Timeliness,
}

/// A fact. Variants are only ever added at the end; their payloads are postcard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum VehicleEvent {
    /// The vehicle reported something on its events lane.
    Reported {
        /// Which frame.
        place: Place,
        /// The frame as it came, with its checksum (`remuda_wire::frame`).
        payload: Vec<u8>,
        /// When the door read it, ms since 1970 UTC.
        received_ms: i64,
    },
    /// Frames of the events lane will never come.
    Gapped {
        /// The first.
        place: Place,
        /// The last.
        to: Seq,
        /// `shed`, `age`, `damaged`, `cloud-lost`.
        reason: String,
    },
    /// A frame of the events lane could not be used.
    Quarantined {
        /// Which frame.
        place: Place,
        /// Stable code of why.
        reason: String,
        /// The frame as it came.
        raw: Vec<u8>,
    },
    /// A rule raised an alert.
    AlertRaised(AlertFact),
    /// A rule cleared its alert.
    AlertCleared(AlertFact),
    /// A frame that was in quarantine could be read. On the samples lane its rows are in a file that was committed with
    /// this fact, and no rule looks at them: they were late by a release. On the events lane the frame stands in its
    /// `Quarantined`, and counts as reported.
    Reprocessed {
        /// Which lane.
        lane: Lane,
        /// Which frame.
        place: Place,
    },
    /// Somebody, or time, did something about an alert.
    Alert(AlertEvent),
    /// It crossed the edge of a geofence.
    Crossed(CrossingEvent),
}

impl VehicleEvent {
    /// The type in the envelope.
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::Reported { .. } => "vehicle.reported",
            Self::Gapped { .. } => "vehicle.gapped",
            Self::Quarantined { .. } => "vehicle.quarantined",
            Self::AlertRaised(_) => "vehicle.alert-raised",
            Self::AlertCleared(_) => "vehicle.alert-cleared",
            Self::Reprocessed { .. } => "vehicle.reprocessed",
            Self::Alert(event) => event.event_type(),
            Self::Crossed(event) => event.event_type(),
        }
    }

    /// What identifies the fact, whoever writes it and how often it is replayed.
    pub fn causation(&self) -> String {
        match self {
            Self::Reported { place, .. } | Self::Gapped { place, .. } | Self::Quarantined { place, .. } => {
                format!("lane/events/{}/{}", place.incarnation, place.seq)
            }
            Self::Reprocessed { lane, place } => {
                format!("reprocess/{}/{}/{}", lane.as_str(), place.incarnation, place.seq)
            }
            Self::AlertRaised(fact) | Self::AlertCleared(fact) => {
                let Cause { rule, incarnation, seq, row } = fact.cause;
                format!("rule/{rule}/{incarnation}/{seq}/{row}")
            }
            Self::Alert(event) => event.causation(),
            Self::Crossed(event) => event.causation(),
        }
    }

    /// Who made it: the vehicle, unless somebody did.
    fn actor(&self, stream: &StreamId) -> String {
        match self {
            Self::Alert(event) if !event.by.is_empty() => event.by.clone(),
            _ => format!("vehicle/{}", stream.aggregate_id),
        }
    }

    /// The fact in its envelope. The event's id is a function of vehicle, type and causation.
    pub fn envelope(&self, stream: StreamId, version: u64, time_ms: i64) -> NewEvent {
        let causation_id = self.causation();
        let event_type = self.event_type();
        let identity =
            [stream.organization.as_str(), &stream.aggregate_id, event_type, &causation_id].join("\n");
        // Vectors and strings always encode.
        let payload = postcard::to_allocvec(self).unwrap_or_default();
        NewEvent {
            event_id: fnv1a_128(identity.as_bytes()).to_be_bytes(),
            version,
            event_type: event_type.to_owned(),
            schema_version: SCHEMA_VERSION,
            time_ms,
            correlation_id: stream.aggregate_id.clone(),
            causation_id,
            actor: self.actor(&stream),
            stream,
            payload,
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

/// A vehicle's stream.
pub fn stream_of(organization: OrganizationId, vehicle: &VehicleId) -> StreamId {
    StreamId { organization, aggregate_type: AGGREGATE.to_owned(), aggregate_id: vehicle.as_str().to_owned() }
}

/// FNV-1a, 128 bits: wide enough to be unique, and the same for ever.
pub(crate) fn fnv1a_128(bytes: &[u8]) -> u128 {
    let prime = 0x0000_0000_0100_0000_0000_0000_0000_013b_u128;
    bytes.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(prime)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(row: u32) -> VehicleEvent {
        let cause = Cause { rule: RuleId::HarshBraking, incarnation: Incarnation(7), seq: 9, row };
        VehicleEvent::AlertRaised(AlertFact {
            cause,
            value: -5.5,
            threshold: -4.0,
            sampled_ms: 1,
            timeliness: Timeliness::Timely,
        })
    }

    #[test]
    fn the_envelope_opens_to_the_fact_and_its_id_is_a_function_of_the_cause() {
        let stream = stream_of(OrganizationId::default(), &VehicleId::new("V1").unwrap());
        let first = fact(0).envelope(stream.clone(), 1, 5);
        assert_eq!(VehicleEvent::open(&first), Some(fact(0)));
        assert_eq!(first.causation_id, "rule/harsh-braking/0000000000000007/9/0");
        assert_eq!(first.event_id, fact(0).envelope(stream.clone(), 8, 9).event_id);
        assert_ne!(first.event_id, fact(1).envelope(stream, 1, 5).event_id);
    }

    #[test]
    fn known_hash_values() {
        assert_eq!(fnv1a_128(b""), 0x6c62272e07bb014262b821756295c58d);
        assert_eq!(fnv1a_128(b"a"), 0xd228cb696f1a8caf78912b704e4a8964);
    }

    #[test]
    fn bytes_of_the_first_schema_are_pinned() {
        let place = Place { incarnation: Incarnation(3), seq: 4 };
        let event = VehicleEvent::Gapped { place, to: 6, reason: "shed".into() };
        assert_eq!(postcard::to_allocvec(&event).unwrap(), [1, 3, 4, 6, 4, b's', b'h', b'e', b'd']);
    }
}
