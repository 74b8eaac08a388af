//! Vehicles as things: their records, when they must be serviced, and what their ECUs complain of.

use std::collections::BTreeMap;

use async_trait::async_trait;
use remuda_model::OrganizationId;

use super::{Asker, BusinessError};

/// What a vehicle is, and where it belongs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordDetails {
    /// Who made it.
    pub manufacturer: String,
    /// What they call it.
    pub model: String,
    /// Model year.
    pub year: u16,
    /// `electric`, `combustion`, `hybrid` or `fuel-cell`.
    pub powertrain: String,
    /// Seats for riders.
    pub seats: u16,
    /// What it can do besides, kebab-case.
    pub capabilities: Vec<String>,
    /// Class of licence that a driver needs.
    pub licence_class: String,
    /// Number plate.
    pub plate: Option<String>,
    /// Fleet.
    pub fleet: Option<String>,
    /// Depot.
    pub depot: Option<String>,
}

/// Where a vehicle belongs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Home {
    /// Fleet.
    pub fleet: Option<String>,
    /// Depot.
    pub depot: Option<String>,
}

/// A part of an organisation that vehicles belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HomePart<'a> {
    /// A fleet.
    Fleet(&'a str),
    /// A depot.
    Depot(&'a str),
}

/// When a vehicle must be serviced: whichever comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServicePlanView {
    /// After so many metres.
    pub every_m: Option<u64>,
    /// After so much time, ms.
    pub every_ms: Option<i64>,
}

/// A vehicle as a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordView {
    /// Which.
    pub vehicle: String,
    /// `registered` or `retired`.
    pub state: &'static str,
    /// What it is.
    pub details: RecordDetails,
    /// Odometer, m.
    pub odometer_m: u64,
    /// Completed trips.
    pub trips: u64,
    /// Driven in them, m.
    pub trips_m: u64,
    /// When it must be serviced.
    pub service: Option<ServicePlanView>,
    /// Odometer at the last service, m.
    pub serviced_m: u64,
    /// When that was, ms since 1970 UTC.
    pub serviced_ms: i64,
    /// It must be serviced now.
    pub service_due: bool,
    /// What ECUs run, by name.
    pub firmware: BTreeMap<String, String>,
}

/// Which records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordFilter {
    /// Only those that must be serviced.
    pub service_due: bool,
    /// Those that were retired as well.
    pub retired: bool,
}

/// Records of vehicles.
#[async_trait]
pub trait RecordDesk: Send + Sync + 'static {
    /// Registers a vehicle. The same again changes nothing.
    async fn register_vehicle(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        details: RecordDetails,
        odometer_m: u64,
        asker: Asker,
    ) -> Result<RecordView, BusinessError>;

    /// Says that it is something else, or belongs elsewhere.
    async fn change_vehicle(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        details: RecordDetails,
        asker: Asker,
    ) -> Result<RecordView, BusinessError>;

    /// Takes it out of the fleet for good.
    async fn retire_vehicle(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        reason: &str,
        asker: Asker,
    ) -> Result<RecordView, BusinessError>;

    /// Says how often it must be serviced.
    async fn plan_service(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        plan: ServicePlanView,
        asker: Asker,
    ) -> Result<RecordView, BusinessError>;

    /// Says that it was serviced, at this odometer and time, ms since 1970 UTC.
    async fn record_service(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        odometer_m: u64,
        at_ms: i64,
        note: &str,
        asker: Asker,
    ) -> Result<RecordView, BusinessError>;

    /// One record.
    async fn record(&self, organization: &OrganizationId, vehicle: &str)
    -> Result<RecordView, BusinessError>;

    /// Where a vehicle belongs, as of some milliseconds ago; none for one that is not on record. Does not wait.
    fn home(&self, organization: &OrganizationId, vehicle: &str) -> Result<Option<Home>, BusinessError>;

    /// Vehicles that belong to a part, by id after `after`, at most `limit`, as of some milliseconds ago. Reads a small store.
    fn vehicles_of(
        &self,
        organization: &OrganizationId,
        part: HomePart<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, BusinessError>;

    /// Records by vehicle after `after`, at most `limit`.
    async fn records(
        &self,
        organization: &OrganizationId,
        filter: RecordFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RecordView>, BusinessError>;
}

/// A diagnostic trouble code of a vehicle. Times are the vehicle's, ms since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TroubleView {
    /// Which vehicle.
    pub vehicle: String,
    /// Which ECU.
    pub ecu: String,
    /// SAE J2012, such as `P0420`.
    pub code: String,
    /// `info`, `warning` or `critical`.
    pub severity: &'static str,
    /// It is there now.
    pub active: bool,
    /// First seen.
    pub first_seen_ms: i64,
    /// Last seen, or gone.
    pub last_seen_ms: i64,
    /// How often it came.
    pub occurrences: u32,
    /// Signals when it last came: VSS path to scaled integer.
    pub freeze_frame: BTreeMap<String, i64>,
    /// Who has looked at it, what they said, and when.
    pub acknowledged: Option<(String, String, i64)>,
}

/// A report of a trouble code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TroubleReport {
    /// Which ECU.
    pub ecu: String,
    /// SAE J2012.
    pub code: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// Signals at that moment.
    pub freeze_frame: BTreeMap<String, i64>,
    /// The vehicle's time, ms since 1970 UTC.
    pub at_ms: i64,
    /// It is gone.
    pub cleared: bool,
}

/// Which trouble codes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TroubleFilter<'a> {
    /// Only those of this vehicle.
    pub vehicle: Option<&'a str>,
    /// Those that are gone as well; of one vehicle only.
    pub gone: bool,
}

/// What ECUs complain of.
#[async_trait]
pub trait DiagnosticsDesk: Send + Sync + 'static {
    /// Trouble codes by vehicle, ECU and code; `after` is the token of the page before. Over the whole fleet only those that are
    /// there now.
    async fn troubles(
        &self,
        organization: &OrganizationId,
        filter: TroubleFilter<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<TroubleView>, Option<String>), BusinessError>;

    /// One trouble code.
    async fn trouble(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        ecu: &str,
        code: &str,
    ) -> Result<TroubleView, BusinessError>;

    /// Takes a report in, from a workshop or a gateway. Repetitions change nothing.
    async fn report_trouble(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        report: TroubleReport,
        asker: Asker,
    ) -> Result<TroubleView, BusinessError>;

    /// Says that somebody has looked at it.
    async fn acknowledge_trouble(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        ecu: &str,
        code: &str,
        note: &str,
        asker: Asker,
    ) -> Result<TroubleView, BusinessError>;
}
