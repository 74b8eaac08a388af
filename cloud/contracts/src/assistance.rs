//! Assistance: questions that vehicles ask people, and what became of them (docs/assistance.md).

use async_trait::async_trait;
use remuda_model::{OrganizationId, VehicleId};
use remuda_wire::{Event, PositionE7};
use tokio::sync::watch;

use crate::operations::OperationsError;

/// Something that a vehicle reported on its events lane, once it is durable.
#[derive(Debug, Clone, PartialEq)]
pub struct VehicleReport {
    /// Whose vehicle.
    pub organization: OrganizationId,
    /// Which.
    pub vehicle: VehicleId,
    /// The journal's id of the report, 32 hexadecimal digits: the name of what follows from it.
    pub event_id: String,
    /// When the vehicle said so, ms since 1970 UTC: by its own clock when that is known, else when it was received.
    pub time_ms: i64,
    /// When it was received, ms since 1970 UTC.
    pub received_ms: i64,
    /// What.
    pub event: Event,
}

/// How far each shard's reports were read; as long as there are shards.
pub type ReportOffsets = Vec<u64>;

/// A page of reports.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReportPage {
    /// In the order of their shards.
    pub reports: Vec<VehicleReport>,
    /// Where to go on.
    pub offsets: ReportOffsets,
    /// Whether there is more now.
    pub more: bool,
}

/// What vehicles report, in the order of each vehicle, for whoever must act on it: an effect of a report is made from what
/// is durable, so that no crash loses it.
#[async_trait]
pub trait Reports: Send + Sync + 'static {
    /// What questions and their ends came after these offsets; an offset above a shard's head, as after a restore, begins
    /// anew.
    ///
    /// # Errors
    /// A sentence about the journal.
    async fn questions(&self, after: &ReportOffsets) -> Result<ReportPage, String>;

    /// Moves when there may be something new.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// How far a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AssistanceState {
    /// The vehicle waits, nobody looks at it.
    Asked,
    /// Somebody looks at it.
    Taken,
    /// Somebody answered; the vehicle has not said yet what it made of it.
    Answered,
    /// Its time is over, the vehicle has not said yet what it does.
    Expired,
    /// The vehicle has decided, and acts.
    Acting,
    /// It has acted, or nobody will know.
    Ended,
}

impl AssistanceState {
    /// The word in lists and filters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Taken => "taken",
            Self::Answered => "answered",
            Self::Expired => "expired",
            Self::Acting => "acting",
            Self::Ended => "ended",
        }
    }
}

/// What the vehicle made of it: its word, not the operator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AssistanceOutcome {
    /// It took the answer.
    Answered,
    /// It took its safe default: nobody answered in time.
    TimedOut,
    /// It took its safe default: its agent had started anew.
    Restarted,
    /// It never said.
    Unknown,
}

impl AssistanceOutcome {
    /// The word in metrics and lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::TimedOut => "timed-out",
            Self::Restarted => "restarted",
            Self::Unknown => "unknown",
        }
    }
}

/// A request and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct AssistanceView {
    /// 32 hexadecimal digits.
    pub id: String,
    /// Which vehicle asks.
    pub vehicle: VehicleId,
    /// What it wants to know.
    pub question: String,
    /// What it can do.
    pub options: Vec<String>,
    /// Number of the option that it takes when nobody answers, from 0.
    pub safe_default: u8,
    /// Where it asks, when it knows.
    pub position: Option<PositionE7>,
    /// How far it is.
    pub state: AssistanceState,
    /// Who looks at it, or did last.
    pub taken_by: String,
    /// When they took it, ms since 1970 UTC; 0 when nobody has.
    pub taken_ms: i64,
    /// Who answered.
    pub answered_by: String,
    /// When, ms since 1970 UTC; 0 when nobody has.
    pub answered_ms: i64,
    /// Which option they chose, from 0.
    pub answer: Option<u8>,
    /// What they said to it.
    pub reason: String,
    /// The command that brings the answer, 32 hexadecimal digits; empty while there is none.
    pub command: String,
    /// Why the last answer did not reach the vehicle; empty again once there is another.
    pub not_given: String,
    /// What the vehicle made of it.
    pub outcome: Option<AssistanceOutcome>,
    /// Which option it took, from 0.
    pub decided: Option<u8>,
    /// What came of acting: `done`, `failed: ...`, `refused: ...`, `unknown`; empty before.
    pub acted: String,
    /// When it asked, ms since 1970 UTC.
    pub asked_ms: i64,
    /// When its time is over, by the cloud's best knowledge, ms since 1970 UTC.
    pub deadline_ms: i64,
    /// When it last changed, ms since 1970 UTC.
    pub changed_ms: i64,
    /// Changes with every change.
    pub version: u64,
}

/// Whether somebody sees a vehicle.
pub type SeesVehicle<'a> = &'a (dyn Fn(&VehicleId) -> bool + Send + Sync);

/// The way to ask about what vehicles ask.
#[async_trait]
pub trait AssistanceDesk: Send + Sync + 'static {
    /// One request.
    async fn get(&self, organization: &OrganizationId, id: &str) -> Result<AssistanceView, OperationsError>;

    /// Requests, the newest first, after the one with this id; only those whose vehicle still waits, when `open`.
    async fn list(
        &self,
        organization: &OrganizationId,
        open: bool,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AssistanceView>, OperationsError>;

    /// Those of vehicles that `sees` accepts that changed at or after this time, ms since 1970 UTC, the last changed first, at
    /// most `limit`. All that changed are looked through for them.
    async fn changed_since(
        &self,
        organization: &OrganizationId,
        since_ms: i64,
        limit: usize,
        sees: SeesVehicle<'_>,
    ) -> Result<Vec<AssistanceView>, OperationsError>;

    /// Takes it, so that nobody else does. `expected`: only at this version.
    async fn take(
        &self,
        organization: &OrganizationId,
        id: &str,
        expected: Option<u64>,
        by: &str,
    ) -> Result<AssistanceView, OperationsError>;

    /// Gives it back; another person's only with a reason.
    async fn release(
        &self,
        organization: &OrganizationId,
        id: &str,
        expected: Option<u64>,
        by: &str,
        reason: &str,
    ) -> Result<AssistanceView, OperationsError>;

    /// Answers what one has taken, with the number of an option and what to say to it.
    async fn answer(
        &self,
        organization: &OrganizationId,
        id: &str,
        expected: Option<u64>,
        by: &str,
        choice: (u32, &str),
    ) -> Result<AssistanceView, OperationsError>;

    /// Now, ms since 1970 UTC, by the clock that `changed_ms` is from.
    fn now_ms(&self) -> i64;

    /// Moves with every change.
    fn changes(&self) -> watch::Receiver<u64>;
}
