//! What is the same for everybody and needs no token: the OpenAPI document and the reference.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use remuda_model::shard::fnv1a_64;
use remuda_transcoder::{Comments, Table, Verb};

use crate::rest::errors::Errors;
use crate::rest::{docs, document, other_verbs};

/// The page's own style and script, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

struct File {
    path: &'static str,
    kind: &'static str,
    etag: String,
    text: Bytes,
}

/// All of them, made once.
pub(crate) struct Files(Vec<File>);

impl Files {
    /// Of the node that serves `organization`.
    pub fn new(table: &Table, organization: &str) -> Self {
        let comments = Comments::new(table.pool());
        let file = |path, kind, text: String| {
            let etag = format!("\"{:016x}\"", fnv1a_64(text.as_bytes()));
            File { path, kind, etag, text: text.into() }
        };
        let openapi = document::document(table, &comments, organization);
        Self(vec![
            file("/openapi.json", "application/json", openapi.to_string()),
            file("/docs", "text/html; charset=utf-8", docs::page(table, &comments, organization)),
            file("/docs/docs.css", "text/css; charset=utf-8", docs::STYLE.to_owned()),
            file("/docs/docs.js", "text/javascript; charset=utf-8", docs::SCRIPT.to_owned()),
        ])
    }

    /// Whether there is one at a path.
    pub fn has(&self, path: &str) -> bool {
        self.0.iter().any(|file| file.path == path)
    }

    /// The file at the request's path.
    pub fn answer(&self, errors: &Errors, request: &Request) -> Response {
        if *request.method() != Method::GET && *request.method() != Method::HEAD {
            return other_verbs(errors, &[Verb::Get], request.method());
        }
        let Some(file) = self.0.iter().find(|file| file.path == request.uri().path()) else {
            return errors.no_such_path(request.uri().path());
        };
        let known = request.headers().get(IF_NONE_MATCH);
        let mut response = if known.is_some_and(|known| known.as_bytes() == file.etag.as_bytes()) {
            StatusCode::NOT_MODIFIED.into_response()
        } else if *request.method() == Method::HEAD {
            Response::new(Body::empty())
        } else {
            Response::new(Body::from(file.text.clone()))
        };
        let headers = response.headers_mut();
        for (name, value) in [
            (CONTENT_TYPE, file.kind),
            (CACHE_CONTROL, "no-cache"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Ok(etag) = HeaderValue::from_str(&file.etag) {
            headers.insert(ETAG, etag);
        }
        response
    }
}
