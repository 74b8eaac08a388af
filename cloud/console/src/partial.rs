//! Partial responses (AIP-157): who says which fields of an answer it wants is sent those alone. Over gRPC; REST takes them from
//! the JSON.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::http::{Request, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use http_body_util::{BodyStream, StreamBody};
use hyper::body::Frame;
use remuda_transcoder::FieldMask;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use crate::audit::output_of;
use crate::refusal::Refusal;

/// The header of the fields that a caller wants, as clients of Google's APIs say them.
pub(crate) const FIELDS: &str = "x-goog-fieldmask";

/// A service that answers in part. Sits inside the gRPC-Web layer, so that it sees plain gRPC.
#[derive(Debug, Clone)]
pub(crate) struct Partial<S> {
    pub inner: S,
}

impl<S: NamedService> NamedService for Partial<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Partial<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match mask_of(&request).transpose() {
            Ok(None) => self.inner.call(request).boxed(),
            Ok(Some(mask)) => {
                let answer = self.inner.call(request);
                async move { Ok(answer.await?.map(|body| masked(body, mask))) }.boxed()
            }
            // Nothing is done of what cannot be answered.
            Err(refusal) => async move { Ok(Status::from(refusal).into_http()) }.boxed(),
        }
    }
}

fn mask_of<B>(request: &Request<B>) -> Option<Result<FieldMask, Refusal>> {
    let said = request.headers().get(FIELDS)?;
    let output = output_of(request.uri().path())?;
    let text = said.to_str().unwrap_or("?");
    let mask = FieldMask::parse(FIELDS, text, &output);
    Some(mask.map_err(|wrong| Refusal::Field { field: FIELDS, problem: wrong.problem }))
}

/// The same body with the wanted part of each message; its end as it is.
fn masked(body: Body, mask: FieldMask) -> Body {
    let frames = BodyStream::new(body).map(move |frame| {
        let frame = frame?;
        match frame.data_ref() {
            Some(data) => part_of(data, &mask).map(Frame::data).ok_or_else(unreadable),
            None => Ok(frame),
        }
    });
    Body::new(StreamBody::new(frames))
}

/// The wanted parts of the messages in a frame, which holds whole ones: so tonic sends them, and nothing is compressed here.
fn part_of(mut frame: &[u8], mask: &FieldMask) -> Option<Bytes> {
    let mut parts = BytesMut::with_capacity(frame.len() / 2);
    while !frame.is_empty() {
        let (&[compressed, a, b, c, d], behind) = frame.split_first_chunk::<5>()?;
        let (message, rest) = behind.split_at_checked(u32::from_be_bytes([a, b, c, d]) as usize)?;
        if compressed != 0 {
            return None;
        }
        let part = mask.of_message(message)?;
        parts.put_u8(0);
        // Never longer than the whole.
        parts.put_u32(u32::try_from(part.len()).ok()?);
        parts.put_slice(&part);
        frame = rest;
    }
    Some(parts.freeze())
}

fn unreadable() -> Status {
    Status::internal("the answer cannot be taken in part")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_of_a_frame_is_taken_in_part() {
        let output = output_of("/remuda.vehicles.v1.VehicleService/GetFleetStatus").expect("described");
        let mask = FieldMask::parse(FIELDS, "online", &output).expect("a mask");
        // total 7, online 5; online 9.
        let frame = b"\0\0\0\0\x04\x08\x07\x10\x05\0\0\0\0\x02\x10\x09";
        let part = part_of(frame, &mask).expect("whole messages");
        assert_eq!(&part[..], b"\0\0\0\0\x02\x10\x05\0\0\0\0\x02\x10\x09");
        for broken in [&frame[..8], &frame[..4], b"\x01\0\0\0\0", b"\0\0\0\0\x01\x08"] {
            assert_eq!(part_of(broken, &mask), None, "{broken:?}");
        }
    }
}
