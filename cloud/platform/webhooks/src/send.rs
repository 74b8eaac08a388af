//! One attempt: resolve, check every address, connect to a checked one, send, read a bounded answer.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Host;

use crate::limits::{
    ADDRESSES_MAX, ANSWER_BYTES_MAX, ANSWER_HEAD_BYTES_MAX, ATTEMPT_TIMEOUT, BODY_BYTES_MAX, CONNECT_TIMEOUT,
    CONNECTS_MAX, EXCERPT_BYTES_MAX, ID_BYTES_MAX, RESOLVE_TIMEOUT,
};
use crate::{AddressRules, Failure, SetupError, SigningKeys, Target, WebhookMetrics};

/// What is to be said. The same id says the same thing again: receivers drop repetitions by it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Unique per message, the same at every attempt; travels as `webhook-id`. Printable ASCII without blanks
    /// and dots.
    pub id: &'a str,
    /// When this attempt is made, s since 1970 UTC; travels as `webhook-timestamp`.
    pub timestamp_s: i64,
    /// Such as `application/json`.
    pub content_type: &'static str,
    /// The body.
    pub body: &'a Bytes,
}

/// A message has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// HTTP status, 200 to 299.
    pub status: u16,
    /// Where it went.
    pub address: SocketAddr,
}

/// How names become addresses.
#[derive(Debug, Clone, Default)]
pub enum Resolver {
    /// The system's way.
    #[default]
    System,
    /// From a list only, as `/etc/hosts` is one.
    Fixed(HashMap<String, Vec<IpAddr>>),
}

/// How a [`Sender`] works.
#[derive(Debug, Clone, Default)]
pub struct SenderConfig {
    /// Which addresses may be reached.
    pub addresses: AddressRules,
    /// How names become addresses.
    pub resolver: Resolver,
    /// Certificate authorities to believe beside the system's, DER.
    pub extra_roots: Vec<rustls_pki_types::CertificateDer<'static>>,
    /// Bound of a whole attempt; the default where absent.
    pub attempt_timeout: Option<Duration>,
}

/// Sends webhooks. Cheap to clone.
#[derive(Clone)]
pub struct Sender {
    config: Arc<SenderConfig>,
    tls: TlsConnector,
    metrics: WebhookMetrics,
}

impl Sender {
    /// Reads the system's certificate authorities.
    ///
    /// # Errors
    /// [`SetupError::Roots`] when there is none to believe.
    pub fn new(config: SenderConfig, metrics: WebhookMetrics) -> Result<Self, SetupError> {
        let mut roots = rustls::RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(system.certs);
        for root in &config.extra_roots {
            roots.add(root.clone()).map_err(|e| SetupError::Roots { reason: e.to_string() })?;
        }
        let unreadable = |reason: String| SetupError::Roots { reason };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| unreadable(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { config: Arc::new(config), tls: TlsConnector::from(Arc::new(tls)), metrics })
    }

    /// One attempt. Cancel-safe: a dropped attempt may or may not have arrived, as with any lost answer.
    ///
    /// # Errors
    /// [`Failure`]; ask it whether another attempt makes sense.
    pub async fn send(
        &self,
        target: &Target,
        keys: &SigningKeys,
        message: Message<'_>,
    ) -> Result<Delivered, Failure> {
        let started = Instant::now();
        let bound = self.config.attempt_timeout.unwrap_or(ATTEMPT_TIMEOUT);
        let outcome = match timeout(bound, self.attempt(target, keys, message)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Timeout { seconds: bound.as_secs() }),
        };
        let name = outcome.as_ref().map_or_else(Failure::kind, |_| "delivered");
        self.metrics.attempted(name, started.elapsed());
        outcome
    }

    async fn attempt(
        &self,
        target: &Target,
        keys: &SigningKeys,
        message: Message<'_>,
    ) -> Result<Delivered, Failure> {
        let request = request(target, keys, message)?;
        let addresses = self.resolve(target).await?;
        let (stream, address) = connect(target, &addresses).await?;
        // The rest talks to this connection only, so that nobody can answer the name differently in between.
        let answer = if target.is_tls() {
            exchange(self.handshake(target, stream).await?, target, request).await
        } else {
            exchange(stream, target, request).await
        }?;
        judge(answer).map(|status| Delivered { status, address })
    }

    async fn resolve(&self, target: &Target) -> Result<Vec<SocketAddr>, Failure> {
        let host = target.host().to_string();
        let failed = |reason: String| Failure::Resolve { host: host.clone(), reason };
        let port = target.port();
        let found: Vec<SocketAddr> = match (target.host(), &self.config.resolver) {
            (Host::Ipv4(ip), _) => vec![SocketAddr::new(ip.into(), port)],
            (Host::Ipv6(ip), _) => vec![SocketAddr::new(ip.into(), port)],
            (Host::Domain(name), Resolver::Fixed(list)) => {
                let addresses = list.get(name).map(Vec::as_slice).unwrap_or_default();
                addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect()
            }
            (Host::Domain(name), Resolver::System) => {
                let lookup = timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((name, port))).await;
                let found = lookup.map_err(|_| failed("the lookup took too long".into()))?;
                found.map_err(|e| failed(e.to_string()))?.take(ADDRESSES_MAX).collect()
            }
        };
        if found.is_empty() {
            return Err(failed("it has no address".into()));
        }
        // One forbidden address spoils the name: an honest one does not lead both outside and inside.
        for address in &found {
            if let Err(kind) = self.config.addresses.check(address.ip()) {
                return Err(Failure::Forbidden { host, address: address.ip(), kind });
            }
        }
        Ok(found)
    }

    async fn handshake(
        &self,
        target: &Target,
        stream: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Failure> {
        let host = target.host().to_string();
        let failed = |reason: String| Failure::Connect { host: host.clone(), reason };
        // An IPv6 address stands in brackets in a URL, not in a certificate.
        let bare = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(bare).map_err(|e| failed(e.to_string()))?;
        let secured = timeout(CONNECT_TIMEOUT, self.tls.connect(name, stream)).await;
        secured.map_err(|_| failed("TLS took too long".into()))?.map_err(|e| failed(e.to_string()))
    }
}

fn request(
    target: &Target,
    keys: &SigningKeys,
    message: Message<'_>,
) -> Result<Request<Full<Bytes>>, Failure> {
    let Message { id, timestamp_s, content_type, body } = message;
    // A dot would make the signed text ambiguous; the rest would leave the header.
    let plain = |b: u8| b.is_ascii_graphic() && b != b'.';
    if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(plain) {
        return Err(Failure::Message("its id must have 1 to 128 printable ASCII characters without dots"));
    }
    if body.len() > BODY_BYTES_MAX {
        return Err(Failure::Message("its body is larger than 256 KiB"));
    }
    Request::builder()
        .method(Method::POST)
        .uri(target.path_and_query())
        .header(header::HOST, target.authority())
        .header(header::USER_AGENT, concat!("remuda-webhooks/", env!("CARGO_PKG_VERSION")))
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CONNECTION, "close")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp_s)
        .header("webhook-signature", keys.sign(id, timestamp_s, body))
        .body(Full::new(body.clone()))
        .map_err(|_| Failure::Message("the target's path cannot be sent"))
}

async fn connect(target: &Target, addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), Failure> {
    let mut last = String::new();
    for address in addresses.iter().take(CONNECTS_MAX) {
        match timeout(CONNECT_TIMEOUT / 2, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, *address)),
            Ok(Err(e)) => last = e.to_string(),
            Err(_) => last = "it took too long".to_owned(),
        }
    }
    Err(Failure::Connect { host: target.host().to_string(), reason: last })
}

struct Answer {
    status: StatusCode,
    retry_after_s: Option<u64>,
    excerpt: String,
}

async fn exchange<S>(stream: S, target: &Target, request: Request<Full<Bytes>>) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed =
        |e: hyper::Error| Failure::Exchange { host: target.host().to_string(), reason: e.to_string() };
    let mut client = hyper::client::conn::http1::Builder::new();
    client.max_buf_size(ANSWER_HEAD_BYTES_MAX);
    let (mut sending, connection) = client.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let answer = async {
        let answer = sending.send_request(request).await.map_err(failed)?;
        Ok(read(answer).await)
    };
    // Driven here rather than in a task of its own: when the attempt is dropped, so is the connection.
    tokio::pin!(connection);
    tokio::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(e) => Err(failed(e)),
        },
    }
}

/// The status decides; a body that is too long, too slow or cut changes nothing of it.
async fn read(answer: Response<Incoming>) -> Answer {
    let status = answer.status();
    let retry_after_s = answer.headers().get(header::RETRY_AFTER);
    let retry_after_s = retry_after_s.and_then(|v| v.to_str().ok()?.trim().parse().ok());
    let mut excerpt = Vec::new();
    if !status.is_success() {
        let mut body = answer.into_body();
        let mut seen = 0;
        while let Some(Ok(frame)) = body.frame().await {
            let Some(data) = frame.data_ref() else { break };
            seen += data.len();
            let room = EXCERPT_BYTES_MAX - excerpt.len();
            excerpt.extend_from_slice(&data[..data.len().min(room)]);
            if excerpt.len() >= EXCERPT_BYTES_MAX || seen >= ANSWER_BYTES_MAX {
                break;
            }
        }
    }
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let excerpt = String::from_utf8_lossy(&excerpt).chars().map(printable).collect();
    Answer { status, retry_after_s, excerpt }
}

fn judge(answer: Answer) -> Result<u16, Failure> {
    let status = answer.status.as_u16();
    match status {
        200..=299 => Ok(status),
        300..=399 => Err(Failure::Redirect { status }),
        _ => Err(Failure::Refused { status, retry_after_s: answer.retry_after_s, excerpt: answer.excerpt }),
    }
}
