//! Streams of messages as lines of JSON or as server-sent events.

use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use http_body_util::BodyExt;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use remuda_api::MESSAGE_BYTES_MAX;
use remuda_transcoder::FieldMask;
use tonic::Status;

use crate::rest::answer::{status_in, unexpected};
use crate::rest::errors::Errors;
use crate::rest::views::Show;

/// The messages in the body of a gRPC answer.
pub(crate) struct Frames {
    body: Body,
    output: MessageDescriptor,
    read: BytesMut,
    ended: bool,
}

impl Frames {
    pub fn new(body: Body, output: MessageDescriptor) -> Self {
        Self { body, output, read: BytesMut::new(), ended: false }
    }

    /// The next message; none at the end.
    pub async fn next(&mut self) -> Result<Option<DynamicMessage>, Status> {
        loop {
            if let Some(message) = self.whole()? {
                return Ok(Some(message));
            }
            if self.ended {
                return Ok(None);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.read.extend_from_slice(&data),
                    Err(frame) => {
                        self.ended = true;
                        if let Some(status) = frame.trailers_ref().and_then(status_in) {
                            return Err(status);
                        }
                    }
                },
                Some(Err(_)) => return Err(unexpected()),
                None if self.read.is_empty() => self.ended = true,
                None => return Err(unexpected()),
            }
        }
    }

    /// A message that has arrived whole.
    fn whole(&mut self) -> Result<Option<DynamicMessage>, Status> {
        let Some(&[_, a, b, c, d]) = self.read.first_chunk::<5>() else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        // The services are limited to it, so this is never met.
        if length > MESSAGE_BYTES_MAX {
            return Err(unexpected());
        }
        if self.read.len() < 5 + length {
            return Ok(None);
        }
        self.read.advance(5);
        let message = self.read.split_to(length).freeze();
        DynamicMessage::decode(self.output.clone(), message).map(Some).map_err(|_| unexpected())
    }
}

/// Writes each message as a line or an event. An error that ends the stream is its last line (`{"error": ...}`), or an event
/// of the name `error`.
pub(crate) struct Lines {
    frames: Frames,
    show: Show,
    wanted: Option<FieldMask>,
    events: bool,
    errors: Errors,
    ended: bool,
}

impl Lines {
    pub fn new(frames: Frames, show: Show, wanted: Option<FieldMask>, events: bool, errors: Errors) -> Self {
        Self { frames, show, wanted, events, errors, ended: false }
    }

    /// The bytes. One message is in hand at a time: a slow reader slows the handler.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send {
        stream::unfold(self, |mut lines| async move {
            let line = lines.next().await?;
            Some((Ok(line), lines))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let shown = match self.frames.next().await {
            Ok(None) => return None,
            Ok(Some(message)) => {
                let json = self.show.of(&message, self.wanted.as_ref());
                json.map(|json| (id_of(&message), json))
            }
            Err(status) => Err(status),
        };
        Some(match shown {
            Ok((id, json)) if self.events => event(None, id.as_deref(), &json),
            Ok((_, json)) => line(json),
            Err(status) => {
                self.ended = true;
                let json = self.errors.json(&status, false).to_string().into_bytes();
                if self.events { event(Some("error"), None, &json) } else { line(json) }
            }
        })
    }
}

/// Where a reader goes on after this message: its `Last-Event-ID`.
fn id_of(message: &DynamicMessage) -> Option<String> {
    let token = message.get_field_by_name("resume_token")?;
    token.as_str().filter(|token| !token.is_empty() && !token.contains(['\n', '\r', '\0'])).map(str::to_owned)
}

fn line(mut json: Vec<u8>) -> Bytes {
    json.push(b'\n');
    json.into()
}

/// JSON has no line breaks, so one `data` line holds it.
fn event(name: Option<&str>, id: Option<&str>, json: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(json.len() + 64);
    if let Some(name) = name {
        bytes.extend_from_slice(format!("event: {name}\n").as_bytes());
    }
    if let Some(id) = id {
        bytes.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    bytes.extend_from_slice(b"data: ");
    bytes.extend_from_slice(json);
    bytes.extend_from_slice(b"\n\n");
    bytes.freeze()
}
