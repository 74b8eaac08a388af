//! The vehicles' HTTPS port, as a vehicle uses it: one request a connection, JSON both ways.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use remuda_model::{OrganizationId, VehicleId};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::certificate;
use super::faults::explain;
use super::folder::Identity;
use super::tls::{Credentials, TrustAnchors};
use super::token::Token;
use crate::actuators::CommandKey;

/// Longest time for a request with its answer, connecting included.
const WITHIN: Duration = Duration::from_secs(20);
/// Most bytes of an answer: two chains of a few certificates.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Most characters of a server's sentence that are shown.
const SENTENCE_CHARS_MAX: usize = 300;

/// `https://host:port` of the vehicles' HTTPS port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    host: String,
    port: u16,
}

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let must = || format!("must be https://host:port, such as https://127.0.0.1:8884, and is {text:?}");
        let url: Uri = text.parse().map_err(|_| must())?;
        let bare =
            url.scheme_str() == Some("https") && matches!(url.path(), "" | "/") && url.query().is_none();
        let authority = url.authority().filter(|a| bare && !a.as_str().contains('@')).ok_or_else(must)?;
        let host = authority.host().to_owned();
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() == host => 443,
            None => return Err(must()),
        };
        if port == 0 || ServerName::try_from(unbracketed(&host)).is_err() {
            return Err(must());
        }
        Ok(Self { host, port })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}:{}", self.host, self.port)
    }
}

impl Serialize for ServerUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ServerUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|must| de::Error::custom(format!("server {must}")))
    }
}

impl ServerUrl {
    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Without the brackets around an IPv6 address, which are part of an address and not of a name.
pub(crate) fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host)
}

/// Why a vehicle did not get a certificate: one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnrolFault {
    /// The server could not be talked to; `lasting`: trying again will not help.
    #[error("{sentence}")]
    Connection {
        /// Why.
        sentence: String,
        /// Trying again will not help.
        lasting: bool,
    },
    /// The server said no.
    #[error("{server} refuses: {message}{}", advice(.code))]
    Refused {
        /// Who.
        server: String,
        /// HTTP status.
        status: u16,
        /// Stable.
        code: String,
        /// A sentence of the server's.
        message: String,
    },
    /// An answer that is none.
    #[error("{server} answers what this agent does not understand ({what}); check the address")]
    Answer {
        /// Who.
        server: String,
        /// What is wrong with it.
        what: String,
    },
    /// This machine cannot make keys.
    #[error("no key can be made: {0}")]
    Key(String),
}

impl EnrolFault {
    /// Whether trying again will not help.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Connection { lasting, .. } => *lasting,
            // Too many at once, and whatever is the server's own fault, pass.
            Self::Refused { status, .. } => (400..500).contains(status) && *status != 429,
            Self::Answer { .. } | Self::Key(_) => false,
        }
    }
}

/// What the server's sentence does not say: how to do it. By its stable code.
fn advice(code: &str) -> &'static str {
    match code {
        "token_used" | "token_expired" | "token_unknown" => " (remudactl vehicles enroll-token makes one)",
        "certificate_expired" => " (remudactl vehicles enroll-token makes one) and enrol again",
        "vehicle_revoked" | "certificate_revoked" => {
            "; if that was a mistake, enrol again with a new token (remudactl vehicles enroll-token makes one)"
        }
        _ => "",
    }
}

/// What a server gave.
#[derive(Debug, Deserialize)]
struct Answer {
    vehicle: VehicleId,
    organization: OrganizationId,
    certificate: String,
    trust_anchors: String,
    door: String,
    #[serde(default)]
    command_key: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
    message: String,
}

#[derive(Serialize)]
struct EnrolmentRequest<'a> {
    token: &'a str,
    csr: String,
}

#[derive(Serialize)]
struct RenewalRequest {
    csr: String,
}

/// A certificate, checked, with the key it is for.
pub type Granted = Identity;

/// Asks one server for certificates. Shared by the vehicles of a simulator.
#[derive(Debug, Clone)]
pub struct Enroller {
    server: ServerUrl,
}

impl Enroller {
    /// A server's.
    pub fn new(server: ServerUrl) -> Self {
        Self { server }
    }

    /// Shows the token, once; `key` stays here. The server must have the CA that the token names.
    pub async fn enrol(&self, token: &Token, key: &KeyPair) -> Result<Granted, EnrolFault> {
        let tls = TrustAnchors::pinned(token.ca_sha256()).anonymous();
        let request = EnrolmentRequest { token: token.expose(), csr: signing_request(key)? };
        let answer = self.ask("/v1/enrolment", tls, &request).await?;
        self.check(answer, token.vehicle(), key)
    }

    /// Shows the present certificate; `key` is the new one.
    pub async fn renew(
        &self,
        vehicle: VehicleId,
        credentials: &Credentials,
        key: &KeyPair,
    ) -> Result<Granted, EnrolFault> {
        let request = RenewalRequest { csr: signing_request(key)? };
        let answer = self.ask("/v1/renewal", credentials.client_config(), &request).await?;
        self.check(answer, vehicle, key)
    }

    /// An answer that would not work is worse than none: it would replace one that does.
    fn check(&self, answer: Answer, vehicle: VehicleId, key: &KeyPair) -> Result<Granted, EnrolFault> {
        let wrong = |what: String| EnrolFault::Answer { server: self.server.to_string(), what };
        if answer.vehicle != vehicle {
            return Err(wrong(format!("a certificate for {}, not for {vehicle}", answer.vehicle)));
        }
        crate::config::check_door(&answer.door).map_err(|must| wrong(format!("its door {must}")))?;
        let chain =
            certificate::chain(&answer.certificate).map_err(|e| wrong(format!("certificate: {e}")))?;
        certificate::check(&chain[0], vehicle, &key.subject_public_key_info())
            .map_err(|e| wrong(format!("certificate: {e}")))?;
        if answer.command_key.as_deref().is_some_and(|key| CommandKey::from_hex(key).is_none()) {
            return Err(wrong("a command key that is none".to_owned()));
        }
        TrustAnchors::from_pem(&answer.trust_anchors).map_err(|e| wrong(e.to_string()))?;
        Ok(Identity {
            vehicle,
            organization: answer.organization,
            server: self.server.clone(),
            door: answer.door,
            key_pem: key.serialize_pem(),
            certificate_pem: answer.certificate,
            trust_pem: answer.trust_anchors,
            command_key: answer.command_key,
        })
    }

    async fn ask<T: Serialize>(
        &self,
        path: &'static str,
        tls: Arc<ClientConfig>,
        request: &T,
    ) -> Result<Answer, EnrolFault> {
        let server = || self.server.to_string();
        let body = serde_json::to_vec(request)
            .map_err(|e| EnrolFault::Answer { server: server(), what: e.to_string() })?;
        let (status, body) =
            tokio::time::timeout(WITHIN, self.post(path, tls, body)).await.map_err(|_| {
                let sentence = format!("{} does not answer within {} s", self.server, WITHIN.as_secs());
                EnrolFault::Connection { sentence, lasting: false }
            })??;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|e| {
                // The parser's words could quote the answer; its place is enough.
                let what = format!("no answer to {path}: line {} column {}", e.line(), e.column());
                EnrolFault::Answer { server: server(), what }
            });
        }
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(Refusal { code, message }) => {
                let message = message.chars().filter(|c| !c.is_control()).take(SENTENCE_CHARS_MAX).collect();
                Err(EnrolFault::Refused { server: server(), status: status.as_u16(), code, message })
            }
            Err(_) => Err(EnrolFault::Answer { server: server(), what: format!("HTTP status {status}") }),
        }
    }

    async fn post(
        &self,
        path: &'static str,
        tls: Arc<ClientConfig>,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), EnrolFault> {
        let authority = self.server.authority();
        let broken = |error: &(dyn std::error::Error + 'static)| {
            let fault = explain(error, &authority);
            EnrolFault::Connection { sentence: fault.sentence, lasting: fault.lasting }
        };
        let stream = TcpStream::connect(&authority).await.map_err(|e| broken(&e))?;
        stream.set_nodelay(true).map_err(|e| broken(&e))?;
        let name = ServerName::try_from(unbracketed(&self.server.host).to_owned()).map_err(|e| broken(&e))?;
        let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(|e| broken(&e))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, &authority)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| broken(&e))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|e| broken(&e))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            match body {
                Ok(body) => Ok((status, body.to_bytes())),
                Err(error) => Err(broken(error.as_ref())),
            }
        };
        tokio::pin!(exchange);
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            // Its error says more than the exchange's "closed", which the exchange says after it.
            ended = connection => match (ended, exchange.await) {
                (_, Ok(answer)) => Ok(answer),
                (Err(error), Err(_)) => Err(broken(&error)),
                (Ok(()), Err(error)) => Err(error),
            },
        }
    }
}

/// A new P-256 key.
pub fn new_key() -> Result<KeyPair, String> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| e.to_string())
}

/// A request without names: the server decides who this is, by the token or the certificate.
fn signing_request(key: &KeyPair) -> Result<String, EnrolFault> {
    let failed = |e: rcgen::Error| EnrolFault::Key(e.to_string());
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serialize_request(key).and_then(|request| request.pem()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_address_is_https_and_nothing_more() {
        for (text, authority) in [
            ("https://cloud.example:8884", "cloud.example:8884"),
            ("https://cloud.example/", "cloud.example:443"),
            ("https://[::1]:8884", "[::1]:8884"),
        ] {
            let url: ServerUrl = text.parse().expect("an address");
            assert_eq!(url.authority(), authority);
            assert_eq!(url.to_string().parse::<ServerUrl>(), Ok(url));
        }
        for bad in [
            "",
            "cloud.example:8884",
            "http://cloud.example:8884",
            "https://",
            "https://a b",
            "https://cloud.example/x",
            "https://user@cloud.example",
            "https://cloud.example:0",
            "https://cloud.example:99999",
            "https://cloud.example?x",
        ] {
            let must = bad.parse::<ServerUrl>().expect_err(bad);
            assert!(must.contains("https://host:port"), "{must}");
        }
    }
}
