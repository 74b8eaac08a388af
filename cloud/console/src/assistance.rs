//! `remuda.assistance.v1.AssistanceService`.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use remuda_api::assistance::v1::assistance_service_server::AssistanceService;
use remuda_api::assistance::v1::{
    AnswerAssistanceRequestRequest, AskedAt, AssistanceOutcome as ApiOutcome, AssistanceRequest,
    AssistanceState as ApiState, GetAssistanceRequestRequest, ListAssistanceRequestsRequest,
    ListAssistanceRequestsResponse, ReleaseAssistanceRequestRequest, TakeAssistanceRequestRequest,
    WatchAssistanceRequestsRequest, WatchAssistanceRequestsResponse,
};
use remuda_api::{ChildName, CommandName, VehicleName};
use remuda_contracts::assistance::{AssistanceDesk, AssistanceOutcome, AssistanceState, AssistanceView};
use remuda_contracts::operations::OperationsError;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::convert::timestamp_of;
use crate::groups::page;
use crate::limits;
use crate::page::PageToken;
use crate::precision::Precision;
use crate::refusal::Refusal;
use crate::scope::{Scope, etag_of, field, who};
use crate::seats::Seats;
use crate::watch::stopped;

/// The collection in names.
const COLLECTION: &str = "assistanceRequests";
/// A watcher that comes back is told again what changed in this time before its token, ms: the clock that changes are timed
/// by may have been set back a little.
const WATCH_OVERLAP_MS: i64 = 10_000;

/// Most requests that a watcher is told of at once when it comes back.
const CHANGED_MAX: usize = 10_000;

/// The service, over the desk of operations.
#[derive(Clone)]
pub(crate) struct Assistance {
    pub desk: Arc<dyn AssistanceDesk>,
    pub scope: Scope,
    pub watchers: Seats,
    pub stopping: watch::Receiver<bool>,
}

type Changes = Pin<Box<dyn Stream<Item = Result<WatchAssistanceRequestsResponse, Status>> + Send>>;

const fn state_of(state: AssistanceState) -> ApiState {
    match state {
        AssistanceState::Asked => ApiState::Asked,
        AssistanceState::Taken => ApiState::Taken,
        AssistanceState::Answered => ApiState::Answered,
        AssistanceState::Expired => ApiState::Expired,
        AssistanceState::Acting => ApiState::Acting,
        AssistanceState::Ended => ApiState::Ended,
    }
}

const fn outcome_of(outcome: AssistanceOutcome) -> ApiOutcome {
    match outcome {
        AssistanceOutcome::Answered => ApiOutcome::Answered,
        AssistanceOutcome::TimedOut => ApiOutcome::TimedOut,
        AssistanceOutcome::Restarted => ApiOutcome::Restarted,
        AssistanceOutcome::Unknown => ApiOutcome::Unknown,
    }
}

/// What a watcher has been told, so that nothing is told twice for nothing.
struct Told {
    since_ms: i64,
    versions: HashMap<String, (i64, u64)>,
}

impl Told {
    fn new(since_ms: i64) -> Self {
        Self { since_ms, versions: HashMap::new() }
    }

    /// Those of these that are news.
    fn news(&mut self, found: Vec<AssistanceView>) -> Vec<AssistanceView> {
        let mut news: Vec<_> = found
            .into_iter()
            .filter(|view| self.versions.get(&view.id).is_none_or(|(_, version)| *version < view.version))
            .collect();
        for view in &news {
            self.versions.insert(view.id.clone(), (view.changed_ms, view.version));
            self.since_ms = self.since_ms.max(view.changed_ms);
        }
        let since_ms = self.asks_since_ms();
        self.versions.retain(|_, (changed_ms, _)| *changed_ms >= since_ms);
        // In the order in which they changed.
        news.reverse();
        news
    }

    fn asks_since_ms(&self) -> i64 {
        self.since_ms.saturating_sub(WATCH_OVERLAP_MS)
    }

    fn token(&self) -> String {
        format!("1.{}", self.since_ms)
    }
}

impl Assistance {
    fn request_of(&self, view: &AssistanceView, precision: Precision) -> AssistanceRequest {
        let organization = self.scope.organization.to_string();
        let name =
            ChildName { organization: organization.clone(), collection: COLLECTION, id: view.id.clone() };
        let vehicle = VehicleName { organization: organization.clone(), vehicle: view.vehicle.to_string() };
        let command = match view.command.as_str() {
            "" => String::new(),
            command => {
                let (vehicle, command) = (view.vehicle.to_string(), command.to_owned());
                CommandName { organization, vehicle, command }.to_string()
            }
        };
        AssistanceRequest {
            name: name.to_string(),
            vehicle: vehicle.to_string(),
            question: view.question.clone(),
            options: view.options.clone(),
            safe_default: i32::from(view.safe_default),
            position: view.position.map(|at| AskedAt {
                latitude: f64::from(precision.e7(at.latitude_e7)) / 1e7,
                longitude: f64::from(precision.e7(at.longitude_e7)) / 1e7,
            }),
            state: state_of(view.state).into(),
            taken_by: view.taken_by.clone(),
            take_time: timestamp_of(view.taken_ms),
            answered_by: view.answered_by.clone(),
            answer_time: timestamp_of(view.answered_ms),
            answer: view.answer.map(i32::from),
            reason: view.reason.clone(),
            command,
            not_given: view.not_given.clone(),
            outcome: view.outcome.map_or(ApiOutcome::Unspecified, outcome_of).into(),
            decided_option: view.decided.map(i32::from),
            action_result: view.acted.clone(),
            create_time: timestamp_of(view.asked_ms),
            expire_time: timestamp_of(view.deadline_ms),
            update_time: timestamp_of(view.changed_ms),
            etag: format!("\"{}\"", view.version),
        }
    }

    fn shown(
        &self,
        found: Result<AssistanceView, OperationsError>,
        precision: Precision,
    ) -> Result<AssistanceRequest, Refusal> {
        found.map(|view| self.request_of(&view, precision)).map_err(Refusal::operations)
    }

    async fn get(&self, name: &str, precision: Precision) -> Result<AssistanceRequest, Refusal> {
        let id = self.scope.child(COLLECTION, name)?;
        self.shown(self.desk.get(&self.scope.organization, &id).await, precision)
    }

    async fn list(
        &self,
        request: ListAssistanceRequestsRequest,
        precision: Precision,
    ) -> Result<ListAssistanceRequestsResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        // A page of one list is no page of the other.
        let of = if request.waiting_only { "assistanceRequests waiting" } else { COLLECTION };
        let (size, after) = page(request.page_size, &request.page_token, of)?;
        let organization = &self.scope.organization;
        let found = self.desk.list(organization, request.waiting_only, after.as_deref(), size + 1).await;
        let mut found = found.map_err(Refusal::operations)?;
        let more = found.len() > size;
        found.truncate(size);
        let next_page_token = match found.last() {
            Some(last) if more => PageToken::write_text(&last.id, of),
            _ => String::new(),
        };
        let assistance_requests = found.iter().map(|view| self.request_of(view, precision)).collect();
        Ok(ListAssistanceRequestsResponse { assistance_requests, next_page_token })
    }

    async fn take(
        &self,
        request: TakeAssistanceRequestRequest,
        (by, precision): (String, Precision),
    ) -> Result<AssistanceRequest, Refusal> {
        let id = self.scope.child(COLLECTION, &request.name)?;
        let expected = etag_of(&request.etag)?;
        self.shown(self.desk.take(&self.scope.organization, &id, expected, &by).await, precision)
    }

    async fn release(
        &self,
        request: ReleaseAssistanceRequestRequest,
        (by, precision): (String, Precision),
    ) -> Result<AssistanceRequest, Refusal> {
        let id = self.scope.child(COLLECTION, &request.name)?;
        let expected = etag_of(&request.etag)?;
        let reason = request.reason.trim();
        self.shown(self.desk.release(&self.scope.organization, &id, expected, &by, reason).await, precision)
    }

    async fn answer(
        &self,
        request: AnswerAssistanceRequestRequest,
        (by, precision): (String, Precision),
    ) -> Result<AssistanceRequest, Refusal> {
        let id = self.scope.child(COLLECTION, &request.name)?;
        let expected = etag_of(&request.etag)?;
        // Not said is not the first: that would choose for whoever forgot.
        let option =
            request.option.ok_or_else(|| field("option", "say which option, by its number from 0"))?;
        let option = u32::try_from(option).map_err(|_| field("option", "it is below 0"))?;
        let chosen = (option, request.reason.trim());
        self.shown(self.desk.answer(&self.scope.organization, &id, expected, &by, chosen).await, precision)
    }

    async fn watch(&self, request: &Request<WatchAssistanceRequestsRequest>) -> Result<Changes, Refusal> {
        let (seat, precision) = (self.watchers.take(request)?, self.precision(request));
        let request = request.get_ref();
        self.scope.parent(&request.parent)?;
        let resumed = match request.resume_token.as_str() {
            "" => None,
            token => {
                let since = token.strip_prefix("1.").and_then(|ms| ms.parse::<i64>().ok());
                let unknown = || field("resume_token", "this is not a token that this method gave out");
                Some(since.ok_or_else(unknown)?)
            }
        };
        let organization = self.scope.organization;
        // Before the first look: no change falls in between.
        let mut changes = self.desk.changes();
        let mut told = Told::new(resumed.unwrap_or_else(|| self.desk.now_ms()));
        let first = match resumed {
            Some(_) => {
                let changed = self.desk.changed_since(&organization, told.asks_since_ms(), CHANGED_MAX).await;
                if changed.as_ref().is_ok_and(|changed| changed.len() >= CHANGED_MAX) {
                    let advice =
                        "too much has changed since it was given out; list the requests and watch anew";
                    return Err(field("resume_token", advice));
                }
                changed
            }
            None => self.desk.list(&organization, true, None, limits::PAGE_MAX).await,
        };
        let first = first.map_err(Refusal::operations)?;
        let (this, mut stopping) = (self.clone(), self.stopping.clone());
        let (to, from) = mpsc::channel(limits::WATCH_AHEAD_MAX);
        tokio::spawn(async move {
            let _seat = seat;
            let mut found = Ok(first);
            let mut begun = false;
            loop {
                let news = match found {
                    Ok(found) => told.news(found),
                    Err(error) => {
                        let _ = to.send(Err(Refusal::operations(error).into())).await;
                        return;
                    }
                };
                if !news.is_empty() || !begun {
                    let response = WatchAssistanceRequestsResponse {
                        assistance_requests: news
                            .iter()
                            .map(|view| this.request_of(view, precision))
                            .collect(),
                        resume_token: told.token(),
                    };
                    if to.send(Ok(response)).await.is_err() {
                        return;
                    }
                    begun = true;
                }
                tokio::select! {
                    moved = changes.changed() => if moved.is_err() { return },
                    () = to.closed() => return,
                    () = stopped(&mut stopping) => {
                        let _ = to.send(Err(Refusal::Stopping.into())).await;
                        return;
                    }
                }
                // Everything that comes meanwhile is told together.
                tokio::time::sleep(limits::GROUP_WATCH_INTERVAL).await;
                changes.mark_unchanged();
                found = this.desk.changed_since(&organization, told.asks_since_ms(), CHANGED_MAX).await;
            }
        });
        Ok(Box::pin(ReceiverStream::new(from)))
    }

    fn precision<T>(&self, request: &Request<T>) -> Precision {
        Precision::of(request, self.scope.organization)
    }
}

#[tonic::async_trait]
impl AssistanceService for Assistance {
    async fn get_assistance_request(
        &self,
        request: Request<GetAssistanceRequestRequest>,
    ) -> Result<Response<AssistanceRequest>, Status> {
        let call = self.get(&request.get_ref().name, self.precision(&request));
        self.scope.measured("GetAssistanceRequest", call).await
    }

    async fn list_assistance_requests(
        &self,
        request: Request<ListAssistanceRequestsRequest>,
    ) -> Result<Response<ListAssistanceRequestsResponse>, Status> {
        let precision = self.precision(&request);
        self.scope.measured("ListAssistanceRequests", self.list(request.into_inner(), precision)).await
    }

    type WatchAssistanceRequestsStream = Changes;

    async fn watch_assistance_requests(
        &self,
        request: Request<WatchAssistanceRequestsRequest>,
    ) -> Result<Response<Changes>, Status> {
        self.scope.measured("WatchAssistanceRequests", self.watch(&request)).await
    }

    async fn take_assistance_request(
        &self,
        request: Request<TakeAssistanceRequestRequest>,
    ) -> Result<Response<AssistanceRequest>, Status> {
        let caller = (who(&request), self.precision(&request));
        self.scope.measured("TakeAssistanceRequest", self.take(request.into_inner(), caller)).await
    }

    async fn release_assistance_request(
        &self,
        request: Request<ReleaseAssistanceRequestRequest>,
    ) -> Result<Response<AssistanceRequest>, Status> {
        let caller = (who(&request), self.precision(&request));
        self.scope.measured("ReleaseAssistanceRequest", self.release(request.into_inner(), caller)).await
    }

    async fn answer_assistance_request(
        &self,
        request: Request<AnswerAssistanceRequestRequest>,
    ) -> Result<Response<AssistanceRequest>, Status> {
        let caller = (who(&request), self.precision(&request));
        self.scope.measured("AnswerAssistanceRequest", self.answer(request.into_inner(), caller)).await
    }
}

#[cfg(test)]
mod tests {
    use remuda_model::VehicleId;

    use super::*;

    fn view(id: &str, changed_ms: i64, version: u64) -> AssistanceView {
        AssistanceView {
            id: id.into(),
            vehicle: VehicleId::new("V1").expect("an id"),
            question: String::new(),
            options: Vec::new(),
            safe_default: 0,
            position: None,
            state: AssistanceState::Asked,
            taken_by: String::new(),
            taken_ms: 0,
            answered_by: String::new(),
            answered_ms: 0,
            answer: None,
            reason: String::new(),
            command: String::new(),
            not_given: String::new(),
            outcome: None,
            decided: None,
            acted: String::new(),
            asked_ms: 0,
            deadline_ms: 0,
            changed_ms,
            version,
        }
    }

    #[test]
    fn a_watcher_is_told_each_change_once_and_comes_back_with_an_overlap() {
        let mut told = Told::new(100_000);
        let ids = |news: Vec<AssistanceView>| news.into_iter().map(|v| v.id).collect::<Vec<_>>();
        // The last changed first, as they are found; told in the order of their changes.
        assert_eq!(ids(told.news(vec![view("b", 100_002, 1), view("a", 100_001, 2)])), ["a", "b"]);
        assert_eq!(ids(told.news(vec![view("b", 100_002, 1), view("a", 100_001, 2)])), [""; 0]);
        assert_eq!(ids(told.news(vec![view("a", 100_003, 3), view("b", 100_002, 1)])), ["a"]);
        assert_eq!(told.token(), "1.100003");
        assert_eq!(told.asks_since_ms(), 90_003);
        // What lies too far back to be found again need not be remembered.
        told.news(vec![view("c", 200_000, 1)]);
        assert_eq!(told.versions.len(), 1);
    }
}
