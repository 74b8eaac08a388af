//! `remuda.telemetry.v1.TelemetryService`.
//!
//! Answers are pulled: a part is made when the one before has been taken, so a reader that is slow, or gone, costs nothing.

mod ask;
mod erase;
mod positions;
mod tell;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use remuda_api::telemetry::v1 as api;
use remuda_api::telemetry::v1::query_history_response::Part as HistoryPart;
use remuda_api::telemetry::v1::query_positions_response::Part as PositionPart;
use remuda_api::telemetry::v1::telemetry_service_server::TelemetryService;
use remuda_api::telemetry::v1::{
    EraseHistoryRequest, EraseHistoryResponse, Erasure, GetErasureRequest, ListErasuresRequest,
    ListErasuresResponse, ListJourneysRequest, ListJourneysResponse, QueryHistoryRequest,
    QueryHistoryResponse, QueryPositionsRequest, QueryPositionsResponse,
};
use remuda_contracts::fleet::FleetView;
use remuda_contracts::history::{
    HistoryAnswer, HistoryBook, HistoryEnd, HistoryError, HistoryMode, HistoryQuery, HistoryRows,
    JourneyQuery,
};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};

use crate::gate::deadline_of;
use crate::limits;
use crate::metrics::ConsoleMetrics;
use crate::page::page_size;
use crate::precision::Precision;
use crate::refusal::Refusal;
use crate::scope::{Scope, field, sight, who};
use crate::sight::Sight;
use crate::watch::stopped;
use positions::Tracks;
use tell::Shown;

/// The service, over the lake's history.
pub(crate) struct History {
    pub book: Arc<dyn HistoryBook>,
    pub view: Arc<dyn FleetView>,
    pub scope: Scope,
    pub stopping: watch::Receiver<bool>,
}

/// What is known of a caller.
#[derive(Debug, Clone)]
struct Caller {
    /// How long they wait.
    deadline: Option<Duration>,
    /// How exactly they see positions.
    precision: Precision,
    /// What they see.
    sight: Sight,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Makes a stream's messages.
trait Telling: Send + 'static {
    type Message: Send + 'static;

    /// Takes the next rows in; whether there is enough for a message.
    fn take(&mut self, rows: HistoryRows) -> bool;

    /// Whether no more rows are wanted.
    fn is_full(&self) -> bool;

    /// What was taken in, as a message; `None` when that is nothing.
    fn message(&mut self) -> Option<Self::Message>;

    /// The last message.
    fn end(&mut self, end: HistoryEnd) -> Self::Message;
}

/// A stream under way.
struct Answering<T: Telling> {
    answer: Box<dyn HistoryAnswer>,
    telling: T,
    ready: VecDeque<T::Message>,
    deadline: Option<Instant>,
    stopping: watch::Receiver<bool>,
    ended: bool,
    count: StreamEnd,
}

/// Counts a stream when it is dropped.
struct StreamEnd {
    metrics: ConsoleMetrics,
    method: &'static str,
    code: Code,
}

impl Drop for StreamEnd {
    fn drop(&mut self) {
        self.metrics.finished(self.method, self.code);
    }
}

impl<T: Telling> Answering<T> {
    /// The next message; `None` at the end.
    async fn next(&mut self) -> Option<Result<T::Message, Status>> {
        if self.ended && self.ready.is_empty() {
            return None;
        }
        let refused = if self.ready.is_empty() { self.fill().await.err() } else { None };
        if let Some(refusal) = refused {
            self.ended = true;
            self.count.code = refusal.code_and_reason().0;
            return Some(Err(refusal.into()));
        }
        if self.ended && self.ready.len() == 1 {
            self.count.code = Code::Ok;
        }
        self.ready.pop_front().map(Ok)
    }

    /// Reads on until there is a message.
    async fn fill(&mut self) -> Result<(), Refusal> {
        while self.ready.is_empty() {
            let deadline = self.deadline;
            let rows = tokio::select! {
                // A node that stops, or a reader that waits no more, is looked at first.
                biased;
                () = stopped(&mut self.stopping) => return Err(Refusal::Stopping),
                () = async { match deadline { Some(at) => tokio::time::sleep_until(at).await, None => std::future::pending().await } } => {
                    return Err(Refusal::DeadlinePassed);
                }
                rows = self.answer.next() => rows.map_err(Refusal::History)?,
            };
            let send = match rows {
                Some(rows) => self.telling.take(rows),
                None => {
                    self.ended = true;
                    true
                }
            };
            let full = self.telling.is_full();
            if send || full {
                while let Some(message) = self.telling.message() {
                    self.ready.push_back(message);
                }
            }
            if self.ended || full {
                self.ended = true;
                let last = self.telling.end(self.answer.end());
                self.ready.push_back(last);
            }
        }
        Ok(())
    }
}

impl History {
    fn caller<T>(&self, request: &Request<T>) -> Caller {
        let precision = Precision::of(request, self.scope.organization);
        Caller { deadline: deadline_of(request.metadata().as_ref()), precision, sight: sight(request) }
    }

    /// The stream of an answer, its first message already made.
    fn stream<T: Telling>(
        &self,
        method: &'static str,
        answer: Box<dyn HistoryAnswer>,
        first: T::Message,
        telling: T,
        deadline: Option<Duration>,
    ) -> Responses<T::Message> {
        let answering = Answering {
            answer,
            telling,
            ready: VecDeque::from([first]),
            deadline: deadline.map(|within| Instant::now() + within),
            stopping: self.stopping.clone(),
            ended: false,
            count: StreamEnd { metrics: self.scope.metrics.clone(), method, code: Code::Cancelled },
        };
        Box::pin(unfold(answering, |mut answering| async move {
            let message = answering.next().await?;
            Some((message, answering))
        }))
    }

    async fn query(
        &self,
        request: QueryHistoryRequest,
        caller: Caller,
    ) -> Result<Responses<QueryHistoryResponse>, Refusal> {
        self.scope.parent(&request.parent)?;
        let signals = ask::signals(&request.signals)?;
        let (from_ns, until_ns) = ask::range(request.start_time, request.end_time)?;
        let mode = ask::mode(request.mode.as_ref())?;
        let limit = ask::limit(request.limit)?;
        let (vehicles, paths) = (request.vehicles.join(","), request.signals.join(","));
        let print = ask::fingerprint(&[&vehicles, &request.filter, &paths], (from_ns, until_ns));
        let after = ask::read_place(&request.page_token, print)?;
        if after.is_some() && mode != HistoryMode::Raw {
            return Err(field("page_token", "only raw samples have pages; narrow the range instead"));
        }
        let vehicles =
            ask::vehicles(&self.scope, &self.view, &request.vehicles, &request.filter, caller.sight.clone())?;
        let looked_at = vehicles.len() as i64;
        let organization = self.scope.organization;
        let shown: Vec<Shown> = signals.iter().map(|id| Shown::of(*id, caller.precision)).collect();
        let described = signals.iter().map(|id| tell::signal_of(*id)).collect();
        let query = HistoryQuery { organization, vehicles, signals, from_ns, until_ns, mode, limit, after };
        let answer = self.book.query(query).await.map_err(Refusal::History)?;
        let begin = api::HistoryBegin {
            signals: described,
            vehicles: looked_at,
            as_of: Some(tell::as_of(&answer.as_of())),
        };
        let first = QueryHistoryResponse { part: Some(HistoryPart::Begin(begin)) };
        let telling = Samples { organization, shown, print, waiting: VecDeque::new() };
        Ok(self.stream("QueryHistory", answer, first, telling, caller.deadline))
    }

    async fn positions(
        &self,
        request: QueryPositionsRequest,
        caller: Caller,
    ) -> Result<Responses<QueryPositionsResponse>, Refusal> {
        self.scope.parent(&request.parent)?;
        let (from_ns, until_ns) = ask::range(request.start_time, request.end_time)?;
        let limit = ask::limit(request.limit)?;
        let interval_ns = match request.interval_ms.checked_mul(1_000_000) {
            Some(ns) if ns >= 0 => ns,
            _ => return Err(field("interval_ms", "it is below 0, or longer than 292 years")),
        };
        let vehicles =
            ask::vehicles(&self.scope, &self.view, &request.vehicles, &request.filter, caller.sight.clone())?;
        let looked_at = vehicles.len() as i64;
        let organization = self.scope.organization;
        let query = HistoryQuery {
            organization,
            vehicles,
            signals: positions::SIGNALS.to_vec(),
            from_ns,
            until_ns,
            mode: HistoryMode::Raw,
            limit: None,
            after: None,
        };
        let answer = self.book.query(query).await.map_err(Refusal::History)?;
        let begin = api::HistoryBegin {
            signals: Vec::new(),
            vehicles: looked_at,
            as_of: Some(tell::as_of(&answer.as_of())),
        };
        let first = QueryPositionsResponse { part: Some(PositionPart::Begin(begin)) };
        let tracks = Tracks::new(organization, interval_ns, limit, caller.precision);
        let telling = Positions { tracks, waiting: None };
        Ok(self.stream("QueryPositions", answer, first, telling, caller.deadline))
    }

    async fn journeys(
        &self,
        request: ListJourneysRequest,
        caller: Caller,
    ) -> Result<ListJourneysResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let (from_ns, until_ns) = ask::range(request.start_time, request.end_time)?;
        let page = page_size(request.page_size)?;
        let track_points = match usize::try_from(request.track_points) {
            Ok(points) if points <= limits::JOURNEY_TRACK_POINTS_MAX => points,
            _ => {
                let max = limits::JOURNEY_TRACK_POINTS_MAX;
                return Err(field("track_points", format!("it is from 0 to {max}; QueryPositions has all")));
            }
        };
        let print = ask::fingerprint(&[&request.vehicles.join(","), &request.filter], (from_ns, until_ns));
        let after = ask::read_journey(&request.page_token, print)?;
        let vehicles =
            ask::vehicles(&self.scope, &self.view, &request.vehicles, &request.filter, caller.sight.clone())?;
        let organization = self.scope.organization;
        // Tracks are bounded as a whole: 1,000 journeys of 1,000 positions would not fit into a message.
        let page = page.min(limits::JOURNEY_POINTS_MAX.checked_div(track_points).unwrap_or(page));
        let query = JourneyQuery { organization, vehicles, from_ns, until_ns, page, after, track_points };
        let found = self.book.journeys(query).await.map_err(Refusal::History)?;
        let next = found.next.as_ref();
        let next_page_token =
            next.map(|(vehicle, start_ns)| ask::write_journey(vehicle, *start_ns, print)).unwrap_or_default();
        Ok(ListJourneysResponse {
            journeys: found
                .journeys
                .iter()
                .map(|j| tell::journey(&organization, j, caller.precision))
                .collect(),
            next_page_token,
            as_of: Some(tell::as_of(&found.as_of)),
        })
    }

    /// Counts a stream that was refused; one that begins is counted at its end.
    fn begun<T>(&self, method: &'static str, stream: Result<T, Refusal>) -> Result<Response<T>, Status> {
        stream.map(Response::new).map_err(|refusal| {
            self.scope.metrics.finished(method, refusal.code_and_reason().0);
            refusal.into()
        })
    }
}

/// Samples and buckets, as messages.
struct Samples {
    organization: remuda_model::OrganizationId,
    shown: Vec<Shown>,
    print: u64,
    /// Rows, and how many of them were sent.
    waiting: VecDeque<(HistoryRows, usize)>,
}

impl Samples {
    fn waiting_bytes(&self) -> usize {
        self.waiting.iter().map(|(rows, sent)| (rows.times.len() - sent) * tell::row_bytes(rows) + 64).sum()
    }
}

impl Telling for Samples {
    type Message = QueryHistoryResponse;

    fn take(&mut self, rows: HistoryRows) -> bool {
        self.waiting.push_back((rows, 0));
        self.waiting_bytes() >= limits::HISTORY_MESSAGE_BYTES
    }

    fn is_full(&self) -> bool {
        false
    }

    fn message(&mut self) -> Option<QueryHistoryResponse> {
        let mut columns = Vec::new();
        let mut left = limits::HISTORY_MESSAGE_BYTES;
        while let Some((rows, sent)) = self.waiting.front_mut() {
            let fit = (left / tell::row_bytes(rows)).min(rows.times.len() - *sent);
            if fit == 0 && !columns.is_empty() {
                break;
            }
            // A row alone always goes.
            let to = *sent + fit.max(1);
            columns.push(tell::columns(&self.organization, rows, *sent..to, &self.shown));
            left = left.saturating_sub(fit * tell::row_bytes(rows) + 64);
            *sent = to;
            if to == rows.times.len() {
                self.waiting.pop_front();
            } else {
                break;
            }
        }
        let samples = api::HistorySamples { columns };
        (!samples.columns.is_empty())
            .then_some(QueryHistoryResponse { part: Some(HistoryPart::Samples(samples)) })
    }

    fn end(&mut self, end: HistoryEnd) -> QueryHistoryResponse {
        let token = end.next.as_ref().map(|place| ask::write_place(place, self.print)).unwrap_or_default();
        QueryHistoryResponse { part: Some(HistoryPart::End(tell::end(&end, token))) }
    }
}

/// Positions, as messages.
struct Positions {
    tracks: Tracks,
    waiting: Option<api::Track>,
}

impl Telling for Positions {
    type Message = QueryPositionsResponse;

    fn take(&mut self, rows: HistoryRows) -> bool {
        self.waiting = self.tracks.take(&rows);
        self.waiting.is_some()
    }

    fn is_full(&self) -> bool {
        self.tracks.limited
    }

    fn message(&mut self) -> Option<QueryPositionsResponse> {
        let track = self.waiting.take()?;
        Some(QueryPositionsResponse { part: Some(PositionPart::Track(track)) })
    }

    fn end(&mut self, end: HistoryEnd) -> QueryPositionsResponse {
        let rows = self.tracks.answered;
        let end = HistoryEnd { rows, values: rows * 2, limited: self.tracks.limited, next: None, ..end };
        QueryPositionsResponse { part: Some(PositionPart::End(tell::end(&end, String::new()))) }
    }
}

#[tonic::async_trait]
impl TelemetryService for History {
    type QueryHistoryStream = Responses<QueryHistoryResponse>;

    async fn query_history(
        &self,
        request: Request<QueryHistoryRequest>,
    ) -> Result<Response<Self::QueryHistoryStream>, Status> {
        let caller = self.caller(&request);
        self.begun("QueryHistory", self.query(request.into_inner(), caller).await)
    }

    type QueryPositionsStream = Responses<QueryPositionsResponse>;

    async fn query_positions(
        &self,
        request: Request<QueryPositionsRequest>,
    ) -> Result<Response<Self::QueryPositionsStream>, Status> {
        let caller = self.caller(&request);
        self.begun("QueryPositions", self.positions(request.into_inner(), caller).await)
    }

    async fn list_journeys(
        &self,
        request: Request<ListJourneysRequest>,
    ) -> Result<Response<ListJourneysResponse>, Status> {
        let caller = self.caller(&request);
        self.scope.measured("ListJourneys", self.journeys(request.into_inner(), caller)).await
    }

    async fn erase_history(
        &self,
        request: Request<EraseHistoryRequest>,
    ) -> Result<Response<EraseHistoryResponse>, Status> {
        let by = who(&request);
        self.scope.measured("EraseHistory", self.erase(request.into_inner(), by)).await
    }

    async fn list_erasures(
        &self,
        request: Request<ListErasuresRequest>,
    ) -> Result<Response<ListErasuresResponse>, Status> {
        self.scope.measured("ListErasures", self.erasures(request.into_inner())).await
    }

    async fn get_erasure(&self, request: Request<GetErasureRequest>) -> Result<Response<Erasure>, Status> {
        self.scope.measured("GetErasure", self.erasure(request.into_inner())).await
    }
}

/// The status and the stable reason of a question that was not answered.
pub(crate) fn code_and_reason(error: &HistoryError) -> (Code, &'static str) {
    match error {
        HistoryError::Busy(_) => (Code::ResourceExhausted, "QUERIES_EXHAUSTED"),
        HistoryError::TooLongForPlot(_) => (Code::InvalidArgument, "PLOT_TOO_LONG"),
        HistoryError::Unavailable => (Code::Unavailable, "HISTORY_UNAVAILABLE"),
    }
}
