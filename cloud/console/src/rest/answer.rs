//! A gRPC answer as an HTTP one.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::BodyExt;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use remuda_transcoder::{FieldMask, json};
use tonic::{Code, Status};

use crate::rest::errors::{Errors, named};
use crate::rest::stream::{Frames, Lines};
use crate::rest::views::Show;

/// How a caller wants to be answered.
pub(crate) struct Wish {
    pub show: Show,
    /// The fields of its messages that are wanted, when not all are.
    pub wanted: Option<FieldMask>,
    /// The method's answer is a stream.
    pub streams: bool,
    /// Without a body.
    pub head: bool,
    /// A stream as server-sent events.
    pub events: bool,
    /// It said `If-Match`.
    pub conditional: bool,
    pub if_none_match: Option<HeaderValue>,
}

impl Wish {
    /// The answer.
    pub async fn response(
        self,
        response: Response,
        output: Option<MessageDescriptor>,
        errors: &Errors,
    ) -> Response {
        let (parts, body) = response.into_parts();
        if let Some(status) = status_in(&parts.headers) {
            return errors.response(&status, self.conditional);
        }
        let Some(output) = output.filter(|_| parts.status == StatusCode::OK) else {
            return errors.response(&unexpected(), self.conditional);
        };
        if self.streams {
            return self.stream(Frames::new(body, output), errors);
        }
        match unary(body, output).await {
            Ok(message) => self.unary(&message, errors),
            Err(status) => errors.response(&status, self.conditional),
        }
    }

    fn unary(self, message: &DynamicMessage, errors: &Errors) -> Response {
        let shown = match self.show.of(message, self.wanted.as_ref()) {
            Ok(shown) => shown,
            Err(status) => return errors.response(&status, self.conditional),
        };
        let etag = message.get_field_by_name("etag");
        let etag =
            etag.as_deref().and_then(|etag| etag.as_str()).and_then(|etag| HeaderValue::from_str(etag).ok());
        let etag = etag.filter(|etag| !etag.is_empty());
        let unchanged = etag.is_some() && etag == self.if_none_match;
        let mut response = if unchanged {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            Response::new(if self.head { Body::empty() } else { Body::from(shown) })
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.show.kind));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        if let Some(etag) = etag {
            headers.insert(ETAG, etag);
        }
        response
    }

    fn stream(self, frames: Frames, errors: &Errors) -> Response {
        let kind = if self.events { "text/event-stream" } else { "application/x-ndjson" };
        let lines = Lines::new(frames, self.show, self.wanted, self.events, errors.clone());
        let body = if self.head { Body::empty() } else { Body::from_stream(lines.into_stream()) };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // The address of a followed trip may carry its link's token.
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        // Proxies that gather what they pass on would hold events back.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }
}

/// The status in headers or trailers; none when they say OK or nothing.
pub(crate) fn status_in(headers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(headers).filter(|status| status.code() != Code::Ok)
}

pub(crate) fn unexpected() -> Status {
    named(Code::Internal, "ANSWER_BROKEN", "the answer broke off")
}

/// The message of a unary answer.
async fn unary(body: Body, output: MessageDescriptor) -> Result<DynamicMessage, Status> {
    let body = body.collect().await.map_err(|_| unexpected())?;
    if let Some(status) = body.trailers().and_then(status_in) {
        return Err(status);
    }
    let bytes: Bytes = body.to_bytes();
    let message = bytes.get(5..).ok_or_else(unexpected)?;
    DynamicMessage::decode(output, message).map_err(|_| unexpected())
}

/// A message's JSON, or why it has none.
pub(crate) fn json_of(message: &DynamicMessage) -> Result<Vec<u8>, Status> {
    json(message).map_err(|error| {
        named(Code::Internal, "ANSWER_UNWRITABLE", format!("the answer has no JSON form: {error}"))
    })
}
