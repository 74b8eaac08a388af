//! MQTT streams, both versions, in any pieces.

use std::time::Duration;

use remuda_mqtt::{CloseReason, Event, Limits, Policy, Session};

struct Anything;

impl Policy for Anything {
    fn publish(&self, topic: &str) -> Result<(), &'static str> {
        if topic.contains("foreign") { Err("foreign") } else { Ok(()) }
    }

    fn subscribe(&self, filter: &str) -> bool {
        !filter.contains('#')
    }

    fn client_id(&self) -> String {
        "given".into()
    }
}

/// Everything that a session made of a stream.
#[derive(Debug, PartialEq)]
struct Story {
    events: Vec<Event>,
    output: Vec<u8>,
    end: Option<CloseReason>,
}

fn tell(pieces: &[&[u8]]) -> Story {
    let now = Duration::from_secs(1);
    let mut session = Session::new(Limits::default(), now);
    let mut story = Story { events: Vec::new(), output: Vec::new(), end: None };
    for piece in pieces {
        session.input().extend_from_slice(piece);
        loop {
            let event = match session.poll(now) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(reason) => {
                    story.end = Some(reason);
                    break;
                }
            };
            match &event {
                Event::Login(_) => story.end = session.accept(Anything, now).err(),
                Event::Publish { packet_id: Some(id), .. } => session.acknowledge(*id),
                Event::Publish { .. } => {}
            }
            story.events.push(event);
            // Told to whoever subscribed, so that what is written is exercised too.
            let _ = session.send("remuda/v1/VAN1/down", bytes::Bytes::from_static(b"down"));
            story.output.extend_from_slice(&session.take_output());
            if story.end.is_some() {
                break;
            }
        }
        story.output.extend_from_slice(&session.take_output());
        session.release_buffers();
        if story.end.is_some() {
            break;
        }
    }
    story
}

/// The first bytes say how the others arrive.
pub(crate) fn session(bytes: &[u8]) {
    let Some((cuts, stream)) = bytes.split_at_checked(4) else { return };
    let whole = tell(&[stream]);
    let mut pieces = Vec::new();
    let mut rest = stream;
    for length in cuts.iter().cycle().map(|cut| usize::from(*cut % 61) + 1) {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    let cut = tell(&pieces);
    assert_eq!(whole.events, cut.events, "the same stream in pieces tells another story");
    assert_eq!(whole.end.is_some(), cut.end.is_some(), "it ends only in pieces, or only whole");
}
