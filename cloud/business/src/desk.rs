//! What people ask of the business.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use remuda_billing::fare::Measured;
use remuda_billing::quote::Quote;
use remuda_contracts::booking::{Booking, BookingStop};
use remuda_contracts::business::{
    Asker, BookTrip, BusinessDesk, BusinessError, Place, Resolution, SagaLine, SagaView, TripView, UserView,
};
use remuda_contracts::money::{Currency, Money};
use remuda_contracts::trips::CancelledBy;
use remuda_eventsourcing::Context;
use remuda_model::{OrganizationId, VehicleId};
use remuda_saga::{Requester, SagaError, SagaId, Summary, timeline};
use remuda_trips::TripCommand;
use remuda_trips::state::TripPhase;
use remuda_users::privacy::UserRef;
use remuda_users::state::{PersonalField, Preferences, Role, UserPhase};
use remuda_users::{UserCommand, UserError};
use remuda_vehicles::reservation::ReservationCommand;

use crate::convert::{ask_error, saga_error, saga_line, saga_view, trip_view, user_now, user_view};
use crate::limits;
use crate::start::{BOOKING_SAGA, Parts};

mod analytics;
mod billing;
mod feedback;
mod notifications;
mod reactors;
mod sagas;
mod sharing;
mod vehicles;

pub(crate) struct Desk(pub Arc<Parts>);

fn refused(code: &str, text: impl Into<String>) -> BusinessError {
    BusinessError::Refused { code: code.to_owned(), text: text.into() }
}

fn unavailable(error: impl ToString) -> BusinessError {
    BusinessError::Unavailable(error.to_string())
}

fn user_error(error: UserError) -> BusinessError {
    match error {
        UserError::Ask(error) => ask_error(error),
        UserError::BadId(text) => refused("bad-user-id", text),
        other => unavailable(other),
    }
}

const PHASES: [TripPhase; 8] = [
    TripPhase::Requested,
    TripPhase::Assigned,
    TripPhase::Arriving,
    TripPhase::Boarding,
    TripPhase::UnderWay,
    TripPhase::Completed,
    TripPhase::Cancelled,
    TripPhase::NoShow,
];

impl Desk {
    fn context(&self, asker: &Asker, verb: &str, correlation_id: &str) -> Context {
        Context {
            now_ms: (self.0.clock)(),
            command_id: format!("{verb}/{}", asker.request_id),
            actor: format!("user/{}", asker.who),
            correlation_id: correlation_id.to_owned(),
        }
    }

    fn saga_id(&self, organization: &OrganizationId, id: &str) -> SagaId {
        SagaId { organization: *organization, id: id.to_owned() }
    }

    /// Only one organisation does business here.
    fn check(&self, organization: &OrganizationId) -> Result<(), BusinessError> {
        if *organization == self.0.organization {
            return Ok(());
        }
        Err(BusinessError::NotFound { what: "organization", id: organization.to_string() })
    }

    fn planned(&self, trip: &BookTrip) -> Measured {
        let way = self.0.dispatch.through(&trip.stops);
        Measured {
            distance_m: way.metres.round() as u64,
            duration_ms: (way.seconds * 1e3).round() as i64,
            waiting_ms: 0,
        }
    }

    /// A request's name is for one ride: under another's, somebody would ride at another's price.
    fn same_ride(quote: &Quote, trip: &BookTrip, planned: Measured) -> Result<(), BusinessError> {
        if quote.rider == trip.rider && quote.planned == planned {
            return Ok(());
        }
        Err(refused("request-id-taken", "this request id was used for another ride; take a new one"))
    }

    /// What the ride should cost: a quote of the booking's own name.
    async fn quoted(&self, trip: &BookTrip, id: &str, planned: Measured) -> Result<Money, BusinessError> {
        let quote = self.0.billing.give_quote(&self.0.organization, id, &trip.rider, planned, 0).await;
        let quote = quote.map_err(|error| refused("no-quote", error.to_string()))?;
        Self::same_ride(&quote, trip, planned)?;
        self.0.billing.accept_quote(&self.0.organization, id, id).await.map_err(ask_error)?;
        Ok(quote.fare.gross)
    }

    async fn vehicles(&self, trip: &BookTrip) -> Result<Vec<String>, BusinessError> {
        if !trip.vehicles.is_empty() {
            return Ok(trip.vehicles.clone());
        }
        let near = self.0.dispatch.candidates(trip.stops[0], (self.0.clock)()).await;
        if near.is_empty() {
            return Err(refused(
                "no-vehicle-free",
                "no vehicle in service is there and free; try again later",
            ));
        }
        Ok(near.into_iter().map(|vehicle: VehicleId| vehicle.to_string()).collect())
    }

    async fn seen(&self, organization: &OrganizationId, id: &str) -> Result<TripView, BusinessError> {
        let saga = self.standing(&self.saga_id(organization, id)).await?;
        let line = self.line(organization, id).await?;
        if saga.is_none() && line.is_none() {
            return Err(BusinessError::NotFound { what: "trip", id: id.to_owned() });
        }
        Ok(trip_view(id, line, saga.as_ref()))
    }

    /// A trip as its own aggregate says: a list may be a moment behind.
    async fn line(
        &self,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<Option<remuda_trips::lists::TripLine>, BusinessError> {
        let seen = self.0.trips.entities().read(organization, id).await.map_err(ask_error)?;
        if seen.state.phase == TripPhase::Unknown {
            return Ok(None);
        }
        let listed = self.0.lists.trip(organization, id).map_err(unavailable)?;
        let trip = seen.state;
        Ok(Some(remuda_trips::lists::TripLine {
            trip: id.to_owned(),
            phase: trip.phase,
            rider: trip.parties.rider,
            vehicle: trip.parties.vehicle,
            requested_ms: trip.requested_ms,
            rating: trip.rating,
            ..listed.unwrap_or_default()
        }))
    }

    /// How a saga stands; none for one that was never started.
    async fn standing(&self, saga: &SagaId) -> Result<Option<Summary>, BusinessError> {
        match self.0.sagas.get(saga).await {
            Ok(summary) => Ok(Some(summary).filter(|summary| !summary.saga.is_empty())),
            Err(SagaError::Refused { code, .. }) if code == "not-started" => Ok(None),
            Err(error) => Err(saga_error(error, &saga.id)),
        }
    }

    async fn wait(&self, id: &SagaId) -> Option<Summary> {
        tokio::time::timeout(limits::BOOKING_PATIENCE, self.0.sagas.wait(id)).await.ok()?.ok()
    }
}

fn stop_of(place: &Place) -> BookingStop {
    BookingStop {
        latitude_e7: place.latitude_e7,
        longitude_e7: place.longitude_e7,
        radius_m: 50,
        label: None,
    }
}

#[async_trait]
impl BusinessDesk for Desk {
    async fn book(
        &self,
        organization: &OrganizationId,
        trip: BookTrip,
        asker: Asker,
    ) -> Result<TripView, BusinessError> {
        self.check(organization)?;
        if !(2..=limits::STOPS_MAX).contains(&trip.stops.len()) {
            return Err(refused("bad-stops", format!("a trip has 2 to {} stops", limits::STOPS_MAX)));
        }
        // The request's own name is the booking's: the same request again finds the same booking.
        let id = asker.request_id.clone();
        let saga = self.saga_id(organization, &id);
        let planned = self.planned(&trip);
        if self.standing(&saga).await?.is_some() {
            let known = self.0.billing.quotes().read(organization, &id).await.map_err(ask_error)?.state.quote;
            known.map_or(Ok(()), |quote| Self::same_ride(&quote, &trip, planned))?;
        } else {
            // Before anything is promised: who gets no vehicle has not used the request's name up.
            let vehicles = self.vehicles(&trip).await?;
            let booking = Booking {
                rider: trip.rider.clone(),
                price: self.quoted(&trip, &id, planned).await?,
                vehicles,
                stops: trip.stops.iter().map(stop_of).collect(),
                planned_distance_m: Some(planned.distance_m),
                quote_id: Some(id.clone()),
                driver: None,
                fleet: None,
                depot: None,
            };
            let input = serde_json::to_value(&booking).map_err(unavailable)?;
            let by = Requester { actor: format!("user/{}", asker.who), request_id: format!("book/{id}") };
            self.0.sagas.start(&saga, BOOKING_SAGA, input, &by).await.map_err(|e| saga_error(e, &id))?;
        }
        self.wait(&saga).await;
        self.seen(organization, &id).await
    }

    async fn trip(&self, organization: &OrganizationId, id: &str) -> Result<TripView, BusinessError> {
        self.check(organization)?;
        self.seen(organization, id).await
    }

    async fn trips(
        &self,
        organization: &OrganizationId,
        state: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TripView>, BusinessError> {
        self.check(organization)?;
        let lines = match state {
            None => self.0.lists.all(organization, after, limit),
            Some(name) => {
                let phase = PHASES.into_iter().find(|phase| phase.name() == name).ok_or_else(|| {
                    let known: Vec<&str> = PHASES.iter().map(|phase| phase.name()).collect();
                    refused(
                        "bad-state",
                        format!("there is no state `{name}`; there are {}", known.join(", ")),
                    )
                })?;
                self.0.lists.in_state(organization, phase, after, limit)
            }
        };
        let lines = lines.map_err(unavailable)?;
        Ok(lines.into_iter().map(|line| trip_view(&line.trip.clone(), Some(line), None)).collect())
    }

    async fn cancel(
        &self,
        organization: &OrganizationId,
        id: &str,
        reason: &str,
        asker: Asker,
    ) -> Result<TripView, BusinessError> {
        self.check(organization)?;
        let saga = self.saga_id(organization, id);
        if let Some(summary) = self.standing(&saga).await?
            && !summary.status.is_ended()
        {
            let by = Requester {
                actor: format!("user/{}", asker.who),
                request_id: format!("cancel/{}", asker.request_id),
            };
            match self.0.sagas.cancel(&saga, reason, &by).await {
                Ok(_) => {}
                // It has ended meanwhile: then the trip itself is called off below.
                Err(SagaError::Refused { .. }) => {}
                Err(error) => return Err(saga_error(error, id)),
            }
            if self.wait(&saga).await.is_none_or(|summary| !summary.status.is_ended()) {
                // It unwinds, or is stuck: there may be no trip yet that could be asked.
                return self.seen(organization, id).await;
            }
        }
        let seen = self.seen(organization, id).await?;
        if seen.state == "not-booked" {
            return Ok(seen);
        }
        let command = if seen.state == "under-way" {
            // What was driven is paid for.
            TripCommand::Conclude { reason: reason.to_owned(), mark: None }
        } else {
            let by = if asker.who == seen.rider { CancelledBy::Rider } else { CancelledBy::Operator };
            TripCommand::Cancel { id: id.to_owned(), by, reason: reason.to_owned() }
        };
        let context = self.context(&asker, "cancel", id);
        self.0.trips.entities().ask(organization, id, command, context).await.map_err(ask_error)?;
        self.seen(organization, id).await
    }

    async fn register_rider(
        &self,
        organization: &OrganizationId,
        id: &str,
        name: String,
        email: Option<String>,
        asker: Asker,
    ) -> Result<UserView, BusinessError> {
        self.check(organization)?;
        let user = UserRef::new(*organization, id).map_err(|text| refused("bad-user-id", text))?;
        let mut profile = BTreeMap::from([(PersonalField::Name, name)]);
        profile.extend(email.map(|email| (PersonalField::Email, email)));
        let roles = BTreeSet::from([Role::Rider]);
        let context = self.context(&asker, "register", id);
        self.0
            .users
            .register(&user, roles, profile, Preferences::default(), Currency::EUR, context)
            .await
            .map_err(user_error)?;
        self.user(organization, id).await
    }

    async fn top_up(
        &self,
        organization: &OrganizationId,
        id: &str,
        amount: Money,
        asker: Asker,
    ) -> Result<UserView, BusinessError> {
        self.check(organization)?;
        let reference = asker.request_id.clone();
        let context = self.context(&asker, "top-up", id);
        let command = UserCommand::TopUp { amount, reference };
        self.0.users.entities().ask(organization, id, command, context).await.map_err(ask_error)?;
        self.user(organization, id).await
    }

    async fn user(&self, organization: &OrganizationId, id: &str) -> Result<UserView, BusinessError> {
        self.check(organization)?;
        let seen = self.0.users.entities().read(organization, id).await.map_err(ask_error)?;
        if seen.state.phase == UserPhase::Unknown {
            return Err(BusinessError::NotFound { what: "user", id: id.to_owned() });
        }
        Ok(user_now(id, &seen.state))
    }

    async fn users(
        &self,
        organization: &OrganizationId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<UserView>, BusinessError> {
        self.check(organization)?;
        let lines = self.0.riders.all(organization, after, limit).map_err(unavailable)?;
        Ok(lines.into_iter().map(user_view).collect())
    }

    async fn erase_user(
        &self,
        organization: &OrganizationId,
        id: &str,
        forfeit: bool,
        asker: Asker,
    ) -> Result<UserView, BusinessError> {
        self.check(organization)?;
        let user = UserRef::new(*organization, id).map_err(|text| refused("bad-user-id", text))?;
        let running =
            self.0.lists.running_of_rider(organization, id, limits::STOPS_MAX).map_err(unavailable)?;
        let context = self.context(&asker, "erase", id);
        self.0.users.erase(&user, running, forfeit, context).await.map_err(user_error)?;
        self.user(organization, id).await
    }

    async fn set_in_service(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        in_service: bool,
        reason: &str,
        asker: Asker,
    ) -> Result<(), BusinessError> {
        self.check(organization)?;
        let command = if in_service {
            ReservationCommand::PutInService
        } else {
            ReservationCommand::TakeOutOfService { reason: reason.to_owned(), when_free: true }
        };
        let context = self.context(&asker, "service", vehicle);
        let asked = self.0.vehicles.entities().ask(organization, vehicle, command, context).await;
        asked.map(|_| ()).map_err(ask_error)
    }

    async fn sagas(
        &self,
        organization: &OrganizationId,
        state: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<SagaView>, Option<String>), BusinessError> {
        self.check(organization)?;
        self.list_sagas(state, after, limit).await
    }

    async fn saga(
        &self,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<(SagaView, Vec<SagaLine>), BusinessError> {
        self.check(organization)?;
        let saga = self.saga_id(organization, id);
        let summary = self.0.sagas.get(&saga).await.map_err(|error| saga_error(error, id))?;
        let history = self.0.sagas.history(&saga).await.map_err(|error| saga_error(error, id))?;
        Ok((saga_view(&summary), timeline(&history).into_iter().map(saga_line).collect()))
    }

    async fn resolve(
        &self,
        organization: &OrganizationId,
        id: &str,
        resolution: Resolution,
        reason: &str,
        asker: Asker,
    ) -> Result<SagaView, BusinessError> {
        self.check(organization)?;
        let saga = self.saga_id(organization, id);
        let by = Requester {
            actor: format!("user/{}", asker.who),
            request_id: format!("resolve/{}", asker.request_id),
        };
        let done = match resolution {
            Resolution::Retry => self.0.sagas.retry(&saga, reason, &by).await,
            Resolution::Skip(step) => self.0.sagas.skip(&saga, &step, reason, &by).await,
            Resolution::Compensate => self.0.sagas.compensate(&saga, reason, &by).await,
        };
        done.map(|summary| saga_view(&summary)).map_err(|error| saga_error(error, id))
    }
}
