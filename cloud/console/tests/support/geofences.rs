//! Geofences in memory, that nobody crosses.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_contracts::geofences::{
    Geofence, GeofenceBook, GeofenceChange, GeofenceId, GeofenceRefusal, GeofenceRequest, GeofenceSpec,
    GeofenceVisit, Sees,
};
use remuda_model::{OrganizationId, VehicleId};

/// See the module.
#[derive(Default)]
pub struct FakeGeofences {
    kept: Mutex<BTreeMap<GeofenceId, Arc<Geofence>>>,
    /// Who is in whichever geofence is asked for.
    pub inside: Mutex<Vec<GeofenceVisit>>,
}

#[async_trait]
impl GeofenceBook for FakeGeofences {
    fn get(&self, _: &OrganizationId, id: &GeofenceId) -> Option<Arc<Geofence>> {
        self.kept.lock().get(id).cloned()
    }

    fn list(
        &self,
        _: &OrganizationId,
        after: Option<&GeofenceId>,
        limit: usize,
        matches: &(dyn Fn(&Geofence) -> bool + Sync),
    ) -> Vec<Arc<Geofence>> {
        let kept = self.kept.lock();
        let rest = kept.values().filter(|fence| after.is_none_or(|after| fence.id > *after));
        rest.filter(|fence| matches(fence)).take(limit).cloned().collect()
    }

    async fn change(
        &self,
        _: &OrganizationId,
        request: GeofenceRequest,
        sees: Sees<'_>,
    ) -> Result<Arc<Geofence>, GeofenceRefusal> {
        let GeofenceRequest { id, change, by, request_id, expected, validate_only } = request;
        let mut kept = self.kept.lock();
        let present = kept.get(&id).filter(|fence| sees(&fence.spec.part)).cloned();
        let there = present.clone().ok_or(GeofenceRefusal::NoSuchGeofence(id));
        if present.is_some_and(|fence| expected.is_some_and(|seen| seen != fence.revision)) {
            return Err(GeofenceRefusal::Changed);
        }
        let spec = match change {
            GeofenceChange::Create(_) if kept.contains_key(&id) => return Err(GeofenceRefusal::Exists(id)),
            GeofenceChange::Create(spec) => spec,
            GeofenceChange::Delete => {
                let gone = there?;
                if !validate_only {
                    kept.remove(&id);
                }
                return Ok(gone);
            }
            GeofenceChange::Update(patch) => {
                let before = there?.spec.clone();
                GeofenceSpec {
                    display_name: patch.display_name.unwrap_or(before.display_name),
                    part: patch.part.unwrap_or(before.part),
                    kind: patch.kind.unwrap_or(before.kind),
                    shape: patch.shape.unwrap_or(before.shape),
                    dwell_s: patch.dwell_s.unwrap_or(before.dwell_s),
                    hysteresis_m: patch.hysteresis_m.unwrap_or(before.hysteresis_m),
                    enabled: patch.enabled.unwrap_or(before.enabled),
                }
            }
        };
        if !sees(&spec.part) {
            return Err(GeofenceRefusal::OutOfReach);
        }
        let (revision, now) = (kept.get(&id).map_or(1, |before| before.revision + 1), super::now_ms());
        let changed =
            Geofence { id, spec, revision, created_ms: now, changed_ms: now, changed_by: by, request_id };
        let changed = Arc::new(changed);
        if !validate_only {
            kept.insert(id, Arc::clone(&changed));
        }
        Ok(changed)
    }

    fn vehicles(
        &self,
        organization: &OrganizationId,
        id: &GeofenceId,
        after: Option<&VehicleId>,
        limit: usize,
        matches: &(dyn Fn(&VehicleId) -> bool + Sync),
    ) -> Option<Vec<GeofenceVisit>> {
        self.get(organization, id)?;
        let inside = self.inside.lock();
        let rest = inside.iter().filter(|visit| after.is_none_or(|after| visit.vehicle > *after));
        Some(rest.filter(|visit| matches(&visit.vehicle)).take(limit).copied().collect())
    }
}
