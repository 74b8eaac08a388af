//! Enrolment, renewal and refusals over real TLS sockets.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use remuda_edge_agent::config::{Config, Enrolled};
use remuda_edge_agent::enroll::enroll_with_token;
use remuda_edge_agent::identity::keep_renewed;
use remuda_edge_agent::{Credentials, Folder, Identity, Link, LinkEvent, LinkSettings, ThinMqtt, Token};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use support::Door;
use support::pki::{Pki, Span, TODAY};
use support::port::{Asked, Port, Reply};

const NAMES: &[&str] = &["localhost", "127.0.0.1"];

fn grant(pki: &Pki, asked: &Asked, door: &str, span: Span) -> Reply {
    let certificate = pki.issue(asked.body["csr"].as_str().expect("a request"), "VAN1", span);
    let answer = json!({
        "vehicle": "VAN1", "organization": "default", "certificate": certificate,
        "trust_anchors": pki.root_pem, "door": door, "not_after_ms": 0,
    });
    Reply::Json(200, answer)
}

fn refuse(status: u16, code: &str, message: &str) -> Reply {
    Reply::Json(status, json!({ "code": code, "message": message }))
}

/// Grants each token once.
async fn cloud(pki: &Arc<Pki>, door: &str, span: Span) -> Port {
    let (pki, door) = (Arc::clone(pki), door.to_owned());
    let used = std::sync::Mutex::new(Vec::<Value>::new());
    let server = pki.server(NAMES, TODAY, false);
    Port::open(server, move |asked| {
        if asked.path == "/v1/renewal" {
            assert!(asked.certificate.is_some(), "renewal is over mutual TLS");
            return grant(&pki, asked, &door, span);
        }
        let mut used = used.lock().expect("not poisoned");
        if used.contains(&asked.body["token"]) {
            return refuse(409, "token_used", "this token was used before");
        }
        used.push(asked.body["token"].clone());
        grant(&pki, asked, &door, span)
    })
    .await
}

fn token(text: &str) -> Token {
    text.parse().expect("a token")
}

fn load(dir: &Path) -> Identity {
    Folder::new(dir).load().expect("readable").expect("enrolled")
}

fn der(identity: &Identity) -> Vec<u8> {
    CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).expect("a certificate").to_vec()
}

/// Drives a link to its first event.
async fn first_event(link: &mut ThinMqtt) -> LinkEvent {
    link.connect(vec![1, 4]);
    link.next().await
}

fn link(door: &str, credentials: &Arc<Credentials>) -> ThinMqtt {
    let vehicle = "VAN1".parse_id();
    ThinMqtt::new(LinkSettings::over_tls(door, vehicle, Arc::clone(credentials)))
}

trait ParseId {
    fn parse_id(self) -> remuda_model::VehicleId;
}

impl ParseId for &str {
    fn parse_id(self) -> remuda_model::VehicleId {
        remuda_model::VehicleId::new(self).expect("an id")
    }
}

#[tokio::test]
async fn a_token_becomes_an_identity_that_the_door_knows_and_works_once() {
    let pki = Arc::new(Pki::new());
    let door = Door::open_tls(0, pki.server(NAMES, TODAY, true)).await;
    let port = cloud(&pki, &door.address, TODAY).await;
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path().join("van1");
    let config = enroll_with_token(port.url(), &token(&pki.token("VAN1", 1)), &home).await.expect("enrols");
    let identity = load(&home);
    for file in ["vehicle.key", "vehicle.pem", "trust.pem", "enrolment.toml"] {
        let mode = fs::metadata(home.join("identity").join(file)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert!(!format!("{identity:?}").contains("PRIVATE"));
    {
        let asked = port.asked.lock().expect("not poisoned");
        assert!(!asked[0].body.to_string().contains("PRIVATE"), "the key stays here");
        assert!(asked[0].certificate.is_none());
    }
    let config = Config::load(&config).expect("a configuration");
    let Enrolled::Certificate { door: address, credentials, .. } = config.identity().expect("enrolled")
    else {
        panic!("a certificate")
    };
    assert_eq!(address, door.address);
    assert_eq!(first_event(&mut link(&address, &credentials)).await, LinkEvent::Connected);
    assert_eq!(door.told.lock().expect("not poisoned").certificates, [der(&identity)]);

    let again = enroll_with_token(port.url(), &token(&pki.token("VAN1", 1)), &home).await;
    let sentence = again.expect_err("used").to_string();
    assert!(sentence.contains("was used before (remudactl vehicles enroll-token makes one)"), "{sentence}");
    assert_eq!(load(&home), identity, "the old one stays");
    // Another vehicle's token is not spent on this directory.
    let other = enroll_with_token(port.url(), &token(&pki.token("VAN2", 2)), &home).await;
    let sentence = other.expect_err("another's").to_string();
    assert!(sentence.contains("directory of VAN1") && sentence.contains("--dir"), "{sentence}");
    assert_eq!(port.asked.lock().expect("not poisoned").len(), 2);
}

#[tokio::test]
async fn when_the_answer_is_lost_the_key_serves_again() {
    let pki = Arc::new(Pki::new());
    let count = AtomicUsize::new(0);
    let issuer = Arc::clone(&pki);
    let port = Port::open(pki.server(NAMES, TODAY, false), move |asked| {
        match count.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::Hangup,
            _ => grant(&issuer, asked, "127.0.0.1:1", TODAY),
        }
    })
    .await;
    let dir = tempfile::tempdir().expect("a folder");
    let lost = enroll_with_token(port.url(), &token(&pki.token("VAN1", 1)), dir.path()).await;
    let sentence = lost.expect_err("no answer").to_string();
    assert!(
        sentence.contains(&port.address) && sentence.contains("run the same command again"),
        "{sentence}"
    );
    assert!(Folder::new(dir.path()).load().expect("readable").is_none());
    enroll_with_token(port.url(), &token(&pki.token("VAN1", 1)), dir.path()).await.expect("enrols");
    let asked = port.asked.lock().expect("not poisoned");
    let key = |asked: &Asked| {
        let csr = asked.body["csr"].as_str().expect("a request").to_owned();
        rcgen::CertificateSigningRequestParams::from_pem(&csr).expect("a request").public_key
    };
    assert_eq!(rcgen_bytes(&key(&asked[0])), rcgen_bytes(&key(&asked[1])));
    assert!(!dir.path().join("enrolment.key").exists(), "it became the identity's");
}

fn rcgen_bytes(key: &impl rcgen::PublicKeyData) -> Vec<u8> {
    key.subject_public_key_info()
}

#[tokio::test]
async fn whoever_is_not_the_tokens_server_is_refused_in_a_sentence() {
    let (pki, other) = (Arc::new(Pki::new()), Arc::new(Pki::new()));
    let dir = tempfile::tempdir().expect("a folder");
    let never = |_: &Asked| -> Reply { panic!("nothing is said to it") };
    let cases = [
        (other.server(NAMES, TODAY, false), "is not the server that the token is for"),
        (pki.server(&["cloud.example"], TODAY, false), "is for other names"),
        (pki.server(NAMES, (-86_400, -3_600), false), "has expired"),
        (pki.server(NAMES, (3_600, 86_400), false), "is not valid yet"),
    ];
    for (server, words) in cases {
        let port = Port::open(server, never).await;
        let refused = enroll_with_token(port.url(), &token(&pki.token("VAN1", 1)), dir.path()).await;
        let sentence = refused.expect_err("refused").to_string();
        assert!(sentence.contains(words) && sentence.contains(&port.address), "{sentence}");
        assert!(!sentence.contains('\n'), "{sentence}");
    }
    // The same for the door, with the identity's own trust.
    let credentials = Arc::new(Credentials::new(&identity(&pki, TODAY)).expect("usable"));
    let cases = [
        (other.server(NAMES, TODAY, true), "a CA that this vehicle does not trust"),
        (pki.server(&["cloud.example"], TODAY, true), "is for other names"),
        (pki.server(NAMES, (-86_400, -3_600), true), "has expired"),
    ];
    for (server, words) in cases {
        let door = Door::open_tls(0, server).await;
        let LinkEvent::Refused(sentence) = first_event(&mut link(&door.address, &credentials)).await else {
            panic!("refused")
        };
        assert!(sentence.contains(words) && sentence.contains(&door.address), "{sentence}");
    }
}

fn identity(pki: &Pki, span: Span) -> Identity {
    let key = remuda_edge_agent::identity::new_key().expect("a key");
    Identity {
        vehicle: "VAN1".parse_id(),
        organization: remuda_model::OrganizationId::default(),
        server: "https://127.0.0.1:1".parse().expect("an address"),
        door: "127.0.0.1:1".to_owned(),
        certificate_pem: pki.sign(&key, "VAN1", span),
        key_pem: key.serialize_pem(),
        trust_pem: pki.root_pem.clone(),
        command_key: None,
    }
}

#[tokio::test]
async fn a_vehicle_learns_why_its_certificate_is_not_accepted() {
    let (pki, other) = (Pki::new(), Pki::new());
    let mut foreign = identity(&other, TODAY);
    foreign.trust_pem.clone_from(&pki.root_pem);
    let cases = [
        (identity(&pki, (-86_400, -60)), "has expired"),
        (foreign, "does not accept this vehicle's certificate"),
    ];
    let door = Door::open_tls(0, pki.server(NAMES, TODAY, true)).await;
    for (identity, words) in cases {
        let credentials = Arc::new(Credentials::new(&identity).expect("usable"));
        let LinkEvent::Refused(sentence) = first_event(&mut link(&door.address, &credentials)).await else {
            panic!("refused")
        };
        assert!(sentence.contains(words) && sentence.contains("remuda-agent enroll"), "{sentence}");
    }
}

#[tokio::test]
async fn nobody_hangs_on_a_server_that_is_silent_or_speaks_something_else() {
    let pki = Pki::new();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let silent_address = silent.local_addr().expect("an address").to_string();
    let credentials = Arc::new(Credentials::new(&identity(&pki, TODAY)).expect("usable"));
    let dir = tempfile::tempdir().expect("a folder");
    let begun = Instant::now();
    let (mut to_silent, server) = (link(&silent_address, &credentials), format!("https://{silent_address}"));
    let secret = token(&pki.token("VAN1", 1));
    let (event, enrolled) = tokio::join!(
        first_event(&mut to_silent),
        enroll_with_token(server.parse().expect("an address"), &secret, dir.path())
    );
    assert_eq!(event, LinkEvent::Closed(format!("{silent_address} does not answer")));
    let sentence = enrolled.expect_err("silent").to_string();
    assert!(sentence.contains("does not answer within 20 s"), "{sentence}");
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());

    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let other_address = other.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = other.accept().await {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            tokio::spawn(async move {
                stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await?;
                stream.read_to_end(&mut Vec::new()).await
            });
        }
    });
    let LinkEvent::Refused(sentence) = first_event(&mut link(&other_address, &credentials)).await else {
        panic!("refused")
    };
    assert!(sentence.contains("does not speak TLS"), "{sentence}");
    let server = format!("https://{other_address}").parse().expect("an address");
    let sentence = enroll_with_token(server, &secret, dir.path()).await.expect_err("no TLS").to_string();
    assert!(sentence.contains("does not speak TLS"), "{sentence}");
}

#[tokio::test]
async fn an_answer_that_would_not_work_replaces_nothing() {
    let pki = Arc::new(Pki::new());
    let dir = tempfile::tempdir().expect("a folder");
    let good = cloud(&pki, "127.0.0.1:1", TODAY).await;
    enroll_with_token(good.url(), &token(&pki.token("VAN1", 1)), dir.path()).await.expect("enrols");
    let before = load(dir.path());
    let stranger = remuda_edge_agent::identity::new_key().expect("a key");
    let spoilt = |key: &str, value: Value| {
        let (pki, key) = (Arc::clone(&pki), key.to_owned());
        move |asked: &Asked| match grant(&pki, asked, "127.0.0.1:1", TODAY) {
            Reply::Json(status, mut answer) => {
                answer[&key] = value.clone();
                Reply::Json(status, answer)
            }
            other => other,
        }
    };
    let cases = [
        spoilt("vehicle", json!("VAN2")),
        spoilt("certificate", json!("")),
        spoilt("certificate", json!(pki.sign(&stranger, "VAN1", TODAY))),
        spoilt("trust_anchors", json!("no PEM")),
        spoilt("door", json!("nowhere")),
        spoilt("door", json!(5)),
    ];
    for spoil in cases {
        let port = Port::open(pki.server(NAMES, TODAY, false), spoil).await;
        let refused = enroll_with_token(port.url(), &token(&pki.token("VAN1", 2)), dir.path()).await;
        let sentence = refused.expect_err("spoilt").to_string();
        assert!(sentence.contains("does not understand") && !sentence.contains('\n'), "{sentence}");
        assert_eq!(load(dir.path()), before);
    }
    let port = Port::open(pki.server(NAMES, TODAY, false), |_| Reply::Flood(1 << 20)).await;
    let flooded = enroll_with_token(port.url(), &token(&pki.token("VAN1", 2)), dir.path()).await;
    assert!(flooded.expect_err("too long").to_string().contains(&port.address));
    assert_eq!(load(dir.path()), before);
}

#[tokio::test]
async fn a_certificate_is_renewed_in_time_and_serves_from_the_next_connection_on() {
    let pki = Arc::new(Pki::new());
    let door = Door::open_tls(0, pki.server(NAMES, TODAY, true)).await;
    let (issuer, address) = (Arc::clone(&pki), door.address.clone());
    // The first renewal fails; the answer to the second is good for a day.
    let failures = AtomicUsize::new(1);
    let port = Port::open(pki.server(NAMES, TODAY, false), move |asked| {
        let renewal = asked.path == "/v1/renewal";
        let fails =
            || failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
        if renewal && fails() {
            return refuse(503, "unavailable", "the issuer is away");
        }
        grant(&issuer, asked, &address, if renewal { TODAY } else { (0, 9) })
    })
    .await;
    let dir = tempfile::tempdir().expect("a folder");
    enroll_with_token(port.url(), &token(&pki.token("VAN1", 1)), dir.path()).await.expect("enrols");
    let first = load(dir.path());
    let credentials = Arc::new(Credentials::new(&first).expect("usable"));
    let mut link = link(&door.address, &credentials);
    assert_eq!(first_event(&mut link).await, LinkEvent::Connected);
    let renewing =
        tokio::spawn(keep_renewed(Folder::new(dir.path()), first.clone(), Arc::clone(&credentials)));
    let begun = Instant::now();
    while credentials.validity().left(0) == first.validity().expect("valid").left(0) {
        assert!(begun.elapsed() < Duration::from_secs(9), "not renewed before the end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let second = load(dir.path());
    assert!(second.key_pem != first.key_pem, "with a new key");
    link.close();
    assert!(matches!(link.next().await, LinkEvent::Closed(_)));
    assert_eq!(first_event(&mut link).await, LinkEvent::Connected);
    {
        let told = door.told.lock().expect("not poisoned");
        assert_eq!(told.certificates, [der(&first), der(&second)]);
        let asked = port.asked.lock().expect("not poisoned");
        let paths: Vec<_> = asked.iter().map(|a| a.path.as_str()).collect();
        assert_eq!(paths, ["/v1/enrolment", "/v1/renewal", "/v1/renewal"]);
        assert_eq!(asked[2].certificate.as_ref(), Some(&der(&first)));
    }
    renewing.abort();
}

#[tokio::test]
async fn a_clock_that_woke_up_in_1970_does_not_stop_a_vehicle() {
    // The vehicle's own certificate begins in the future of this machine's clock: as if the clock were behind.
    let pki = Pki::new();
    let span = (3 * 86_400, 9 * 86_400);
    let door = Door::open_tls(0, pki.server(NAMES, (2 * 86_400, 9 * 86_400), true)).await;
    let credentials = Arc::new(Credentials::new(&identity(&pki, span)).expect("usable"));
    let event = first_event(&mut link(&door.address, &credentials)).await;
    // The door, whose clock is right, then finds the vehicle's certificate of the future wrong: but the vehicle had
    // accepted the door's.
    assert!(matches!(&event, LinkEvent::Refused(why) if why.contains("by the clock there")), "{event:?}");
}
