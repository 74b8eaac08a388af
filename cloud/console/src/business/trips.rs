//! Trips.

use remuda_api::trips::v1::trip_service_server::TripService;
use remuda_api::trips::v1::{
    BookTripRequest, CancelTripRequest, GetTripRequest, ListTripsRequest, ListTripsResponse,
    SetVehicleServiceRequest, SetVehicleServiceResponse, Trip,
};
use remuda_contracts::business::BookTrip;
use tonic::{Request, Response, Status};

use super::{Business, asker, convert, page};
use crate::page::PageToken;
use crate::refusal::Refusal;
use crate::scope::{field, who};

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

    async fn trip(&self, request: GetTripRequest) -> Result<Trip, Refusal> {
        let id = self.scope.child("trips", &request.name)?;
        let view = self.desk.trip(&self.scope.organization, &id).await;
        view.map(|view| convert::trip(self.scope.organization, view)).map_err(Refusal::business)
    }

    async fn trips(&self, request: ListTripsRequest) -> Result<ListTripsResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let of = format!("{PAGES} {}", request.state);
        let (size, after) = page(request.page_size, &request.page_token, &of)?;
        let state = Some(request.state.as_str()).filter(|state| !state.is_empty());
        // One more than wanted tells whether there is another page.
        let found = self.desk.trips(&self.scope.organization, state, after.as_deref(), size + 1).await;
        let mut found = found.map_err(Refusal::business)?;
        let more = found.len() > size;
        found.truncate(size);
        let next_page_token = match found.last() {
            Some(last) if more => PageToken::write_text(&last.id, &of),
            _ => String::new(),
        };
        let trips = found.into_iter().map(|view| convert::trip(self.scope.organization, view)).collect();
        Ok(ListTripsResponse { trips, next_page_token })
    }

    async fn cancel_trip_of(&self, request: CancelTripRequest, who: String) -> Result<Trip, Refusal> {
        let id = self.scope.child("trips", &request.name)?;
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
        self.scope.measured("GetTrip", self.trip(request.into_inner())).await
    }

    async fn list_trips(
        &self,
        request: Request<ListTripsRequest>,
    ) -> Result<Response<ListTripsResponse>, Status> {
        self.scope.measured("ListTrips", self.trips(request.into_inner())).await
    }

    async fn cancel_trip(&self, request: Request<CancelTripRequest>) -> Result<Response<Trip>, Status> {
        let who = who(&request);
        self.scope.measured("CancelTrip", self.cancel_trip_of(request.into_inner(), who)).await
    }

    async fn set_vehicle_service(
        &self,
        request: Request<SetVehicleServiceRequest>,
    ) -> Result<Response<SetVehicleServiceResponse>, Status> {
        let who = who(&request);
        self.scope.measured("SetVehicleService", self.serve(request.into_inner(), who)).await
    }
}
