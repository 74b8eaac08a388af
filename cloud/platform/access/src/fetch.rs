//! Requests to an issuer, with bounds.

use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, HOST};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::limits;

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not an address that may be asked.
    #[error("`{0}` cannot be asked; an issuer has an https:// address (http:// on loopback only)")]
    Address(String),
    /// Nobody there, or not who they should be.
    #[error("{host} cannot be reached")]
    Connect {
        /// Who.
        host: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No proper answer.
    #[error("{host} did not answer properly: {problem}")]
    Answer {
        /// Who.
        host: String,
        /// Why.
        problem: String,
    },
}

/// Asks issuers.
#[derive(Clone)]
pub struct Fetcher {
    tls: Arc<ClientConfig>,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fetcher(..)")
    }
}

/// Whether plain HTTP may be spoken with a host: it never leaves the machine.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Fetcher {
    /// Trusts the system's certificate authorities, and these too.
    ///
    /// # Errors
    /// When a certificate cannot be used.
    pub fn new(
        extra: impl IntoIterator<Item = rustls::pki_types::CertificateDer<'static>>,
    ) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for certificate in extra {
            roots.add(certificate)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Arc::new(config) })
    }

    /// The body at an address.
    ///
    /// # Errors
    /// As of [`Fetcher::send`], or when it comes with another status than 200.
    pub async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let wrong = |_| FetchError::Address(url.to_owned());
        let request = Request::get(url).header(ACCEPT, "application/json").body(Vec::new()).map_err(wrong)?;
        let response = self.send(request).await?;
        if response.status() != StatusCode::OK {
            let host = host_of(url).unwrap_or_default();
            return Err(FetchError::Answer { host, problem: format!("status {}", response.status()) });
        }
        Ok(response.into_body())
    }

    /// The answer to a request, whatever its status.
    ///
    /// # Errors
    /// When there is none within [`limits::FETCH_PATIENCE`], or it is larger than [`limits::ANSWER_BYTES_MAX`]. Redirects are not
    /// followed.
    pub async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, FetchError> {
        let uri = request.uri().clone();
        let wrong = || FetchError::Address(uri.to_string());
        let host = uri.host().ok_or_else(wrong)?.to_owned();
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_loopback(&host) => false,
            _ => return Err(wrong()),
        };
        match tokio::time::timeout(limits::FETCH_PATIENCE, self.ask(request, &uri, &host, tls)).await {
            Ok(answer) => answer,
            Err(_) => Err(FetchError::Answer { host, problem: "it takes too long".into() }),
        }
    }

    async fn ask(
        &self,
        request: Request<Vec<u8>>,
        uri: &Uri,
        host: &str,
        tls: bool,
    ) -> Result<Response<Vec<u8>>, FetchError> {
        let connect = |source| FetchError::Connect { host: host.to_owned(), source };
        let answer = |problem: String| FetchError::Answer { host: host.to_owned(), problem };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let tcp = TcpStream::connect((bare, port)).await.map_err(connect)?;
        let (mut parts, body) = request.into_parts();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = path.parse().map_err(|_| FetchError::Address(uri.to_string()))?;
        let authority = uri.authority().map_or(host, |authority| authority.as_str());
        parts.headers.insert(HOST, authority.parse().map_err(|_| FetchError::Address(uri.to_string()))?);
        let request = Request::from_parts(parts, Full::new(Bytes::from(body)));
        if tls {
            let name = ServerName::try_from(bare.to_owned()).map_err(|e| answer(e.to_string()))?;
            let stream =
                TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await.map_err(connect)?;
            exchange(stream, request).await.map_err(answer)
        } else {
            exchange(tcp, request).await.map_err(answer)
        }
    }
}

fn host_of(url: &str) -> Option<String> {
    url.parse::<Uri>().ok()?.host().map(str::to_owned)
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Vec<u8>>, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    // Ends with the answer: nothing else is asked on it.
    let driver = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, limits::ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|e| e.to_string())?.to_bytes().to_vec();
        Ok(Response::from_parts(parts, body))
    }
    .await;
    driver.abort();
    answer
}
