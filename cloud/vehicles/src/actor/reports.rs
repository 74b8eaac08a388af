//! Questions that vehicles ask people, out of their streams, for whoever brings them to people.

use std::sync::Arc;

use async_trait::async_trait;
use remuda_contracts::assistance::{ReportOffsets, ReportPage, Reports, VehicleReport};
use remuda_eventsourcing::Event as Recorded;
use remuda_model::{SHARDS, VehicleId};
use remuda_wire::{Body, ClockQuality, Event, Frame, frame};
use tokio::sync::watch;

use super::node::Node;
use crate::event::VehicleEvent;

// Events of one shard read at a time.
const PAGE: usize = 256;
// Events looked at before an answer is given.
const LOOKED_AT_MAX: usize = 16 * PAGE;

/// See [`Reports`].
pub(crate) struct Questions(pub Arc<Node>);

fn frame_of(fact: &VehicleEvent) -> Option<Frame> {
    let VehicleEvent::Reported { payload, .. } = fact else { return None };
    let frame = frame::decode(payload).ok()?;
    is_question(&frame).then_some(frame)
}

/// Whether a report is about a question.
pub(crate) const fn is_question(frame: &Frame) -> bool {
    matches!(frame.body, Body::Event(Event::Asked(_) | Event::QuestionMoved { .. }))
}

fn report_of(recorded: &Recorded) -> Option<VehicleReport> {
    let fact = VehicleEvent::open(&recorded.event)?;
    let frame = frame_of(&fact)?;
    let (VehicleEvent::Reported { received_ms, .. }, Body::Event(event)) = (fact, frame.body) else {
        return None;
    };
    let stream = &recorded.event.stream;
    let said_ms = frame.header.wall_ms.filter(|_| frame.header.clock != ClockQuality::Unknown);
    Some(VehicleReport {
        organization: stream.organization,
        vehicle: VehicleId::new(&stream.aggregate_id).ok()?,
        event_id: recorded.event.event_id.iter().map(|byte| format!("{byte:02x}")).collect(),
        // No vehicle says anything after it was heard.
        time_ms: said_ms.map_or(received_ms, |said_ms| said_ms.min(received_ms)),
        received_ms,
        event,
    })
}

/// What `pick` takes of the events after these offsets, where to go on, and whether there is more now.
pub(crate) async fn read_page<T>(
    node: &Node,
    after: &ReportOffsets,
    pick: impl Fn(&Recorded) -> Option<T>,
) -> Result<(Vec<T>, ReportOffsets, bool), String> {
    let said = |error: remuda_eventsourcing::JournalError| error.to_string();
    let (mut picked, mut offsets, mut looked_at) = (Vec::new(), after.clone(), 0);
    offsets.resize(usize::from(SHARDS), 0);
    for (shard, head) in node.journal.heads().await.map_err(said)? {
        let at = usize::from(shard.number());
        if offsets[at] > head {
            // The journal was restored to an earlier moment: what follows from a report follows once.
            offsets[at] = 0;
        }
        while offsets[at] < head {
            if looked_at >= LOOKED_AT_MAX {
                return Ok((picked, offsets, true));
            }
            let events = node.journal.read_feed(shard, offsets[at], PAGE).await.map_err(said)?;
            let Some(last) = events.last() else { break };
            offsets[at] = last.position;
            looked_at += events.len();
            picked.extend(events.iter().filter_map(&pick));
        }
    }
    Ok((picked, offsets, false))
}

#[async_trait]
impl Reports for Questions {
    async fn questions(&self, after: &ReportOffsets) -> Result<ReportPage, String> {
        let (reports, offsets, more) = read_page(&self.0, after, report_of).await?;
        Ok(ReportPage { reports, offsets, more })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.questions.subscribe()
    }
}
