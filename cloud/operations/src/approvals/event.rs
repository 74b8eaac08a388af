//! Facts about what needs a second person, and their bytes.

use remuda_eventsourcing::event_codec;
use remuda_model::VehicleId;
use remuda_wire::CommandKind;
use serde::{Deserialize, Serialize};

/// Somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// As they stand in journals.
    pub subject: String,
    /// What stays the same of them, whatever their tokens call them.
    pub identity: String,
}

impl Person {
    /// Whether these are one.
    pub fn is(&self, other: &Self) -> bool {
        self.subject == other.subject || self.identity == other.identity
    }
}

/// What is to be done once somebody agrees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// One vehicle's command.
    Command {
        /// Which vehicle.
        vehicle: VehicleId,
        /// What.
        kind: CommandKind,
        /// Why.
        reason: String,
        /// The request's own name for itself.
        request_id: String,
        /// How long it may wait for the vehicle, ms.
        ttl_ms: i64,
    },
    /// A group command.
    Group {
        /// What.
        kind: CommandKind,
        /// Why.
        reason: String,
        /// The request's own name for itself.
        request_id: String,
        /// How many vehicles.
        vehicles: u32,
        /// How long a command may wait for its vehicle, ms.
        ttl_ms: i64,
        /// SHA-256 of all that it says, its vehicles included.
        digest: [u8; 32],
    },
}

/// It waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// What.
    pub content: Content,
    /// Why a second person must agree.
    pub because: String,
    /// Who wants it.
    pub by: Person,
    /// SHA-256 of the content and who wants it.
    pub digest: [u8; 32],
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
    /// When it ends by itself, ms since 1970 UTC.
    pub expires_ms: i64,
}

/// Somebody decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Who.
    pub by: Person,
    /// What they said.
    pub reason: String,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// Nobody did in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// It was carried out, or could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concluded {
    /// What came of it.
    pub result: String,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalEvent {
    /// See [`Asked`].
    Asked(Asked),
    /// Somebody agreed.
    Approved(Decided),
    /// Somebody said no.
    Denied(Decided),
    /// See [`Expired`].
    Expired(Expired),
    /// See [`Concluded`].
    Concluded(Concluded),
}

event_codec!(ApprovalEvent {
    Asked = "approval.asked" 1,
    Approved = "approval.approved" 1,
    Denied = "approval.denied" 1,
    Expired = "approval.expired" 1,
    Concluded = "approval.concluded" 1,
});
