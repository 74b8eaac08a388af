//! From the contract's words to those of the API.

use remuda_api::ChildName;
use remuda_api::sagas::v1::{HistoryLine, Saga, Step};
use remuda_api::trips::v1::{Place as ApiPlace, Trip};
use remuda_api::users::v1::User;
use remuda_contracts::business::{Place, SagaLine, SagaView, TripView, UserView};
use remuda_model::OrganizationId;

use crate::convert::timestamp_of;
use crate::refusal::Refusal;
use crate::scope::field;

pub(super) fn name_of(organization: OrganizationId, collection: &'static str, id: &str) -> String {
    ChildName { organization: organization.to_string(), collection, id: id.to_owned() }.to_string()
}

/// A time that must be given, ms since 1970 UTC.
pub(super) fn needed_time(of: &'static str, time: Option<&prost_types::Timestamp>) -> Result<i64, Refusal> {
    let time = time.ok_or_else(|| field(of, "it is missing"))?;
    let ms = time.seconds.checked_mul(1_000);
    let ms = ms.and_then(|ms| ms.checked_add(i64::from(time.nanos / 1_000_000)));
    ms.ok_or_else(|| field(of, "it is no time"))
}

pub(super) fn some_time(ms: i64) -> Option<prost_types::Timestamp> {
    if ms == 0 { None } else { timestamp_of(ms) }
}

pub(super) fn trip(organization: OrganizationId, view: TripView) -> Trip {
    Trip {
        name: name_of(organization, "trips", &view.id),
        state: view.state.to_owned(),
        rider: view.rider,
        vehicle: view.vehicle,
        create_time: some_time(view.requested_ms),
        update_time: some_time(view.changed_ms),
        distance_m: view.distance_m,
        saga_state: view.saga.to_owned(),
        detail: view.detail,
    }
}

pub(super) fn user(organization: OrganizationId, view: &UserView) -> User {
    User {
        name: name_of(organization, "users", &view.id),
        state: view.state.to_owned(),
        available_minor: view.available,
        held_minor: view.held,
        create_time: some_time(view.registered_ms),
    }
}

pub(super) fn saga(organization: OrganizationId, view: SagaView) -> Saga {
    let steps = view.steps.into_iter().map(|step| Step {
        name: step.name,
        what: step.what,
        state: step.state,
        tries: step.tries,
    });
    Saga {
        name: name_of(organization, "sagas", &view.id),
        definition: view.definition,
        version: view.version,
        state: view.state.to_owned(),
        detail: view.detail,
        create_time: some_time(view.started_ms),
        end_time: view.ended_ms.and_then(some_time),
        steps: steps.collect(),
    }
}

pub(super) fn line(line: SagaLine) -> HistoryLine {
    HistoryLine {
        time: some_time(line.time_ms),
        event: line.event,
        step: line.step,
        what: line.what,
        by: line.by,
    }
}

pub(super) fn place(place: &ApiPlace) -> Result<Place, Refusal> {
    let (latitude, longitude) = (place.latitude, place.longitude);
    // Not a number is in no range.
    if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
        return Err(field(
            "stops",
            "a place has a latitude of -90 to 90 and a longitude of -180 to 180 degrees",
        ));
    }
    let e7 = |degrees: f64| (degrees * 1e7).round() as i32;
    Ok(Place { latitude_e7: e7(latitude), longitude_e7: e7(longitude) })
}
