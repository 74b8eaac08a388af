//! One request as a gRPC call.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, IF_MATCH, IF_NONE_MATCH, TE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use parking_lot::Mutex;
use prost::Message as _;
use remuda_api::MESSAGE_BYTES_MAX;
use remuda_transcoder::{FieldMask, Route, parameters};
use serde_json::Value as Json;
use tonic::{Code, Status};
use tower::ServiceExt;

use crate::limits;
use crate::refusal::Refusal;
use crate::rest::answer::{Wish, unexpected};
use crate::rest::errors::{Errors, named, of_problem, respond};
use crate::rest::views::Show;

/// How long a caller waits, seconds, with a point.
const TIMEOUT: HeaderName = HeaderName::from_static("x-server-timeout");
/// The request's own name. Not `x-request-id`: proxies put one of their own on every request.
const REQUEST_ID: HeaderName = HeaderName::from_static("idempotency-key");
/// Where a reader of events goes on.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The parameter that says which fields of the answer are wanted.
const FIELDS: &str = "fields";

/// A call to make.
#[derive(Clone)]
pub(crate) struct Call {
    /// `/{package}.{service}/{method}`.
    pub grpc_path: String,
    /// How its message is made; none for a method that is not there, which the console then says.
    pub route: Option<Route>,
    /// What the path says.
    pub fields: Vec<(String, String)>,
    /// How its answer is shown.
    pub show: Show,
    /// The page to ask for, when pages are gathered.
    pub page: Option<String>,
}

impl Call {
    /// Makes it.
    pub async fn answer(self, guarded: &Router, errors: &Errors, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        if self.show.whole {
            return self.whole(guarded, errors, parts).await;
        }
        let (wanted, unreadable) = match self.wanted(&parts) {
            Ok(wanted) => (wanted, None),
            Err(status) => (None, Some(status)),
        };
        let wish = Wish {
            show: self.show,
            wanted,
            streams: self.route.as_ref().is_some_and(|route| route.method().is_server_streaming()),
            head: parts.method == Method::HEAD,
            events: self.show.events || accepts_events(&parts.headers),
            conditional: parts.headers.contains_key(IF_MATCH),
            if_none_match: parts.headers.get(IF_NONE_MATCH).cloned(),
        };
        let output = self.route.as_ref().map(|route| route.method().output());
        // The message is made when the handler asks for it, behind the gate: who may not call is told that first, also when the
        // fields that they want cannot be read, and none of their body is read.
        let problem: Arc<Mutex<Option<Status>>> = Arc::default();
        let request = match self.into_grpc(parts, body, unreadable, Arc::clone(&problem)) {
            Ok(request) => request,
            Err(status) => return errors.response(&status, wish.conditional),
        };
        let Ok(response) = guarded.clone().oneshot(request).await;
        // The handler has seen a broken body only; this is why.
        if let Some(status) = problem.lock().take() {
            return errors.response(&status, wish.conditional);
        }
        wish.response(response, output, errors).await
    }

    /// Gathers the lists of all pages into one answer.
    async fn whole(mut self, guarded: &Router, errors: &Errors, parts: Parts) -> Response {
        let show = self.show;
        self.show = show.of_a_page();
        let mut gathered = Json::Null;
        for _ in 0..limits::REST_PAGES_MAX {
            let call = self.clone();
            let request = Request::from_parts(parts.clone(), Body::empty());
            let response = Box::pin(call.answer(guarded, errors, request)).await;
            if response.status() != StatusCode::OK {
                return response;
            }
            let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let Ok(page) = serde_json::from_slice::<Json>(&body) else {
                return errors.response(&unexpected(), false);
            };
            let token = page["nextPageToken"].as_str().unwrap_or_default().to_owned();
            gather(&mut gathered, page);
            if token.is_empty() {
                let body =
                    if parts.method == Method::HEAD { Json::Null } else { show.shaped_value(gathered) };
                return respond(StatusCode::OK, &body);
            }
            self.page = Some(token);
        }
        let text =
            format!("there are more than {} pages; ask for pages of /vehicles", limits::REST_PAGES_MAX);
        errors.response(&named(Code::OutOfRange, "ANSWER_TOO_LARGE", text), false)
    }

    /// Whether a parameter says which fields are wanted.
    fn is_mask(&self, name: &str) -> bool {
        self.show.masks && (name == FIELDS || name == "$fields")
    }

    /// The fields that the query wants; none when it wants all.
    fn wanted(&self, parts: &Parts) -> Result<Option<FieldMask>, Status> {
        let wrong = |problem| of_problem(&problem);
        let (Some(route), Some(query)) = (&self.route, parts.uri.query()) else { return Ok(None) };
        let query = parameters(query).map_err(wrong)?;
        let mut said = query.iter().filter(|(name, _)| self.is_mask(name)).map(|(_, text)| text);
        let Some(text) = said.next() else { return Ok(None) };
        if said.next().is_some() {
            return Err(named(Code::InvalidArgument, "FIELD_INVALID", "`fields` is given twice"));
        }
        FieldMask::parse(FIELDS, text, &route.method().output()).map(Some).map_err(wrong)
    }

    fn into_grpc(
        self,
        parts: Parts,
        body: Body,
        refused: Option<Status>,
        problem: Arc<Mutex<Option<Status>>>,
    ) -> Result<Request, Status> {
        let unreadable = |_| named(Code::Internal, "PATH_UNKNOWN", "the method has no path");
        let uri: Uri = self.grpc_path.parse().map_err(unreadable)?;
        let timeout = parts.headers.get(TIMEOUT).map(grpc_timeout).transpose()?;
        let authorization = parts.headers.get(AUTHORIZATION).cloned();
        let extensions = parts.extensions.clone();
        let body = Body::from_stream(stream::once(async move {
            let message = match refused {
                Some(status) => Err(status),
                None => self.message(&parts, body).await,
            };
            message.map_err(|status| {
                let text = status.message().to_owned();
                *problem.lock() = Some(status);
                text
            })
        }));
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        // What gRPC-Web is told from gRPC by.
        *request.version_mut() = Version::HTTP_2;
        *request.extensions_mut() = extensions;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        if let Some(timeout) = timeout {
            headers.insert("grpc-timeout", timeout);
        }
        Ok(request)
    }

    /// The message in its envelope.
    async fn message(self, parts: &Parts, body: Body) -> Result<Bytes, Status> {
        let Some(route) = &self.route else { return Ok(framed(&[])) };
        let body = read(parts, body).await?;
        let fields: Vec<(&str, String)> =
            self.fields.iter().map(|(field, value)| (field.as_str(), value.clone())).collect();
        let wrong = |problem| of_problem(&problem);
        let query = parameters(parts.uri.query().unwrap_or_default()).map_err(wrong)?;
        let query = query.into_iter().filter(|(name, _)| !self.is_mask(name)).collect();
        let mut query = self.show.query(query).map_err(wrong)?;
        if let Some(token) = &self.page {
            query.retain(|(name, _)| name != "page_token" && name != "pageToken");
            query.push(("page_token".into(), token.clone()));
        }
        let mut message = route.message(&fields, &query, &body).map_err(wrong)?;
        let fills = [(&IF_MATCH, "etag"), (&LAST_EVENT_ID, "resume_token"), (&REQUEST_ID, "request_id")];
        for (header, field) in fills {
            let Some(value) = parts.headers.get(header) else { continue };
            let value = value.to_str().map_err(|_| {
                named(Code::InvalidArgument, "FIELD_INVALID", format!("{header} is not text"))
            })?;
            // Any at all is what a request without a condition asks for.
            if value != "*" {
                route.fill(&mut message, field, value).map_err(wrong)?;
            }
        }
        Ok(framed(&message.encode_to_vec()))
    }
}

/// Adds the lists of a page to those before.
fn gather(gathered: &mut Json, page: Json) {
    if gathered.is_null() {
        *gathered = page;
        return;
    }
    let Json::Object(page) = page else { return };
    for (field, value) in page {
        match (gathered[&field].as_array_mut(), value) {
            (Some(before), Json::Array(mut more)) => before.append(&mut more),
            (_, value) => gathered[&field] = value,
        }
    }
}

/// The body, which is JSON or nothing.
async fn read(parts: &Parts, body: Body) -> Result<Bytes, Status> {
    let said = parts.headers.get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default());
    if parts.headers.get(CONTENT_ENCODING).is_some_and(|how| how != "identity") {
        return Err(named(Code::InvalidArgument, "CONTENT_TYPE_UNKNOWN", "bodies are not compressed here"));
    }
    let body = match Limited::new(body, MESSAGE_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(Refusal::RequestTooLarge.into()),
        Err(_) => return Err(named(Code::InvalidArgument, "BODY_BROKEN", "the body broke off")),
    };
    // A page of somebody else's can make a browser send a form, but not JSON.
    if !body.is_empty() && !said.is_some_and(is_json) {
        return Err(named(
            Code::InvalidArgument,
            "CONTENT_TYPE_UNKNOWN",
            "the body is JSON: say `content-type: application/json`",
        ));
    }
    Ok(body)
}

fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.split(';').next().unwrap_or_default().trim() == "text/event-stream")
}

fn grpc_timeout(value: &HeaderValue) -> Result<HeaderValue, Status> {
    let seconds = value.to_str().ok().and_then(|text| text.trim().parse::<f64>().ok());
    let wrong = || {
        named(
            Code::InvalidArgument,
            "TIMEOUT_INVALID",
            "X-Server-Timeout is a number of seconds from 0.001 to 86400, such as 2.5",
        )
    };
    let seconds = seconds.filter(|seconds| (0.001..=86_400.0).contains(seconds)).ok_or_else(wrong)?;
    let millis = (seconds * 1e3).round() as u64;
    HeaderValue::from_str(&format!("{millis}m")).map_err(|_| wrong())
}

/// A message in gRPC's envelope: not compressed, its length, itself.
fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(5 + message.len());
    bytes.put_u8(0);
    // At most what the body was limited to, and what a query can hold.
    bytes.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    bytes.put_slice(message);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_seconds() {
        let of = |text: &'static str| grpc_timeout(&HeaderValue::from_static(text)).ok();
        assert_eq!(of("2.5"), Some(HeaderValue::from_static("2500m")));
        assert_eq!(of("86400"), Some(HeaderValue::from_static("86400000m")));
        for wrong in ["", "0", "-1", "NaN", "inf", "2s", "1e9"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_json_is_a_body() {
        for kind in [
            "application/json",
            "application/json; charset=utf-8",
            "Application/JSON",
            "application/merge-patch+json",
        ] {
            assert!(is_json(kind), "{kind}");
        }
        for kind in
            ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json"]
        {
            assert!(!is_json(kind), "{kind}");
        }
    }
}
