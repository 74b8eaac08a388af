//! Trips.

use remuda_api::trips::v1::trip_service_server::TripService;
use remuda_api::trips::v1::{
    BookTripRequest, CancelTripRequest, GetTripRequest, ListSharesRequest, ListSharesResponse,
    ListTripsRequest, ListTripsResponse, RevokeShareRequest, RevokeShareResponse, SetVehicleServiceRequest,
    SetVehicleServiceResponse, ShareTripRequest, ShareTripResponse, TrackTripRequest, Trip,
};
use remuda_contracts::business::{BookTrip, BusinessError, TripView};
use tonic::{Request, Response, Status};

use super::sharing::{Caller, Tracks};
use super::{Business, asker, convert, next_page_for, page_for};
use crate::refusal::Refusal;
use crate::scope::{field, sight, who};
use crate::sight::Sight;

/// What binds a page token to these pages.
const PAGES: &str = "trips";

impl Business {
    async fn book(&self, request: BookTripRequest, who: String) -> Result<Trip, Refusal> {
        self.scope.parent(&request.parent)?;
        if request.rider.is_empty() {
            return Err(field("rider", "it is empty"));
        }
        let stops = request.stops.iter().map(convert::place).collect::<Result<_, _>>()?;
        let trip = BookTrip { rider: request.rider, stops, vehicles: request.vehicles };
        let asker = asker(who, request.request_id)?;
        let view = self.desk.book(&self.scope.organization, trip, asker).await;
        view.map(|view| convert::trip(self.scope.organization, view)).map_err(Refusal::business)
    }

    /// A trip whose vehicle the caller sees now; for others, and while no vehicle has it, it is not there.
    pub(super) async fn trip_within(&self, id: &str, sight: &Sight) -> Result<TripView, BusinessError> {
        let view = self.desk.trip(&self.scope.organization, id).await?;
        if sight.sees_named_now(&view.vehicle)? {
            return Ok(view);
        }
        Err(BusinessError::NotFound { what: "trip", id: id.to_owned() })
    }

    /// Refuses a trip that the caller does not see.
    pub(super) async fn check_trip(&self, id: &str, sight: &Sight) -> Result<(), Refusal> {
        if sight.is_whole() {
            return Ok(());
        }
        self.trip_within(id, sight).await.map(|_| ()).map_err(Refusal::business)
    }

    async fn trip(&self, request: GetTripRequest, sight: &Sight) -> Result<Trip, Refusal> {
        let id = self.scope.child("trips", &request.name)?;
        let view = self.trip_within(&id, sight).await.map_err(Refusal::business)?;
        Ok(convert::trip(self.scope.organization, view))
    }

    async fn trips(&self, request: ListTripsRequest, sight: &Sight) -> Result<ListTripsResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let of = format!("{PAGES} {}", request.state);
        let (size, after) = page_for(sight, request.page_size, &request.page_token, &of)?;
        let state = Some(request.state.as_str()).filter(|state| !state.is_empty());
        // One more than wanted tells whether there is another page.
        let found = self.desk.trips(&self.scope.organization, state, after.as_deref(), size + 1).await;
        let mut found = found.map_err(Refusal::business)?;
        let next_page_token = next_page_for(sight, &mut found, size, &of, |view| &view.id);
        // A page may be shorter for it; the next one goes on behind what was left out.
        let seen = sight.seen()?;
        found.retain(|view| seen.has_named(&view.vehicle));
        let trips = found.into_iter().map(|view| convert::trip(self.scope.organization, view)).collect();
        Ok(ListTripsResponse { trips, next_page_token })
    }

    async fn cancel_trip_of(
        &self,
        request: CancelTripRequest,
        who: String,
        sight: &Sight,
    ) -> Result<Trip, Refusal> {
        let id = self.scope.child("trips", &request.name)?;
        self.check_trip(&id, sight).await?;
        if request.reason.trim().is_empty() {
            return Err(field("reason", "it is empty; say why the trip is called off"));
        }
        let asker = asker(who, request.request_id)?;
        let view = self.desk.cancel(&self.scope.organization, &id, request.reason.trim(), asker).await;
        view.map(|view| convert::trip(self.scope.organization, view)).map_err(Refusal::business)
    }

    async fn serve(
        &self,
        request: SetVehicleServiceRequest,
        who: String,
    ) -> Result<SetVehicleServiceResponse, Refusal> {
        let vehicle = self.scope.vehicle(&request.name, "name")?;
        if !request.in_service && request.reason.trim().is_empty() {
            return Err(field("reason", "it is empty; say why the vehicle is taken out of service"));
        }
        let (asker, reason) = (asker(who, String::new())?, request.reason.trim());
        let organization = &self.scope.organization;
        let done =
            self.desk.set_in_service(organization, vehicle.as_str(), request.in_service, reason, asker).await;
        done.map(|()| SetVehicleServiceResponse {}).map_err(Refusal::business)
    }
}

#[tonic::async_trait]
impl TripService for Business {
    async fn book_trip(&self, request: Request<BookTripRequest>) -> Result<Response<Trip>, Status> {
        let who = who(&request);
        self.scope.measured("BookTrip", self.book(request.into_inner(), who)).await
    }

    async fn get_trip(&self, request: Request<GetTripRequest>) -> Result<Response<Trip>, Status> {
        let sight = sight(&request);
        self.scope.measured("GetTrip", self.trip(request.into_inner(), &sight)).await
    }

    async fn list_trips(
        &self,
        request: Request<ListTripsRequest>,
    ) -> Result<Response<ListTripsResponse>, Status> {
        let sight = sight(&request);
        self.scope.measured("ListTrips", self.trips(request.into_inner(), &sight)).await
    }

    async fn cancel_trip(&self, request: Request<CancelTripRequest>) -> Result<Response<Trip>, Status> {
        let (who, sight) = (who(&request), sight(&request));
        self.scope.measured("CancelTrip", self.cancel_trip_of(request.into_inner(), who, &sight)).await
    }

    async fn share_trip(
        &self,
        request: Request<ShareTripRequest>,
    ) -> Result<Response<ShareTripResponse>, Status> {
        let (who, sight) = (who(&request), sight(&request));
        self.scope.measured("ShareTrip", self.share(request.into_inner(), who, &sight)).await
    }

    async fn list_shares(
        &self,
        request: Request<ListSharesRequest>,
    ) -> Result<Response<ListSharesResponse>, Status> {
        let sight = sight(&request);
        self.scope.measured("ListShares", self.shares(request.into_inner(), &sight)).await
    }

    async fn revoke_share(
        &self,
        request: Request<RevokeShareRequest>,
    ) -> Result<Response<RevokeShareResponse>, Status> {
        let (who, sight) = (who(&request), sight(&request));
        self.scope.measured("RevokeShare", self.unshare(request.into_inner(), who, &sight)).await
    }

    type TrackTripStream = Tracks;

    async fn track_trip(
        &self,
        request: Request<TrackTripRequest>,
    ) -> Result<Response<Self::TrackTripStream>, Status> {
        let caller = Caller::of(&request, self.scope.organization);
        self.scope.measured("TrackTrip", self.track(request.into_inner(), caller)).await
    }

    async fn set_vehicle_service(
        &self,
        request: Request<SetVehicleServiceRequest>,
    ) -> Result<Response<SetVehicleServiceResponse>, Status> {
        let who = who(&request);
        self.scope.measured("SetVehicleService", self.serve(request.into_inner(), who)).await
    }
}
