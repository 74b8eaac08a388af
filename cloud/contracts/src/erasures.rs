//! Erasing what vehicles measured, for whoever people ask: what it would take, asking for it, and what became of it.

use async_trait::async_trait;
use remuda_model::{OrganizationId, SignalClass, VehicleId};

/// What is to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureAsk {
    /// Whose.
    pub organization: OrganizationId,
    /// Of which vehicle; none: of every vehicle.
    pub vehicle: Option<VehicleId>,
    /// From this instant on, ns since 1970 UTC; none: from the first one on.
    pub from_ns: Option<i64>,
    /// Before this instant; none: up to now.
    pub until_ns: Option<i64>,
    /// Only values of these classes of signals; none named: everything.
    pub classes: Vec<SignalClass>,
    /// Who asks.
    pub by: String,
    /// Why; it stays for ever.
    pub reason: String,
    /// The same again is the same erasure; empty: another one each time.
    pub request_id: String,
}

/// What it would take, as of now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErasurePreview {
    /// Files that have any of it.
    pub files: u64,
    /// Rows that would go.
    pub rows: u64,
    /// Rows that would lose values.
    pub blanked: u64,
    /// Files that were not looked at, for want of time: they may have more of it.
    pub files_not_looked_at: u64,
}

/// An erasure that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureView {
    /// Its number.
    pub id: String,
    /// What was asked for; without a request id.
    pub ask: ErasureAsk,
    /// When, ms since 1970 UTC.
    pub requested_ms: i64,
    /// Until when its files are to be rewritten, ms since 1970 UTC.
    pub due_ms: i64,
    /// Rows that are gone.
    pub rows: u64,
    /// Rows that lost values.
    pub blanked: u64,
    /// Files that had any of it.
    pub files: u64,
    /// When no file of history had any more of it, ms since 1970 UTC.
    pub rewritten_ms: Option<i64>,
    /// When nothing of it was left on the disk, ms since 1970 UTC.
    pub finished_ms: Option<i64>,
}

/// Why it was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErasureError {
    /// It makes no sense; in words.
    #[error("{0}")]
    Refused(String),
    /// There is none of this number.
    #[error("there is no erasure {0}")]
    NoSuchErasure(String),
    /// The lake cannot be used; the log says why.
    #[error("erasures cannot be asked for at present; the node's log says why")]
    Unavailable,
}

/// Where erasures are asked for.
#[async_trait]
pub trait ErasureDesk: Send + Sync {
    /// What it would take. Changes nothing.
    ///
    /// # Errors
    /// When it makes no sense, or cannot be told.
    async fn preview(&self, ask: ErasureAsk) -> Result<ErasurePreview, ErasureError>;

    /// Asks for it: when this answers it is durable, and nobody is shown any of it from now on.
    ///
    /// # Errors
    /// When it makes no sense, or could not be made durable.
    async fn erase(&self, ask: ErasureAsk) -> Result<ErasureView, ErasureError>;

    /// Every erasure of an organisation, in the order of the requests.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn list(&self, organization: OrganizationId) -> Result<Vec<ErasureView>, ErasureError>;
}
