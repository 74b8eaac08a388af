//! The two requests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use remuda_identity::{
    Certified, EnrolmentToken, IssueError, IssuedCertificate, RegisterError, VehicleIdentity,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::pki_types::CertificateSigningRequestDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::Shared;
use crate::identity::unix_ms;

/// Longest body, bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// When to come back who is told to wait, s.
const RETRY_AFTER_S: &str = "30";

/// `POST /v1/enrolment`.
#[derive(Deserialize)]
struct Enrolment {
    token: String,
    csr: String,
}

/// `POST /v1/renewal`.
#[derive(Deserialize)]
struct Renewal {
    csr: String,
}

/// The answer to both.
#[derive(Serialize)]
struct Granted {
    vehicle: String,
    organization: String,
    certificate: String,
    trust_anchors: String,
    door: String,
    not_after_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    command_key: Option<String>,
}

/// Why not.
struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }
}

impl From<RegisterError> for Refused {
    fn from(error: RegisterError) -> Self {
        use RegisterError as E;
        let status = match &error {
            E::TokenUnknown
            | E::TokenExpired
            | E::TokenUsed
            | E::Revoked
            | E::CertificateRevoked
            | E::CertificateExpired
            | E::ForeignOrganization
            | E::NoSuchVehicle(_) => StatusCode::FORBIDDEN,
            E::TooManyCertificates => StatusCode::TOO_MANY_REQUESTS,
            E::Issue(IssueError::Unreadable | IssueError::Signature | IssueError::Key)
            | E::Argument(_)
            | E::VehicleExists(_)
            | E::VehicleTwice(_)
            | E::AlreadyRevoked(_) => StatusCode::BAD_REQUEST,
            E::Issue(IssueError::Authority(_)) | E::Log(_) | E::Random(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            // A fault of ours: its words are for us.
            tracing::warn!(%error, "a vehicle's certificate could not be issued");
            return Self::new(
                status,
                error.code(),
                "the server could not issue a certificate; try again later",
            );
        }
        Self::new(status, error.code(), error.to_string())
    }
}

/// Answers a request.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    certified: Option<&Certified>,
    peer: SocketAddr,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let granted = match (request.method(), request.uri().path()) {
        _ if !shared.may_ask(peer.ip()) => {
            Err(Refused::new(StatusCode::TOO_MANY_REQUESTS, "rate", "too many requests; try again later"))
        }
        (&Method::POST, "/v1/enrolment") => enroll(shared, request).await,
        (&Method::POST, "/v1/renewal") => renew(shared, request, certified).await,
        (_, "/v1/enrolment" | "/v1/renewal") => {
            Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method", "only POST is understood here"))
        }
        _ => Err(Refused::new(
            StatusCode::NOT_FOUND,
            "path",
            "there are POST /v1/enrolment and POST /v1/renewal here",
        )),
    };
    Ok(match granted {
        Ok(granted) => json(StatusCode::OK, &granted),
        Err(Refused { status, code, message }) => {
            tracing::info!(%peer, reason = code, "an enrolment or renewal was refused");
            shared.metrics.refused(code);
            // Neither being told to wait nor a fault of ours makes anybody suspect.
            if status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error() {
                shared.failed(peer.ip());
            }
            let mut response = json(status, &serde_json::json!({ "code": code, "message": message }));
            let headers = response.headers_mut();
            match status {
                StatusCode::TOO_MANY_REQUESTS => {
                    headers.insert(RETRY_AFTER, hyper::header::HeaderValue::from_static(RETRY_AFTER_S));
                }
                StatusCode::METHOD_NOT_ALLOWED => {
                    headers.insert(ALLOW, hyper::header::HeaderValue::from_static("POST"));
                }
                _ => {}
            }
            response
        }
    })
}

async fn enroll(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Granted, Refused> {
    let Enrolment { token, csr } = body(request).await?;
    let token: EnrolmentToken = token.parse().map_err(|e: remuda_identity::TokenForm| {
        Refused::new(StatusCode::BAD_REQUEST, "token_form", e.to_string())
    })?;
    let csr = request_der(&csr)?;
    let (identity, issued) = blocking(shared, move |shared| {
        let issue = |identity: &VehicleIdentity| shared.issuer.issue(&csr, identity, SystemTime::now());
        shared.tls.register().enroll(&token, unix_ms(), issue)
    })
    .await?;
    tracing::info!(vehicle_id = %identity.vehicle, serial = %issued.serial, "a vehicle enrolled");
    shared.metrics.issued("enrolment");
    Ok(granted(shared, &identity, issued))
}

async fn renew(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    certified: Option<&Certified>,
) -> Result<Granted, Refused> {
    let holder = certified.cloned().ok_or_else(|| {
        let message = "a renewal needs the vehicle's present certificate, over mutual TLS";
        Refused::new(StatusCode::UNAUTHORIZED, "certificate_missing", message)
    })?;
    let Renewal { csr } = body(request).await?;
    let csr = request_der(&csr)?;
    let identity = holder.identity;
    let issued = blocking(shared, move |shared| {
        let issue = |identity: &VehicleIdentity| shared.issuer.issue(&csr, identity, SystemTime::now());
        shared.tls.register().renew(&holder, unix_ms(), issue)
    })
    .await?;
    tracing::info!(vehicle_id = %identity.vehicle, serial = %issued.serial, "a vehicle renewed its certificate");
    shared.metrics.issued("renewal");
    Ok(granted(shared, &identity, issued))
}

fn granted(shared: &Shared, identity: &VehicleIdentity, issued: IssuedCertificate) -> Granted {
    Granted {
        vehicle: identity.vehicle.to_string(),
        organization: identity.organization.to_string(),
        certificate: issued.chain_pem,
        trust_anchors: shared.issuer.trust_anchors_pem(),
        door: shared.settings.door.clone(),
        not_after_ms: issued.not_after_ms,
        command_key: shared.settings.command_key.clone(),
    }
}

/// The register waits for a disk.
async fn blocking<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) -> Result<T, RegisterError> + Send + 'static,
) -> Result<T, Refused> {
    let shared = Arc::clone(shared);
    match tokio::task::spawn_blocking(move || work(&shared)).await {
        Ok(done) => Ok(done?),
        // It panicked, which was reported, or the node is stopping.
        Err(_) => Err(Refused::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "failed",
            "the server could not issue a certificate; try again later",
        )),
    }
}

async fn body<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Refused> {
    let collected = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    let bytes = collected.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "a body has at most 16 KiB")
        } else {
            Refused::new(StatusCode::BAD_REQUEST, "body_broken", "the body did not come whole")
        }
    })?;
    serde_json::from_slice(&bytes.to_bytes()).map_err(|_| {
        // Without the parser's words, which may quote a token.
        let message =
            "the body is not the JSON object that is expected, with `csr` (PEM) and, to enrol, `token`";
        Refused::new(StatusCode::BAD_REQUEST, "body_unreadable", message)
    })
}

fn request_der(pem: &str) -> Result<Vec<u8>, Refused> {
    CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).map(|der| der.to_vec()).map_err(|_| {
        let message = "`csr` is not a certificate request in PEM";
        Refused::new(StatusCode::BAD_REQUEST, IssueError::Unreadable.code(), message)
    })
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Full<Bytes>> {
    // Structs of strings and numbers: they can always be written.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
