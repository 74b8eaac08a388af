//! Frames: the unit of durability. Encoded once; the outbox stores what the wire carries.
//!
//! ```text
//! frame   = frame version u8 (1) | header | body kind u8 | body | crc u32 little endian
//! header  = seq u64 | boot u32 | mono_ms u64 | wall_ms option of i64 | clock enum | registry u16 | trace option of
//!           (trace id 16 bytes | span id 8 bytes | flags u8), in postcard (see [`crate::message`])
//! body    = kind 0: a block of samples (see [`crate::samples`]); 1: an [`Event`] in postcard; 2, damaged: nothing
//! crc     = CRC-32C (Castagnoli) of everything before it
//! ```
//!
//! A frame that fails its CRC says nothing, not even its seq. A later frame version keeps the last four bytes, so that
//! this code can tell a damaged frame from a newer one. The header of version 1 can be read whatever the body is.

use remuda_model::{Incarnation, Seq, SignalId, signal};
use serde::{Deserialize, Serialize};

use crate::assistance::{Question, QuestionStep};
use crate::limits;
use crate::marks::TripMarked;
use crate::samples::{self, SampleBlock};

/// How good the wall clock was when the frame was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ClockQuality {
    /// Never set since boot.
    #[default]
    Unknown,
    /// From the cloud's acks.
    Server,
    /// From a satellite receiver.
    Gnss,
}

/// W3C trace context, only on sampled frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// 16 bytes.
    pub trace_id: [u8; 16],
    /// 8 bytes.
    pub span_id: [u8; 8],
    /// Flags byte.
    pub flags: u8,
}

/// What every frame says of itself, whatever its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameHeader {
    /// Number in its lane and incarnation, from 1.
    pub seq: Seq,
    /// Start counter of the agent that made it.
    pub boot: u32,
    /// Monotonic clock of that boot when the frame began, ms.
    pub mono_ms: u64,
    /// Wall clock at the same instant, ms since 1970 UTC, when known.
    pub wall_ms: Option<i64>,
    /// How far to trust `wall_ms`.
    pub clock: ClockQuality,
    /// Registry revision the body's signals are numbered by.
    pub registry: u16,
    /// Trace context, when this frame is sampled for tracing.
    pub trace: Option<TraceContext>,
}

/// What a frame carries.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Up to one second of telemetry.
    Samples(SampleBlock),
    /// One event.
    Event(Event),
    /// The record was damaged on the vehicle's disk; the sequence goes on.
    Damaged,
}

/// One thing a vehicle reports on its `events` lane. Variants are only ever added at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The agent started.
    Started {
        /// Version of the agent.
        agent_version: String,
    },
    /// What became of a command.
    CommandResult {
        /// The command's id.
        command: [u8; 16],
        /// What became of it.
        outcome: CommandOutcome,
    },
    /// The vehicle set off or came to rest.
    TripMark {
        /// True when it set off.
        departed: bool,
        /// 1e-7 degrees.
        latitude_e7: i32,
        /// 1e-7 degrees.
        longitude_e7: i32,
    },
    /// The agent shed frames because its outbox was full.
    Shed {
        /// Incarnation of the frames.
        incarnation: Incarnation,
        /// First one shed.
        from: Seq,
        /// Last one shed.
        to: Seq,
    },
    /// The vehicle asks a person. Said again after a restart, under the same id.
    Asked(Question),
    /// What became of a question.
    QuestionMoved {
        /// The question's id.
        question: [u8; 16],
        /// What.
        step: QuestionStep,
    },
    /// What the vehicle noticed of its trip. May be told again after a restart, under the same name.
    TripMarked(TripMarked),
}

/// Results of a command (UPLINK section 7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandOutcome {
    /// Begun.
    Accepted,
    /// Finished.
    Done,
    /// Tried and failed, with a reason.
    Failed(String),
    /// Too late.
    Expired,
    /// Not obeyed, with a stable reason code (`clock`, `incarnation`, `signature`, `stale`, `kind`; for answers also
    /// `question`, `option`, `late`).
    Refused(String),
    /// Begun under an earlier incarnation, its end was not seen.
    Unknown,
}

/// A decoded frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Its header.
    pub header: FrameHeader,
    /// Its body.
    pub body: Body,
}

/// Why bytes are not a usable frame.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// The CRC does not match, or the record is too short to have one: nothing in it can be trusted.
    #[error("the frame's checksum does not match")]
    Checksum,
    /// A sound CRC but a frame version, header or body that this code cannot use: quarantine it.
    #[error("the frame cannot be used: {reason}")]
    Unusable {
        /// The header, when it could be read.
        header: Option<FrameHeader>,
        /// A stable code: `version`, `header`, `body_kind`, `body`, `signal`, `limit`.
        reason: &'static str,
    },
}

/// Version of the frame's own layout; its first byte.
pub const FRAME_VERSION: u8 = 1;

const KIND_SAMPLES: u8 = 0;
const KIND_EVENT: u8 = 1;
const KIND_DAMAGED: u8 = 2;
const CRC_BYTES: usize = 4;

/// Encodes a frame with its CRC32C: `version u8 | header (postcard) | kind u8 | body | crc u32 little endian`. The CRC
/// covers everything before it. The caller keeps blocks within `limits`; a larger one yields bytes that [`decode`]
/// refuses.
pub fn encode(header: &FrameHeader, body: &Body) -> Vec<u8> {
    let mut out = append(vec![FRAME_VERSION], header);
    match body {
        Body::Samples(block) => {
            out.push(KIND_SAMPLES);
            samples::encode(block, &mut out);
        }
        Body::Event(event) => {
            out.push(KIND_EVENT);
            out = append(out, event);
        }
        Body::Damaged => out.push(KIND_DAMAGED),
    }
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Decodes what [`encode`] wrote. Signals must be in the registry, or a customer's own (0x8000 and up).
pub fn decode(bytes: &[u8]) -> Result<Frame, FrameError> {
    if !is_sound(bytes) {
        return Err(FrameError::Checksum);
    }
    let unusable = |header, reason| FrameError::Unusable { header, reason };
    let Some((&FRAME_VERSION, rest)) = bytes[..bytes.len() - CRC_BYTES].split_first() else {
        return Err(unusable(None, "version"));
    };
    let Ok((header, rest)) = postcard::take_from_bytes::<FrameHeader>(rest) else {
        return Err(unusable(None, "header"));
    };
    if bytes.len() > limits::FRAME_BYTES_MAX {
        return Err(unusable(Some(header), "limit"));
    }
    let body = match rest.split_first() {
        Some((&KIND_SAMPLES, block)) => samples::decode(block, is_known).map(Body::Samples),
        Some((&KIND_EVENT, event)) => match postcard::take_from_bytes(event) {
            Ok((event, [])) if is_within_limits(&event) => Ok(Body::Event(event)),
            Ok((_, [])) => Err("limit"),
            _ => Err("body"),
        },
        Some((&KIND_DAMAGED, [])) => Ok(Body::Damaged),
        _ => Err("body_kind"),
    };
    body.map(|body| Frame { header, body }).map_err(|reason| unusable(Some(header), reason))
}

/// Checks only the CRC.
pub fn is_sound(bytes: &[u8]) -> bool {
    let Some((content, crc)) = bytes.split_last_chunk::<CRC_BYTES>() else { return false };
    !content.is_empty() && crc32c::crc32c(content) == u32::from_le_bytes(*crc)
}

fn is_known(signal: SignalId) -> bool {
    signal.0 >= 0x8000 || signal::by_id(signal).is_some()
}

/// Whether an event's texts and numbers are what they may be.
fn is_within_limits(event: &Event) -> bool {
    let text_bytes = match event {
        Event::Started { agent_version: text }
        | Event::CommandResult {
            outcome: CommandOutcome::Failed(text) | CommandOutcome::Refused(text),
            ..
        } => text.len(),
        Event::Asked(question) => return question.fault().is_none(),
        Event::TripMarked(mark) => return mark.is_within_limits(),
        Event::QuestionMoved { step, .. } => step.text_bytes(),
        Event::CommandResult { .. } | Event::TripMark { .. } | Event::Shed { .. } => 0,
    };
    text_bytes <= limits::TEXT_BYTES_MAX
}

/// postcard behind what is there already.
fn append<T: Serialize>(out: Vec<u8>, value: &T) -> Vec<u8> {
    // Our types have no maps, floats in keys or unsized sequences, and a Vec grows: nothing here can fail.
    postcard::to_extend(value, out).unwrap_or_default()
}
