//! Alerts through the actors: acted on, through restarts and faults, listed without waking anybody.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use remuda_contracts::alerts::{
    AlertAct, AlertEntryKind, AlertError, AlertRecord, AlertRequest, AlertSeverity, AlertState, SnoozeEnd,
};
use remuda_eventsourcing::{Journal, MemoryJournal};
use remuda_model::{Lane, OrganizationId, ShardId, VehicleId, signal};
use remuda_vehicles::metrics::{AlertLabel, SeverityLabel};
use remuda_vehicles::{VehicleMetrics, VehicleSettings, VehicleSystem, WallClock};
use remuda_wire::{Body, Column, FrameHeader, SampleBlock, TimeUnit, frame};

use super::common::{Scripted, eventually, header, now_ms, settings, start};

const CHARGE: remuda_model::SignalId = signal::CHARGE;

fn organization() -> OrganizationId {
    OrganizationId::default()
}

fn request(act: AlertAct) -> AlertRequest {
    AlertRequest {
        act,
        by: "user/ada".into(),
        request_id: String::new(),
        expected: None,
        validate_only: false,
    }
}

fn acknowledge(note: &str) -> AlertRequest {
    request(AlertAct::Acknowledge { note: note.into() })
}

fn all(system: &VehicleSystem) -> Vec<Arc<AlertRecord>> {
    system.alerts.list(&organization(), None, 100, &|_| true)
}

fn open(metrics: &VehicleMetrics, severity: &'static str) -> i64 {
    metrics.open_alerts.get_or_create(&SeverityLabel { severity }).get()
}

fn calls(metrics: &VehicleMetrics) -> u64 {
    metrics.alert_calls.get_or_create(&SeverityLabel { severity: "warning" }).get()
}

/// A vehicle whose battery is low, and its alert.
async fn low(system: &VehicleSystem, name: &str) -> (Scripted, Arc<AlertRecord>) {
    let mut car = Scripted::connect(&system.intake, name, 7).await;
    car.greet(vec![]).await;
    car.samples(1, &[&[(CHARGE, 50.0)], &[(CHARGE, 14.0)]]).await;
    car.durable(Lane::Samples, 2).await;
    let vehicle = car.vehicle;
    eventually("the alert is listed", async || all(system).iter().any(|a| a.vehicle == vehicle)).await;
    let alert = all(system).into_iter().find(|a| a.vehicle == vehicle).expect("it is listed");
    (car, alert)
}

async fn act(
    system: &VehicleSystem,
    alert: &AlertRecord,
    request: AlertRequest,
) -> Result<Arc<AlertRecord>, AlertError> {
    system.alerts.act(&organization(), &alert.vehicle, &alert.id, request).await
}

async fn started(
    folder: &Path,
    journal: &Arc<dyn Journal>,
    settings: VehicleSettings,
) -> (VehicleSystem, VehicleMetrics) {
    let (system, metrics, _) = start(folder, journal, settings).await;
    (system, metrics)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_is_acted_on_and_comes_back_after_a_restart_and_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, metrics) = started(folder.path(), &journal, settings()).await;
    let mut changed = system.alerts.changed();
    let (mut car, raised) = low(&system, "CAR1").await;
    assert_eq!(
        (raised.state, raised.severity, raised.rule.as_str()),
        (AlertState::Open, AlertSeverity::Warning, "low-charge")
    );
    assert_eq!(
        (raised.value, raised.threshold, raised.occurrences, raised.wants_attention()),
        (14.0, 15.0, 1, true)
    );
    assert_eq!((open(&metrics, "warning"), open(&metrics, "info"), calls(&metrics)), (1, 0, 1));
    assert!(changed.has_changed().unwrap());
    changed.mark_unchanged();

    // A preview, an old etag, a rule that ends its alerts itself, what is not there: nothing is written.
    let preview = AlertRequest { validate_only: true, ..acknowledge("x") };
    assert_eq!(act(&system, &raised, preview).await.unwrap().state, AlertState::Acknowledged);
    let refused = |code| move |e: &AlertError| matches!(e, AlertError::Refused { code: c, .. } if *c == code);
    let stale = AlertRequest { expected: Some(9), ..acknowledge("x") };
    assert!(act(&system, &raised, stale).await.is_err_and(|e| refused("etag-mismatch")(&e)));
    let by_hand = request(AlertAct::Clear { reason: "never mind".into() });
    assert!(act(&system, &raised, by_hand).await.is_err_and(|e| refused("rule-clears-itself")(&e)));
    let nowhere =
        AlertRecord { id: "low-charge-0000000000000007-99-0".into(), ..AlertRecord::clone(&raised) };
    assert_eq!(act(&system, &nowhere, acknowledge("x")).await, Err(AlertError::NoSuchAlert));
    assert!(!changed.has_changed().unwrap());

    let taken = act(
        &system,
        &raised,
        AlertRequest { request_id: "r1".into(), expected: Some(1), ..acknowledge("on it") },
    );
    let taken = taken.await.unwrap();
    assert_eq!(
        (taken.state, taken.revision, taken.mark.by.as_str()),
        (AlertState::Acknowledged, 2, "user/ada")
    );
    let again = AlertRequest { request_id: "r1".into(), expected: Some(1), ..acknowledge("on it") };
    assert_eq!(act(&system, &raised, again).await.unwrap(), taken, "the same request is the same answer");
    let label = AlertLabel { event: "vehicle.alert-acknowledged" };
    assert_eq!(metrics.alert_steps.get_or_create(&label).get(), 1);
    car.disconnect(car.generation).await;
    // A crash: nothing but what is durable is there. The act brought no row, only an event behind the snapshot.
    drop(system);

    let (system, metrics) = started(folder.path(), &journal, settings()).await;
    assert_eq!(all(&system), [Arc::clone(&taken)], "listed again, before anybody was woken");
    assert_eq!((metrics.actors.get(), open(&metrics, "warning"), calls(&metrics)), (0, 1, 0));
    // A snapshot with the alert in it, then an act, then a crash.
    system.handle.stop().await.unwrap();
    let (system, _) = started(folder.path(), &journal, settings()).await;
    assert_eq!(all(&system), [Arc::clone(&taken)]);
    let until_ms = now_ms() + 600_000;
    let later = AlertAct::Snooze { end: SnoozeEnd::At(until_ms), note: "later".into() };
    let snoozed = act(&system, &taken, request(later)).await.unwrap();
    assert_eq!((snoozed.state, snoozed.snoozed_until_ms), (AlertState::Snoozed, until_ms));
    drop(system);
    let (system, metrics) = started(folder.path(), &journal, settings()).await;
    assert_eq!((all(&system), metrics.actors.get()), (vec![Arc::clone(&snoozed)], 0));

    // The vehicle's agent starts anew and finds it again: counted, and nobody is called.
    car = Scripted::connect(&system.intake, "CAR1", 8).await;
    car.greet(vec![]).await;
    car.samples(1, &[&[(CHARGE, 13.0)]]).await;
    car.durable(Lane::Samples, 1).await;
    eventually("it was found again", async || all(&system)[0].occurrences == 2).await;
    assert_eq!((all(&system)[0].state, calls(&metrics)), (AlertState::Snoozed, 0));
    let back = act(&system, &snoozed, request(AlertAct::Unsnooze)).await.unwrap();
    assert_eq!((back.state, calls(&metrics)), (AlertState::Open, 1));
    // The rule ends it.
    car.samples(2, &[&[(CHARGE, 60.0)]]).await;
    car.durable(Lane::Samples, 2).await;
    eventually("it is over", async || all(&system)[0].state == AlertState::Cleared).await;
    let told: Vec<AlertEntryKind> = all(&system)[0].history.iter().map(|(kind, _)| *kind).collect();
    use AlertEntryKind::{Acknowledged, Cleared, Raised, RaisedAgain, Snoozed, Unsnoozed};
    assert_eq!(told, [Raised, Acknowledged, Snoozed(until_ms), RaisedAgain, Unsnoozed, Cleared]);
    assert_eq!(open(&metrics, "warning"), 0);
    assert!(act(&system, &raised, acknowledge("x")).await.is_err_and(|e| refused("alert-cleared")(&e)));
    let twin = system.view.twin(&organization(), &car.vehicle).await.unwrap();
    assert_eq!((twin.alerts.len(), twin.summary.open_alerts), (0, 0));
    system.handle.stop().await.unwrap();
    let (system, _) = started(folder.path(), &journal, settings()).await;
    assert_eq!(all(&system)[0].state, AlertState::Cleared, "what ended lately is listed after a restart too");
    system.handle.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_cannot_be_read_is_replaced_by_its_stream() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, _) = started(folder.path(), &journal, settings()).await;
    let (_, raised) = low(&system, "CAR1").await;
    let taken = act(&system, &raised, acknowledge("on it")).await.unwrap();
    system.handle.stop().await.unwrap();
    // As a later release may write it.
    let (stream, mut snapshot) = journal.snapshots("vehicle", None, 10).await.unwrap().remove(0);
    snapshot.state[0] = 99;
    let owners = journal.epochs().await.unwrap();
    let owner = owners.into_iter().find(|owner| owner.shard == ShardId::of(&raised.vehicle)).unwrap();
    assert!(journal.put_snapshots(owner, vec![(stream, snapshot)]).await.unwrap());
    let (system, metrics) = started(folder.path(), &journal, settings()).await;
    assert_eq!((all(&system), metrics.actors.get()), (vec![taken], 0), "before anybody was woken");
    system.handle.stop().await.unwrap();
}

/// How far the server's clock of the test below is ahead, ms.
static AHEAD: AtomicI64 = AtomicI64::new(0);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snooze_ends_by_itself_also_when_the_node_was_down_at_its_time() {
    let clock = WallClock(|| now_ms() + AHEAD.load(Relaxed));
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let settings = || VehicleSettings { clock, ..settings() };
    let (system, metrics) = started(folder.path(), &journal, settings()).await;
    let (_, one) = low(&system, "CAR1").await;
    let (_, two) = low(&system, "CAR2").await;
    for (alert, end) in [(&one, SnoozeEnd::After(120_000)), (&two, SnoozeEnd::At(now_ms() + 600_000))] {
        act(&system, alert, request(AlertAct::Snooze { end, note: String::new() })).await.unwrap();
    }
    assert_eq!(calls(&metrics), 2);
    let state = |system: &VehicleSystem, of: &AlertRecord| {
        system.alerts.get(&organization(), &of.vehicle, &of.id).map(|alert| alert.state)
    };
    AHEAD.store(130_000, Relaxed);
    eventually("the first is back", async || state(&system, &one) == Some(AlertState::Open)).await;
    assert_eq!((state(&system, &two), calls(&metrics)), (Some(AlertState::Snoozed), 3));
    drop(system);
    AHEAD.store(610_000, Relaxed);
    let (system, metrics) = started(folder.path(), &journal, settings()).await;
    eventually("the second is back", async || state(&system, &two) == Some(AlertState::Open)).await;
    assert_eq!(calls(&metrics), 1);
    let history = &system.alerts.get(&organization(), &two.vehicle, &two.id).unwrap().history;
    assert_eq!(history.last().unwrap().0, AlertEntryKind::SnoozeEnded);
    system.handle.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_go_on_after_a_place_and_say_where_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, _) = started(folder.path(), &journal, settings()).await;
    for n in 0..5 {
        low(&system, &format!("CAR{n}")).await;
    }
    let first = system.alerts.list(&organization(), None, 2, &|_| true);
    let rest = system.alerts.list(&organization(), Some(&first[1].place()), 9, &|_| true);
    let times: Vec<i64> = first.iter().chain(&rest).map(|alert| alert.raised_ms).collect();
    assert!(times.is_sorted_by(|one, two| one >= two) && times.len() == 5, "{times:?}");
    let other = OrganizationId::new("other").unwrap();
    assert!(system.alerts.list(&other, None, 9, &|_| true).is_empty());
    assert!(system.alerts.get(&other, &first[0].vehicle, &first[0].id).is_none());
    let stranger = VehicleId::new("NOBODY").unwrap();
    let refused = system.alerts.act(&organization(), &stranger, &first[0].id, acknowledge("x")).await;
    assert_eq!(refused, Err(AlertError::NoSuchAlert));
    let mut changes = Vec::new();
    let point = system.alerts.visit(&organization(), &mut |line| changes.push(line.change));
    assert_eq!((changes.len(), changes.iter().max()), (5, Some(&point.change)));
    act(&system, &first[0], acknowledge("x")).await.unwrap();
    let mut after = Vec::new();
    system.alerts.visit(&organization(), &mut |line| {
        if line.change > point.change {
            after.push(line.record.id.clone());
        }
    });
    assert_eq!(after, [first[0].id.clone()]);
    system.handle.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_that_comes_late_is_listed_and_calls_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, metrics) = started(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR1", 7).await;
    car.greet(vec![]).await;
    let raw = signal::by_id(CHARGE).unwrap().to_raw(14.0);
    let columns = vec![Column { signal: CHARGE, values: vec![Some(raw)] }];
    let block = SampleBlock { unit: TimeUnit::Millisecond, offsets: vec![0], columns };
    let an_hour_ago = FrameHeader { wall_ms: Some(now_ms() - 3_600_000), ..header(1) };
    let late = frame::encode(&an_hour_ago, &Body::Samples(block));
    car.frames(Lane::Samples, 1, vec![late]).await;
    car.durable(Lane::Samples, 1).await;
    eventually("it is listed", async || all(&system).len() == 1).await;
    let alert = all(&system).remove(0);
    assert_eq!((alert.state, alert.late, alert.wants_attention()), (AlertState::Open, true, false));
    assert_eq!((open(&metrics, "warning"), calls(&metrics)), (1, 0));
    // Back from a snooze it calls nobody either.
    let end = SnoozeEnd::After(600_000);
    act(&system, &alert, request(AlertAct::Snooze { end, note: String::new() })).await.unwrap();
    let back = act(&system, &alert, request(AlertAct::Unsnooze)).await.unwrap();
    assert_eq!((back.wants_attention(), calls(&metrics)), (false, 0));
    system.handle.stop().await.unwrap();
}
