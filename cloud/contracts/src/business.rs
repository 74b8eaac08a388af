//! What the ride business offers to people: bookings and their trips, riders and their credits, sagas and how to resolve them.
//! Answers are durable when they come. Times are ms since 1970 UTC.

pub mod analytics;
pub mod billing;
pub mod feedback;
pub mod notifications;
pub mod reactors;
pub mod sharing;
pub mod vehicles;

use async_trait::async_trait;
use remuda_model::OrganizationId;

use analytics::AnalyticsDesk;
use billing::BillingDesk;
use feedback::FeedbackDesk;
use notifications::NotificationDesk;
use reactors::ReactorDesk;
use sharing::SharingDesk;
use vehicles::{DiagnosticsDesk, RecordDesk};

use crate::money::Money;

/// Why something about the business was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusinessError {
    /// The domain says no.
    #[error("{text}")]
    Refused {
        /// Stable, kebab-case.
        code: String,
        /// For people.
        text: String,
    },
    /// There is no such thing.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// `trip`, `user`, `saga`.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// It cannot be said at the moment; the same request again is safe.
    #[error("the business cannot answer at the moment ({0}); try again with the same request id")]
    Unavailable(String),
}

/// Who asks, and under which name, so that asking twice is asking once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// Stands in the journal, such as `ada@example.com`.
    pub who: String,
    /// Unique to the wish, 1 to 64 bytes.
    pub request_id: String,
}

/// A place, 1e-7 degrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// North positive.
    pub latitude_e7: i32,
    /// East positive.
    pub longitude_e7: i32,
}

/// A ride that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookTrip {
    /// Who rides.
    pub rider: String,
    /// Pick-up first, drop-off last; 2 to 16.
    pub stops: Vec<Place>,
    /// Only these vehicles, the best first; empty = the nearest that are free.
    pub vehicles: Vec<String>,
}

/// A trip and the booking it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct TripView {
    /// Id of trip, booking and saga.
    pub id: String,
    /// `requested`, `assigned`, `arriving`, `boarding`, `under-way`, `completed`, `cancelled`, `no-show`; `booking` while its saga
    /// has not come so far, `not-booked` when it was undone before.
    pub state: &'static str,
    /// Who rides.
    pub rider: String,
    /// Which vehicle; empty while none has it.
    pub vehicle: String,
    /// When it was asked for.
    pub requested_ms: i64,
    /// When it last changed.
    pub changed_ms: i64,
    /// Driven with the rider, m, once it has ended.
    pub distance_m: Option<u64>,
    /// Where its saga stands; `completed` means that it is booked.
    pub saga: &'static str,
    /// Why it was not booked.
    pub detail: String,
}

/// A rider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserView {
    /// Id.
    pub id: String,
    /// `active`, `erasing`, `erased` and the like.
    pub state: &'static str,
    /// Free to spend, minor units.
    pub available: i64,
    /// Set aside, minor units.
    pub held: i64,
    /// Since when.
    pub registered_ms: i64,
}

/// A step of a saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaStepView {
    /// Its name.
    pub name: String,
    /// The service and action.
    pub what: String,
    /// How far it is.
    pub state: String,
    /// Tries so far.
    pub tries: u32,
}

/// A saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaView {
    /// Id.
    pub id: String,
    /// Name of its definition.
    pub definition: String,
    /// Version of its definition.
    pub version: u32,
    /// `running`, `unwinding`, `stuck`, `completed`, `compensated`.
    pub state: &'static str,
    /// Why it unwinds, or where it is stuck.
    pub detail: String,
    /// When it began.
    pub started_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// Its steps.
    pub steps: Vec<SagaStepView>,
}

/// A line of a saga's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaLine {
    /// When.
    pub time_ms: i64,
    /// What happened.
    pub event: String,
    /// To which step.
    pub step: String,
    /// In words.
    pub what: String,
    /// Who did it.
    pub by: String,
}

/// What an operator may do about a saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Try again what it is stuck on.
    Retry,
    /// Take a step off that cannot be undone, or end a timer.
    Skip(String),
    /// Undo all of it.
    Compensate,
}

/// The business, as people ask it.
#[async_trait]
pub trait BusinessDesk:
    ReactorDesk
    + BillingDesk
    + AnalyticsDesk
    + NotificationDesk
    + RecordDesk
    + DiagnosticsDesk
    + SharingDesk
    + FeedbackDesk
{
    /// Books a ride: quote, credits, vehicle, trip, confirmation, all or nothing. Waits a few seconds for the outcome.
    async fn book(
        &self,
        organization: &OrganizationId,
        trip: BookTrip,
        asker: Asker,
    ) -> Result<TripView, BusinessError>;

    /// One trip.
    async fn trip(&self, organization: &OrganizationId, id: &str) -> Result<TripView, BusinessError>;

    /// Trips by id after `after`, at most `limit`; only those in a state, when one is named.
    async fn trips(
        &self,
        organization: &OrganizationId,
        state: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TripView>, BusinessError>;

    /// Calls a trip off, whatever its booking has come to.
    async fn cancel(
        &self,
        organization: &OrganizationId,
        id: &str,
        reason: &str,
        asker: Asker,
    ) -> Result<TripView, BusinessError>;

    /// Registers a rider; their name, and an e-mail address when there is one, are sealed under a key of their own.
    async fn register_rider(
        &self,
        organization: &OrganizationId,
        id: &str,
        name: String,
        email: Option<String>,
        asker: Asker,
    ) -> Result<UserView, BusinessError>;

    /// Adds credits; the request's id is the payment's name.
    async fn top_up(
        &self,
        organization: &OrganizationId,
        id: &str,
        amount: Money,
        asker: Asker,
    ) -> Result<UserView, BusinessError>;

    /// One user.
    async fn user(&self, organization: &OrganizationId, id: &str) -> Result<UserView, BusinessError>;

    /// Users by id after `after`, at most `limit`.
    async fn users(
        &self,
        organization: &OrganizationId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<UserView>, BusinessError>;

    /// Erases a person: what was said of them can never be read again. Refused while they ride or credits are held.
    async fn erase_user(
        &self,
        organization: &OrganizationId,
        id: &str,
        forfeit: bool,
        asker: Asker,
    ) -> Result<UserView, BusinessError>;

    /// Puts a vehicle in service, or takes it out.
    async fn set_in_service(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        in_service: bool,
        reason: &str,
        asker: Asker,
    ) -> Result<(), BusinessError>;

    /// Sagas, those under way first, then those that ended, each the newest first; only those in a state, when one is named.
    /// `after` is the token of the page before. Steps and reasons of sagas that ended long ago stand in [`Self::saga`] only.
    async fn sagas(
        &self,
        organization: &OrganizationId,
        state: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<SagaView>, Option<String>), BusinessError>;

    /// One saga with its history.
    async fn saga(
        &self,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<(SagaView, Vec<SagaLine>), BusinessError>;

    /// Resolves a saga.
    async fn resolve(
        &self,
        organization: &OrganizationId,
        id: &str,
        resolution: Resolution,
        reason: &str,
        asker: Asker,
    ) -> Result<SagaView, BusinessError>;
}
