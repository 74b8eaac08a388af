//! `billing.calculate`: what a ride that ended costs, charged exactly once.

use remuda_contracts::trips::{TripCancelled, TripCompleted};
use remuda_entities::AskError;
use remuda_model::OrganizationId;

use super::Billing;
use crate::fare::{Fare, FareError, Measured, Promise, cancellation, fare, fare_with_promise, free};
use crate::money::Money;
use crate::payment::{Method, PaymentCommand};
use crate::quote::Quote;
use crate::tariff::Tariff;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Calculated {
    /// Charged now.
    Charged(Money),
    /// This very event was charged before.
    Already,
    /// Nothing is due, and any hold is let go.
    Nothing,
}

/// A ride that could not be charged. Final, and for somebody to look at, unless it is
/// [transient](Self::is_transient).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalculateError {
    /// No tariff held when the ride was asked for.
    #[error("no tariff {tariff:?} held when ride {trip} was asked for")]
    NoTariff {
        /// The ride.
        trip: String,
        /// The tariff.
        tariff: String,
    },
    /// It cannot be priced, not even as it was planned.
    #[error("ride {trip} cannot be priced: {source}")]
    Fare {
        /// The ride.
        trip: String,
        /// Why.
        source: FareError,
    },
    /// The payment says no, or does not answer.
    #[error("ride {trip} cannot be charged: {source}")]
    Ask {
        /// The ride.
        trip: String,
        /// Why.
        source: AskError,
    },
}

impl CalculateError {
    /// May the same event be charged later?
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Ask { source, .. } if source.is_transient())
    }
}

/// Distance and times from the vehicle's own marks: the odometer where both tell it, else what the trip says.
pub fn measured(trip: &TripCompleted) -> Measured {
    let odometer = trip.start.odometer_m.zip(trip.end.odometer_m).and_then(|(from, to)| to.checked_sub(from));
    let duration_ms = trip.end.time_ms.saturating_sub(trip.start.time_ms);
    Measured {
        distance_m: odometer.unwrap_or(trip.distance_m),
        duration_ms,
        waiting_ms: trip.waiting_ms.max(0),
    }
}

impl Billing {
    /// Charges a ride that was driven. The same event charges once; another event for the same ride is refused.
    ///
    /// # Errors
    /// [`CalculateError`].
    pub async fn calculate(
        &self,
        organization: &OrganizationId,
        event_id: [u8; 16],
        trip: &TripCompleted,
    ) -> Result<Calculated, CalculateError> {
        let quote = self.quote_of(organization, &trip.trip, trip.requested_ms, trip.quote.as_ref()).await?;
        let tariff = self.tariff(&trip.trip, quote.as_ref(), trip.requested_ms)?;
        let fare = self.price(trip, tariff, quote.as_ref())?;
        let charge = Charge {
            trip: &trip.trip,
            rider: &trip.parties.rider,
            hold_key: trip.hold_key.as_ref(),
            hold_amount: trip.quote.as_ref().map(|q| q.price),
            supplied_ms: trip.end.time_ms,
            tariff: &tariff.code,
            fare,
        };
        self.charge(organization, event_id, charge).await
    }

    /// Charges the fee of a ride that was not driven, or lets its hold go.
    ///
    /// # Errors
    /// [`CalculateError`].
    pub async fn cancel(
        &self,
        organization: &OrganizationId,
        event_id: [u8; 16],
        trip: &TripCancelled,
    ) -> Result<Calculated, CalculateError> {
        let quote = self.quote_of(organization, &trip.trip, trip.time_ms, trip.quote.as_ref()).await?;
        let tariff = self.tariff(&trip.trip, quote.as_ref(), trip.time_ms)?;
        let fee = cancellation(tariff, trip.fee)
            .map_err(|source| CalculateError::Fare { trip: trip.trip.clone(), source })?;
        let Some(fare) = fee else {
            return self.let_go(organization, event_id, trip, &tariff.code, free(tariff)).await;
        };
        let charge = Charge {
            trip: &trip.trip,
            rider: &trip.parties.rider,
            hold_key: trip.hold_key.as_ref(),
            hold_amount: trip.quote.as_ref().map(|q| q.price),
            supplied_ms: trip.time_ms,
            tariff: &tariff.code,
            fare,
        };
        self.charge(organization, event_id, charge).await
    }

    /// Nothing is due: any hold goes, ours or one made elsewhere.
    async fn let_go(
        &self,
        organization: &OrganizationId,
        event_id: [u8; 16],
        trip: &TripCancelled,
        tariff: &str,
        fare: Fare,
    ) -> Result<Calculated, CalculateError> {
        let outcome = if trip.hold_key.is_some() {
            let (supplied_ms, hold_key) = (trip.time_ms, trip.hold_key.as_ref());
            let hold_amount = trip.quote.as_ref().map(|q| q.price);
            let rider = &trip.parties.rider;
            let charge = Charge { trip: &trip.trip, rider, hold_key, hold_amount, supplied_ms, tariff, fare };
            self.charge(organization, event_id, charge).await.map(|_| ())
        } else {
            let void = PaymentCommand::Void { reason: "the ride was cancelled".into() };
            let command_id = format!("cancelled/{}", hex(event_id));
            let voided = self.pay(organization, &trip.trip, void, &command_id, "billing").await;
            voided.map(|_| ()).map_err(|source| CalculateError::Ask { trip: trip.trip.clone(), source })
        };
        match outcome {
            // Charged or captured before, by an event that came first: it stands.
            Ok(()) | Err(CalculateError::Ask { source: AskError::Refused { .. }, .. }) => {
                Ok(Calculated::Nothing)
            }
            Err(error) => Err(error),
        }
    }

    /// The price of a ride: measured and bound by its quote; as planned, where the vehicle tells nonsense.
    fn price(
        &self,
        trip: &TripCompleted,
        tariff: &Tariff,
        quote: Option<&Quote>,
    ) -> Result<Fare, CalculateError> {
        let told = trip.quote.as_ref().map(|q| q.price).filter(|price| price.currency == tariff.currency);
        let promise = match quote {
            Some(quote) => Some(Promise { gross: quote.fare.gross, surge_percent: quote.surge_percent }),
            // The quote itself is not known here: what the booking says of it still binds.
            None => told.map(|gross| Promise { gross, surge_percent: 100 }),
        };
        let priced = |measured: Measured| match promise {
            Some(promise) => fare_with_promise(tariff, measured, promise),
            None => fare(tariff, measured, 100),
        };
        let as_driven = priced(measured(trip));
        let as_driven = as_driven.or_else(|_| {
            let Measured { waiting_ms, .. } = measured(trip);
            priced(Measured { distance_m: trip.distance_m, duration_ms: trip.duration_ms, waiting_ms })
        });
        as_driven
            .or_else(|error| quote.map_or(Err(error), |quote| priced(quote.planned)))
            .map_err(|source| CalculateError::Fare { trip: trip.trip.clone(), source })
    }

    fn tariff(&self, trip: &str, quote: Option<&Quote>, asked_ms: i64) -> Result<&Tariff, CalculateError> {
        let settings = &self.inner.settings;
        let quoted = quote.and_then(|q| settings.tariffs.version(&q.tariff, q.tariff_version));
        quoted.or_else(|| settings.tariffs.at(&settings.tariff, asked_ms)).ok_or_else(|| {
            CalculateError::NoTariff { trip: trip.to_owned(), tariff: settings.tariff.clone() }
        })
    }

    /// The quote that binds: accepted by this ride, or still open when it was asked for.
    async fn quote_of(
        &self,
        organization: &OrganizationId,
        trip: &str,
        asked_ms: i64,
        named: Option<&remuda_contracts::trips::QuoteReference>,
    ) -> Result<Option<Quote>, CalculateError> {
        let Some(named) = named else { return Ok(None) };
        let seen = self.inner.quotes.read(organization, &named.quote_id).await;
        let state = match seen {
            Ok(seen) => seen.state,
            // Not a name that a quote of ours can have.
            Err(AskError::Invalid { .. }) => return Ok(None),
            Err(source) => return Err(CalculateError::Ask { trip: trip.to_owned(), source }),
        };
        let binds = match &state.accepted_by {
            Some(by) => by == trip,
            None => state.quote.as_ref().is_some_and(|quote| asked_ms <= quote.valid_until_ms),
        };
        Ok(state.quote.filter(|_| binds))
    }

    async fn charge(
        &self,
        organization: &OrganizationId,
        cause: [u8; 16],
        charge: Charge<'_>,
    ) -> Result<Calculated, CalculateError> {
        let Charge { trip, rider, hold_key, hold_amount, supplied_ms, tariff, fare } = charge;
        let gross = fare.gross;
        let command = PaymentCommand::Charge {
            cause,
            payer: rider.to_owned(),
            method: if hold_key.is_some() { Method::Credits } else { self.inner.settings.method },
            hold_reference: hold_key.cloned(),
            hold_amount: hold_amount.filter(|amount| hold_key.is_some() && amount.currency == gross.currency),
            supplied_ms,
            tariff: tariff.to_owned(),
            fare: Box::new(fare),
        };
        let command_id = format!("charge/{}", hex(cause));
        match self.pay(organization, trip, command, &command_id, "billing").await {
            Ok(outcome) if outcome.repeated || outcome.events.is_empty() => Ok(Calculated::Already),
            Ok(_) => Ok(Calculated::Charged(gross)),
            Err(source) => Err(CalculateError::Ask { trip: trip.to_owned(), source }),
        }
    }
}

struct Charge<'a> {
    trip: &'a str,
    rider: &'a str,
    hold_key: Option<&'a String>,
    hold_amount: Option<Money>,
    supplied_ms: i64,
    tariff: &'a str,
    fare: Fare,
}

pub(super) fn hex(id: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(id))
}
