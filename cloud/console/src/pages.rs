//! What is served besides gRPC: probes, metrics, the roads, the web app.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use rust_embed::RustEmbed;
use serde::Serialize;

use crate::gate::{grpc_error, is_grpc};
use crate::refusal::Refusal;

/// Scripts, styles and connections of our own only. MapLibre's worker is a file of ours; `blob:` and `data:` are for the
/// images that it draws itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
    connect-src 'self'; worker-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Assets;

/// Answers the GeoJSON of the roads, or none while no map is loaded.
pub type Roads = Arc<dyn Fn() -> Option<Bytes> + Send + Sync>;
/// Renders the metrics.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;
/// Whether the node can serve; a sentence why not.
pub type Readiness = Arc<dyn Fn() -> Result<Option<String>, String> + Send + Sync>;

/// What the pages show.
#[derive(Clone)]
pub(crate) struct Pages {
    pub roads: Roads,
    pub metrics: MetricsText,
    pub ready: Readiness,
    pub about: Arc<About>,
}

/// What the web app must know before its first call.
#[derive(Serialize)]
pub(crate) struct About {
    pub organization: String,
    pub version: &'static str,
}

pub(crate) fn router(pages: Pages) -> Router {
    Router::new()
        .route("/health", get(|| async { "alive\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/console.json", get(about))
        .route("/map/roads.geojson", get(roads))
        .fallback(file)
        .with_state(pages)
}

async fn ready(State(pages): State<Pages>) -> Response {
    match (pages.ready)() {
        Ok(None) => "ready\n".into_response(),
        Ok(Some(trouble)) => format!("ready, but {trouble}\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(State(pages): State<Pages>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], (pages.metrics)()).into_response()
}

async fn about(State(pages): State<Pages>) -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(&*pages.about)).into_response()
}

async fn roads(State(pages): State<Pages>) -> Response {
    match (pages.roads)() {
        Some(roads) => {
            ([(CONTENT_TYPE, "application/geo+json"), (CACHE_CONTROL, "private, no-cache")], roads)
                .into_response()
        }
        // No map is a normal state, not a mistake of who asks.
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// A file of the web app; a gRPC call to nothing; or nothing.
async fn file(request: Request) -> Response {
    let path = request.uri().path();
    // Without this the app's fallback would answer 405 to unknown methods instead of UNIMPLEMENTED.
    if is_grpc(request.headers()) {
        let kind = request.headers().get(CONTENT_TYPE).cloned();
        return grpc_error(Refusal::NoSuchMethod(path.to_owned()), kind);
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, HEAD")]).into_response();
    }
    let path = if path == "/" { "index.html" } else { path.trim_start_matches('/') };
    let Some(found) = Assets::get(path) else {
        return (StatusCode::NOT_FOUND, "there is no such page\n").into_response();
    };
    let tag = found.metadata.sha256_hash().iter().take(12).map(|b| format!("{b:02x}")).collect::<String>();
    let tag = format!("\"{tag}\"");
    let unchanged =
        request.headers().get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let body = if request.method() == Method::HEAD {
            Body::empty()
        } else {
            Body::from(found.data.into_owned())
        };
        body.into_response()
    };
    let headers = response.headers_mut();
    // Names under assets/ carry a hash of their content.
    let cache = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    for (name, value) in [
        (CONTENT_TYPE, kind_of(path)),
        (CACHE_CONTROL, cache),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}

fn kind_of(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json" | "webmanifest") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
