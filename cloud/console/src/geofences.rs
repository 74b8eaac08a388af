//! `remuda.geofences.v1.GeofenceService`.

use std::sync::Arc;

use prost_types::Duration;
use remuda_api::geofences::v1 as api;
use remuda_api::geofences::v1::geofence_service_server::GeofenceService;
use remuda_api::geofences::v1::{
    CreateGeofenceRequest, DeleteGeofenceRequest, GetGeofenceRequest, Kind, ListGeofencesRequest,
    ListGeofencesResponse, ListVehiclesInGeofenceRequest, ListVehiclesInGeofenceResponse,
    UpdateGeofenceRequest, Visit,
};
use remuda_api::{ChildName, VehicleName};
use remuda_contracts::geofences::{
    Geofence, GeofenceBook, GeofenceChange, GeofenceId, GeofenceKind, GeofencePart, GeofencePatch,
    GeofenceRequest, GeofenceShape, GeofenceSpec, NoGeofenceId, Place,
};
use remuda_model::{OrganizationId, VehicleId, shard};
use tonic::{Request, Response, Status};

use crate::convert::timestamp_of;
use crate::page::{next_page, page};
use crate::refusal::Refusal;
use crate::scope::{Scope, etag_of, field, sight, who};
use crate::sight::Sight;

const COLLECTION: &str = "geofences";

/// The service, over the vehicle domain's book.
pub(crate) struct Geofences {
    pub book: Arc<dyn GeofenceBook>,
    pub scope: Scope,
}

/// `organizations/{organization}/geofences/{geofence}`.
pub(crate) fn geofence_name(organization: &OrganizationId, id: &GeofenceId) -> String {
    let (organization, id) = (organization.to_string(), id.to_string());
    ChildName { organization, collection: COLLECTION, id }.to_string()
}

impl Geofences {
    fn named(&self, name: &str) -> Result<GeofenceId, Refusal> {
        let id = self.scope.child(COLLECTION, name)?;
        GeofenceId::new(&id).map_err(|e| field("name", e))
    }

    /// One that they see.
    fn seen(&self, name: &str, sight: &Sight) -> Result<Arc<Geofence>, Refusal> {
        let id = self.named(name)?;
        let found = self.book.get(&self.scope.organization, &id);
        found.filter(|fence| sight.sees_part(&fence.spec.part)).ok_or_else(|| Refusal::no_geofence(id))
    }

    fn geofence_of(&self, geofence: &Geofence) -> api::Geofence {
        let spec = &geofence.spec;
        let (shape, part) = (Some(shape_of(&spec.shape)), part_of(&spec.part));
        api::Geofence {
            name: geofence_name(&self.scope.organization, &geofence.id),
            etag: format!("\"{}\"", geofence.revision),
            display_name: spec.display_name.clone(),
            kind: kind_of(spec.kind).into(),
            shape,
            part,
            dwell: Some(Duration { seconds: spec.dwell_s.into(), nanos: 0 }),
            hysteresis_m: spec.hysteresis_m,
            disabled: !spec.enabled,
            create_time: timestamp_of(geofence.created_ms),
            update_time: timestamp_of(geofence.changed_ms),
            updated_by: geofence.changed_by.clone(),
        }
    }

    async fn change(&self, request: GeofenceRequest, sight: &Sight) -> Result<api::Geofence, Refusal> {
        let sees = |part: &GeofencePart| sight.sees_part(part);
        let changed = self.book.change(&self.scope.organization, request, &sees).await;
        changed.map(|geofence| self.geofence_of(&geofence)).map_err(Refusal::geofence)
    }

    async fn create(
        &self,
        request: CreateGeofenceRequest,
        by: String,
        sight: &Sight,
    ) -> Result<api::Geofence, Refusal> {
        self.scope.parent(&request.parent)?;
        let id = match request.geofence_id.as_str() {
            "" => id_for(&by, &request.request_id).map_err(|e| field("geofence_id", e))?,
            id => GeofenceId::new(id).map_err(|e| field("geofence_id", e))?,
        };
        let geofence = request.geofence.ok_or_else(|| field("geofence", "it is missing"))?;
        let wish = GeofenceRequest {
            id,
            change: GeofenceChange::Create(spec(&geofence)?),
            by,
            request_id: request.request_id,
            expected: None,
            validate_only: request.validate_only,
        };
        self.change(wish, sight).await
    }

    async fn update(
        &self,
        request: UpdateGeofenceRequest,
        by: String,
        sight: &Sight,
    ) -> Result<api::Geofence, Refusal> {
        let geofence = request.geofence.ok_or_else(|| field("geofence", "it is missing"))?;
        let mask = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
        let wish = GeofenceRequest {
            id: self.named(&geofence.name)?,
            change: GeofenceChange::Update(patch(&geofence, &mask)?),
            by,
            request_id: request.request_id,
            expected: etag_of(&geofence.etag)?,
            validate_only: request.validate_only,
        };
        self.change(wish, sight).await
    }

    async fn delete(
        &self,
        request: DeleteGeofenceRequest,
        by: String,
        sight: &Sight,
    ) -> Result<api::Geofence, Refusal> {
        let wish = GeofenceRequest {
            id: self.named(&request.name)?,
            change: GeofenceChange::Delete,
            by,
            request_id: request.request_id,
            expected: etag_of(&request.etag)?,
            validate_only: request.validate_only,
        };
        self.change(wish, sight).await
    }

    fn list(&self, request: &ListGeofencesRequest, sight: &Sight) -> Result<ListGeofencesResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let kind = match request.kind() {
            Kind::Unspecified if request.kind != 0 => return Err(field("kind", KINDS)),
            kind => kind_from(kind),
        };
        let of = format!("geofences {}", request.kind);
        let (size, after) = page(request.page_size, &request.page_token, &of)?;
        let after = after.map(|id| GeofenceId::new(&id).map_err(|e| field("page_token", e))).transpose()?;
        let wanted = |fence: &Geofence| {
            kind.is_none_or(|kind| fence.spec.kind == kind) && sight.sees_part(&fence.spec.part)
        };
        // One more than wanted tells whether there is another page.
        let mut found = self.book.list(&self.scope.organization, after.as_ref(), size + 1, &wanted);
        let next_page_token = next_page(&mut found, size, &of, |fence| fence.id.as_str());
        let geofences = found.iter().map(|geofence| self.geofence_of(geofence)).collect();
        Ok(ListGeofencesResponse { geofences, next_page_token })
    }

    async fn vehicles(
        &self,
        request: &ListVehiclesInGeofenceRequest,
        sight: &Sight,
    ) -> Result<ListVehiclesInGeofenceResponse, Refusal> {
        let id = self.seen(&request.name, sight)?.id;
        let of = format!("vehicles in {id}");
        let (size, after) = page(request.page_size, &request.page_token, &of)?;
        let after = after.map(|id| VehicleId::new(&id).map_err(|e| field("page_token", e))).transpose()?;
        let seen = sight.seen()?;
        let (book, organization) = (Arc::clone(&self.book), self.scope.organization);
        let found = tokio::task::spawn_blocking(move || {
            let sees = |vehicle: &VehicleId| seen.has(vehicle);
            book.vehicles(&organization, &id, after.as_ref(), size + 1, &sees)
        });
        // It panicked, which was reported, or the node is stopping.
        let found = found.await.map_err(|_| Refusal::Stopping)?;
        let mut found = found.ok_or_else(|| Refusal::no_geofence(id))?;
        let next_page_token = next_page(&mut found, size, &of, |visit| visit.vehicle.as_str());
        let visits = found.into_iter().map(|visit| {
            let (organization, vehicle) = (organization.to_string(), visit.vehicle.to_string());
            Visit {
                vehicle: VehicleName { organization, vehicle }.to_string(),
                counts: visit.since_ms.is_some(),
                enter_time: visit.since_ms.and_then(timestamp_of),
            }
        });
        Ok(ListVehiclesInGeofenceResponse { visits: visits.collect(), next_page_token })
    }
}

/// An id for whoever names none: the same for the same request of the same caller.
fn id_for(by: &str, request_id: &str) -> Result<GeofenceId, NoGeofenceId> {
    let number = match request_id {
        "" => rand::random(),
        request_id => shard::fnv1a_64(format!("{by}\n{request_id}").as_bytes()),
    };
    GeofenceId::new(&format!("g-{number:016x}"))
}

const KINDS: &str = "it is one of KIND_KEEP_IN, KIND_KEEP_OUT and KIND_NOTIFY";

const fn kind_of(kind: GeofenceKind) -> Kind {
    match kind {
        GeofenceKind::KeepIn => Kind::KeepIn,
        GeofenceKind::KeepOut => Kind::KeepOut,
        GeofenceKind::Notify => Kind::Notify,
    }
}

const fn kind_from(kind: Kind) -> Option<GeofenceKind> {
    match kind {
        Kind::Unspecified => None,
        Kind::KeepIn => Some(GeofenceKind::KeepIn),
        Kind::KeepOut => Some(GeofenceKind::KeepOut),
        Kind::Notify => Some(GeofenceKind::Notify),
    }
}

fn point_of(place: Place) -> api::Point {
    let degrees = |e7: i32| f64::from(e7) / 1e7;
    api::Point { latitude: degrees(place.latitude_e7), longitude: degrees(place.longitude_e7) }
}

fn shape_of(shape: &GeofenceShape) -> api::geofence::Shape {
    match shape {
        GeofenceShape::Circle { centre, radius_m } => {
            let (center, radius_m) = (Some(point_of(*centre)), *radius_m);
            api::geofence::Shape::Circle(api::Circle { center, radius_m })
        }
        GeofenceShape::Polygon(places) => {
            let points = places.iter().map(|place| point_of(*place)).collect();
            api::geofence::Shape::Polygon(api::Polygon { points })
        }
    }
}

fn part_of(part: &GeofencePart) -> Option<api::geofence::Part> {
    match part {
        GeofencePart::Organization => None,
        GeofencePart::Fleet(fleet) => Some(api::geofence::Part::Fleet(fleet.clone())),
        GeofencePart::Depot(depot) => Some(api::geofence::Part::Depot(depot.clone())),
    }
}

fn kind(geofence: &api::Geofence) -> Result<GeofenceKind, Refusal> {
    kind_from(geofence.kind()).ok_or_else(|| field("kind", KINDS))
}

fn place(point: &api::Point) -> Result<Place, Refusal> {
    let e7 = |degrees: f64, most: f64| {
        let fits = (-most..=most).contains(&degrees);
        // Within the range of the type, by the bound.
        fits.then(|| (degrees * 1e7).round() as i32)
    };
    let of = |point: &api::Point| {
        Some(Place { latitude_e7: e7(point.latitude, 90.0)?, longitude_e7: e7(point.longitude, 180.0)? })
    };
    of(point).ok_or_else(|| field("shape", "latitudes are -90 to 90 degrees, longitudes -180 to 180"))
}

fn shape(geofence: &api::Geofence) -> Result<GeofenceShape, Refusal> {
    match &geofence.shape {
        Some(api::geofence::Shape::Circle(circle)) => {
            let centre =
                circle.center.as_ref().ok_or_else(|| field("shape", "the circle's center is missing"))?;
            Ok(GeofenceShape::Circle { centre: place(centre)?, radius_m: circle.radius_m })
        }
        Some(api::geofence::Shape::Polygon(polygon)) => {
            polygon.points.iter().map(place).collect::<Result<_, _>>().map(GeofenceShape::Polygon)
        }
        None => Err(field("shape", "say circle or polygon")),
    }
}

fn part(geofence: &api::Geofence) -> GeofencePart {
    match &geofence.part {
        None => GeofencePart::Organization,
        Some(api::geofence::Part::Fleet(fleet)) => GeofencePart::Fleet(fleet.clone()),
        Some(api::geofence::Part::Depot(depot)) => GeofencePart::Depot(depot.clone()),
    }
}

fn dwell(geofence: &api::Geofence) -> Result<u32, Refusal> {
    let dwell = geofence.dwell.unwrap_or_default();
    let seconds = u32::try_from(dwell.seconds).ok().filter(|_| dwell.nanos == 0);
    seconds.ok_or_else(|| field("dwell", "it is whole seconds, at most a day"))
}

fn spec(geofence: &api::Geofence) -> Result<GeofenceSpec, Refusal> {
    Ok(GeofenceSpec {
        display_name: geofence.display_name.clone(),
        part: part(geofence),
        kind: kind(geofence)?,
        shape: shape(geofence)?,
        dwell_s: dwell(geofence)?,
        hysteresis_m: geofence.hysteresis_m,
        enabled: !geofence.disabled,
    })
}

/// What a mask takes of a geofence; all of it without one.
fn patch(geofence: &api::Geofence, mask: &[String]) -> Result<GeofencePatch, Refusal> {
    const ALL: [&str; 7] = ["display_name", "kind", "shape", "part", "dwell", "hysteresis_m", "disabled"];
    let mask: Vec<&str> = match mask {
        [] => ALL.to_vec(),
        [all] if all == "*" => ALL.to_vec(),
        paths => paths.iter().map(String::as_str).collect(),
    };
    let mut patch = GeofencePatch::default();
    for path in mask {
        match path {
            "display_name" => patch.display_name = Some(geofence.display_name.clone()),
            "kind" => patch.kind = Some(kind(geofence)?),
            "shape" | "circle" | "polygon" => patch.shape = Some(shape(geofence)?),
            "part" | "fleet" | "depot" => patch.part = Some(part(geofence)),
            "dwell" => patch.dwell_s = Some(dwell(geofence)?),
            "hysteresis_m" => patch.hysteresis_m = Some(geofence.hysteresis_m),
            "disabled" => patch.enabled = Some(!geofence.disabled),
            other => {
                let known = ALL.join(", ");
                return Err(field("update_mask", format!("`{other}` cannot be changed; fields are {known}")));
            }
        }
    }
    Ok(patch)
}

#[tonic::async_trait]
impl GeofenceService for Geofences {
    async fn create_geofence(
        &self,
        request: Request<CreateGeofenceRequest>,
    ) -> Result<Response<api::Geofence>, Status> {
        let (by, sight) = (who(&request), sight(&request));
        self.scope.measured("CreateGeofence", self.create(request.into_inner(), by, &sight)).await
    }

    async fn get_geofence(
        &self,
        request: Request<GetGeofenceRequest>,
    ) -> Result<Response<api::Geofence>, Status> {
        self.scope
            .measured("GetGeofence", async {
                let found = self.seen(&request.get_ref().name, &sight(&request))?;
                Ok(self.geofence_of(&found))
            })
            .await
    }

    async fn list_geofences(
        &self,
        request: Request<ListGeofencesRequest>,
    ) -> Result<Response<ListGeofencesResponse>, Status> {
        self.scope.measured("ListGeofences", async { self.list(request.get_ref(), &sight(&request)) }).await
    }

    async fn update_geofence(
        &self,
        request: Request<UpdateGeofenceRequest>,
    ) -> Result<Response<api::Geofence>, Status> {
        let (by, sight) = (who(&request), sight(&request));
        self.scope.measured("UpdateGeofence", self.update(request.into_inner(), by, &sight)).await
    }

    async fn delete_geofence(
        &self,
        request: Request<DeleteGeofenceRequest>,
    ) -> Result<Response<api::Geofence>, Status> {
        let (by, sight) = (who(&request), sight(&request));
        self.scope.measured("DeleteGeofence", self.delete(request.into_inner(), by, &sight)).await
    }

    async fn list_vehicles_in_geofence(
        &self,
        request: Request<ListVehiclesInGeofenceRequest>,
    ) -> Result<Response<ListVehiclesInGeofenceResponse>, Status> {
        let (sight, request) = (sight(&request), request.into_inner());
        self.scope.measured("ListVehiclesInGeofence", self.vehicles(&request, &sight)).await
    }
}
