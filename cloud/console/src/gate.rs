//! What every request passes first: the token, the deadline.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tonic::Status;

use crate::limits;
use crate::metrics::ConsoleMetrics;
use crate::refusal::Refusal;
use crate::token::Token;

/// What the gate needs to know.
#[derive(Clone)]
pub(crate) struct Gate {
    pub token: Token,
    pub metrics: ConsoleMetrics,
}

/// Paths that are open: probes and scrapers have no token, and the app's files hold no secret.
fn is_open(path: &str, grpc: bool) -> bool {
    if grpc || path.starts_with("/remuda.") {
        return path.starts_with("/grpc.health.v1.Health/");
    }
    // Reflection is a gRPC service too, whatever content type a caller claims.
    !path.starts_with("/map/") && !path.starts_with("/grpc.reflection.") && path != "/console.json"
}

/// Whether a request speaks gRPC or gRPC-Web.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

pub(crate) async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let grpc = is_grpc(request.headers());
    let kind = request.headers().get(CONTENT_TYPE).cloned();
    let authorization = request.headers().get(AUTHORIZATION);
    if !is_open(request.uri().path(), grpc) && !gate.token.opens(authorization.map(HeaderValue::as_bytes)) {
        gate.metrics.rejected("token_invalid");
        if grpc {
            return grpc_error(Refusal::Unauthenticated, kind);
        }
        let challenge = [(WWW_AUTHENTICATE, "Bearer")];
        return (StatusCode::UNAUTHORIZED, challenge, format!("{}\n", Refusal::Unauthenticated))
            .into_response();
    }
    let deadline = deadline_of(request.headers()).unwrap_or(limits::CALL_TIMEOUT_MAX);
    // Covers the time until the response begins: a stream's end is its reader's business.
    match tokio::time::timeout(deadline.min(limits::CALL_TIMEOUT_MAX), next.run(request)).await {
        Ok(response) => response,
        Err(_) if grpc => {
            gate.metrics.rejected("deadline_passed");
            grpc_error(Refusal::DeadlinePassed, kind)
        }
        Err(_) => (StatusCode::GATEWAY_TIMEOUT, format!("{}\n", Refusal::DeadlinePassed)).into_response(),
    }
}

/// A refusal as a gRPC response without a message, in the content type that was asked in.
pub(crate) fn grpc_error(refusal: Refusal, kind: Option<HeaderValue>) -> Response {
    let mut response = Status::from(refusal).into_http::<Body>();
    if let Some(kind) = kind {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}

/// The `grpc-timeout`, less a little: tonic's own timer, which runs around us, would answer CANCELLED.
fn deadline_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.is_empty() || number.len() > 8 {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    let asked = match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    };
    Some(asked - (asked / 10).min(Duration::from_millis(5)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_probes_and_files_are_open() {
        for (path, grpc) in [
            ("/", false),
            ("/assets/index.js", false),
            ("/health", false),
            ("/ready", false),
            ("/metrics", false),
            ("/grpc.health.v1.Health/Check", true),
        ] {
            assert!(is_open(path, grpc), "{path}");
        }
        for (path, grpc) in [
            ("/remuda.vehicles.v1.VehicleService/GetVehicle", true),
            ("/remuda.vehicles.v1.VehicleService/GetVehicle", false),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", true),
            ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", false),
            ("/anything", true),
            ("/map/roads.geojson", false),
            ("/console.json", false),
        ] {
            assert!(!is_open(path, grpc), "{path}");
        }
    }

    #[test]
    fn deadlines_are_read() {
        let with = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_static(text));
            deadline_of(&headers)
        };
        assert_eq!(with("1S"), Some(Duration::from_millis(995)));
        assert_eq!(with("20m"), Some(Duration::from_millis(18)));
        assert_eq!(
            with("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3_600) - Duration::from_millis(5))
        );
        for text in ["", "S", "1", "1x", "999999999S", "-1S"] {
            assert_eq!(with(text), None, "{text}");
        }
        assert_eq!(deadline_of(&HeaderMap::new()), None);
    }
}
