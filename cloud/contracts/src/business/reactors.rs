//! Readers of the business journal: what stopped one, and letting it go on.

use async_trait::async_trait;
use remuda_model::OrganizationId;

use super::{Asker, BusinessError};

/// An event at which a reader stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopView {
    /// Shard.
    pub shard: u16,
    /// Place in the shard's feed.
    pub position: u64,
    /// Type of the event.
    pub event_type: String,
    /// Why it cannot be taken in.
    pub reason: String,
}

/// An event that a reader was let pass over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkipView {
    /// Shard.
    pub shard: u16,
    /// Place in the shard's feed.
    pub position: u64,
    /// Who said so, and why.
    pub reason: String,
}

/// A reader: a reactor, which does what follows from events, or a projection, which keeps lists of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReactorView {
    /// Its name.
    pub name: &'static str,
    /// `reactor` or `projection`.
    pub kind: &'static str,
    /// Events that it has not taken in.
    pub lag_events: u64,
    /// Where it stopped; it does not go on there by itself.
    pub stopped: Vec<StopView>,
    /// Shards whose next event is tried again by itself.
    pub retrying: u64,
    /// Why it is.
    pub detail: String,
    /// Events that were passed over; of one reader only, in a list none.
    pub skipped: Vec<SkipView>,
}

/// Readers, as operators ask for them. They belong to the node; what they do belongs to its organisation.
#[async_trait]
pub trait ReactorDesk: Send + Sync + 'static {
    /// All of them, by name.
    async fn reactors(&self, organization: &OrganizationId) -> Result<Vec<ReactorView>, BusinessError>;

    /// One, with what it passed over.
    async fn reactor(&self, organization: &OrganizationId, name: &str) -> Result<ReactorView, BusinessError>;

    /// Tries again the events at which it stopped, in one shard or in all. Refused when it did not stop there.
    async fn retry_reactor(
        &self,
        organization: &OrganizationId,
        name: &str,
        shard: Option<u16>,
        reason: &str,
        asker: Asker,
    ) -> Result<ReactorView, BusinessError>;

    /// Passes over the event at which it stopped, for good, and keeps who said so and why. Refused when it did not stop at
    /// this very event.
    async fn skip_event(
        &self,
        organization: &OrganizationId,
        name: &str,
        shard: u16,
        position: u64,
        reason: &str,
        asker: Asker,
    ) -> Result<ReactorView, BusinessError>;
}
