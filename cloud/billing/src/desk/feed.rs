//! Events of trips and payments taken from the journal's feeds, by two reactors with offsets of their own.

use async_trait::async_trait;
use remuda_contracts::trips::{TRIP_CANCELLED, TRIP_COMPLETED, TRIP_NO_SHOW, TRIP_SCHEMA_VERSION};
use remuda_entities::reactor::{ReactError, Reactor};
use remuda_eventsourcing::{Event, Unreadable, codec};

use super::{Billing, CalculateError, Calculated, Driven};

/// An event that billing could not take in.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Its bytes are not of a form that this program knows.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The ride could not be charged.
    #[error(transparent)]
    Calculate(#[from] CalculateError),
}

impl FeedError {
    /// May the same event be taken in later?
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Calculate(error) if error.is_transient())
    }
}

impl Billing {
    /// Takes one event of the journal in, whatever it is; `None` for one that billing does not care for. At
    /// least once is enough: the same event charges once.
    ///
    /// # Errors
    /// [`FeedError`]: give the event again when it is transient, else show it to somebody.
    pub async fn take(&self, event: &Event) -> Result<Option<Calculated>, FeedError> {
        let stored = &event.event;
        let kind = stored.event_type.as_str();
        if ![TRIP_COMPLETED, TRIP_CANCELLED, TRIP_NO_SHOW].contains(&kind) {
            return Ok(None);
        }
        if stored.schema_version != TRIP_SCHEMA_VERSION {
            return Err(codec::unknown(kind, stored.schema_version).into());
        }
        let organization = &stored.stream.organization;
        let calculated = if kind == TRIP_COMPLETED {
            let trip = codec::decode(kind, stored.schema_version, &stored.payload)?;
            self.calculate(organization, stored.event_id, &trip).await?
        } else {
            let trip = codec::decode(kind, stored.schema_version, &stored.payload)?;
            self.cancel(organization, stored.event_id, &trip).await?
        };
        Ok(Some(calculated))
    }
}

/// `billing.calculate` at work: charges every ride that ended. Once a node.
#[derive(Clone)]
pub struct BillTrips(pub Billing);

#[async_trait]
impl Reactor for BillTrips {
    const NAME: &'static str = "billing-calculate";
    const READS: &'static [&'static str] = &["trip"];

    async fn react(&self, event: &Event) -> Result<(), ReactError> {
        match self.0.take(event).await {
            Ok(Some(calculated)) => {
                tracing::debug!(trip_id = event.event.stream.aggregate_id, ?calculated, "a ride was charged");
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) if error.is_transient() => Err(ReactError::Retry(error.to_string())),
            Err(error) => Err(ReactError::Poisoned(error.to_string())),
        }
    }
}

/// Drives every payment to its rest, whatever happens to it. Once a node. A payment whose provider gives no
/// definite answer is tried again with growing waits, and keeps those of its own shard waiting meanwhile.
#[derive(Clone)]
pub struct DrivePayments(pub Billing);

#[async_trait]
impl Reactor for DrivePayments {
    const NAME: &'static str = "billing-drive";
    const READS: &'static [&'static str] = &["payment"];

    async fn react(&self, event: &Event) -> Result<(), ReactError> {
        let stream = &event.event.stream;
        match self.0.drive(&stream.organization, &stream.aggregate_id).await {
            Ok(Driven::AtRest) => Ok(()),
            Ok(Driven::NeedsAttention) => {
                tracing::warn!(organization = %stream.organization, payment = stream.aggregate_id,
                    "a price is due and was declined; refund, write off or collect it");
                Ok(())
            }
            Ok(Driven::Waiting(error)) => Err(ReactError::Retry(error.to_string())),
            Err(error) if error.is_transient() => Err(ReactError::Retry(error.to_string())),
            Err(error) => Err(ReactError::Poisoned(error.to_string())),
        }
    }
}
