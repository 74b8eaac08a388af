//! What every request passes first: who calls, whether they may, how often; and the deadline.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use remuda_access::{Accounts, Oidc, Permission, Principal, Rate, RateLimiter, Reach};
use remuda_audit::{AuditLog, What};
use remuda_contracts::business::sharing::SHARE_TOKEN_PREFIX;
use remuda_model::OrganizationId;
use tonic::Status;

use crate::audit::{method, what};
use crate::connection::network_of;
use crate::limits;
use crate::metrics::ConsoleMetrics;
use crate::refusal::Refusal;
use crate::sight::{Homes, Sight};
use crate::time::now_ms;
use crate::tls::Peer;
use crate::token::Token;

/// Who may call beside the node's own token, and how often one caller may.
#[derive(Debug, Clone)]
pub struct Access {
    /// Accounts of the configuration.
    pub accounts: Arc<Accounts>,
    /// The issuer of people's tokens.
    pub oidc: Option<Arc<Oidc>>,
    /// Calls of each caller.
    pub rate: Arc<RateLimiter>,
}

impl Default for Access {
    fn default() -> Self {
        let rate = Rate { per_second: limits::CALLS_PER_SECOND, burst: limits::CALLS_BURST };
        Self { accounts: Arc::default(), oidc: None, rate: Arc::new(RateLimiter::new(rate)) }
    }
}

/// What the gate needs to know.
pub(crate) struct Gate {
    pub token: Token,
    pub access: Access,
    pub organization: OrganizationId,
    /// Where vehicles belong.
    pub homes: Arc<Homes>,
    pub audit: Arc<AuditLog>,
    pub metrics: ConsoleMetrics,
    /// Calls of addresses that have not said who they are.
    pub strangers: Arc<RateLimiter>,
    /// Calls of addresses that show tokens of share links.
    pub followers: Arc<RateLimiter>,
    /// Denials that are not written down.
    pub denials: Arc<Denials>,
}

/// The same rate for each caller: calls a second, and at once.
pub(crate) fn limiter((per_second, burst): (f64, f64)) -> RateLimiter {
    RateLimiter::new(Rate { per_second, burst })
}

/// Which denials are written down: a flood of them must not fill the disk, nor push out what counts.
pub(crate) struct Denials {
    rate: RateLimiter,
    left_out: Mutex<HashMap<String, u64>>,
}

impl Default for Denials {
    fn default() -> Self {
        Self { rate: limiter(limits::DENIALS_WRITTEN), left_out: Mutex::default() }
    }
}

impl Denials {
    /// Whether this one is, and how many of the caller's were not since the last that was.
    fn writes(&self, caller: &str, now: Instant) -> Option<u64> {
        let written = self.rate.take(caller, now).is_ok();
        let mut left_out = self.left_out.lock();
        if written {
            return Some(left_out.remove(caller).unwrap_or_default());
        }
        if left_out.len() < limits::DENIED_CALLERS_MAX || left_out.contains_key(caller) {
            *left_out.entry(caller.to_owned()).or_default() += 1;
        }
        None
    }

    /// Writes that somebody was not let do something into the audit log, or counts it.
    pub async fn note(
        &self,
        log: &Arc<AuditLog>,
        metrics: &ConsoleMetrics,
        mut what: What,
        permission: &'static str,
    ) {
        let Some(left_out) = self.writes(&what.who, Instant::now()) else {
            return metrics.rejected("denial_not_written");
        };
        if left_out > 0 {
            what.detail = format!("{{\"denialsNotWritten\":{left_out}}}");
        }
        let log = Arc::clone(log);
        let written = tokio::task::spawn_blocking(move || log.denied(what, permission, now_ms())).await;
        if let Ok(Err(error)) = written {
            tracing::error!(error = &error as &dyn std::error::Error, "a denial is not in the audit log");
        }
    }
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

/// A token of a share link, not looked at yet: whoever shows it is nobody, and the handler asks what it opens.
#[derive(Clone)]
pub(crate) struct ShareToken(pub String);

/// The token of a share link, where one may be shown.
fn share_token(request: &Request) -> Option<ShareToken> {
    let shared = method(request.uri().path()).is_some_and(|method| method.shared);
    let token = bearer(request.headers()).filter(|_| shared)?;
    token.starts_with(SHARE_TOKEN_PREFIX).then(|| ShareToken(token.to_owned()))
}

/// The bearer token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case("bearer ").then_some(token)
}

/// Takes a call of the address that a request comes from.
fn take(calls: &RateLimiter, request: &Request) -> Result<(), Refusal> {
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.address);
    let address = peer.map_or_else(|| "unknown".to_owned(), |peer| network_of(peer.ip()).to_string());
    calls.take(&address, Instant::now()).map_err(Refusal::TooManyCalls)
}

impl Gate {
    /// Who calls. A token says it where there is one, also a wrong one; a client's certificate where there is none.
    async fn principal(&self, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Principal, Refusal> {
        if !headers.contains_key(AUTHORIZATION)
            && let Some(shown) = peer.and_then(|peer| peer.certificate.as_ref())
        {
            let certificate = shown.holds().map_err(Refusal::Certificate)?;
            return self.access.accounts.of_certificate(certificate).map_err(Refusal::Certificate);
        }
        if self.token.opens(headers.get(AUTHORIZATION).map(HeaderValue::as_bytes)) {
            return Ok(Principal::node(self.organization));
        }
        let Some(token) = bearer(headers) else { return Err(Refusal::Unauthenticated) };
        if let Some(principal) = self.access.accounts.find(token) {
            return Ok(principal);
        }
        match &self.access.oidc {
            // Three parts: only a JWT is worth the issuer's time.
            Some(oidc) if token.split('.').count() == 3 => oidc.verify(token).await.map_err(Refusal::Token),
            _ => Err(Refusal::Unauthenticated),
        }
    }

    /// Whether a caller may call this, and up to where; the one place where it is decided.
    fn permitted(&self, principal: &Principal, path: &str) -> Result<Reach, Refusal> {
        let method = method(path);
        let permission = match method {
            Some(method) => Permission::named(method.permission),
            None if path.starts_with("/map/") => Some(Permission::VehiclesRead),
            // Reflection and the console's own page are for whoever has any role here; an unknown method finds nothing.
            None if principal.reaches(self.organization) => return Ok(Reach::NOWHERE),
            None => return Err(Refusal::ForeignOrganization(self.organization.to_string())),
        };
        // A permission that the roles do not know: a test of the protos fails before this is ever shipped.
        let Some(permission) = permission else {
            return Err(Refusal::PermissionMissing { permission: "unknown", roles: "no role".into() });
        };
        let reach = principal.reach(permission, self.organization);
        if reach.is_nowhere() {
            return Err(Refusal::PermissionMissing {
                permission: permission.as_str(),
                roles: permission.roles().iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", "),
            });
        }
        if reach != Reach::Everywhere && method.is_some_and(|method| !method.parts) {
            return Err(Refusal::GrantTooNarrow(permission.as_str()));
        }
        Ok(reach)
    }

    async fn admit(&self, request: &mut Request) -> Result<(), Refusal> {
        if let Some(token) = share_token(request) {
            take(&self.followers, request)?;
            request.extensions_mut().insert(token);
            return Ok(());
        }
        let principal = match self.principal(request.headers(), request.extensions().get()).await {
            Ok(principal) => principal,
            Err(refusal) => {
                self.stranger(request)?;
                return Err(refusal);
            }
        };
        self.access.rate.take(&principal.subject, Instant::now()).map_err(Refusal::TooManyCalls)?;
        let permitted = self.permitted(&principal, request.uri().path());
        if let Err(Refusal::PermissionMissing { permission, .. } | Refusal::GrantTooNarrow(permission)) =
            &permitted
        {
            self.denials.note(&self.audit, &self.metrics, what(&principal, request), permission).await;
        }
        let sight = Sight::new(permitted?, Arc::clone(&self.homes));
        request.extensions_mut().insert(sight);
        request.extensions_mut().insert(principal);
        Ok(())
    }

    /// Takes a call of an address that has not said who it is.
    fn stranger(&self, request: &Request) -> Result<(), Refusal> {
        take(&self.strangers, request)
    }
}

/// Lets a request through to what is behind the gate.
pub(crate) async fn pass(gate: &Gate, mut request: Request, next: Next) -> Response {
    let grpc = is_grpc(request.headers());
    let kind = request.headers().get(CONTENT_TYPE).cloned();
    let deadline = deadline_of(request.headers()).unwrap_or(limits::CALL_TIMEOUT_MAX);
    let deadline = deadline.min(limits::CALL_TIMEOUT_MAX);
    let late = |kind| {
        if grpc {
            gate.metrics.rejected("deadline_passed");
            return grpc_error(Refusal::DeadlinePassed, kind);
        }
        (StatusCode::GATEWAY_TIMEOUT, format!("{}\n", Refusal::DeadlinePassed)).into_response()
    };
    let begun = Instant::now();
    let admitted = if is_open(request.uri().path(), grpc) {
        gate.stranger(&request)
    } else {
        // Whoever must be asked who this is may not answer.
        match tokio::time::timeout(deadline, gate.admit(&mut request)).await {
            Ok(admitted) => admitted,
            Err(_) => return late(kind),
        }
    };
    if let Err(refusal) = admitted {
        gate.metrics.rejected(rejection(&refusal));
        return if grpc { grpc_error(refusal, kind) } else { page_error(&refusal) };
    }
    // Covers the time until the response begins: a stream's end is its reader's business.
    match tokio::time::timeout(deadline.saturating_sub(begun.elapsed()), next.run(request)).await {
        Ok(response) => response,
        Err(_) => late(kind),
    }
}

/// The metric's label of a request that was not let in.
fn rejection(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::TooManyCalls(_) => "rate_exceeded",
        Refusal::PermissionMissing { .. } | Refusal::GrantTooNarrow(_) | Refusal::ForeignOrganization(_) => {
            "permission_missing"
        }
        Refusal::Certificate(_) => "certificate_invalid",
        _ => "token_invalid",
    }
}

fn page_error(refusal: &Refusal) -> Response {
    let text = format!("{refusal}\n");
    match refusal {
        Refusal::PermissionMissing { .. } | Refusal::GrantTooNarrow(_) | Refusal::ForeignOrganization(_) => {
            (StatusCode::FORBIDDEN, text).into_response()
        }
        Refusal::TooManyCalls(_) => (StatusCode::TOO_MANY_REQUESTS, text).into_response(),
        _ => (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], text).into_response(),
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

/// The `grpc-timeout`, less a little: tonic's timers, which run around us and in its clients, would answer CANCELLED. A tenth at
/// most, and what a busy machine or a way through a network takes.
pub(crate) fn deadline_of(headers: &HeaderMap) -> Option<Duration> {
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
    Some(asked - (asked / 10).min(limits::DEADLINE_MARGIN))
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
    fn a_flood_of_denials_is_sampled_and_counted() {
        let (denials, now) = (Denials::default(), Instant::now());
        let written = (0..1_000).filter(|_| denials.writes("ada", now).is_some()).count();
        assert_eq!(written, 20);
        assert_eq!(denials.writes("bob", now), Some(0), "nobody pays for another");
        assert_eq!(denials.writes("ada", now + Duration::from_secs(10)), Some(980));
        assert_eq!(denials.writes("ada", now + Duration::from_secs(20)), Some(0));
    }

    #[test]
    fn deadlines_are_read() {
        let with = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_static(text));
            deadline_of(&headers)
        };
        assert_eq!(with("1S"), Some(Duration::from_millis(950)));
        assert_eq!(with("20m"), Some(Duration::from_millis(18)));
        assert_eq!(
            with("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3_600) - limits::DEADLINE_MARGIN)
        );
        for text in ["", "S", "1", "1x", "999999999S", "-1S"] {
            assert_eq!(with(text), None, "{text}");
        }
        assert_eq!(deadline_of(&HeaderMap::new()), None);
    }
}
