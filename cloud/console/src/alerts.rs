//! `remuda.alerts.v1.AlertService`.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use remuda_api::AlertName;
use remuda_api::alerts::v1::alert_service_server::AlertService;
use remuda_api::alerts::v1::entry::Kind;
use remuda_api::alerts::v1::{
    AcknowledgeAlertRequest, Alert, ClearAlertRequest, Entry, GetAlertRequest, ListAlertsRequest,
    ListAlertsResponse, Severity, SnoozeAlertRequest, State, UnsnoozeAlertRequest, WatchAlertsRequest,
    WatchAlertsResponse,
};
use remuda_contracts::alerts::{
    AlertAct, AlertDesk, AlertEntryKind, AlertMark, AlertPlace, AlertRecord, AlertRequest, AlertSeverity,
    AlertState,
};
use remuda_model::{OrganizationId, VehicleId, shard};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::convert::timestamp_of;
use crate::filter::alerts::AlertFilter;
use crate::limits;
use crate::mirror::Mark;
use crate::page::PageToken;
use crate::refusal::Refusal;
use crate::scope::{Scope, field, who};
use crate::time::now_ms;
use crate::watch::stopped;

/// The service, over the vehicle domain's desk.
pub(crate) struct Alerts {
    pub desk: Arc<dyn AlertDesk>,
    pub scope: Scope,
    pub watchers: Arc<Semaphore>,
    pub stopping: watch::Receiver<bool>,
}

type Changes = Pin<Box<dyn Stream<Item = Result<WatchAlertsResponse, Status>> + Send>>;

/// What every act carries besides what it does.
struct Wish {
    name: String,
    etag: String,
    request_id: String,
    validate_only: bool,
    by: String,
}

impl Alerts {
    fn named(&self, name: &str) -> Result<(VehicleId, String), Refusal> {
        let name: AlertName = name.parse().map_err(|e| field("name", e))?;
        self.scope.check(&name.organization)?;
        let vehicle = VehicleId::new(&name.vehicle).map_err(|e| field("name", e))?;
        Ok((vehicle, name.alert))
    }

    fn list(&self, request: &ListAlertsRequest) -> Result<ListAlertsResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let filter = parse_filter(&request.filter)?;
        let size = match usize::try_from(request.page_size) {
            Ok(0) => limits::PAGE_DEFAULT,
            Ok(size) => size.min(limits::PAGE_MAX),
            Err(_) => return Err(field("page_size", "it is below 0")),
        };
        let token = |problem| field("page_token", problem);
        let after = PageToken::read_text(&request.page_token, &request.filter).map_err(token)?;
        let foreign = || field("page_token", "this is not a token that this method gave out");
        let after = after.map(|text| place_of(&text).ok_or_else(foreign)).transpose()?;
        let now_ms = now_ms();
        // One more than wanted tells whether there is another page.
        let mut found = self
            .desk
            .list(&self.scope.organization, after.as_ref(), size + 1, &|alert| filter.matches(alert, now_ms));
        let more = found.len() > size;
        found.truncate(size);
        let next_page_token = match found.last() {
            Some(last) if more => PageToken::write_text(&place_text(&last.place()), &request.filter),
            _ => String::new(),
        };
        let alerts = found.iter().map(|alert| alert_of(alert, false)).collect();
        Ok(ListAlertsResponse { alerts, next_page_token })
    }

    fn get(&self, name: &str) -> Result<Alert, Refusal> {
        let (vehicle, id) = self.named(name)?;
        let found = self.desk.get(&self.scope.organization, &vehicle, &id);
        found.map(|alert| alert_of(&alert, true)).ok_or(Refusal::NoSuchAlert(id))
    }

    async fn act(&self, wish: Wish, act: AlertAct) -> Result<Alert, Refusal> {
        let (vehicle, id) = self.named(&wish.name)?;
        let request = AlertRequest {
            act,
            by: wish.by,
            request_id: wish.request_id,
            expected: etag_of(&wish.etag)?,
            validate_only: wish.validate_only,
        };
        let done = self.desk.act(&self.scope.organization, &vehicle, &id, request).await;
        done.map(|alert| alert_of(&alert, true)).map_err(|error| Refusal::alert(error, id))
    }

    async fn snooze(&self, request: SnoozeAlertRequest, by: String) -> Result<Alert, Refusal> {
        let SnoozeAlertRequest { name, until_time, note, etag, request_id, validate_only } = request;
        let until = until_time.ok_or_else(|| field("until_time", "say until when"))?;
        let until_ms = until.seconds.checked_mul(1_000);
        let until_ms = until_ms.and_then(|ms| ms.checked_add(i64::from(until.nanos) / 1_000_000));
        let until_ms = until_ms.ok_or_else(|| field("until_time", "it is no time"))?;
        let wish = Wish { name, etag, request_id, validate_only, by };
        self.act(wish, AlertAct::Snooze { until_ms, note }).await
    }

    fn watch(&self, request: &WatchAlertsRequest) -> Result<Changes, Refusal> {
        self.scope.parent(&request.parent)?;
        if *self.stopping.borrow() {
            return Err(Refusal::Stopping);
        }
        let watch = Watch {
            desk: Arc::clone(&self.desk),
            organization: self.scope.organization,
            filter: parse_filter(&request.filter)?,
            since: Mark::from_token(&request.resume_token),
            stopping: self.stopping.clone(),
        };
        let slot = Arc::clone(&self.watchers)
            .try_acquire_owned()
            .map_err(|_| Refusal::TooManyWatchers(limits::WATCHERS_MAX))?;
        let (to, from) = mpsc::channel(limits::WATCH_AHEAD_MAX);
        tokio::spawn(async move {
            watch.run(to).await;
            drop(slot);
        });
        Ok(Box::pin(ReceiverStream::new(from)))
    }
}

fn parse_filter(text: &str) -> Result<AlertFilter, Refusal> {
    AlertFilter::parse(text).map_err(|e| field("filter", format!("at byte {}: {}", e.at, e.problem)))
}

/// The revision in an etag; none for an empty one.
fn etag_of(etag: &str) -> Result<Option<u32>, Refusal> {
    match etag.trim_matches('"') {
        "" => Ok(None),
        revision => revision.parse().map(Some).map_err(|_| field("etag", "it is not one that was given out")),
    }
}

fn place_text(place: &AlertPlace) -> String {
    format!("{}/{}/{}", place.raised_ms, place.vehicle, place.id)
}

fn place_of(text: &str) -> Option<AlertPlace> {
    let mut parts = text.splitn(3, '/');
    let raised_ms = parts.next()?.parse().ok()?;
    let vehicle = VehicleId::new(parts.next()?).ok()?;
    Some(AlertPlace { raised_ms, vehicle, id: parts.next()?.to_owned() })
}

fn name_of(alert: &AlertRecord) -> String {
    let name = AlertName {
        organization: alert.organization.to_string(),
        vehicle: alert.vehicle.to_string(),
        alert: alert.id.clone(),
    };
    name.to_string()
}

/// An alert in the contract's words; its history only when it is asked for by name.
fn alert_of(alert: &AlertRecord, with_history: bool) -> Alert {
    let history = alert.history.iter().filter(|_| with_history);
    let count = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    Alert {
        name: name_of(alert),
        etag: format!("\"{}\"", alert.revision),
        rule: alert.rule.clone(),
        severity: severity_of(alert.severity).into(),
        state: state_of(alert.state).into(),
        raise_time: timestamp_of(alert.raised_ms),
        late: alert.late,
        value: alert.value,
        threshold: alert.threshold,
        occurrence_count: count(alert.occurrences),
        clears_by_hand: alert.clears_by_hand,
        wants_attention: alert.wants_attention(),
        changed_by: alert.mark.by.clone(),
        change_time: timestamp_of(alert.mark.time_ms),
        note: alert.mark.note.clone(),
        snooze_until_time: timestamp_of(alert.snoozed_until_ms),
        history: history.map(|(kind, mark)| entry_of(*kind, mark)).collect(),
        history_left_out: count(alert.history_left_out),
    }
}

fn entry_of(kind: AlertEntryKind, mark: &AlertMark) -> Entry {
    let (kind, until_ms) = match kind {
        AlertEntryKind::Raised => (Kind::Raised, 0),
        AlertEntryKind::RaisedAgain => (Kind::RaisedAgain, 0),
        AlertEntryKind::Acknowledged => (Kind::Acknowledged, 0),
        AlertEntryKind::Snoozed(until_ms) => (Kind::Snoozed, until_ms),
        AlertEntryKind::Unsnoozed => (Kind::Unsnoozed, 0),
        AlertEntryKind::SnoozeEnded => (Kind::SnoozeEnded, 0),
        AlertEntryKind::Cleared => (Kind::Cleared, 0),
        AlertEntryKind::ClearedByHand => (Kind::ClearedByHand, 0),
    };
    Entry {
        kind: kind.into(),
        time: timestamp_of(mark.time_ms),
        by: mark.by.clone(),
        note: mark.note.clone(),
        until_time: timestamp_of(until_ms),
    }
}

const fn severity_of(severity: AlertSeverity) -> Severity {
    match severity {
        AlertSeverity::Info => Severity::Info,
        AlertSeverity::Warning => Severity::Warning,
        AlertSeverity::Critical => Severity::Critical,
    }
}

const fn state_of(state: AlertState) -> State {
    match state {
        AlertState::Open => State::Open,
        AlertState::Acknowledged => State::Acknowledged,
        AlertState::Snoozed => State::Snoozed,
        AlertState::Cleared => State::Cleared,
    }
}

/// What a watcher asked for.
struct Watch {
    desk: Arc<dyn AlertDesk>,
    organization: OrganizationId,
    filter: AlertFilter,
    since: Option<Mark>,
    stopping: watch::Receiver<bool>,
}

/// Between two responses.
struct Progress {
    /// Alerts that the reader was told match, by a hash of their names.
    members: HashSet<u64>,
    /// Everything up to here was sent.
    sent: u64,
    /// The next response is (part of) the full state.
    full: bool,
    /// The next response goes on where another stream ended: what the reader knows is not known here.
    resumes: bool,
}

/// Changes gathered for a response.
struct Gathered {
    alerts: Vec<Arc<AlertRecord>>,
    removed: Vec<Arc<AlertRecord>>,
    mark: Mark,
}

type Sender = mpsc::Sender<Result<WatchAlertsResponse, Status>>;

impl Watch {
    /// Sends until the reader goes or the node stops.
    async fn run(mut self, to: Sender) {
        let now = self.desk.visit(&self.organization, &mut |_, _| {});
        // Alerts that came to match by time alone left no change behind to resume from.
        let since = self.since.filter(|since| {
            since.instance == now.instance && since.change <= now.change && !self.filter.depends_on_time()
        });
        let mut progress = Progress {
            members: HashSet::new(),
            sent: since.map_or(0, |mark| mark.change),
            full: since.is_none(),
            resumes: since.is_some(),
        };
        let mut changed = self.desk.changed();
        let mut first = true;
        let mut last = Instant::now();
        loop {
            if !first {
                tokio::select! {
                    () = something(&mut changed, self.filter.depends_on_time(), last) => {}
                    () = to.closed() => return,
                    () = stopped(&mut self.stopping) => {
                        let _ = to.send(Err(Refusal::Stopping.into())).await;
                        return;
                    }
                }
            }
            // A place first, then the state: what a slow reader gets is new when it gets it.
            let Ok(place) = to.reserve().await else { return };
            drop(place);
            changed.mark_unchanged();
            let gathered = self.gather(&mut progress);
            let quiet = gathered.alerts.is_empty() && gathered.removed.is_empty();
            if !first && quiet && last.elapsed() < limits::WATCH_HEARTBEAT {
                continue;
            }
            first = false;
            last = Instant::now();
            if send(&mut progress, &gathered, &to).await.is_err() {
                return;
            }
        }
    }

    fn gather(&self, progress: &mut Progress) -> Gathered {
        loop {
            match self.look(progress) {
                Some(gathered) => return gathered,
                // Alerts left the list whose end the reader was not told: it gets everything.
                None => *progress = Progress { members: HashSet::new(), sent: 0, full: true, resumes: false },
            }
        }
    }

    /// None when what changed since cannot be told any more; never of the full state.
    fn look(&self, progress: &mut Progress) -> Option<Gathered> {
        let now_ms = now_ms();
        let (mut alerts, mut removed) = (Vec::new(), Vec::new());
        let (sent, full, resumes) = (progress.sent, progress.full, progress.resumes);
        let by_time = self.filter.depends_on_time();
        let members = &mut progress.members;
        let before = members.len();
        let mut there = 0;
        let point = self.desk.visit(&self.organization, &mut |change, alert| {
            there += 1;
            let new = full || change > sent;
            // What did not change still matches, or not, unless time decides.
            if !new && !resumes && !by_time {
                return;
            }
            let key = shard::fnv1a_64(name_of(alert).as_bytes());
            if self.filter.matches(alert, now_ms) {
                let joined = members.insert(key);
                if new || (joined && !resumes) {
                    alerts.push(Arc::clone(alert));
                }
            } else if members.remove(&key) || (new && resumes) {
                removed.push(Arc::clone(alert));
            }
        });
        if !full && point.dropped_to > sent {
            return None;
        }
        // Those that left the list by their age are never removed one by one.
        if before > 2 * there + limits::PAGE_MAX {
            members.clear();
            self.desk.visit(&self.organization, &mut |_, alert| {
                if self.filter.matches(alert, now_ms) {
                    members.insert(shard::fnv1a_64(name_of(alert).as_bytes()));
                }
            });
        }
        progress.sent = point.change;
        Some(Gathered { alerts, removed, mark: Mark { instance: point.instance, change: point.change } })
    }
}

/// Until there may be something to send, and the interval has passed.
async fn something(changed: &mut watch::Receiver<u64>, by_time: bool, last: Instant) {
    let step = if by_time { limits::WATCH_TIME_STEP } else { limits::WATCH_HEARTBEAT };
    tokio::select! {
        _ = changed.changed() => {}
        () = sleep(step) => {}
    }
    sleep_until(last + limits::ALERT_WATCH_INTERVAL).await;
}

async fn send(progress: &mut Progress, gathered: &Gathered, to: &Sender) -> Result<(), ()> {
    let parts = gathered.alerts.len().div_ceil(limits::WATCH_LINES_MAX).max(1);
    let mut removed = gathered.removed.iter().map(|alert| name_of(alert)).collect();
    for part in 0..parts {
        let from = part * limits::WATCH_LINES_MAX;
        let until = gathered.alerts.len().min(from + limits::WATCH_LINES_MAX);
        let is_last = part + 1 == parts;
        let response = WatchAlertsResponse {
            alerts: gathered.alerts[from..until].iter().map(|alert| alert_of(alert, false)).collect(),
            removed: std::mem::take(&mut removed),
            resume_token: if is_last { gathered.mark.to_token() } else { String::new() },
            full_state: progress.full,
        };
        to.send(Ok(response)).await.map_err(|_| ())?;
    }
    progress.full = false;
    progress.resumes = false;
    Ok(())
}

#[tonic::async_trait]
impl AlertService for Alerts {
    async fn list_alerts(
        &self,
        request: Request<ListAlertsRequest>,
    ) -> Result<Response<ListAlertsResponse>, Status> {
        self.scope.measured("ListAlerts", async { self.list(request.get_ref()) }).await
    }

    async fn get_alert(&self, request: Request<GetAlertRequest>) -> Result<Response<Alert>, Status> {
        self.scope.measured("GetAlert", async { self.get(&request.get_ref().name) }).await
    }

    type WatchAlertsStream = Changes;

    async fn watch_alerts(
        &self,
        request: Request<WatchAlertsRequest>,
    ) -> Result<Response<Self::WatchAlertsStream>, Status> {
        self.scope.measured("WatchAlerts", async { self.watch(request.get_ref()) }).await
    }

    async fn acknowledge_alert(
        &self,
        request: Request<AcknowledgeAlertRequest>,
    ) -> Result<Response<Alert>, Status> {
        let by = who(&request);
        let AcknowledgeAlertRequest { name, note, etag, request_id, validate_only } = request.into_inner();
        let wish = Wish { name, etag, request_id, validate_only, by };
        self.scope.measured("AcknowledgeAlert", self.act(wish, AlertAct::Acknowledge { note })).await
    }

    async fn snooze_alert(&self, request: Request<SnoozeAlertRequest>) -> Result<Response<Alert>, Status> {
        let by = who(&request);
        self.scope.measured("SnoozeAlert", self.snooze(request.into_inner(), by)).await
    }

    async fn unsnooze_alert(
        &self,
        request: Request<UnsnoozeAlertRequest>,
    ) -> Result<Response<Alert>, Status> {
        let by = who(&request);
        let UnsnoozeAlertRequest { name, etag, request_id, validate_only } = request.into_inner();
        let wish = Wish { name, etag, request_id, validate_only, by };
        self.scope.measured("UnsnoozeAlert", self.act(wish, AlertAct::Unsnooze)).await
    }

    async fn clear_alert(&self, request: Request<ClearAlertRequest>) -> Result<Response<Alert>, Status> {
        let by = who(&request);
        let ClearAlertRequest { name, reason, etag, request_id, validate_only } = request.into_inner();
        let wish = Wish { name, etag, request_id, validate_only, by };
        self.scope.measured("ClearAlert", self.act(wish, AlertAct::Clear { reason })).await
    }
}
