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
use remuda_model::VehicleId;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::convert::timestamp_of;
use crate::groups::page_for;
use crate::limits;
use crate::page::PageToken;
use crate::precision::Precision;
use crate::refusal::Refusal;
use crate::scope::{Scope, etag_of, field, sight, who};
use crate::seats::Seats;
use crate::sight::{Seen, Sight};
use crate::watch::stopped;

/// The collection in names.
const COLLECTION: &str = "assistanceRequests";
/// A watcher that comes back is told again what changed in this time before its token, ms: the clock that changes are timed
/// by may have been set back a little.
const WATCH_OVERLAP_MS: i64 = 10_000;

/// Most requests that a watcher is told of at once when it comes back.
const CHANGED_MAX: usize = 10_000;

/// How old the token of a watcher may be who sees a part of the vehicles, ms: what is theirs is looked for among all that
/// changed since.
const AWAY_MS_MAX: i64 = 7 * 24 * 3_600 * 1_000;

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

/// Who calls, what they see, and how exactly.
struct Caller {
    by: String,
    sight: Sight,
    precision: Precision,
}

/// What a watcher has been told, so that nothing is told twice for nothing.
struct Told {
    /// When the last of what they were told changed: all that their token says.
    since_ms: i64,
    /// When the last of all requests changed, as far as was looked.
    looked_ms: i64,
    versions: HashMap<String, (i64, u64)>,
}

impl Told {
    fn new(since_ms: i64) -> Self {
        Self { since_ms, looked_ms: since_ms, versions: HashMap::new() }
    }

    /// Those that are news to somebody who sees these vehicles, of what changed, and of what was found after that on vehicles
    /// that came.
    fn news(
        &mut self,
        changed: Vec<AssistanceView>,
        came: Vec<AssistanceView>,
        seen: &Seen,
    ) -> Vec<AssistanceView> {
        self.looked_ms = changed.iter().map(|view| view.changed_ms).fold(self.looked_ms, i64::max);
        let mut news = Vec::new();
        // The newer of two states of one first.
        for view in came.into_iter().chain(changed) {
            let known = self.versions.get(&view.id).is_some_and(|(_, version)| *version >= view.version);
            if known || !seen.has(&view.vehicle) {
                continue;
            }
            self.versions.insert(view.id.clone(), (view.changed_ms, view.version));
            self.since_ms = self.since_ms.max(view.changed_ms);
            news.push(view);
        }
        let since_ms = self.asks_since_ms();
        self.versions.retain(|_, (changed_ms, _)| *changed_ms >= since_ms);
        // In the order in which they changed.
        news.reverse();
        news
    }

    fn asks_since_ms(&self) -> i64 {
        self.looked_ms.saturating_sub(WATCH_OVERLAP_MS)
    }

    fn token(&self) -> String {
        format!("1.{}", self.since_ms)
    }
}

/// A watcher, and what they know.
struct Watcher {
    sight: Sight,
    precision: Precision,
    /// Which vehicles they saw at the last look.
    seen: Seen,
    told: Told,
}

impl Assistance {
    fn caller<T>(&self, request: &Request<T>) -> Caller {
        let precision = Precision::of(request, self.scope.organization);
        Caller { by: who(request), sight: sight(request), precision }
    }

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

    /// One whose vehicle is the caller's now; for others it is not there.
    async fn seen(&self, id: &str, sight: &Sight) -> Result<AssistanceView, Refusal> {
        let view = self.desk.get(&self.scope.organization, id).await.map_err(Refusal::operations)?;
        if sight.sees_now(&view.vehicle).map_err(Refusal::business)? {
            return Ok(view);
        }
        let (what, id) = ("assistance-request", id.to_owned());
        Err(Refusal::operations(OperationsError::NotFound { what, id }))
    }

    /// The id of one that is about to be changed.
    async fn named(&self, name: &str, sight: &Sight) -> Result<String, Refusal> {
        let id = self.scope.child(COLLECTION, name)?;
        if !sight.is_whole() {
            self.seen(&id, sight).await?;
        }
        Ok(id)
    }

    async fn get(&self, name: &str, caller: &Caller) -> Result<AssistanceRequest, Refusal> {
        let id = self.scope.child(COLLECTION, name)?;
        Ok(self.request_of(&self.seen(&id, &caller.sight).await?, caller.precision))
    }

    async fn list(
        &self,
        request: ListAssistanceRequestsRequest,
        Caller { sight, precision, .. }: &Caller,
    ) -> Result<ListAssistanceRequestsResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        // A page of one list is no page of the other.
        let of = if request.waiting_only { "assistanceRequests waiting" } else { COLLECTION };
        let (size, after) = page_for(sight, request.page_size, &request.page_token, of)?;
        let organization = &self.scope.organization;
        let found = self.desk.list(organization, request.waiting_only, after.as_deref(), size + 1).await;
        let mut found = found.map_err(Refusal::operations)?;
        let more = found.len() > size;
        found.truncate(size);
        let next_page_token = match found.last() {
            Some(last) if more => PageToken::write_for(sight, &last.id, of),
            _ => String::new(),
        };
        // A page may be shorter for it; the next one goes on behind what was left out.
        let seen = sight.seen()?;
        let shown = found.iter().filter(|view| seen.has(&view.vehicle));
        let assistance_requests = shown.map(|view| self.request_of(view, *precision)).collect();
        Ok(ListAssistanceRequestsResponse { assistance_requests, next_page_token })
    }

    async fn take(
        &self,
        request: TakeAssistanceRequestRequest,
        Caller { by, sight, precision }: &Caller,
    ) -> Result<AssistanceRequest, Refusal> {
        let id = self.named(&request.name, sight).await?;
        let expected = etag_of(&request.etag)?;
        self.shown(self.desk.take(&self.scope.organization, &id, expected, by).await, *precision)
    }

    async fn release(
        &self,
        request: ReleaseAssistanceRequestRequest,
        Caller { by, sight, precision }: &Caller,
    ) -> Result<AssistanceRequest, Refusal> {
        let id = self.named(&request.name, sight).await?;
        let expected = etag_of(&request.etag)?;
        let reason = request.reason.trim();
        self.shown(self.desk.release(&self.scope.organization, &id, expected, by, reason).await, *precision)
    }

    async fn answer(
        &self,
        request: AnswerAssistanceRequestRequest,
        Caller { by, sight, precision }: &Caller,
    ) -> Result<AssistanceRequest, Refusal> {
        let id = self.named(&request.name, sight).await?;
        let expected = etag_of(&request.etag)?;
        // Not said is not the first: that would choose for whoever forgot.
        let option =
            request.option.ok_or_else(|| field("option", "say which option, by its number from 0"))?;
        let option = u32::try_from(option).map_err(|_| field("option", "it is below 0"))?;
        let chosen = (option, request.reason.trim());
        self.shown(self.desk.answer(&self.scope.organization, &id, expected, by, chosen).await, *precision)
    }

    /// When what a watcher was told last changed, by their token; none without one.
    fn resumed(&self, token: &str, sight: &Sight) -> Result<Option<i64>, Refusal> {
        if token.is_empty() {
            return Ok(None);
        }
        let unknown = || field("resume_token", "this is not a token that this method gave out");
        let since_ms: i64 = token.strip_prefix("1.").and_then(|ms| ms.parse().ok()).ok_or_else(unknown)?;
        if !sight.is_whole() && since_ms < self.desk.now_ms().saturating_sub(AWAY_MS_MAX) {
            let advice = "it was given out more than a week ago; list the requests and watch anew";
            return Err(field("resume_token", advice));
        }
        Ok(Some(since_ms))
    }

    /// What changed while a watcher was away, of what they see.
    async fn missed(&self, since_ms: i64, sight: &Sight) -> Result<Vec<AssistanceView>, Refusal> {
        let (organization, seen) = (&self.scope.organization, sight.seen()?);
        let sees = |vehicle: &VehicleId| seen.has(vehicle);
        let changed = self.desk.changed_since(organization, since_ms, CHANGED_MAX, &sees).await;
        let changed = changed.map_err(Refusal::operations)?;
        if changed.len() >= CHANGED_MAX {
            let advice = "too much has changed since it was given out; list the requests and watch anew";
            return Err(field("resume_token", advice));
        }
        Ok(changed)
    }

    /// Those whose vehicle waits.
    async fn waiting(&self) -> Result<Vec<AssistanceView>, Refusal> {
        let waiting = self.desk.list(&self.scope.organization, true, None, limits::PAGE_MAX).await;
        waiting.map_err(Refusal::operations)
    }

    /// What is to be told of what changed, and of what waits on vehicles that the watcher did not see at the last look.
    async fn news(
        &self,
        changed: Vec<AssistanceView>,
        watcher: &mut Watcher,
    ) -> Result<Vec<AssistanceView>, Refusal> {
        // After what changed was read: nothing is told that changed when it was no longer theirs.
        let seen = watcher.sight.seen()?;
        let mut came = Vec::new();
        if seen.has_more_than(&watcher.seen) {
            came = self.waiting().await?;
            came.retain(|view| !watcher.seen.has(&view.vehicle));
        }
        let news = watcher.told.news(changed, came, &seen);
        watcher.seen = seen;
        Ok(news)
    }

    async fn watch(&self, request: &Request<WatchAssistanceRequestsRequest>) -> Result<Changes, Refusal> {
        let (seat, caller) = (self.watchers.take(request)?, self.caller(request));
        let (Caller { sight, precision, .. }, request) = (caller, request.get_ref());
        self.scope.parent(&request.parent)?;
        let resumed = self.resumed(&request.resume_token, &sight)?;
        // Before the first look: no change falls in between.
        let mut changes = self.desk.changes();
        let told = Told::new(resumed.unwrap_or_else(|| self.desk.now_ms()));
        let (first, seen) = match resumed {
            // As if no vehicle had been seen: what waits on those that came meanwhile is not among what changed.
            Some(_) => (self.missed(told.asks_since_ms(), &sight).await?, Seen::nothing()),
            None => {
                let seen = sight.seen()?;
                (self.waiting().await?, seen)
            }
        };
        let mut watcher = Watcher { sight, precision, seen, told };
        let (this, mut stopping) = (self.clone(), self.stopping.clone());
        let (to, from) = mpsc::channel(limits::WATCH_AHEAD_MAX);
        tokio::spawn(async move {
            let _seat = seat;
            let mut found = Ok(first);
            let mut begun = false;
            loop {
                let news = match found {
                    Ok(found) => this.news(found, &mut watcher).await,
                    Err(error) => Err(Refusal::operations(error)),
                };
                let news = match news {
                    Ok(news) => news,
                    Err(refusal) => {
                        let _ = to.send(Err(refusal.into())).await;
                        return;
                    }
                };
                if !news.is_empty() || !begun {
                    let response = WatchAssistanceRequestsResponse {
                        assistance_requests: news
                            .iter()
                            .map(|view| this.request_of(view, watcher.precision))
                            .collect(),
                        resume_token: watcher.told.token(),
                    };
                    if to.send(Ok(response)).await.is_err() {
                        return;
                    }
                    begun = true;
                }
                tokio::select! {
                    moved = changes.changed() => if moved.is_err() { return },
                    // A vehicle comes into their reach without a change of any request.
                    () = tokio::time::sleep(limits::HOME_FRESH), if !watcher.sight.is_whole() => {}
                    () = to.closed() => return,
                    () = stopped(&mut stopping) => {
                        let _ = to.send(Err(Refusal::Stopping.into())).await;
                        return;
                    }
                }
                // Everything that comes meanwhile is told together.
                tokio::time::sleep(limits::GROUP_WATCH_INTERVAL).await;
                changes.mark_unchanged();
                // Of all vehicles: the next look goes on behind them.
                let (organization, since_ms) = (&this.scope.organization, watcher.told.asks_since_ms());
                found = this.desk.changed_since(organization, since_ms, CHANGED_MAX, &|_| true).await;
            }
        });
        Ok(Box::pin(ReceiverStream::new(from)))
    }
}

#[tonic::async_trait]
impl AssistanceService for Assistance {
    async fn get_assistance_request(
        &self,
        request: Request<GetAssistanceRequestRequest>,
    ) -> Result<Response<AssistanceRequest>, Status> {
        let caller = self.caller(&request);
        self.scope.measured("GetAssistanceRequest", self.get(&request.get_ref().name, &caller)).await
    }

    async fn list_assistance_requests(
        &self,
        request: Request<ListAssistanceRequestsRequest>,
    ) -> Result<Response<ListAssistanceRequestsResponse>, Status> {
        let caller = self.caller(&request);
        self.scope.measured("ListAssistanceRequests", self.list(request.into_inner(), &caller)).await
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
        let caller = self.caller(&request);
        self.scope.measured("TakeAssistanceRequest", self.take(request.into_inner(), &caller)).await
    }

    async fn release_assistance_request(
        &self,
        request: Request<ReleaseAssistanceRequestRequest>,
    ) -> Result<Response<AssistanceRequest>, Status> {
        let caller = self.caller(&request);
        self.scope.measured("ReleaseAssistanceRequest", self.release(request.into_inner(), &caller)).await
    }

    async fn answer_assistance_request(
        &self,
        request: Request<AnswerAssistanceRequestRequest>,
    ) -> Result<Response<AssistanceRequest>, Status> {
        let caller = self.caller(&request);
        self.scope.measured("AnswerAssistanceRequest", self.answer(request.into_inner(), &caller)).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

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
        let mut ids = |changed: Vec<AssistanceView>| {
            let news = told.news(changed, Vec::new(), &Seen::All);
            (news.into_iter().map(|v| v.id).collect::<Vec<_>>(), told.token(), told.asks_since_ms())
        };
        let nothing = Vec::<String>::new();
        // The last changed first, as they are found; told in the order of their changes.
        assert_eq!(ids(vec![view("b", 100_002, 1), view("a", 100_001, 2)]).0, ["a", "b"]);
        assert_eq!(ids(vec![view("b", 100_002, 1), view("a", 100_001, 2)]).0, nothing);
        let (news, token, asks_since_ms) = ids(vec![view("a", 100_003, 3), view("b", 100_002, 1)]);
        assert_eq!((news, token, asks_since_ms), (vec!["a".to_owned()], "1.100003".to_owned(), 90_003));
        // What lies too far back to be found again need not be remembered.
        ids(vec![view("c", 200_000, 1)]);
        assert_eq!(told.versions.len(), 1);
    }

    #[test]
    fn nothing_is_told_of_vehicles_that_a_watcher_does_not_see_and_no_token_knows_of_them() {
        let other = VehicleId::new("V2").expect("an id");
        let theirs = |view: AssistanceView| AssistanceView { vehicle: other, ..view };
        let seen = Seen::These(Arc::new(HashSet::from([VehicleId::new("V1").expect("an id")])));
        let ids = |news: Vec<AssistanceView>| news.into_iter().map(|v| v.id).collect::<Vec<_>>();
        let mut told = Told::new(100_000);
        let changed = vec![theirs(view("b", 150_000, 1)), view("a", 100_001, 1)];
        assert_eq!(ids(told.news(changed, Vec::new(), &seen)), ["a"]);
        assert_eq!((told.token().as_str(), told.asks_since_ms()), ("1.100001", 140_000));
        // It changed after the others were read, and its vehicle came: once, in its newest state.
        let (changed, came) =
            (vec![view("c", 150_001, 1)], vec![view("c", 150_002, 2), view("d", 90_000, 1)]);
        let news = told.news(changed, came, &seen);
        assert_eq!(news.iter().map(|v| (v.id.as_str(), v.version)).collect::<Vec<_>>(), [("d", 1), ("c", 2)]);
        assert_eq!(told.token(), "1.150002");
        assert!(told.news(vec![theirs(view("b", 150_003, 2))], Vec::new(), &seen).is_empty());
        assert_eq!(told.token(), "1.150002");
    }
}
