//! Facts about requests for assistance, and their bytes.

use remuda_eventsourcing::event_codec;
use remuda_model::VehicleId;
use remuda_wire::frame::CommandOutcome;
use remuda_wire::{Decided as Why, Question};
use serde::{Deserialize, Serialize};

/// A vehicle asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Which.
    pub vehicle: VehicleId,
    /// What.
    pub question: Question,
    /// When it began to wait, ms since 1970 UTC, by the cloud's best knowledge.
    pub asked_ms: i64,
    /// When its time is over, ms since 1970 UTC; the vehicle's own clock decides.
    pub deadline_ms: i64,
    /// When the cloud heard of it, ms since 1970 UTC.
    pub time_ms: i64,
}

/// Somebody looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Who.
    pub by: String,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// Nobody does any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Who said so.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// Somebody chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Who.
    pub by: String,
    /// Which option, from 0.
    pub option: u8,
    /// What they said to it.
    pub reason: String,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// The answer went out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The command's id. Before there was [`Returned`], also why there is none.
    pub given: Result<String, String>,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// The answer does not reach the vehicle: whoever took the request has it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// Why not.
    pub why: String,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// Its time is over, and nobody had answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// The vehicle has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// On which option, from 0.
    pub option: u8,
    /// Why.
    pub why: Why,
    /// When the cloud heard of it, ms since 1970 UTC.
    pub time_ms: i64,
}

/// The vehicle has acted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// What came of it.
    pub outcome: CommandOutcome,
    /// When the cloud heard of it, ms since 1970 UTC.
    pub time_ms: i64,
}

/// The vehicle never said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssistanceEvent {
    /// See [`Asked`].
    Asked(Asked),
    /// See [`Taken`].
    Taken(Taken),
    /// See [`Released`].
    Released(Released),
    /// See [`Answered`].
    Answered(Answered),
    /// See [`Given`].
    Given(Given),
    /// See [`Returned`].
    Returned(Returned),
    /// See [`Expired`].
    Expired(Expired),
    /// See [`Decided`].
    Decided(Decided),
    /// See [`Acted`].
    Acted(Acted),
    /// See [`Forgotten`].
    Forgotten(Forgotten),
}

event_codec!(AssistanceEvent {
    Asked = "assistance.asked" 1,
    Taken = "assistance.taken" 1,
    Released = "assistance.released" 1,
    Answered = "assistance.answered" 1,
    Given = "assistance.given" 1,
    Returned = "assistance.returned" 1,
    Expired = "assistance.expired" 1,
    Decided = "assistance.decided" 1,
    Acted = "assistance.acted" 1,
    Forgotten = "assistance.forgotten" 1,
});
