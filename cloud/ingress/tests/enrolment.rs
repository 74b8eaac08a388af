//! The vehicles' HTTPS port: tokens, renewal, refusals, bounds.

mod secured;
mod support;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry as Metrics;
use rcgen::{KeyPair, PKCS_RSA_SHA256};
use remuda_identity::vehicle_of;
use remuda_ingress::{EnrolmentMetrics, EnrolmentPort, EnrolmentSettings};
use remuda_model::OrganizationId;
use secured::*;
use serde_json::{Value, json};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Port {
    door: Secured,
    port: EnrolmentPort,
    metrics: EnrolmentMetrics,
}

async fn open() -> Port {
    open_with(|settings| settings).await
}

async fn open_with(change: impl FnOnce(EnrolmentSettings) -> EnrolmentSettings) -> Port {
    let door = secured().await;
    let metrics = EnrolmentMetrics::default();
    let settings = change(EnrolmentSettings::new(loopback(), "fleet.example:8883".into()));
    let issuer = Arc::clone(&door.authority);
    let port = EnrolmentPort::bind(settings, Arc::clone(&door.tls), issuer, metrics.clone())
        .await
        .expect("a free port");
    Port { door, port, metrics }
}

impl Port {
    /// What the port says to these bytes: the status and the JSON object.
    async fn say(&self, shown: Option<&Shown>, head: &str, body: &[u8]) -> (u16, Value) {
        let config = client_config(self.door.folder.path(), shown);
        let Tls { mut stream, .. } = Tls::open(self.port.local_addr(), config).await.expect("a handshake");
        let length = body.len();
        let head = format!("{head} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("said");
        // It may answer before it has read all.
        let _ = stream.write_all(body).await;
        let _ = stream.flush().await;
        let mut answer = Vec::new();
        let _ = soon("an answer", stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, serde_json::from_str(body).expect("JSON"))
    }

    async fn post(&self, shown: Option<&Shown>, path: &str, body: &Value) -> (u16, Value) {
        self.say(shown, &format!("POST {path}"), body.to_string().as_bytes()).await
    }

    async fn enroll(&self, token: &str, key: &KeyPair) -> (u16, Value) {
        self.post(None, "/v1/enrolment", &json!({ "token": token, "csr": csr_pem(key) })).await
    }

    fn metric(&self, label: &str) -> u64 {
        let mut registry = Metrics::default();
        self.metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encoded");
        let line = text.lines().find(|line| line.contains(&format!("\"{label}\"")));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    }
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    let message = answer.1["message"].as_str().expect("a sentence");
    assert!(
        !message.is_empty() && !message.contains('\n') && answer.1.as_object().map(|o| o.len()) == Some(2)
    );
    (answer.0, answer.1["code"].as_str().expect("a code"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_becomes_a_certificate_that_the_door_knows_and_that_renews() {
    let mut port = open().await;
    let token = port.door.token("VAN1");
    assert_eq!(token.fingerprint(), &port.door.authority.fingerprint());
    let key = p256();
    let (status, granted) = port.enroll(&token.reveal(), &key).await;
    assert_eq!(status, 200, "{granted}");
    assert_eq!((&granted["vehicle"], &granted["organization"]), (&json!("VAN1"), &json!("default")));
    assert_eq!(granted["door"], "fleet.example:8883");
    let chain = certificates(granted["certificate"].as_str().expect("PEM"));
    let holder = vehicle_of(&chain[0]).expect("a vehicle");
    assert_eq!(granted["not_after_ms"], holder.not_after_ms);
    assert_eq!(certificates(granted["trust_anchors"].as_str().expect("PEM")).len(), 1);
    let first = Shown { chain, key: Arc::new(key) };
    let mut client = port.door.open(Some(&first)).await.expect("a handshake");
    assert!(client.login("c", "").await);
    port.door.stack.connected().await;

    let new_key = p256();
    let asked = json!({ "csr": csr_pem(&new_key) });
    let (status, renewed) = port.post(Some(&first), "/v1/renewal", &asked).await;
    assert_eq!((status, &renewed["vehicle"]), (200, &json!("VAN1")), "{renewed}");
    let chain = certificates(renewed["certificate"].as_str().expect("PEM"));
    let second = Shown { chain, key: Arc::new(new_key) };
    let mut again = port.door.open(Some(&second)).await.expect("a handshake");
    assert!(again.login("c", "").await);
    assert_eq!((port.metric("enrolment"), port.metric("renewal")), (1, 1));

    port.door.revoke("VAN1");
    let config = client_config(port.door.folder.path(), Some(&second));
    let mut refused = Tls::open(port.port.local_addr(), config).await.expect("TLS 1.3 says it later");
    assert!(refused.stream.read_u8().await.is_err(), "an alert");
    let kept = std::fs::read_to_string(port.door.folder.path().join("register.jsonl")).expect("read");
    assert!(!kept.contains(token.reveal().rsplit('.').next().expect("a secret")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_used_once_and_again_only_with_the_same_key() {
    let port = open().await;
    let token = port.door.token("VAN1").reveal();
    let (key, thief) = (p256(), p256());
    assert_eq!(port.enroll(&token, &key).await.0, 200);
    assert_eq!(code(&port.enroll(&token, &thief).await), (403, "token_used"));
    assert_eq!(port.enroll(&token, &key).await.0, 200, "the answer was lost");
    let newer = port.door.token("VAN1").reveal();
    assert_eq!(code(&port.enroll(&token, &key).await), (403, "token_unknown"));
    let other = port.door.token("VAN2").reveal();
    let (head, secret) = (newer.rsplit_once('.').expect("parts").0, other.rsplit_once('.').expect("parts").1);
    assert_eq!(code(&port.enroll(&format!("{head}.{secret}"), &key).await), (403, "token_unknown"));
    // All at once: one wins.
    let port = Arc::new(port);
    let tries: Vec<_> = (0..8)
        .map(|_| {
            let (port, other) = (Arc::clone(&port), other.clone());
            tokio::spawn(async move { port.enroll(&other, &p256()).await })
        })
        .collect();
    let mut won = 0;
    for tried in tries {
        let answer = tried.await.expect("joined");
        if answer.0 == 200 {
            won += 1;
        } else {
            assert_eq!(code(&answer), (403, "token_used"));
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_and_bad_requests_are_refused_with_a_sentence() {
    let port = open().await;
    let (organization, fingerprint) = (OrganizationId::default(), port.door.authority.fingerprint());
    port.door.token("VAN1");
    let long_ago = remuda_identity::Who { by: "a test".into(), at_ms: now_ms() - 2 * HOUR_MS };
    let expired =
        port.door.register.new_token(organization, vehicle("VAN1"), HOUR_MS, fingerprint, &long_ago);
    let expired = expired.expect("made").token.reveal();
    assert_eq!(code(&port.enroll(&expired, &p256()).await), (403, "token_expired"));
    let token = port.door.token("VAN1").reveal();
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
    assert_eq!(code(&port.enroll(&token, &rsa).await), (400, "csr_key"));
    assert_eq!(code(&port.enroll("remuda1.VAN1", &p256()).await), (400, "token_form"));
    let bad_csr = json!({ "token": token, "csr": "nonsense" });
    assert_eq!(code(&port.post(None, "/v1/enrolment", &bad_csr).await), (400, "csr_unreadable"));
    assert_eq!(
        code(&port.post(None, "/v1/enrolment", &json!({ "token": token })).await),
        (400, "body_unreadable")
    );
    let answer = port.say(None, "POST /v1/enrolment", format!("{{\"token\":{token}").as_bytes()).await;
    assert!(!answer.1.to_string().contains(&token), "an answer quotes no token");
    assert_eq!(code(&answer), (400, "body_unreadable"));
    let large = vec![b'x'; 17 * 1024];
    assert_eq!(code(&port.say(None, "POST /v1/enrolment", &large).await), (413, "body_too_large"));
    assert_eq!(code(&port.say(None, "GET /v1/enrolment", b"").await), (405, "method"));
    assert_eq!(code(&port.say(None, "GET /", b"").await), (404, "path"));
    let renewal = json!({ "csr": csr_pem(&p256()) });
    assert_eq!(code(&port.post(None, "/v1/renewal", &renewal).await), (401, "certificate_missing"));
    assert_eq!(port.metric("body_too_large"), 1);
    // None of it used the token up.
    assert_eq!(port.enroll(&token, &p256()).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_is_told_to_wait_and_so_is_a_crowd() {
    let port = open_with(|settings| EnrolmentSettings { failures_per_minute: 5, ..settings }).await;
    let token = port.door.token("VAN1").reveal();
    let guess = port.door.token("VAN2").reveal().replace("VAN2", "VAN1");
    for _ in 0..5 {
        assert_eq!(code(&port.enroll(&guess, &p256()).await), (403, "token_unknown"));
    }
    assert_eq!(code(&port.enroll(&token, &p256()).await), (429, "rate"), "even with the right one");
    let port = open_with(|settings| EnrolmentSettings { requests_per_second: 1, ..settings }).await;
    let token = port.door.token("VAN1").reveal();
    let key = p256();
    let mut waited = false;
    for _ in 0..5 {
        waited |= port.enroll(&token, &key).await.0 == 429;
    }
    assert!(waited, "five in a second are more than one");
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_sockets_and_slow_requests_end_and_disturb_nobody() {
    let port = open_with(|settings| EnrolmentSettings {
        tls_within: Duration::from_millis(700),
        request_within: Duration::from_millis(700),
        ..settings
    })
    .await;
    let address = port.port.local_addr();
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(address).await.expect("connected"));
    }
    let config = client_config(port.door.folder.path(), None);
    let mut slow = Tls::open(address, config).await.expect("a handshake");
    slow.stream.write_all(b"POST /v1/enrolment HTTP/1.1\r\nContent-Le").await.expect("said");
    let token = port.door.token("VAN1").reveal();
    assert_eq!(port.enroll(&token, &p256()).await.0, 200);
    assert!(soon("the end", slow.stream.read_u8()).await.is_err());
    soon("the silent ones' end", async {
        while port.metric("tls_timeout") < 100 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    soon("the stop", port.port.stop()).await;
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}
