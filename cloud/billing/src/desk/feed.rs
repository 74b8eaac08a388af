//! Events of trips and payments taken from the journal's feeds.

use std::collections::{BTreeMap, VecDeque};

use remuda_contracts::trips::{TRIP_CANCELLED, TRIP_COMPLETED, TRIP_SCHEMA_VERSION};
use remuda_eventsourcing::{Aggregate, Event, Unreadable, codec};
use remuda_model::OrganizationId;

use super::{Billing, CalculateError, Calculated, Driven};
use crate::payment::Payment;

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
    /// Takes one event of the journal in, whatever it is; `None` for one that billing does not care for. At least once is
    /// enough: the same event charges once.
    ///
    /// # Errors
    /// [`FeedError`]: give the event again when it is transient, else show it to somebody.
    pub async fn take(&self, event: &Event) -> Result<Option<Calculated>, FeedError> {
        let stored = &event.event;
        let kind = stored.event_type.as_str();
        if kind != TRIP_COMPLETED && kind != TRIP_CANCELLED {
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
            self.cancel(organization, stored.event_id, stored.time_ms, &trip).await?
        };
        Ok(Some(calculated))
    }
}

/// Payments that are not at rest, and when to look at each again. Filled from the journal ([`Backlog::note`]), so that it can be
/// rebuilt; drained by [`Backlog::work`]. Its size is that of the payments in the making, which the shell of entities bounds.
#[derive(Debug, Default)]
pub struct Backlog {
    due: VecDeque<(OrganizationId, String)>,
    waiting: BTreeMap<(OrganizationId, String), (u32, i64)>,
    /// Declined too often.
    attention: BTreeMap<(OrganizationId, String), ()>,
}

/// First and longest wait between calls to a provider that gives no definite answer, ms.
const WAIT_MS: (i64, i64) = (200, 60_000);

impl Backlog {
    /// Something happened to a payment: look at it. Other events are ignored.
    pub fn note(&mut self, event: &Event) {
        let stream = &event.event.stream;
        if stream.aggregate_type != Payment::TYPE {
            return;
        }
        let which = (stream.organization, stream.aggregate_id.clone());
        self.attention.remove(&which);
        if !self.waiting.contains_key(&which) && self.due.back() != Some(&which) {
            self.due.push_back(which);
        }
    }

    /// Payments to be looked at, and those that wait for a provider.
    pub fn len(&self) -> usize {
        self.due.len() + self.waiting.len()
    }

    /// Is everything at rest?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Payments that somebody must look at.
    pub fn needs_attention(&self) -> impl Iterator<Item = &(OrganizationId, String)> {
        self.attention.keys()
    }

    /// Drives what is due, at most `most` payments. Answers how many came to rest.
    pub async fn work(&mut self, billing: &Billing, now_ms: i64, most: usize) -> usize {
        let ready = self.waiting.iter().filter(|(_, (_, at))| *at <= now_ms);
        let ready: Vec<_> = ready.map(|(which, (tries, _))| (which.clone(), *tries)).take(most).collect();
        let mut jobs: Vec<((OrganizationId, String), u32)> = ready;
        while jobs.len() < most {
            let Some(which) = self.due.pop_front() else { break };
            jobs.push((which, 0));
        }
        let mut rested = 0;
        for (which, tries) in jobs {
            self.waiting.remove(&which);
            let again = match billing.drive(&which.0, &which.1).await {
                Ok(Driven::AtRest) => {
                    rested += 1;
                    None
                }
                Ok(Driven::NeedsAttention) => {
                    tracing::warn!(organization = %which.0, payment = %which.1, "a price is due and was declined");
                    self.attention.insert(which.clone(), ());
                    None
                }
                Ok(Driven::Waiting(error)) => {
                    tracing::debug!(payment = %which.1, %error, "the payment waits for its provider");
                    Some(tries + 1)
                }
                Err(error) => {
                    let transient = error.is_transient();
                    tracing::error!(payment = %which.1, %error, transient, "a payment cannot be driven");
                    Some(tries + 1)
                }
            };
            if let Some(tries) = again {
                let wait = WAIT_MS.0.saturating_mul(1 << tries.min(20)).min(WAIT_MS.1);
                self.waiting.insert(which, (tries, now_ms.saturating_add(wait)));
            }
        }
        rested
    }
}
