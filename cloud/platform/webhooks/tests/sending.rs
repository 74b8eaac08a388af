//! The sender against real servers on loopback, well-behaved and not.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use remuda_webhooks::{
    AddressRules, Failure, Message, Resolver, Sender, SenderConfig, SigningKeys, Target, WebhookMetrics,
    verify,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A server that gives every connection the same bytes, and shows what it got.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    got: mpsc::Receiver<String>,
}

async fn server(answer: &'static [u8]) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let (tell, got) = mpsc::channel(16);
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let tell = tell.clone();
            tokio::spawn(async move {
                let request = read_request(&mut stream).await;
                let _ = tell.try_send(request);
                let _ = stream.write_all(answer).await;
                if answer.is_empty() {
                    // Hang until the other side goes away.
                    let _ = stream.read(&mut [0; 16]).await;
                }
            });
        }
    });
    Server { address, connections, got }
}

async fn read_request(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut text = Vec::new();
    let mut piece = [0; 4_096];
    loop {
        let n = stream.read(&mut piece).await.unwrap_or(0);
        text.extend_from_slice(&piece[..n]);
        let seen = String::from_utf8_lossy(&text).into_owned();
        let whole = seen.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length =
                head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            body.len() >= length.unwrap_or(0)
        });
        if n == 0 || whole {
            return seen;
        }
    }
}

fn keys() -> SigningKeys {
    SigningKeys::parse(&[SECRET]).expect("keys")
}

fn sender(allowed: &[&str], hosts: &[(&str, &[IpAddr])]) -> Sender {
    let list: HashMap<String, Vec<IpAddr>> =
        hosts.iter().map(|(name, addresses)| ((*name).to_owned(), addresses.to_vec())).collect();
    let allowed = allowed.iter().map(|n| n.parse().expect("a network")).collect();
    let config = SenderConfig {
        addresses: AddressRules { allowed },
        resolver: if hosts.is_empty() { Resolver::System } else { Resolver::Fixed(list) },
        extra_roots: Vec::new(),
        attempt_timeout: Some(Duration::from_secs(20)),
    };
    Sender::new(config, WebhookMetrics::default()).expect("a sender")
}

async fn send(sender: &Sender, url: &str) -> Result<u16, Failure> {
    let target = Target::parse(url, true).expect("a target");
    let body = Bytes::from_static(b"{\"hello\":\"world\"}");
    let message = Message { id: "msg_1", timestamp_s: 1_000, content_type: "application/json", body: &body };
    sender.send(&target, &keys(), message).await.map(|d| d.status)
}

#[tokio::test]
async fn what_arrives_can_be_verified() {
    let mut server = server(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    let sender = sender(&["127.0.0.0/8"], &[]);
    assert_eq!(send(&sender, &format!("http://{}/in?x=1", server.address)).await, Ok(204));
    let request = server.got.recv().await.expect("a request");
    let (head, body) = request.split_once("\r\n\r\n").expect("head and body");
    assert!(head.starts_with("POST /in?x=1 HTTP/1.1\r\n"), "{head}");
    let header = |name: &str| {
        let found =
            head.lines().find_map(|l| l.to_lowercase().starts_with(name).then(|| l[name.len()..].to_owned()));
        found.unwrap_or_else(|| panic!("{name} in {head}"))
    };
    assert_eq!(header("content-type: "), "application/json");
    assert_eq!(header("host: "), server.address.to_string());
    let time = header("webhook-timestamp: ").parse().expect("a number");
    let signature = header("webhook-signature: ");
    assert_eq!(verify(&keys(), &header("webhook-id: "), time, &signature, body.as_bytes(), 1_010), Ok(()));
}

#[tokio::test]
async fn private_addresses_are_not_even_connected_to() {
    let server = server(b"HTTP/1.1 200 OK\r\n\r\n").await;
    let port = server.address.port();
    let inside: &[IpAddr] = &[IpAddr::V4(Ipv4Addr::LOCALHOST)];
    // A name that leads outside and inside at once is refused as well: that is how rebinding starts.
    let both: &[IpAddr] = &[IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)), IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let sender = sender(&[], &[("inside.example", inside), ("both.example", both)]);
    for host in ["127.0.0.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "inside.example", "both.example"] {
        let outcome = send(&sender, &format!("http://{host}:{port}/")).await;
        assert!(matches!(outcome, Err(Failure::Forbidden { .. })), "{host}: {outcome:?}");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
    let unknown = send(&sender, "http://nowhere.example/").await;
    assert!(matches!(unknown, Err(Failure::Resolve { .. })), "{unknown:?}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let other = server(b"HTTP/1.1 200 OK\r\n\r\n").await;
    let location = format!("HTTP/1.1 302 Found\r\nLocation: http://{}/\r\n\r\n", other.address);
    let first = server(Box::leak(location.into_boxed_str()).as_bytes()).await;
    let sender = sender(&["127.0.0.0/8"], &[]);
    let outcome = send(&sender, &format!("http://{}/", first.address)).await;
    assert_eq!(outcome, Err(Failure::Redirect { status: 302 }));
    assert_eq!(other.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn refusals_carry_a_bounded_excerpt_and_the_wish_to_wait() {
    let mut answer = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n\r\n".to_vec();
    answer.extend(std::iter::repeat_n(b"too\nbusy ", 20_000).flatten());
    let server = server(Box::leak(answer.into_boxed_slice())).await;
    let sender = sender(&["127.0.0.0/8"], &[]);
    let Err(Failure::Refused { status, retry_after_s, excerpt }) =
        send(&sender, &format!("http://{}/", server.address)).await
    else {
        panic!("503 is a refusal");
    };
    assert_eq!((status, retry_after_s), (503, Some(7)));
    assert!(excerpt.starts_with("too busy too") && excerpt.len() <= 512, "{excerpt}");
}

#[tokio::test]
async fn an_answer_that_is_no_http_or_has_an_endless_head_is_a_failure() {
    let mut endless = b"HTTP/1.1 200 OK\r\n".to_vec();
    endless.extend(std::iter::repeat_n(b"X-Filler: abcdefghijklmnopqrstuvwxyz\r\n", 5_000).flatten());
    for answer in [b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), endless] {
        let server = server(Box::leak(answer.into_boxed_slice())).await;
        let sender = sender(&["127.0.0.0/8"], &[]);
        let outcome = send(&sender, &format!("http://{}/", server.address)).await;
        assert!(matches!(outcome, Err(Failure::Exchange { .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn silence_ends_in_a_timeout() {
    let server = server(b"").await;
    let config = SenderConfig {
        addresses: AddressRules { allowed: vec!["127.0.0.1".parse().expect("a network")] },
        attempt_timeout: Some(Duration::from_millis(300)),
        ..SenderConfig::default()
    };
    let sender = Sender::new(config, WebhookMetrics::default()).expect("a sender");
    let outcome = send(&sender, &format!("http://{}/", server.address)).await;
    assert_eq!(outcome, Err(Failure::Timeout { seconds: 0 }));
    let refused = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("its address");
    let outcome = send(&sender, &format!("http://{refused}/")).await;
    assert!(matches!(outcome, Err(Failure::Connect { .. } | Failure::Timeout { .. })), "{outcome:?}");
}

#[tokio::test]
async fn tls_is_checked_against_the_name() {
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).expect("a root");
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let leaf = rcgen::CertificateParams::new(vec!["hooks.example".to_owned()]).expect("parameters");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key.serialize_der().try_into().expect("a key"))
        .expect("a server");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            read_request(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    });
    let here = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let hosts = ["hooks.example", "other.example"].map(|name| (name.to_owned(), here.clone()));
    let config = |extra_roots| SenderConfig {
        addresses: AddressRules { allowed: vec!["127.0.0.1".parse().expect("a network")] },
        resolver: Resolver::Fixed(hosts.clone().into()),
        extra_roots,
        attempt_timeout: None,
    };
    let known = Sender::new(config(vec![root.der().clone()]), WebhookMetrics::default()).expect("a sender");
    assert_eq!(send(&known, &format!("https://hooks.example:{port}/")).await, Ok(200));
    let wrong_name = send(&known, &format!("https://other.example:{port}/")).await;
    assert!(matches!(wrong_name, Err(Failure::Connect { .. })), "{wrong_name:?}");
    let stranger = Sender::new(config(Vec::new()), WebhookMetrics::default()).expect("a sender");
    let unknown_root = send(&stranger, &format!("https://hooks.example:{port}/")).await;
    assert!(matches!(unknown_root, Err(Failure::Connect { .. })), "{unknown_root:?}");
}
