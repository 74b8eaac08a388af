//! What follows from a wish, given the geofences.

use std::sync::Arc;

use remuda_contracts::geofences::{
    Geofence, GeofenceChange, GeofencePart, GeofencePatch, GeofenceRefusal, GeofenceRequest, GeofenceShape,
    GeofenceSpec, Sees,
};

use super::event::GeofenceEvent;
use super::limits;
use super::shape::Area;
use super::state::Shelf;

/// What follows: a fact, or nothing when it is so already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// A fact.
    Follows(GeofenceEvent),
    /// It is so already: this is the geofence, or was when it is gone.
    IsSo(Arc<Geofence>),
}

/// What follows from a request, given the stream that its geofence stands in and how many the organisation has.
///
/// # Errors
/// Why it is not granted.
pub fn decide(
    shelf: &Shelf,
    count: usize,
    request: &GeofenceRequest,
    sees: Sees<'_>,
) -> Result<Decided, GeofenceRefusal> {
    let GeofenceRequest { id, change, by, request_id, expected, .. } = request;
    if request_id.len() > limits::REQUEST_ID_BYTES || request_id.chars().any(char::is_control) {
        return Err(invalid("request_id", "a request id has at most 64 bytes"));
    }
    let present = shelf.fences.get(id);
    let theirs = present.filter(|fence| sees(&fence.spec.part));
    // Before anything else: the first try may have changed the very things that are looked at below.
    let repeats = |known: &str, who: &str| !request_id.is_empty() && known == request_id && who == by;
    if let Some(fence) = theirs.filter(|fence| repeats(&fence.request_id, &fence.changed_by)) {
        let is_same = match change {
            GeofenceChange::Create(spec) => normal(spec.clone()) == fence.spec,
            GeofenceChange::Update(patch) => normal(patched(&fence.spec, patch)) == fence.spec,
            GeofenceChange::Delete => false,
        };
        return if is_same {
            Ok(Decided::IsSo(Arc::clone(fence)))
        } else {
            Err(GeofenceRefusal::RequestIdReused)
        };
    }
    let fence = match (change, present, theirs) {
        (GeofenceChange::Create(spec), None, _) => {
            let spec = checked(spec.clone(), sees)?;
            if count >= limits::GEOFENCES_MAX {
                return Err(GeofenceRefusal::TooMany(limits::GEOFENCES_MAX));
            }
            let (id, request_id) = (*id, request_id.clone());
            return Ok(Decided::Follows(GeofenceEvent::Created { id, spec, request_id }));
        }
        (GeofenceChange::Create(_), Some(_), _) => return Err(GeofenceRefusal::Exists(*id)),
        (GeofenceChange::Delete, None, _) => {
            let mut gone = shelf.deleted.iter().rev();
            let repeated = gone
                .find(|(fence, known, who)| fence.id == *id && repeats(known, who) && sees(&fence.spec.part));
            let gone = repeated.map(|(fence, ..)| Decided::IsSo(Arc::clone(fence)));
            return gone.ok_or(GeofenceRefusal::NoSuchGeofence(*id));
        }
        (_, _, None) => return Err(GeofenceRefusal::NoSuchGeofence(*id)),
        (_, _, Some(fence)) => fence,
    };
    if expected.is_some_and(|expected| expected != fence.revision) {
        return Err(GeofenceRefusal::Changed);
    }
    let (id, request_id) = (*id, request_id.clone());
    match change {
        GeofenceChange::Update(patch) => {
            let spec = checked(patched(&fence.spec, patch), sees)?;
            if spec == fence.spec {
                return Ok(Decided::IsSo(Arc::clone(fence)));
            }
            Ok(Decided::Follows(GeofenceEvent::Changed { id, spec, request_id }))
        }
        _ => Ok(Decided::Follows(GeofenceEvent::Deleted { id, request_id })),
    }
}

fn invalid(field: &'static str, problem: impl ToString) -> GeofenceRefusal {
    GeofenceRefusal::Invalid { field, problem: problem.to_string() }
}

fn patched(spec: &GeofenceSpec, patch: &GeofencePatch) -> GeofenceSpec {
    let GeofencePatch { display_name, part, kind, shape, dwell_s, hysteresis_m, enabled } = patch.clone();
    GeofenceSpec {
        display_name: display_name.unwrap_or_else(|| spec.display_name.clone()),
        part: part.unwrap_or_else(|| spec.part.clone()),
        kind: kind.unwrap_or(spec.kind),
        shape: shape.unwrap_or_else(|| spec.shape.clone()),
        dwell_s: dwell_s.unwrap_or(spec.dwell_s),
        hysteresis_m: hysteresis_m.unwrap_or(spec.hysteresis_m),
        enabled: enabled.unwrap_or(spec.enabled),
    }
}

/// The same, said one way: GeoJSON ends a ring where it began.
fn normal(mut spec: GeofenceSpec) -> GeofenceSpec {
    let trimmed = spec.display_name.trim();
    if trimmed.len() != spec.display_name.len() {
        spec.display_name = trimmed.to_owned();
    }
    if let GeofenceShape::Polygon(places) = &mut spec.shape
        && places.len() > 1
        && places.first() == places.last()
    {
        places.pop();
    }
    spec
}

fn checked(spec: GeofenceSpec, sees: Sees<'_>) -> Result<GeofenceSpec, GeofenceRefusal> {
    let spec = normal(spec);
    let name = &spec.display_name;
    if !(1..=limits::NAME_CHARS_MAX).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err(invalid("display_name", "a geofence's name has 1 to 100 characters on one line"));
    }
    if let GeofencePart::Fleet(part) | GeofencePart::Depot(part) = &spec.part
        && !(1..=limits::PART_BYTES_MAX).contains(&part.len())
    {
        return Err(invalid("part", "a fleet or depot has 1 to 256 bytes"));
    }
    if !sees(&spec.part) {
        return Err(GeofenceRefusal::OutOfReach);
    }
    Area::of(&spec.shape).map_err(|error| invalid("shape", error))?;
    if spec.dwell_s > limits::DWELL_S_MAX {
        return Err(invalid("dwell", "a dwell is at most a day"));
    }
    if spec.hysteresis_m > limits::HYSTERESIS_M_MAX {
        return Err(invalid("hysteresis_m", "a hysteresis is at most 1,000 m"));
    }
    Ok(spec)
}
