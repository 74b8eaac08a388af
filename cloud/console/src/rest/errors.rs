//! Errors as JSON, AIP-193: `{"error": {"code", "status", "message", "details"}}`.

use std::collections::HashMap;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use prost_reflect::{DescriptorPool, DynamicMessage};
use remuda_api::ERROR_DOMAIN;
use remuda_transcoder::Problem;
use serde_json::{Value as Json, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::metrics::name_of;

/// Renders errors.
#[derive(Clone)]
pub(crate) struct Errors {
    /// The messages of `google.rpc`, which details are made of.
    pool: Option<DescriptorPool>,
}

impl Errors {
    pub fn new() -> Self {
        Self { pool: DescriptorPool::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).ok() }
    }

    /// A status as JSON.
    pub fn json(&self, status: &Status, conditional: bool) -> Json {
        let mut error = json!({
            "code": http_of(status, conditional).as_u16(),
            "status": name_of(status.code()),
            "message": status.message(),
        });
        if let Some(details) = self.details(status) {
            error["details"] = details;
        }
        json!({ "error": error })
    }

    fn details(&self, status: &Status) -> Option<Json> {
        let descriptor = self.pool.as_ref()?.get_message_by_name("google.rpc.Status")?;
        let message = DynamicMessage::decode(descriptor, status.details()).ok()?;
        let mut json = serde_json::to_value(&message).ok()?;
        json.get_mut("details").map(Json::take)
    }

    /// A status as a response. `conditional`: the request said `If-Match`.
    pub fn response(&self, status: &Status, conditional: bool) -> Response {
        let mut response = respond(http_of(status, conditional), &self.json(status, conditional));
        let headers = response.headers_mut();
        if status.code() == Code::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let wait = status.get_details_retry_info().and_then(|info| info.retry_delay);
        if let Some(wait) = wait {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    /// Nothing is there.
    pub fn no_such_path(&self, path: &str) -> Response {
        let text = format!("there is nothing at `{path}`; /openapi.json says what there is");
        self.response(&named(Code::NotFound, "PATH_UNKNOWN", text), false)
    }

    /// Something is there, but not for this.
    pub fn other_verb(&self, method: &str, allow: &str) -> Response {
        let text = format!("{method} is not possible here; {allow} are");
        let status = named(Code::Unimplemented, "VERB_UNKNOWN", text);
        let mut json = self.json(&status, false);
        json["error"]["code"] = Json::from(405);
        respond(StatusCode::METHOD_NOT_ALLOWED, &json)
    }
}

/// A JSON response.
pub(crate) fn respond(status: StatusCode, json: &Json) -> Response {
    let mut response = Response::new(Body::from(json.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A status with a stable reason.
pub(crate) fn named(code: Code, reason: &str, text: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
    Status::with_error_details(code, text.into(), details)
}

/// What is wrong with a request, as the handlers would say it.
pub(crate) fn of_problem(problem: &Problem) -> Status {
    let mut details = ErrorDetails::with_error_info("FIELD_INVALID", ERROR_DOMAIN, HashMap::new());
    details.add_bad_request_violation(problem.field.clone(), problem.problem.clone());
    Status::with_error_details(Code::InvalidArgument, problem.to_string(), details)
}

/// The HTTP status, as `google/rpc/code.proto` says, and closer where HTTP has a word for it.
pub(crate) fn http_of(status: &Status, conditional: bool) -> StatusCode {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    match (status.code(), reason.as_str()) {
        (Code::Aborted, "ETAG_MISMATCH") if conditional => StatusCode::PRECONDITION_FAILED,
        (_, "REQUEST_TOO_LARGE") => StatusCode::PAYLOAD_TOO_LARGE,
        (_, "CONTENT_TYPE_UNKNOWN") => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        (code, _) => of_code(code),
    }
}

fn of_code(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Aborted | Code::AlreadyExists => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        // Nobody reads it: who cancelled has gone. 499 is nginx's word for that.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::refusal::Refusal;

    #[test]
    fn errors_keep_their_details() {
        let errors = Errors::new();
        let refusal = Refusal::Field { field: "filter", problem: "no".into() };
        let json = errors.json(&Status::from(refusal), false);
        assert_eq!(json["error"]["code"], 400);
        assert_eq!(json["error"]["status"], "INVALID_ARGUMENT");
        let details = json["error"]["details"].as_array().expect("details");
        let of = |kind: &str| details.iter().find(|d| d["@type"].as_str().is_some_and(|t| t.ends_with(kind)));
        assert_eq!(of("google.rpc.ErrorInfo").expect("one")["reason"], "FIELD_INVALID");
        assert_eq!(of("google.rpc.BadRequest").expect("one")["fieldViolations"][0]["field"], "filter");
    }

    #[test]
    fn http_says_it_in_its_own_words() {
        let errors = Errors::new();
        let stale = named(Code::Aborted, "ETAG_MISMATCH", "changed");
        assert_eq!(errors.response(&stale, true).status(), 412);
        assert_eq!(errors.response(&stale, false).status(), 409);
        assert_eq!(errors.response(&Status::from(Refusal::RequestTooLarge), false).status(), 413);
        let nobody = errors.response(&Status::from(Refusal::Unauthenticated), false);
        assert_eq!(
            (nobody.status().as_u16(), &nobody.headers()[WWW_AUTHENTICATE]),
            (401, &HeaderValue::from_static("Bearer"))
        );
        let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(1_200)));
        let hasty = Status::with_error_details(Code::ResourceExhausted, "slower", details);
        let hasty = errors.response(&hasty, false);
        assert_eq!((hasty.status().as_u16(), hasty.headers()[RETRY_AFTER].as_bytes()), (429, &b"2"[..]));
    }
}
