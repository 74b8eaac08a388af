//! Around a service: a method that must be audited stands in the log before it is carried out.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Limited};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage};
use remuda_access::{Principal, Via};
use remuda_api::{DESCRIPTORS, MESSAGE_BYTES_MAX, METHODS, Method};
use remuda_audit::{AuditLog, What};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::Service;

use crate::gate::Denials;
use crate::held::{as_long_as, rests_on};
use crate::metrics::{ConsoleMetrics, name_of};
use crate::refusal::Refusal;
use crate::sight::{Sight, names_within};
use crate::time::now_ms;
use crate::tls::Peer;

/// Methods by their path.
static TABLE: LazyLock<HashMap<&'static str, &'static Method>> =
    LazyLock::new(|| METHODS.iter().map(|method| (method.path, method)).collect());

/// The messages of the API. The descriptors are ours and were compiled with it.
static POOL: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).ok());

/// What a method says of itself.
pub(crate) fn method(path: &str) -> Option<&'static Method> {
    TABLE.get(path).copied()
}

/// The message that a method answers.
pub(crate) fn output_of(path: &str) -> Option<MessageDescriptor> {
    let (service, name) = path.strip_prefix('/')?.split_once('/')?;
    let service = POOL.as_ref()?.get_service_by_name(service)?;
    service.methods().find(|method| method.name() == name).map(|method| method.output())
}

/// What can be said of a call before its request is read.
pub(crate) fn what<B>(principal: &Principal, request: &axum::http::Request<B>) -> What {
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.address);
    let via = match principal.via {
        Via::NodeToken => "node-token",
        Via::Account => "account",
        Via::Certificate => "certificate",
        Via::Oidc => "oidc",
    };
    What {
        who: principal.subject.clone(),
        from: peer.map_or_else(|| "unknown".to_owned(), |addr| addr.to_string()),
        via: via.to_owned(),
        method: request.uri().path().to_owned(),
        reason: String::new(),
        resource: String::new(),
        detail: String::new(),
    }
}

/// What audited services share.
pub(crate) struct Auditing {
    pub log: Arc<AuditLog>,
    /// Which denials of reads are written down.
    pub denials: Arc<Denials>,
    pub metrics: ConsoleMetrics,
}

/// A service whose changing methods stand in the log, and that is asked only about vehicles that its caller sees. Sits inside
/// the gRPC-Web layer, so that it sees plain gRPC.
#[derive(Clone)]
pub(crate) struct Audited<S> {
    pub inner: S,
    pub auditing: Arc<Auditing>,
}

impl<S: NamedService> NamedService for Audited<S> {
    const NAME: &'static str = S::NAME;
}

type Request = axum::http::Request<Body>;
type Response = axum::http::Response<Body>;

impl<S> Service<Request> for Audited<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The one that is ready goes; its clone waits for the next call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let auditing = Arc::clone(&self.auditing);
        let certificate = rests_on(&request);
        let answer = async move {
            let (request, seen) = match within_sight(request).await {
                Ok(looked) => looked,
                Err(refusal) => return Ok(Status::from(refusal).into_http()),
            };
            let method = method(request.uri().path());
            let Some(method) = method.filter(|method| method.audited) else {
                let Err(refusal) = seen else { return inner.call(request).await };
                if let (Some(method), Refusal::NoSuchVehicle(_)) = (method, &refusal) {
                    auditing.denied(method, request).await;
                }
                return Ok(Status::from(refusal).into_http());
            };
            // A caller who goes away does not stop what has begun, nor its end from being written.
            let call =
                tokio::spawn(async move { through(&mut inner, &auditing.log, method, request, seen).await });
            Ok(call.await.unwrap_or_else(|_| Status::from(Refusal::Stopping).into_http()))
        };
        Box::pin(async move { Ok(as_long_as(certificate, answer.await?)) })
    }
}

impl Auditing {
    /// Writes down that somebody wanted to read about a vehicle that is not theirs.
    async fn denied(&self, method: &'static Method, request: Request) {
        let (parts, body) = request.into_parts();
        let (Some(principal), Ok(body)) =
            (parts.extensions.get::<Principal>().cloned(), body.collect().await)
        else {
            return;
        };
        let mut what = what(&principal, &axum::http::Request::from_parts(parts, ()));
        if let Some(message) = only_message(&body.to_bytes()) {
            describe(method, message, &mut what);
        }
        self.denials.note(&self.log, &self.metrics, what, method.permission).await;
    }
}

/// The same request, and whether all vehicles that it names are its caller's to see. Costs nothing for who sees them all.
async fn within_sight(request: Request) -> Result<(Request, Result<(), Refusal>), Refusal> {
    let sight = request.extensions().get::<Sight>().filter(|sight| !sight.is_whole()).cloned();
    let (Some(sight), Some(method)) = (sight, method(request.uri().path())) else {
        return Ok((request, Ok(())));
    };
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, MESSAGE_BYTES_MAX + 5).collect().await;
    let body = body.map_err(|_| Refusal::RequestTooLarge)?.to_bytes();
    let message = only_message(&body).ok_or(Refusal::NotOneMessage)?;
    let described = POOL.as_ref().and_then(|pool| pool.get_message_by_name(method.request));
    let message = described.and_then(|descriptor| decode(descriptor, message));
    let seen = names_within(&sight, &message.ok_or(Refusal::Undescribable)?);
    Ok((Request::from_parts(parts, Body::new(http_body_util::Full::new(body))), seen))
}

/// Carries a call out between its two entries, when its vehicles are seen; else what it wanted stands there all the same.
async fn through<S>(
    inner: &mut S,
    log: &Arc<AuditLog>,
    method: &'static Method,
    request: Request,
    seen: Result<(), Refusal>,
) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let (parts, body) = request.into_parts();
    let Some(principal) = parts.extensions.get::<Principal>().cloned() else {
        return Status::from(Refusal::Unauthenticated).into_http();
    };
    // The prefix of a message has five bytes.
    let Ok(body) = Limited::new(body, MESSAGE_BYTES_MAX + 5).collect().await else {
        return Status::from(Refusal::RequestTooLarge).into_http();
    };
    let body = body.to_bytes();
    // What is carried out is the first message: with another behind it, or one that cannot be read here, the log would not
    // say what was done.
    let Some(message) = only_message(&body) else {
        return Status::from(Refusal::NotOneMessage).into_http();
    };
    let request = Request::from_parts(parts, Body::new(http_body_util::Full::new(body.clone())));
    let mut what = what(&principal, &request);
    if !describe(method, message, &mut what) {
        return Status::from(Refusal::Undescribable).into_http();
    }
    let begun = {
        let (log, what) = (Arc::clone(log), what.clone());
        tokio::task::spawn_blocking(move || log.begin(what, now_ms())).await
    };
    let begun = match begun {
        Ok(Ok(number)) => number,
        Ok(Err(error)) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a call was not carried out: it cannot be audited"
            );
            return Status::from(Refusal::AuditUnavailable).into_http();
        }
        Err(_) => return Status::from(Refusal::Stopping).into_http(),
    };
    let response = match seen {
        Ok(()) => {
            let Ok(response) = inner.call(request).await;
            response
        }
        Err(refusal) => Status::from(refusal).into_http(),
    };
    let (response, status) = status_of(method, response).await;
    let log = Arc::clone(log);
    let ended = tokio::task::spawn_blocking(move || log.end(begun, what, status, now_ms())).await;
    if let Ok(Err(error)) = ended {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            begun,
            "the end of a call is not in the audit log"
        );
    }
    response
}

/// The status of an answer. A unary one is read to its end; a stream says only that it began.
async fn status_of(method: &Method, response: Response) -> (Response, &'static str) {
    let at_once = response.headers().get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
    if let Some(code) = at_once {
        return (response, name_of(code));
    }
    if method.streams {
        return (response, "STREAMS");
    }
    let (parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else {
        return (Status::internal("the answer broke off").into_http(), name_of(Code::Internal));
    };
    let code = body.trailers().and_then(|trailers| trailers.get("grpc-status"));
    let code = code.map_or(Code::Unknown, |code| Code::from_bytes(code.as_bytes()));
    (Response::from_parts(parts, Body::new(body)), name_of(code))
}

/// The message of a body that holds just one, not compressed.
fn only_message(body: &[u8]) -> Option<&[u8]> {
    let (&[compressed, a, b, c, d], message) = body.split_first_chunk::<5>()?;
    (compressed == 0 && u32::from_be_bytes([a, b, c, d]) as usize == message.len()).then_some(message)
}

/// What the request says, without what is secret; false when that cannot be said.
fn describe(method: &Method, message: &[u8], what: &mut What) -> bool {
    let described = POOL.as_ref().and_then(|pool| pool.get_message_by_name(method.request));
    let Some(mut message) = described.and_then(|descriptor| decode(descriptor, message)) else {
        return false;
    };
    let text = |message: &DynamicMessage, field: &str| {
        let value = message.get_field_by_name(field)?;
        value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    };
    what.reason = text(&message, "reason").unwrap_or_default();
    what.resource = text(&message, "name").or_else(|| text(&message, "parent")).unwrap_or_default();
    redact(&mut message);
    // Not every message has a JSON form: a duration with two seconds of nanoseconds has none.
    let Ok(detail) = serde_json::to_string(&message) else { return false };
    what.detail = detail;
    true
}

fn decode(descriptor: MessageDescriptor, message: &[u8]) -> Option<DynamicMessage> {
    DynamicMessage::decode(descriptor, message).ok()
}

/// Takes out the fields that the protos mark as secret, and does the same in messages below.
fn redact(message: &mut DynamicMessage) {
    let secret = |field: &prost_reflect::FieldDescriptor| {
        let mark = POOL.as_ref().and_then(|pool| pool.get_extension_by_name("remuda.options.v1.secret"));
        mark.is_some_and(|mark| field.options().get_extension(&mark).as_bool() == Some(true))
    };
    for field in message.descriptor().fields() {
        if secret(&field) {
            message.clear_field(&field);
        } else if message.has_field(&field) {
            match message.get_field_mut(&field) {
                prost_reflect::Value::Message(below) => redact(below),
                prost_reflect::Value::List(list) => {
                    list.iter_mut().filter_map(prost_reflect::Value::as_message_mut).for_each(redact)
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use remuda_access::Permission;

    use super::*;

    #[test]
    fn every_method_names_a_permission_that_roles_know_and_every_change_is_audited() {
        for method in METHODS {
            assert!(Permission::named(method.permission).is_some(), "{}: {}", method.path, method.permission);
            let reads = method.permission.ends_with(".read");
            assert!(method.audited || reads, "{} changes something and is not audited", method.path);
        }
    }

    #[test]
    fn a_body_holds_one_message_and_nothing_behind_it() {
        assert_eq!(only_message(b"\0\0\0\0\x02ab"), Some(&b"ab"[..]));
        assert_eq!(only_message(b"\0\0\0\0\0"), Some(&b""[..]));
        for wrong in
            [&b""[..], b"\0\0\0\0", b"\x01\0\0\0\x02ab", b"\0\0\0\0\x02ab\0\0\0\0\0", b"\0\0\0\0\x03ab"]
        {
            assert_eq!(only_message(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_message_without_a_json_form_is_not_carried_out() {
        let method = method("/remuda.commands.v1.CommandService/CreateCommand").expect("there is one");
        let request = remuda_api::commands::v1::CreateCommandRequest {
            time_to_live: Some(prost_types::Duration { seconds: 60, nanos: 2_000_000_000 }),
            ..Default::default()
        };
        let nobody = Principal::node(remuda_model::OrganizationId::default());
        let mut what = what(&nobody, &axum::http::Request::new(()));
        assert!(!describe(method, &prost::Message::encode_to_vec(&request), &mut what));
    }

    #[test]
    fn requests_are_described_by_name_reason_and_content() {
        let method = method("/remuda.commands.v1.CommandService/CancelCommand").expect("there is one");
        let request = remuda_api::commands::v1::CancelCommandRequest {
            name: "organizations/default/vehicles/CAR1/commands/1".into(),
            reason: "a mistake".into(),
        };
        let mut what = What {
            who: String::new(),
            from: String::new(),
            via: String::new(),
            method: String::new(),
            reason: String::new(),
            resource: String::new(),
            detail: String::new(),
        };
        assert!(describe(method, &prost::Message::encode_to_vec(&request), &mut what));
        assert_eq!((&what.resource, &what.reason), (&request.name, &request.reason));
        assert!(what.detail.contains("\"reason\":\"a mistake\""), "{}", what.detail);
        assert!(!describe(method, b"\xff\xff\xff", &mut what), "what cannot be said must not be done");
    }
}
