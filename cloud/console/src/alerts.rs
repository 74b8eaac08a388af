//! `remuda.alerts.v1.AlertService`.

use std::sync::Arc;

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
    AlertState, SnoozeEnd,
};
use remuda_model::{OrganizationId, VehicleId};
use tokio::sync::{mpsc, watch};
use tonic::{Request, Response, Status};

use crate::convert::timestamp_of;
use crate::filter::alerts::AlertFilter;
use crate::follow::{Follow, Followed, Line, Part, Point, Responses, counted};
use crate::geofences::geofence_name;
use crate::limits;
use crate::mirror::Mark;
use crate::page::{self, PageToken, page_size};
use crate::precision::Precision;
use crate::refusal::Refusal;
use crate::scope::{Scope, etag_of, field, sight, who};
use crate::seats::Seats;
use crate::sight::{Shown, Sight};
use crate::time::now_ms;

/// The service, over the vehicle domain's desk.
pub(crate) struct Alerts {
    pub desk: Arc<dyn AlertDesk>,
    pub scope: Scope,
    pub watchers: Seats,
    pub stopping: watch::Receiver<bool>,
}

type Changes = Responses<WatchAlertsResponse>;

/// What every act carries besides what it does.
struct Wish {
    name: String,
    etag: String,
    request_id: String,
    validate_only: bool,
    by: String,
    precision: Precision,
}

impl Alerts {
    /// How exactly a caller sees where vehicles were.
    fn precision<T>(&self, request: &Request<T>) -> Precision {
        Precision::of(request, self.scope.organization)
    }

    fn named(&self, name: &str) -> Result<(VehicleId, String), Refusal> {
        let name: AlertName = name.parse().map_err(|e| field("name", e))?;
        self.scope.check(&name.organization)?;
        let vehicle = VehicleId::new(&name.vehicle).map_err(|e| field("name", e))?;
        Ok((vehicle, name.alert))
    }

    fn list(
        &self,
        request: &ListAlertsRequest,
        precision: Precision,
        sight: &Sight,
    ) -> Result<ListAlertsResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let filter = parse_filter(&request.filter)?;
        let size = page_size(request.page_size)?;
        let token = |problem| field("page_token", problem);
        let after = PageToken::read_text(&request.page_token, &request.filter).map_err(token)?;
        let foreign = || field("page_token", page::FOREIGN);
        let after = after.map(|text| place_of(&text).ok_or_else(foreign)).transpose()?;
        let (seen, now_ms) = (sight.seen()?, now_ms());
        let wanted = |alert: &AlertRecord| filter.matches(alert, now_ms) && seen.has(&alert.vehicle);
        // One more than wanted tells whether there is another page.
        let mut found = self.desk.list(&self.scope.organization, after.as_ref(), size + 1, &wanted);
        let more = found.len() > size;
        found.truncate(size);
        let next_page_token = match found.last() {
            Some(last) if more => PageToken::write_text(&place_text(&last.place()), &request.filter),
            _ => String::new(),
        };
        let alerts = found.iter().map(|alert| alert_of(alert, false, precision)).collect();
        Ok(ListAlertsResponse { alerts, next_page_token })
    }

    fn get(&self, name: &str, precision: Precision) -> Result<Alert, Refusal> {
        let (vehicle, id) = self.named(name)?;
        let found = self.desk.get(&self.scope.organization, &vehicle, &id);
        found.map(|alert| alert_of(&alert, true, precision)).ok_or(Refusal::NoSuchAlert(id))
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
        done.map(|alert| alert_of(&alert, true, wish.precision)).map_err(|error| Refusal::alert(error, id))
    }

    async fn snooze(
        &self,
        request: SnoozeAlertRequest,
        by: String,
        precision: Precision,
    ) -> Result<Alert, Refusal> {
        let SnoozeAlertRequest { name, until_time, note, etag, request_id, validate_only, duration } =
            request;
        let end = match (until_time, duration) {
            (Some(until), None) => milliseconds(until.seconds, until.nanos)
                .map(SnoozeEnd::At)
                .ok_or_else(|| field("until_time", "it is no time"))?,
            (None, Some(length)) => milliseconds(length.seconds, length.nanos)
                .map(SnoozeEnd::After)
                .ok_or_else(|| field("duration", "it is no duration"))?,
            (None, None) => return Err(field("duration", "say for how long, or until when")),
            (Some(_), Some(_)) => {
                return Err(field("duration", "until_time says when it ends; leave one out"));
            }
        };
        let wish = Wish { name, etag, request_id, validate_only, by, precision };
        self.act(wish, AlertAct::Snooze { end, note }).await
    }

    fn watch(&self, request: &Request<WatchAlertsRequest>) -> Result<Changes, Refusal> {
        let seat = self.watchers.take(request)?;
        let (precision, sight, request) = (self.precision(request), sight(request), request.get_ref());
        self.scope.parent(&request.parent)?;
        if *self.stopping.borrow() {
            return Err(Refusal::Stopping);
        }
        let watch = Watch {
            desk: Arc::clone(&self.desk),
            organization: self.scope.organization,
            filter: parse_filter(&request.filter)?,
            shown: Shown::new(sight)?,
            precision,
        };
        let follow = Follow {
            what: watch,
            interval: limits::ALERT_WATCH_INTERVAL,
            lines_max: limits::WATCH_LINES_MAX,
            since: Mark::from_token(&request.resume_token),
            stopping: self.stopping.clone(),
        };
        let (to, from) = mpsc::channel(limits::WATCH_AHEAD_MAX);
        tokio::spawn(follow.run(to));
        Ok(counted(&self.scope.metrics, from, seat, "WatchAlerts"))
    }
}

fn milliseconds(seconds: i64, nanos: i32) -> Option<i64> {
    seconds.checked_mul(1_000)?.checked_add(i64::from(nanos) / 1_000_000)
}

fn parse_filter(text: &str) -> Result<AlertFilter, Refusal> {
    AlertFilter::parse(text).map_err(|e| field("filter", format!("at byte {}: {}", e.at, e.problem)))
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
fn alert_of(alert: &AlertRecord, with_history: bool, precision: Precision) -> Alert {
    let value = if alert.geofence.is_some() { precision.beyond_m(alert.value) } else { alert.value };
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
        value,
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
        geofence: alert.geofence.map(|fence| geofence_name(&alert.organization, &fence)).unwrap_or_default(),
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
    /// Of which vehicles.
    shown: Shown,
    precision: Precision,
}

impl Followed for Watch {
    type Item = AlertRecord;
    type Response = WatchAlertsResponse;

    fn changed(&self) -> watch::Receiver<u64> {
        self.desk.changed()
    }

    fn point(&self) -> Point {
        self.visit(|_| {})
    }

    fn visit(&self, mut each: impl FnMut(Line<'_, AlertRecord>) + Send) -> Point {
        self.shown.look();
        let point = self.desk.visit(&self.organization, &mut |line| {
            each(Line { change: line.change, number: line.number, item: line.record });
        });
        let mark = Mark { instance: point.instance, change: point.change };
        Point { mark, dropped_to: point.dropped_to }
    }

    fn is_all(&self) -> bool {
        self.filter.is_all() && self.shown.is_all()
    }

    fn depends_on_time(&self) -> bool {
        // A vehicle may go to another fleet.
        self.filter.depends_on_time() || !self.shown.is_all()
    }

    fn matches(&self, alert: &AlertRecord, now_ms: i64) -> bool {
        self.filter.matches(alert, now_ms) && self.shown.has(&alert.vehicle)
    }

    fn name(&self, alert: &AlertRecord) -> String {
        name_of(alert)
    }

    fn response(&mut self, part: Part<'_, AlertRecord>) -> WatchAlertsResponse {
        let Part { items, removed, resume_token, full, .. } = part;
        let alerts = items.iter().map(|(_, alert)| alert_of(alert, false, self.precision)).collect();
        WatchAlertsResponse { alerts, removed, resume_token, full_state: full }
    }
}

#[tonic::async_trait]
impl AlertService for Alerts {
    async fn list_alerts(
        &self,
        request: Request<ListAlertsRequest>,
    ) -> Result<Response<ListAlertsResponse>, Status> {
        let (precision, sight) = (self.precision(&request), sight(&request));
        self.scope.measured("ListAlerts", async { self.list(request.get_ref(), precision, &sight) }).await
    }

    async fn get_alert(&self, request: Request<GetAlertRequest>) -> Result<Response<Alert>, Status> {
        let precision = self.precision(&request);
        self.scope.measured("GetAlert", async { self.get(&request.get_ref().name, precision) }).await
    }

    type WatchAlertsStream = Changes;

    async fn watch_alerts(
        &self,
        request: Request<WatchAlertsRequest>,
    ) -> Result<Response<Self::WatchAlertsStream>, Status> {
        self.scope.begun("WatchAlerts", self.watch(&request))
    }

    async fn acknowledge_alert(
        &self,
        request: Request<AcknowledgeAlertRequest>,
    ) -> Result<Response<Alert>, Status> {
        let (by, precision) = (who(&request), self.precision(&request));
        let AcknowledgeAlertRequest { name, note, etag, request_id, validate_only } = request.into_inner();
        let wish = Wish { name, etag, request_id, validate_only, by, precision };
        self.scope.measured("AcknowledgeAlert", self.act(wish, AlertAct::Acknowledge { note })).await
    }

    async fn snooze_alert(&self, request: Request<SnoozeAlertRequest>) -> Result<Response<Alert>, Status> {
        let (by, precision) = (who(&request), self.precision(&request));
        self.scope.measured("SnoozeAlert", self.snooze(request.into_inner(), by, precision)).await
    }

    async fn unsnooze_alert(
        &self,
        request: Request<UnsnoozeAlertRequest>,
    ) -> Result<Response<Alert>, Status> {
        let (by, precision) = (who(&request), self.precision(&request));
        let UnsnoozeAlertRequest { name, etag, request_id, validate_only } = request.into_inner();
        let wish = Wish { name, etag, request_id, validate_only, by, precision };
        self.scope.measured("UnsnoozeAlert", self.act(wish, AlertAct::Unsnooze)).await
    }

    async fn clear_alert(&self, request: Request<ClearAlertRequest>) -> Result<Response<Alert>, Status> {
        let (by, precision) = (who(&request), self.precision(&request));
        let ClearAlertRequest { name, reason, etag, request_id, validate_only } = request.into_inner();
        let wish = Wish { name, etag, request_id, validate_only, by, precision };
        self.scope.measured("ClearAlert", self.act(wish, AlertAct::Clear { reason })).await
    }
}
