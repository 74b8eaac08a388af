//! What the streams say of geofences.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use remuda_contracts::geofences::{Geofence, GeofenceId, GeofenceKind};
use serde::{Deserialize, Serialize};

use super::event::GeofenceEvent;
use super::limits;

const FORM: u8 = 1;

/// A vehicle is in a geofence, and it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    /// Which.
    pub fence: GeofenceId,
    /// What it was for when it was entered.
    pub kind: GeofenceKind,
    /// Since when, by the sample that made it count, ms since 1970 UTC; 0 when unknown.
    pub since_ms: i64,
}

/// One stream of geofences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shelf {
    /// Version of the last event.
    pub version: u64,
    /// Geofences by id.
    pub fences: BTreeMap<GeofenceId, Arc<Geofence>>,
    /// The last deletions that had a name, with who asked: a repetition is recognised.
    pub deleted: VecDeque<(Arc<Geofence>, String, String)>,
}

impl Shelf {
    /// Applies the next event.
    pub fn evolve(&mut self, event: &GeofenceEvent, time_ms: i64, who: &str) {
        self.version += 1;
        let revision = self.version;
        match event {
            GeofenceEvent::Created { id, spec, request_id }
            | GeofenceEvent::Changed { id, spec, request_id } => {
                let created_ms = self.fences.get(id).map_or(time_ms, |before| before.created_ms);
                let geofence = Geofence {
                    id: *id,
                    spec: spec.clone(),
                    revision,
                    created_ms,
                    changed_ms: time_ms,
                    changed_by: who.to_owned(),
                    request_id: request_id.clone(),
                };
                self.fences.insert(*id, Arc::new(geofence));
            }
            GeofenceEvent::Deleted { id, request_id } => {
                let Some(gone) = self.fences.remove(id).filter(|_| !request_id.is_empty()) else { return };
                if self.deleted.len() >= limits::DELETIONS_MAX {
                    self.deleted.pop_front();
                }
                self.deleted.push_back((gone, request_id.clone(), who.to_owned()));
            }
        }
    }

    /// Its snapshot, with as many of the last deletions as fit; none when its geofences alone are too large for the journal.
    pub fn snapshot(&self) -> Option<Vec<u8>> {
        let fences: Vec<&Geofence> = self.fences.values().map(Arc::as_ref).collect();
        let deleted: Vec<(&Geofence, &str, &str)> =
            self.deleted.iter().map(|(gone, request_id, who)| (&**gone, &**request_id, &**who)).collect();
        let without = |oldest: usize| {
            postcard::to_extend(&(self.version, &fences, &deleted[oldest..]), vec![FORM])
                .ok()
                .filter(|bytes| bytes.len() <= limits::SNAPSHOT_BYTES_MAX)
        };
        (0..=deleted.len()).find_map(without)
    }

    /// Reads a snapshot; `None` for a form this code does not know.
    pub fn restore(bytes: &[u8]) -> Option<Self> {
        let (_, rest) = bytes.split_first().filter(|(form, _)| **form == FORM)?;
        type Deleted = (Geofence, String, String);
        let (version, fences, deleted): (u64, Vec<Geofence>, Vec<Deleted>) =
            postcard::from_bytes(rest).ok()?;
        let by_id = |fence: Geofence| (fence.id, Arc::new(fence));
        let of = |(gone, request_id, who): Deleted| (Arc::new(gone), request_id, who);
        let fences = fences.into_iter().map(by_id).collect();
        Some(Self { version, fences, deleted: deleted.into_iter().map(of).collect() })
    }
}
