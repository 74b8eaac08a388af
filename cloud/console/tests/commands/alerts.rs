//! Alerts over the console's port: listed in stable pages, followed through a restart, changed, refused with stable
//! reasons.

use remuda_api::alerts::v1::alert_service_client::AlertServiceClient;
use remuda_api::alerts::v1::{
    AcknowledgeAlertRequest, Alert, ClearAlertRequest, GetAlertRequest, ListAlertsRequest,
    SnoozeAlertRequest, State as AlertPhase, UnsnoozeAlertRequest, WatchAlertsRequest, WatchAlertsResponse,
};
use remuda_contracts::alerts::AlertSeverity::{Critical, Info, Warning};
use tonic::Streaming;
use tonic::service::interceptor::InterceptedService;

use super::support::alerts::FakeAlerts;
use super::*;

const ROOT: &str = "organizations/default";

type Client = AlertServiceClient<InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>>;

async fn over(desk: &Arc<FakeAlerts>) -> (Console, Client) {
    let settings = ConsoleSettings {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        token: Token::new(TOKEN).unwrap(),
        organization: OrganizationId::default(),
        access: Access::default(),
    };
    let mut sources = support::sources(&Arc::new(FakeFleet::new(3)));
    sources.alerts = desk.clone();
    let console = Console::bind(settings, sources).await.unwrap();
    let bearer: fn(Request<()>) -> Result<Request<()>, Status> = bearer;
    let client = AlertServiceClient::with_interceptor(channel(&console).await, bearer);
    (console, client)
}

fn name(vehicle: &str, id: &str) -> String {
    format!("{ROOT}/vehicles/{vehicle}/alerts/{id}")
}

fn list(filter: &str, page_size: i32, page_token: &str) -> ListAlertsRequest {
    ListAlertsRequest { parent: ROOT.into(), page_size, page_token: page_token.into(), filter: filter.into() }
}

fn ids(alerts: &[Alert]) -> Vec<&str> {
    alerts.iter().filter_map(|alert| alert.name.rsplit('/').next()).collect()
}

async fn next(stream: &mut Streaming<WatchAlertsResponse>) -> WatchAlertsResponse {
    let next = tokio::time::timeout(std::time::Duration::from_secs(20), stream.message());
    next.await.expect("something comes").unwrap().expect("it goes on")
}

fn watch(filter: &str, resume_token: &str) -> WatchAlertsRequest {
    WatchAlertsRequest { parent: ROOT.into(), filter: filter.into(), resume_token: resume_token.into() }
}

#[tokio::test]
async fn pages_stay_what_they_are_while_alerts_come_and_change() {
    let desk = Arc::new(FakeAlerts::default());
    for n in 0..7 {
        let severity = if n % 2 == 0 { Warning } else { Info };
        desk.raise("V1", &format!("rule-{n}"), severity, 10_000 * (n + 1));
    }
    let (console, mut client) = over(&desk).await;
    let first = client.list_alerts(list("", 3, "")).await.unwrap().into_inner();
    assert_eq!(ids(&first.alerts), ["rule-0", "rule-1", "rule-2"], "those raised last first");
    assert!(first.alerts.iter().all(|alert| alert.history.is_empty()), "lists are short");
    // One comes, one changes, one that was seen changes.
    desk.raise("V2", "rule-9", Critical, 0);
    for id in ["rule-1", "rule-4"] {
        let request = AcknowledgeAlertRequest { name: name("V1", id), ..Default::default() };
        client.acknowledge_alert(request).await.unwrap();
    }
    let second = client.list_alerts(list("", 3, &first.next_page_token)).await.unwrap().into_inner();
    assert_eq!(ids(&second.alerts), ["rule-3", "rule-4", "rule-5"]);
    let third = client.list_alerts(list("", 3, &second.next_page_token)).await.unwrap().into_inner();
    assert_eq!((ids(&third.alerts), third.next_page_token.as_str()), (vec!["rule-6"], ""));
    let some = client.list_alerts(list("state = OPEN AND severity >= WARNING", 0, "")).await.unwrap();
    assert_eq!(ids(&some.into_inner().alerts), ["rule-9", "rule-0", "rule-2", "rule-6"]);
    let old = client.list_alerts(list("age_s > 55 AND vehicle = V1", 0, "")).await.unwrap();
    assert_eq!(ids(&old.into_inner().alerts), ["rule-5", "rule-6"]);
    for wrong in [
        list("presence = ONLINE", 0, ""),
        list("", -1, ""),
        list("", 3, "nonsense"),
        list("state = OPEN", 3, &first.next_page_token),
    ] {
        let refused = client.list_alerts(wrong).await.unwrap_err();
        assert_eq!(reason_of(&refused), (Code::InvalidArgument, "FIELD_INVALID".into()));
    }
    console.stop().await.unwrap();
}

#[tokio::test]
async fn a_watcher_is_told_every_end_also_after_the_server_was_started_again() {
    let desk = Arc::new(FakeAlerts::default());
    desk.raise("V1", "rule-1", Warning, 1_000);
    desk.raise("V1", "rule-2", Info, 500);
    let (console, mut client) = over(&desk).await;
    let mut stream = client.watch_alerts(watch("state = OPEN", "")).await.unwrap().into_inner();
    let first = next(&mut stream).await;
    assert_eq!((ids(&first.alerts), first.full_state), (vec!["rule-2", "rule-1"], true));
    let ack = AcknowledgeAlertRequest { name: name("V1", "rule-1"), ..Default::default() };
    client.acknowledge_alert(ack).await.unwrap();
    let second = next(&mut stream).await;
    assert_eq!((second.removed.clone(), second.full_state), (vec![name("V1", "rule-1")], false));
    drop(stream);
    // What happens meanwhile is told from the token on, and no more than that.
    desk.raise("V2", "rule-3", Warning, 0);
    let clear = ClearAlertRequest { name: name("V1", "rule-2"), reason: "told".into(), ..Default::default() };
    client.clear_alert(clear).await.unwrap();
    let resumed = watch("state = OPEN", &second.resume_token);
    let mut stream = client.watch_alerts(resumed.clone()).await.unwrap().into_inner();
    let third = next(&mut stream).await;
    assert_eq!((ids(&third.alerts), third.full_state), (vec!["rule-3"], false));
    assert_eq!(third.removed, [name("V1", "rule-2")]);
    drop(stream);
    // An end that left the list before it was told: everything is sent.
    desk.drop_line("rule-2");
    let mut stream = client.watch_alerts(resumed).await.unwrap().into_inner();
    let fourth = next(&mut stream).await;
    assert_eq!((ids(&fourth.alerts), fourth.full_state), (vec!["rule-3"], true));
    drop(stream);
    console.stop().await.unwrap();

    let desk = Arc::new(FakeAlerts::started(8));
    desk.raise("V9", "rule-9", Warning, 0);
    let (console, mut client) = over(&desk).await;
    let resumed = watch("state = OPEN", &fourth.resume_token);
    let mut stream = client.watch_alerts(resumed).await.unwrap().into_inner();
    let fifth = next(&mut stream).await;
    assert_eq!((ids(&fifth.alerts), fifth.full_state), (vec!["rule-9"], true));
    console.stop().await.unwrap();
}

#[tokio::test]
async fn a_watcher_is_counted_while_it_watches_and_at_its_end() {
    let desk = Arc::new(FakeAlerts::default());
    let (console, mut client) = over(&desk).await;
    let counted = async |line: &str| {
        let metrics =
            support::http::ask(console.local_addr(), "GET", "/metrics", &[], None).await.text().await;
        metrics.lines().any(|known| known == line)
    };
    let refused = client.watch_alerts(watch("presence = ONLINE", "")).await.unwrap_err();
    assert_eq!(reason_of(&refused), (Code::InvalidArgument, "FIELD_INVALID".into()));
    let calls = "remuda_console_rpc_calls_total{method=\"WatchAlerts\"";
    assert!(counted(&format!("{calls},code=\"INVALID_ARGUMENT\"}} 1")).await);
    let mut stream = client.watch_alerts(watch("", "")).await.unwrap().into_inner();
    next(&mut stream).await;
    assert!(counted("remuda_console_watch_streams 1").await);
    drop(stream);
    let ended = async {
        while !counted(&format!("{calls},code=\"CANCELLED\"}} 1")).await {}
        counted("remuda_console_watch_streams 0").await
    };
    assert!(tokio::time::timeout(std::time::Duration::from_secs(20), ended).await.expect("it is counted"));
    console.stop().await.unwrap();
}

#[tokio::test]
async fn alerts_are_changed_with_etags_and_refused_with_stable_reasons() {
    let desk = Arc::new(FakeAlerts::default());
    desk.raise("V1", "low-1", Warning, 1_000);
    desk.raise("V1", "harsh-1", Info, 1_000);
    let (console, mut client) = over(&desk).await;
    let low = name("V1", "low-1");
    let seen = client.get_alert(GetAlertRequest { name: low.clone() }).await.unwrap().into_inner();
    assert_eq!((seen.state(), seen.wants_attention, seen.history.len()), (AlertPhase::Open, true, 1));
    let ack = AcknowledgeAlertRequest {
        name: low.clone(),
        note: "on it".into(),
        etag: seen.etag.clone(),
        ..Default::default()
    };
    let dry = AcknowledgeAlertRequest { validate_only: true, ..ack.clone() };
    let shown = client.acknowledge_alert(dry).await.unwrap().into_inner();
    assert_eq!(shown.state(), AlertPhase::Acknowledged);
    let done = client.acknowledge_alert(ack.clone()).await.unwrap().into_inner();
    assert_eq!((done.state(), done.wants_attention), (AlertPhase::Acknowledged, false));
    assert_eq!((done.changed_by.as_str(), done.note.as_str()), ("console", "on it"));
    assert_ne!(done.etag, seen.etag);
    let until = prost_types::Timestamp { seconds: support::now_ms() / 1_000 + 600, nanos: 0 };
    let snooze = SnoozeAlertRequest { name: low.clone(), until_time: Some(until), ..Default::default() };
    let snoozed = client.snooze_alert(snooze.clone()).await.unwrap().into_inner();
    assert_eq!((snoozed.state(), snoozed.snooze_until_time), (AlertPhase::Snoozed, Some(until)));
    let length = prost_types::Duration { seconds: 7_200, nanos: 5_000_000 };
    let for_a_while = SnoozeAlertRequest { until_time: None, duration: Some(length), ..snooze.clone() };
    let longer = client.snooze_alert(for_a_while.clone()).await.unwrap().into_inner();
    let at_ms = |time: Option<prost_types::Timestamp>| {
        time.map_or(0, |time| time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000)
    };
    assert_eq!(
        at_ms(longer.snooze_until_time) - at_ms(longer.change_time),
        7_200_005,
        "by the server's clock"
    );
    let unsnooze = UnsnoozeAlertRequest { name: low.clone(), ..Default::default() };
    let open = client.unsnooze_alert(unsnooze.clone()).await.unwrap().into_inner();
    assert_eq!((open.state(), open.change_time), (AlertPhase::Open, None));

    let clear = |name: String, reason: &str| ClearAlertRequest {
        name,
        reason: reason.into(),
        ..ClearAlertRequest::default()
    };
    let harsh = name("V1", "harsh-1");
    client.clear_alert(clear(harsh.clone(), "told")).await.unwrap();
    let refusals = [
        (client.acknowledge_alert(ack).await, Code::Aborted, "ETAG_MISMATCH"),
        (client.unsnooze_alert(unsnooze).await, Code::FailedPrecondition, "ALERT_NOT_SNOOZED"),
        (client.clear_alert(clear(low.clone(), "no")).await, Code::FailedPrecondition, "RULE_CLEARS_ITSELF"),
        (client.clear_alert(clear(low.clone(), "")).await, Code::InvalidArgument, "BAD_TEXT"),
        (
            client.acknowledge_alert(AcknowledgeAlertRequest { name: harsh, ..Default::default() }).await,
            Code::FailedPrecondition,
            "ALERT_CLEARED",
        ),
        (
            client.snooze_alert(SnoozeAlertRequest { until_time: None, ..snooze }).await,
            Code::InvalidArgument,
            "FIELD_INVALID",
        ),
        (
            client.snooze_alert(SnoozeAlertRequest { until_time: Some(until), ..for_a_while.clone() }).await,
            Code::InvalidArgument,
            "FIELD_INVALID",
        ),
        // No duration is as long: the audit log could not tell it.
        (
            client
                .snooze_alert(SnoozeAlertRequest {
                    duration: Some(prost_types::Duration { seconds: i64::MAX, nanos: 0 }),
                    ..for_a_while
                })
                .await,
            Code::InvalidArgument,
            "MESSAGE_INVALID",
        ),
        (
            client.get_alert(GetAlertRequest { name: name("V1", "none") }).await,
            Code::NotFound,
            "ALERT_NOT_FOUND",
        ),
        (client.clear_alert(clear(name("V1", "none"), "x")).await, Code::NotFound, "ALERT_NOT_FOUND"),
        (
            client.get_alert(GetAlertRequest { name: "V1/alerts/x".into() }).await,
            Code::InvalidArgument,
            "FIELD_INVALID",
        ),
        (
            client.get_alert(GetAlertRequest { name: low.replace("default", "other") }).await,
            Code::PermissionDenied,
            "ORGANIZATION_FOREIGN",
        ),
    ];
    for (answer, code, reason) in refusals {
        assert_eq!(reason_of(&answer.unwrap_err()), (code, reason.to_owned()));
    }
    console.stop().await.unwrap();
}
