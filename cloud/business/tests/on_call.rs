//! Alerts that call reach those whom they are for, once a call, whatever restarts.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

#[path = "../../notifications/tests/support/smtp.rs"]
mod smtp;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_access::{Part, Reach};
use remuda_business::Business;
use remuda_business::on_call::{OnCall, Person};
use remuda_contracts::alerts::{
    AlertDesk, AlertEntryKind, AlertError, AlertLine, AlertMark, AlertPlace, AlertPoint, AlertRecord,
    AlertRequest, AlertSeverity, AlertState,
};
use remuda_contracts::business::BusinessDesk;
use remuda_contracts::business::notifications::{NotificationFilter, NotificationView};
use remuda_contracts::business::vehicles::{RecordDetails, RecordFilter};
use remuda_model::{OrganizationId, VehicleId};
use remuda_notifications::Contact;
use remuda_notifications::channels::Channel;
use remuda_notifications::channels::email::{MailConfig, Mailer, Protection};
use remuda_notifications::channels::webhook::Endpoint;
use remuda_notifications::preferences::{Preferences, QuietHours};
use remuda_webhooks::{AddressRules, Sender, SenderConfig, SigningKeys, Target, WebhookMetrics};
use smtp::Smtp;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// Alerts by vehicle and id, with the change that brought each.
type Lines = BTreeMap<(VehicleId, String), (u64, Arc<AlertRecord>)>;

/// The vehicles' alerts, as a test wants them.
#[derive(Default)]
struct Alerts {
    lines: Mutex<Lines>,
    changed: watch::Sender<u64>,
}

impl Alerts {
    fn put(&self, record: AlertRecord) {
        let change = *self.changed.borrow() + 1;
        self.lines.lock().insert((record.vehicle, record.id.clone()), (change, Arc::new(record)));
        self.changed.send_replace(change);
    }

    fn raise(&self, vehicle: &str, id: &str, severity: AlertSeverity, age_ms: i64) {
        let raised_ms = now_ms() - age_ms;
        self.put(AlertRecord {
            organization: ORGANIZATION(),
            vehicle: VehicleId::new(vehicle).unwrap(),
            id: id.into(),
            rule: "low-charge".into(),
            geofence: None,
            severity,
            state: AlertState::Open,
            raised_ms,
            late: false,
            value: 12.04,
            threshold: 15.0,
            occurrences: 1,
            clears_by_hand: false,
            mark: AlertMark::default(),
            snoozed_until_ms: 0,
            revision: 1,
            history: vec![(AlertEntryKind::Raised, AlertMark { time_ms: raised_ms, ..AlertMark::default() })],
            history_left_out: 0,
        });
    }

    /// Something happens to an alert.
    fn step(&self, vehicle: &str, id: &str, kind: AlertEntryKind, state: AlertState) {
        let known = self.get(&ORGANIZATION(), &VehicleId::new(vehicle).unwrap(), id).unwrap();
        let mut record = (*known).clone();
        record.history.push((kind, AlertMark { time_ms: now_ms(), ..AlertMark::default() }));
        record.state = state;
        record.revision += 1;
        self.put(record);
    }
}

#[async_trait]
impl AlertDesk for Alerts {
    fn get(&self, _: &OrganizationId, vehicle: &VehicleId, id: &str) -> Option<Arc<AlertRecord>> {
        self.lines.lock().get(&(*vehicle, id.to_owned())).map(|(_, record)| Arc::clone(record))
    }

    fn list(
        &self,
        _: &OrganizationId,
        _: Option<&AlertPlace>,
        _: usize,
        _: &(dyn Fn(&AlertRecord) -> bool + Sync),
    ) -> Vec<Arc<AlertRecord>> {
        Vec::new()
    }

    fn visit(&self, _: &OrganizationId, each: &mut (dyn FnMut(AlertLine<'_>) + Send)) -> AlertPoint {
        let lines = self.lines.lock();
        for (number, (change, record)) in (0..).zip(lines.values()) {
            each(AlertLine { change: *change, number, record });
        }
        AlertPoint { instance: 1, change: *self.changed.borrow(), dropped_to: 0 }
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    async fn act(
        &self,
        _: &OrganizationId,
        _: &VehicleId,
        _: &str,
        _: AlertRequest,
    ) -> Result<Arc<AlertRecord>, AlertError> {
        Err(AlertError::NoSuchAlert)
    }
}

fn mailer(port: u16) -> Mailer {
    let config = MailConfig {
        relay: "localhost".into(),
        port,
        protection: Protection::None,
        extra_roots_pem: Vec::new(),
        from: "Remuda <fleet@example.com>".into(),
        user: None,
        password: None,
    };
    Mailer::new(&config).unwrap()
}

fn person(name: &str, reach: Reach, severity: AlertSeverity) -> Person {
    let email = Some(format!("{name}@example.com"));
    let preferences = Preferences { otherwise: Channel::ALL.to_vec(), ..Preferences::default() };
    Person {
        name: name.into(),
        reach,
        severity,
        contact: Contact { name: name.into(), email, webhook: None, preferences },
    }
}

async fn business(
    folder: &Path,
    alerts: &Arc<Alerts>,
    people: &[Person],
    mail_port: Option<u16>,
) -> Business {
    let addresses = AddressRules { allowed: vec!["127.0.0.1".parse().unwrap()] };
    let sender = SenderConfig { addresses, ..SenderConfig::default() };
    let on_call = OnCall {
        alerts: Arc::clone(alerts) as _,
        people: people.to_vec(),
        webhooks: Some(Sender::new(sender, WebhookMetrics::default()).unwrap()),
    };
    start_with(folder, &Fleet::new(&[]), |settings| {
        settings.mailer = mail_port.map(mailer);
        settings.on_call = Some(on_call);
    })
    .await
}

async fn messages(desk: &Arc<dyn BusinessDesk>) -> Vec<NotificationView> {
    desk.notifications(&ORGANIZATION(), NotificationFilter::All, None, 1_000).await.unwrap().0
}

/// Ids of messages, each with its state, once they are so.
async fn until_messages(desk: &Arc<dyn BusinessDesk>, wanted: &[(&str, &str)]) {
    let wanted: BTreeSet<(String, String)> =
        wanted.iter().map(|(id, state)| ((*id).into(), (*state).into())).collect();
    let begun = Instant::now();
    loop {
        let all = messages(desk).await.into_iter().map(|message| (message.id, message.state.to_owned()));
        let all: BTreeSet<(String, String)> = all.collect();
        if all == wanted {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "there should be {wanted:#?}, there are {all:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn register(desk: &Arc<dyn BusinessDesk>, vehicle: &str, fleet: &str) {
    let details = RecordDetails {
        manufacturer: "Acme".into(),
        model: "Box".into(),
        year: 2026,
        powertrain: "electric".into(),
        seats: 4,
        licence_class: "B".into(),
        fleet: Some(fleet.into()),
        ..RecordDetails::default()
    };
    desk.register_vehicle(&ORGANIZATION(), vehicle, details, 0, asker(vehicle)).await.unwrap();
    let is_there = async || {
        let all = desk.records(&ORGANIZATION(), RecordFilter::default(), None, 100).await.unwrap();
        all.iter().any(|record| record.vehicle == vehicle)
    };
    while !is_there().await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_told_once_a_call_to_those_whom_it_is_for() {
    let Some(mut relay) = Smtp::start(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let alerts = Arc::new(Alerts::default());
    let north = Reach::of(&[Part::Fleet("north".into())]);
    let people = [
        person("ada", Reach::Everywhere, AlertSeverity::Warning),
        person("otto", north, AlertSeverity::Info),
    ];
    let running = business(folder.path(), &alerts, &people, Some(relay.port)).await;
    let desk = running.desk();
    register(&desk, "VAN1", "north").await;
    register(&desk, "VAN2", "south").await;

    let mut mail = |to: &str, subject: &str, says: &str| {
        let mail = relay.mail();
        assert_eq!((&mail["to"][0], &mail["headers"]["subject"]), (&to.into(), &subject.into()), "{mail}");
        let body = mail["bodies"]["text/plain"].as_str().unwrap();
        assert!(body.contains(says), "{body}");
        mail["headers"]["message-id"].as_str().unwrap().to_owned()
    };
    // Nobody is for this one: it matters too little to her, and is not in his fleet.
    alerts.raise("VAN2", "harsh-1", AlertSeverity::Info, 0);
    // Nobody is told what is a day old, as when somebody is told for the first time.
    alerts.raise("VAN1", "old-1", AlertSeverity::Warning, DAY + MINUTE);
    alerts.raise("VAN2", "low-1", AlertSeverity::Warning, 0);
    mail("ada@example.com", "warning: low-charge of VAN2", "12.0, beyond 15.0");
    alerts.raise("VAN1", "low-2", AlertSeverity::Info, 0);
    mail("otto@example.com", "info: low-charge of VAN1", "remudactl alerts ack VAN1 low-2");
    let told = [
        ("alert/VAN2/low-1/0/ada:in-app", "sent"),
        ("alert/VAN2/low-1/0/ada:email", "sent"),
        ("alert/VAN1/low-2/0/otto:in-app", "sent"),
        ("alert/VAN1/low-2/0/otto:email", "sent"),
    ];
    until_messages(&desk, &told).await;
    let first = messages(&desk).await.pop().unwrap();
    assert_eq!((first.recipient.as_str(), first.kind.as_str()), ("staff/ada", "alert-raised"));

    // Found again, or looked after and snoozed, it says nothing; back from the snooze it does, also after a restart in between.
    alerts.step("VAN2", "low-1", AlertEntryKind::RaisedAgain, AlertState::Open);
    alerts.step("VAN2", "low-1", AlertEntryKind::Snoozed(now_ms() + MINUTE), AlertState::Snoozed);
    running.stop().await;
    drop((desk, running));
    let running = business(folder.path(), &alerts, &people, Some(relay.port)).await;
    let desk = running.desk();
    alerts.step("VAN2", "low-1", AlertEntryKind::SnoozeEnded, AlertState::Open);
    let mut mail = |to: &str, subject: &str| {
        let mail = relay.mail();
        assert_eq!((&mail["to"][0], &mail["headers"]["subject"]), (&to.into(), &subject.into()), "{mail}");
    };
    mail("ada@example.com", "Again: warning: low-charge of VAN2");
    let call =
        alerts.get(&ORGANIZATION(), &VehicleId::new("VAN2").unwrap(), "low-1").unwrap().call().unwrap();
    let [in_app, email] =
        ["in-app", "email"].map(|channel| format!("alert/VAN2/low-1/{}/ada:{channel}", call.number));
    let again = [(in_app.as_str(), "sent"), (email.as_str(), "sent")];
    until_messages(&desk, &[&told[..], &again[..]].concat()).await;
    running.stop().await;
}

/// An HTTP server that takes everything, and tells what it got.
async fn hook() -> (u16, mpsc::Receiver<String>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, got) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut seen, mut piece) = (String::new(), [0; 4_096]);
            while !seen.contains("\"type\"") || !seen.ends_with('}') {
                match stream.read(&mut piece).await {
                    Ok(n) if n > 0 => seen.push_str(&String::from_utf8_lossy(&piece[..n])),
                    _ => break,
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n").await;
            let _ = tell.send(seen).await;
        }
    });
    (port, got)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sleeps_is_told_in_the_morning_of_what_still_calls_then() {
    let (port, mut got) = hook().await;
    let folder = tempfile::tempdir().unwrap();
    let alerts = Arc::new(Alerts::default());
    let mut ada = person("ada", Reach::Everywhere, AlertSeverity::Info);
    ada.contact.webhook = Some(Endpoint {
        target: Target::parse(&format!("http://127.0.0.1:{port}/hook"), true).unwrap(),
        keys: SigningKeys::parse(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]).unwrap(),
    });
    // From an hour ago to two hours from now.
    let minute = u16::try_from(now_ms().rem_euclid(DAY) / MINUTE).unwrap();
    ada.contact.preferences.quiet =
        Some(QuietHours { from_min: (minute + 1_380) % 1_440, to_min: (minute + 120) % 1_440 });
    let people = [ada];
    let running = business(folder.path(), &alerts, &people, None).await;
    let desk = running.desk();
    alerts.raise("VAN1", "low-1", AlertSeverity::Warning, 0);
    alerts.raise("VAN1", "low-2", AlertSeverity::Warning, 0);
    let waits = [
        ("alert/VAN1/low-1/0/ada:in-app", "sent"),
        ("alert/VAN1/low-1/0/ada:webhook", "rendered"),
        ("alert/VAN1/low-2/0/ada:in-app", "sent"),
        ("alert/VAN1/low-2/0/ada:webhook", "rendered"),
    ];
    until_messages(&desk, &waits).await;
    // Somebody looks after the one while the node is away, and after the other while it is there.
    running.stop().await;
    drop((desk, running));
    alerts.step("VAN1", "low-1", AlertEntryKind::Acknowledged, AlertState::Acknowledged);
    let running = business(folder.path(), &alerts, &people, None).await;
    let desk = running.desk();
    let one = [waits[0], ("alert/VAN1/low-1/0/ada:webhook", "cancelled"), waits[2], waits[3]];
    until_messages(&desk, &one).await;
    alerts.step("VAN1", "low-2", AlertEntryKind::Cleared, AlertState::Cleared);
    let both = [one[0], one[1], one[2], ("alert/VAN1/low-2/0/ada:webhook", "cancelled")];
    until_messages(&desk, &both).await;
    // What is critical wakes her.
    alerts.raise("VAN1", "hot-1", AlertSeverity::Critical, 0);
    let call = tokio::time::timeout(PATIENCE, got.recv()).await.expect("she is woken").unwrap();
    assert!(call.contains("alert-critical") && call.contains("hot-1"), "{call}");
    let all =
        [&both[..], &[("alert/VAN1/hot-1/0/ada:in-app", "sent"), ("alert/VAN1/hot-1/0/ada:webhook", "sent")]]
            .concat();
    until_messages(&desk, &all).await;
    running.stop().await;
}
