//! Messages delivered for real: to an SMTP server of another language, to an HTTP server, to an inbox.

#[path = "support/smtp.rs"]
mod smtp;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use remuda_entities::projection::{Place, project};
use remuda_entities::{EntityMetrics, Shards};
use remuda_eventsourcing::{Journal, MemoryJournal};
use remuda_model::OrganizationId;
use remuda_notifications::channels::Channel;
use remuda_notifications::channels::email::{MailConfig, Mailer, Protection};
use remuda_notifications::channels::webhook::Endpoint;
use remuda_notifications::metrics::NotificationMetrics;
use remuda_notifications::preferences::{Preferences, QuietHours};
use remuda_notifications::templates::{Catalogue, Rendered};
use remuda_notifications::{
    Ask, Contact, Mailbox, MailboxProjection, NotificationService, Notifications, NotificationsConfig,
    Runner, StaticDirectory,
};
use remuda_saga::{Service, StepContext, StepError};
use remuda_webhooks::{AddressRules, Sender, SenderConfig, SigningKeys, Target, WebhookMetrics, verify};
use smtp::Smtp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

/// 2026-01-10T12:00Z.
const NOON: i64 = 1_768_046_400_000;
const HOUR: i64 = 3_600_000;
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn mail_config(port: u16) -> MailConfig {
    MailConfig {
        relay: "localhost".into(),
        port,
        protection: Protection::None,
        extra_roots_pem: Vec::new(),
        from: "Remuda <rides@example.com>".into(),
        user: None,
        password: None,
    }
}

fn text(subject: &str, body: &str) -> Rendered {
    Rendered { locale: "de".into(), subject: subject.into(), body: body.into() }
}

#[tokio::test]
async fn a_real_server_gets_what_was_written_and_says_what_to_do() {
    let Some(mut smtp) = Smtp::start(&[]) else { return };
    let mailer = Mailer::new(&mail_config(smtp.port)).expect("a mailer");
    let grüße = text("Grüße — Ihre Fahrt €12", "Guten Tag <Ada>,\n\n.\nbis später & tschüß\n");
    let receipt = mailer.send("msg_1", "Ada <ada@example.com>", &grüße).await.expect("sent");
    assert_eq!(receipt, "250");
    let mail = smtp.mail();
    assert_eq!(
        (mail["from"].as_str(), mail["to"][0].as_str()),
        (Some("rides@example.com"), Some("ada@example.com"))
    );
    assert_eq!(mail["headers"]["subject"], "Grüße — Ihre Fahrt €12");
    assert_eq!(mail["headers"]["message-id"], "<msg_1@example.com>");
    assert_eq!(mail["headers"]["auto-submitted"], "auto-generated");
    let plain = mail["bodies"]["text/plain"].as_str().expect("plain").replace("\r\n", "\n");
    assert_eq!(plain.trim_end(), grüße.body.trim_end());
    let html = mail["bodies"]["text/html"].as_str().expect("html");
    assert!(html.contains("&lt;Ada&gt;") && html.contains("bis später &amp; tschüß"), "{html}");
    for (to, worth_a_retry) in
        [("nobody@example.com", false), ("busy@example.com", true), ("no address", false)]
    {
        let error = mailer.send("msg_2", to, &grüße).await.expect_err(to);
        assert_eq!(error.worth_a_retry, worth_a_retry, "{to}: {error}");
        assert!(!error.reason.contains("@example"), "{error}");
    }
    let nowhere =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let gone = Mailer::new(&mail_config(nowhere.port())).expect("a mailer");
    assert!(gone.send("msg_3", "ada@example.com", &grüße).await.expect_err("nobody").worth_a_retry);
    // The server offers no STARTTLS: a mailer that wants it does not fall back to plain text.
    let strict = Mailer::new(&MailConfig { protection: Protection::Starttls, ..mail_config(smtp.port) });
    assert!(strict.expect("a mailer").send("msg_4", "ada@example.com", &grüße).await.is_err());
}

#[tokio::test]
async fn starttls_is_used_and_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let certificate = certificate.self_signed(&key).expect("a certificate");
    let files = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&files[0], certificate.pem()).expect("written");
    std::fs::write(&files[1], key.serialize_pem()).expect("written");
    let Some(mut smtp) = Smtp::start(&files) else { return };
    let strict = |extra_roots_pem| {
        let config =
            MailConfig { protection: Protection::Starttls, extra_roots_pem, ..mail_config(smtp.port) };
        Mailer::new(&config).expect("a mailer")
    };
    let (stranger, known) = (strict(Vec::new()), strict(vec![certificate.pem()]));
    let refused = stranger.send("msg_1", "ada@example.com", &text("a", "b")).await;
    assert!(refused.expect_err("an unknown authority").worth_a_retry);
    known.send("msg_2", "ada@example.com", &text("a", "b")).await.expect("sent");
    let mail = smtp.mail();
    assert_eq!(
        (mail["tls"].as_bool(), &mail["headers"]["message-id"]),
        (Some(true), &"<msg_2@example.com>".into())
    );
}

struct World {
    notifications: Notifications,
    mailbox: Mailbox,
    clock: Arc<AtomicI64>,
}

fn organization() -> OrganizationId {
    OrganizationId::default()
}

async fn world(people: Vec<(&str, Contact)>, mailer: Option<Mailer>) -> World {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let shards = Shards::take_all(journal, EntityMetrics::default()).await.expect("taken");
    let addresses = AddressRules { allowed: vec!["127.0.0.1".parse().expect("a network")] };
    let sender = SenderConfig { addresses, ..SenderConfig::default() };
    let clock = Arc::new(AtomicI64::new(NOON));
    let now = clock.clone();
    let people =
        people.into_iter().map(|(user, contact)| ((organization(), user.to_owned()), contact)).collect();
    let config = NotificationsConfig {
        catalogue: Catalogue::builtin().expect("templates"),
        directory: Arc::new(StaticDirectory { people }),
        mailer,
        webhooks: Some(Sender::new(sender, WebhookMetrics::default()).expect("a sender")),
        metrics: NotificationMetrics::default(),
        clock: Arc::new(move || now.load(Ordering::SeqCst)),
    };
    let notifications = Notifications::start(&shards, config).await.expect("started");
    let mailbox = Mailbox(project(&shards, &Place::memory(), MailboxProjection).await.expect("started"));
    World { notifications, mailbox, clock }
}

impl World {
    async fn run(&self) -> (watch::Sender<bool>, tokio::task::JoinHandle<()>) {
        let (stop, stopped) = watch::channel(false);
        let runner = Runner::new(self.notifications.clone(), self.mailbox.clone());
        (stop, tokio::spawn(runner.run(stopped)))
    }

    async fn until(&self, what: &str, holds: impl Fn(&Mailbox) -> bool) {
        let waiting = async {
            loop {
                self.mailbox.0.caught_up().await.expect("caught up");
                if holds(&self.mailbox) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }
}

fn ask(key: &str, recipient: &str) -> Ask {
    Ask {
        key: key.into(),
        recipient: recipient.into(),
        kind: "booking-confirmed".into(),
        parameters: BTreeMap::from([("booking".to_owned(), "b1".to_owned())]),
    }
}

/// An HTTP server that answers each connection with the next answer, and tells what it got.
async fn hooks(answers: &'static [&'static str]) -> (u16, tokio::sync::mpsc::Receiver<String>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (tell, got) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        for answer in answers.iter().chain(std::iter::repeat(&"204 No Content")) {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let (mut seen, mut piece) = (String::new(), [0; 4_096]);
            while !seen.contains("\"type\"") || !seen.ends_with('}') {
                let n = stream.read(&mut piece).await.unwrap_or(0);
                seen.push_str(&String::from_utf8_lossy(&piece[..n]));
                if n == 0 {
                    break;
                }
            }
            let _ =
                stream.write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await;
            let _ = tell.send(seen).await;
        }
    });
    (port, got)
}

fn with_hook(port: u16, locale: &str) -> Contact {
    let endpoint = Endpoint {
        target: Target::parse(&format!("http://127.0.0.1:{port}/hook"), true).expect("a target"),
        keys: SigningKeys::parse(&[SECRET]).expect("keys"),
    };
    let preferences =
        Preferences { locale: locale.into(), otherwise: vec![Channel::Webhook], ..Preferences::default() };
    Contact { name: "Ada".into(), email: None, webhook: Some(endpoint), preferences }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_retried_with_the_same_id_and_the_inbox_is_read() {
    let (port, mut got) = hooks(&["503 Busy", "500 Oops"]).await;
    let world = world(vec![("ada", with_hook(port, "de-AT"))], None).await;
    let (stop, runner) = world.run().await;
    for _ in 0..2 {
        let ids =
            world.notifications.request(&organization(), &ask("k1", "ada"), "user/op").await.expect("taken");
        assert_eq!(ids, ["k1:in-app", "k1:webhook"]);
    }
    let mut ids = Vec::new();
    for attempt in 1..=3 {
        let request = got.recv().await.expect("a call");
        let (head, body) = request.split_once("\r\n\r\n").expect("head and body");
        let header = |name: &str| {
            let line = head.lines().find(|l| l.to_lowercase().starts_with(name)).unwrap_or_default();
            line.split_once(": ").map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        let (id, time) = (header("webhook-id"), header("webhook-timestamp").parse::<i64>().expect("a time"));
        let keys = SigningKeys::parse(&[SECRET]).expect("keys");
        assert_eq!(verify(&keys, &id, time, &header("webhook-signature"), body.as_bytes(), time), Ok(()));
        let said: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(
            (said["type"].as_str(), said["id"].as_str()),
            (Some("booking-confirmed"), Some(id.as_str()))
        );
        assert_eq!(said["data"]["subject"], "Ihre Fahrt ist gebucht");
        ids.push(id);
        if attempt < 3 {
            world
                .until("a wait", |mailbox| {
                    mailbox.open(10).is_ok_and(|open| {
                        open.first().is_some_and(|o| o.due_ms > world.clock.load(Ordering::SeqCst))
                    })
                })
                .await;
            world.clock.fetch_add(HOUR, Ordering::SeqCst);
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "the same id at every attempt");
    world.until("nothing open", |mailbox| mailbox.open(10).is_ok_and(|open| open.is_empty())).await;
    let inbox = world.mailbox.inbox(&organization(), "ada", 10).expect("an inbox");
    assert_eq!((inbox.len(), inbox[0].read), (1, false));
    let read =
        world.notifications.read_text(&organization(), &inbox[0].id).await.expect("a text").expect("there");
    assert!(read.body.starts_with("Guten Tag Ada,"), "{}", read.body);
    world.notifications.mark_read(&organization(), &inbox[0].id, "user/ada").await.expect("read");
    world.notifications.acknowledge(&organization(), &inbox[0].id, "user/ada").await.expect("acknowledged");
    world
        .until("acknowledged", |mailbox| {
            mailbox
                .inbox(&organization(), "ada", 10)
                .is_ok_and(|lines| lines[0].read && lines[0].acknowledged)
        })
        .await;
    stop.send(true).expect("running");
    runner.await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_seen_and_retried_by_an_operator() {
    let (port, mut got) = hooks(&["410 Gone"]).await;
    let world = world(vec![("ada", with_hook(port, "en"))], None).await;
    let (stop, runner) = world.run().await;
    world.notifications.request(&organization(), &ask("k1", "ada"), "user/op").await.expect("taken");
    got.recv().await.expect("a call");
    let dead = |mailbox: &Mailbox| mailbox.dead_letters(&organization(), None, 10).expect("letters");
    world.until("a dead letter", |mailbox| dead(mailbox).len() == 1).await;
    let letter = dead(&world.mailbox).remove(0);
    assert_eq!((letter.id.as_str(), letter.reason.as_str()), ("k1:webhook", "answered 410"));
    world.notifications.retry(&organization(), &letter.id, "user/op").await.expect("retried");
    got.recv().await.expect("another call");
    world
        .until("no dead letter", |mailbox| {
            dead(mailbox).is_empty() && mailbox.open(10).is_ok_and(|open| open.is_empty())
        })
        .await;
    assert!(world.notifications.retry(&organization(), &letter.id, "user/op").await.is_err());
    stop.send(true).expect("running");
    runner.await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sleeps_is_not_disturbed_but_by_what_is_urgent() {
    let (port, mut got) = hooks(&[]).await;
    let mut ada = with_hook(port, "en");
    // 12:00 UTC is 21:00 in Tokyo.
    ada.preferences.time_zone = "Asia/Tokyo".into();
    ada.preferences.quiet = Some(QuietHours { from_min: 20 * 60, to_min: 7 * 60 });
    let world = world(vec![("ada", ada)], None).await;
    let (stop, runner) = world.run().await;
    world.notifications.request(&organization(), &ask("k1", "ada"), "user/op").await.expect("taken");
    world
        .until("a wait for the morning", |mailbox| {
            mailbox.open(10).is_ok_and(|open| open.len() == 1 && open[0].due_ms == NOON + 10 * HOUR)
        })
        .await;
    let mut urgent = ask("k2", "ada");
    urgent.kind = "booking-cancelled".into();
    world.notifications.request(&organization(), &urgent, "user/op").await.expect("taken");
    assert!(got.recv().await.expect("a call").contains("booking-cancelled"));
    world.clock.store(NOON + 10 * HOUR, Ordering::SeqCst);
    assert!(got.recv().await.expect("a call").contains("booking-confirmed"));
    stop.send(true).expect("running");
    runner.await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_confirms_and_calls_off() {
    let world = world(vec![("ada", with_hook(9, "en"))], None).await;
    let service = NotificationService::new(world.notifications.clone());
    let context = |saga: &str| StepContext {
        organization: organization(),
        saga_id: saga.into(),
        saga: "TripBookingSaga".into(),
        step: "send-confirmation".into(),
        attempt: 1,
        deadline_ms: NOON + 10_000,
        data: serde_json::json!({
            "rider": "ada", "price": { "minor_units": 1, "currency": "EUR" }, "vehicles": [], "stops": [],
        }),
    };
    let do_it =
        |saga: &'static str| service.call("send-confirmation", "do", Box::leak(Box::new(context(saga))));
    let undo_it =
        |saga: &'static str| service.call("send-cancellation", "undo", Box::leak(Box::new(context(saga))));
    let open = async || {
        world.mailbox.0.caught_up().await.expect("caught up");
        world.mailbox.open(10).expect("open").into_iter().map(|o| o.id).collect::<Vec<_>>()
    };
    assert_eq!(do_it("b1").await, do_it("b1").await);
    assert_eq!(open().await, ["booking/b1/confirmed:in-app", "booking/b1/confirmed:webhook"]);
    // Called off before it has left: nobody hears of it.
    undo_it("b1").await.expect("undone");
    undo_it("b1").await.expect("undone");
    assert_eq!(open().await, Vec::<String>::new());
    // An undo whose do never came bars it.
    undo_it("b2").await.expect("nothing to undo");
    let late = do_it("b2").await;
    assert!(
        matches!(&late, Err(StepError::Refused { code, .. }) if code == "notification-cancelled"),
        "{late:?}"
    );
    // What has left is followed by the news that it was cancelled.
    do_it("b3").await.expect("confirmed");
    world.notifications.drive(&organization(), "booking/b3/confirmed:in-app").await.expect("driven");
    undo_it("b3").await.expect("undone");
    undo_it("b3").await.expect("undone");
    assert_eq!(open().await, ["booking/b3/cancelled:in-app", "booking/b3/cancelled:webhook"]);
    let wrong = StepContext { data: serde_json::json!({}), ..context("b4") };
    assert!(matches!(service.call("send-confirmation", "do", &wrong).await, Err(StepError::Refused { .. })));
    assert!(matches!(service.call("shout", "do", &context("b4")).await, Err(StepError::Refused { .. })));
}
