//! The segment log's bytes (docs/adr/0004-segment-log-outbox.md).
//!
//! ```text
//! segment = "RMSG" | format u16 | 0 u16 | segment id u32 | crc32c u32 of the 12 bytes before | record*
//! record  = length u32 | kind u8 | 0 u8 x3 | stream u32 | seq u64 | crc32c u32 of the 20 bytes before | payload
//! ```
//! All numbers little endian. A frame's payload carries its own CRC; every other payload ends with one.

use remuda_model::{Incarnation, Lane, Seq, VehicleId};
use remuda_wire::FloorReason;
use serde::{Deserialize, Serialize};

pub(crate) const MAGIC: &[u8; 4] = b"RMSG";
pub(crate) const FORMAT: u16 = 1;
pub(crate) const SEGMENT_HEADER: usize = 16;
pub(crate) const RECORD_HEADER: usize = 24;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A frame, as it goes over the wire.
    Frame = 1,
    /// Declares a stream's number.
    Stream = 2,
    /// How far a stream was made and where its floor stands.
    Mark = 3,
    /// Frames given up.
    Shed = 4,
    /// The agent's small state.
    State = 5,
}

impl Kind {
    fn read(byte: u8) -> Option<Self> {
        [Self::Frame, Self::Stream, Self::Mark, Self::Shed, Self::State]
            .into_iter()
            .find(|k| *k as u8 == byte)
    }
}

/// Whose frames a stream's are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StreamKey {
    /// Vehicle.
    pub vehicle: VehicleId,
    /// Lane.
    pub lane: Lane,
    /// Start of its agent.
    pub incarnation: Incarnation,
}

/// Payload of [`Kind::Mark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub made: Seq,
    pub floor: Seq,
    pub reason: FloorReason,
}

/// Frames given up, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShedRange {
    /// First.
    pub from: Seq,
    /// Last.
    pub to: Seq,
    /// Why.
    pub reason: FloorReason,
}

pub(crate) fn segment_header(id: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(SEGMENT_HEADER);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&FORMAT.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&id.to_le_bytes());
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

pub(crate) fn put(out: &mut Vec<u8>, kind: Kind, stream: u32, seq: Seq, payload: &[u8]) {
    let at = out.len();
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&[kind as u8, 0, 0, 0]);
    out.extend_from_slice(&stream.to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    let crc = crc32c::crc32c(&out[at..]);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(payload);
}

/// A payload of ours with its CRC behind it.
pub(crate) fn sealed(content: &impl Serialize) -> Vec<u8> {
    // Plain structs of numbers and short texts, and a Vec grows: nothing here can fail.
    sealed_bytes(postcard::to_allocvec(content).unwrap_or_default())
}

pub(crate) fn sealed_bytes(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

pub(crate) fn unseal(payload: &[u8]) -> Option<&[u8]> {
    remuda_wire::frame::is_sound(payload).then(|| &payload[..payload.len() - 4])
}

pub(crate) fn unsealed<T: for<'de> Deserialize<'de>>(payload: &[u8]) -> Option<T> {
    postcard::from_bytes(unseal(payload)?).ok()
}

/// A record found in a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a> {
    pub kind: Kind,
    pub stream: u32,
    pub seq: Seq,
    /// Offset of the record's header in its segment.
    pub offset: usize,
    pub payload: &'a [u8],
}

/// One record header and its whole payload at this offset, if that is what stands there.
fn at(bytes: &[u8], offset: usize) -> Option<Found<'_>> {
    let header = bytes.get(offset..offset + RECORD_HEADER)?;
    let (content, crc) = header.split_last_chunk::<4>()?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
        return None;
    }
    let length = u32::from_le_bytes(*content.first_chunk()?) as usize;
    let start = offset + RECORD_HEADER;
    Some(Found {
        kind: Kind::read(content[4])?,
        stream: u32::from_le_bytes(*content.get(8..12)?.first_chunk()?),
        seq: Seq::from_le_bytes(*content.get(12..20)?.first_chunk()?),
        offset,
        payload: bytes.get(start..start + length)?,
    })
}

/// Every record of a segment. Bytes that are none (damaged headers, a torn tail) are skipped: the search goes on
/// until the next header whose CRC matches, so that damage costs the records it hit and no others.
pub(crate) fn scan(bytes: &[u8]) -> impl Iterator<Item = Found<'_>> {
    let mut offset = SEGMENT_HEADER;
    std::iter::from_fn(move || {
        while offset + RECORD_HEADER <= bytes.len() {
            if let Some(found) = at(bytes, offset) {
                offset += RECORD_HEADER + found.payload.len();
                return Some(found);
            }
            offset += 1;
        }
        None
    })
}

pub(crate) fn is_segment(bytes: &[u8]) -> bool {
    let Some(header) = bytes.get(..SEGMENT_HEADER) else { return false };
    header.starts_with(MAGIC)
        && header[4..6] == FORMAT.to_le_bytes()
        && header
            .split_last_chunk::<4>()
            .is_some_and(|(c, crc)| crc32c::crc32c(c) == u32::from_le_bytes(*crc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_pinned() {
        let mut bytes = segment_header(7);
        put(&mut bytes, Kind::Frame, 3, 258, b"abc");
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            "524d53470100000007000000362dc1840300000001000000030000000201000000000000d1e9e4be616263"
        );
    }

    #[test]
    fn damage_costs_only_the_records_it_hit() {
        let mut bytes = segment_header(1);
        for seq in 1..=5 {
            put(&mut bytes, Kind::Frame, 0, seq, &[seq as u8; 40]);
        }
        let all = |bytes: &[u8]| scan(bytes).map(|f| f.seq).collect::<Vec<_>>();
        assert_eq!(all(&bytes), [1, 2, 3, 4, 5]);
        let second = SEGMENT_HEADER + RECORD_HEADER + 40;
        for at in second..second + RECORD_HEADER {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            assert_eq!(all(&damaged), [1, 3, 4, 5], "byte {at}");
        }
        for cut in 1..RECORD_HEADER + 40 {
            assert_eq!(all(&bytes[..bytes.len() - cut]), [1, 2, 3, 4]);
        }
    }
}
