//! A stream lasts no longer than the client certificate that opened it.

use std::sync::Arc;

use axum::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use http_body_util::{BodyStream, StreamBody};
use hyper::body::{Body as _, Frame};
use remuda_access::{CertificateRefusal, Principal, Via};
use tonic::Status;
use tonic::body::Body;

use crate::audit::method;
use crate::refusal::Refusal;
use crate::tls::{Peer, ShownCertificate};

/// The certificate that a call which is answered by a stream rests on; none when the call came with a token.
pub(crate) fn rests_on<B>(request: &Request<B>) -> Option<Arc<ShownCertificate>> {
    let principal = request.extensions().get::<Principal>()?;
    let streams = method(request.uri().path()).is_some_and(|method| method.streams);
    let peer = request.extensions().get::<Peer>().filter(|_| streams && principal.via == Via::Certificate)?;
    peer.certificate.clone()
}

/// The same answer, in gRPC; it breaks off with a refusal when the certificate does not hold any more.
pub(crate) fn as_long_as(
    certificate: Option<Arc<ShownCertificate>>,
    answer: Response<Body>,
) -> Response<Body> {
    let Some(certificate) = certificate else { return answer };
    // One that has ended already would need a frame more.
    if answer.body().is_end_stream() {
        return answer;
    }
    answer.map(|body| {
        let held = Held { frames: BodyStream::new(body), refused: certificate.ends().boxed() };
        Body::new(StreamBody::new(stream::unfold(Some(held), next).fuse()))
    })
}

/// The frames of an answer as long as they are to be sent.
struct Held {
    frames: BodyStream<Body>,
    refused: BoxFuture<'static, CertificateRefusal>,
}

type Sent = Result<Frame<Bytes>, Status>;

/// The next frame, and what is behind it. Each frame of an answer holds whole messages, so that an end may stand behind any.
async fn next(held: Option<Held>) -> Option<(Sent, Option<Held>)> {
    let mut held = held?;
    tokio::select! {
        // A handler that always has something to say does not outlive the refusal.
        biased;
        refusal = &mut held.refused => Some((trailers(refusal), None)),
        frame = held.frames.next() => {
            let frame = frame?;
            let last = frame.as_ref().map_or(true, Frame::is_trailers);
            Some((frame, (!last).then_some(held)))
        }
    }
}

fn trailers(refusal: CertificateRefusal) -> Sent {
    let mut trailers = HeaderMap::new();
    Status::from(Refusal::Certificate(refusal)).add_header(&mut trailers)?;
    Ok(Frame::trailers(trailers))
}
