//! What vehicles measured, for whoever shows it: samples raw or down-sampled, and journeys.
//!
//! Values are raw scaled integers, as they rest; the registry says what they mean.

use async_trait::async_trait;
use remuda_model::{OrganizationId, SignalId, VehicleId};

use crate::erasures::ErasureDesk;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Whose.
    pub organization: OrganizationId,
    /// Of which vehicles.
    pub vehicles: Vec<VehicleId>,
    /// Which signals.
    pub signals: Vec<SignalId>,
    /// The first instant, ns since 1970 UTC.
    pub from_ns: i64,
    /// The first instant no more.
    pub until_ns: i64,
    /// What to make of the samples.
    pub mode: HistoryMode,
    /// Rows to answer at most.
    pub limit: Option<u64>,
    /// Where an answer to the same question ended.
    pub after: Option<HistoryPlace>,
}

/// What to make of the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryMode {
    /// Every sample.
    Raw,
    /// One value for each span of this length, ns.
    Buckets(i64),
    /// For each vehicle and signal so many samples that keep the shape of its line.
    Plot(usize),
}

/// The last row that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryPlace {
    /// Its vehicle.
    pub vehicle: VehicleId,
    /// Its time, ns since 1970 UTC.
    pub time_ns: i64,
    /// Rows of that vehicle and time that were answered.
    pub rows: u32,
}

/// The moment as of which a question is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistoryMoment {
    /// Every row committed up to this manifest position is looked at, none after.
    pub position: u64,
    /// When, ms since 1970 UTC.
    pub read_ms: i64,
    /// Files that may hold wanted rows and were not compacted yet.
    pub fresh_files: u64,
    /// Compacted files that may hold wanted rows.
    pub history_files: u64,
    /// Before this retention has removed some of what was asked for, ns since 1970 UTC; none: nothing of the range.
    pub complete_since_ns: Option<i64>,
}

/// Rows of one vehicle, in order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRows {
    /// Whose.
    pub vehicle: VehicleId,
    /// Time of each row, ns since 1970 UTC; of a bucket its begin.
    pub times: Vec<i64>,
    /// For each signal asked for, in that order, a place for each row.
    pub signals: HistoryValues,
}

/// Values by signal and row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryValues {
    /// Samples.
    Samples(Vec<Vec<Option<i64>>>),
    /// Buckets.
    Buckets(Vec<Vec<Option<HistoryBucket>>>),
}

/// Samples of one signal in one span of time, raw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryBucket {
    /// Smallest.
    pub min: i64,
    /// Largest.
    pub max: i64,
    /// Latest.
    pub last: i64,
    /// Sum.
    pub sum: i128,
    /// How many; at least 1.
    pub count: u64,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistoryEnd {
    /// Rows answered.
    pub rows: u64,
    /// Values answered.
    pub values: u64,
    /// Rows that were read for it.
    pub rows_read: u64,
    /// Bytes that were read for it.
    pub bytes_read: u64,
    /// The limit was met, and there is more.
    pub limited: bool,
    /// Where raw samples go on then.
    pub next: Option<HistoryPlace>,
    /// As of which moment.
    pub as_of: HistoryMoment,
}

/// Asks for journeys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JourneyQuery {
    /// Whose.
    pub organization: OrganizationId,
    /// Of which vehicles.
    pub vehicles: Vec<VehicleId>,
    /// Those that end after this, ns since 1970 UTC.
    pub from_ns: i64,
    /// Those that begin before this.
    pub until_ns: i64,
    /// Journeys at most.
    pub page: usize,
    /// Where the page before says to go on.
    pub after: Option<(VehicleId, i64)>,
    /// Positions of a journey's track at most.
    pub track_points: usize,
}

/// Where a vehicle was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackPoint {
    /// ns since 1970 UTC.
    pub time_ns: i64,
    /// 1e-7 degrees, north positive.
    pub latitude_e7: i32,
    /// 1e-7 degrees, east positive.
    pub longitude_e7: i32,
}

/// Driving from one standstill to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct JourneyView {
    /// Whose.
    pub vehicle: VehicleId,
    /// The last instant at which it stood still before, ns since 1970 UTC.
    pub start_ns: i64,
    /// The first instant at which it stood still after; under way: the last instant known.
    pub end_ns: i64,
    /// Its end is not known yet.
    pub under_way: bool,
    /// How far, m.
    pub distance_m: f64,
    /// Time in motion, ms.
    pub moving_ms: i64,
    /// Fastest, km/h.
    pub max_speed_kmh: f64,
    /// Where it began.
    pub start: Option<TrackPoint>,
    /// Where it ended.
    pub end: Option<TrackPoint>,
    /// Where it led, thinned.
    pub track: Vec<TrackPoint>,
}

/// A page of journeys, by vehicle and start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JourneyPage {
    /// The journeys.
    pub journeys: Vec<JourneyView>,
    /// Where to go on when there may be more: a vehicle, and the start after which. A page may be short of its length, or
    /// empty, when looking takes long.
    pub next: Option<(VehicleId, i64)>,
    /// As of which moment.
    pub as_of: HistoryMoment,
}

/// Why a question was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// As many questions as may be are being answered.
    #[error("{0} history queries are at work, which is the most; try again later")]
    Busy(usize),
    /// A line's samples do not fit into memory.
    #[error(
        "a plot looks at {0} samples of a vehicle at most; ask for a shorter time or fewer signals, or for buckets"
    )]
    TooLongForPlot(usize),
    /// History cannot be read; the log says why.
    #[error("history cannot be read at present; the node's log says why")]
    Unavailable,
}

/// An answer under way. Dropping it ends its work.
#[async_trait]
pub trait HistoryAnswer: Send {
    /// As of which moment it answers.
    fn as_of(&self) -> HistoryMoment;

    /// The next rows; `None` at the end. A vehicle's rows come in order of time; vehicles may take turns.
    ///
    /// # Errors
    /// Why there are no more, though there should be.
    async fn next(&mut self) -> Result<Option<HistoryRows>, HistoryError>;

    /// How it ended; of use when there are no more rows.
    fn end(&self) -> HistoryEnd;
}

/// Reads history.
#[async_trait]
pub trait HistoryBook: Send + Sync + 'static {
    /// Begins to answer a question.
    ///
    /// # Errors
    /// Why it is not answered.
    async fn query(&self, query: HistoryQuery) -> Result<Box<dyn HistoryAnswer>, HistoryError>;

    /// Finds journeys.
    ///
    /// # Errors
    /// Why it is not answered.
    async fn journeys(&self, query: JourneyQuery) -> Result<JourneyPage, HistoryError>;

    /// Where erasures are asked for; none where history cannot be erased.
    fn erasures(&self) -> Option<&dyn ErasureDesk> {
        None
    }
}
