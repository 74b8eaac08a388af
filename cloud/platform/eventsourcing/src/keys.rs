//! How things are named in the one ordered tree. Numbers are big endian, so that order of keys is order of numbers.
//!
//! Events lie by shard and position (append only: that layout writes seven times less than by stream), and an index
//! leads from (stream, version) to the position.

use remuda_model::ShardId;

use crate::journal::{FeedPosition, ManifestPosition, NotePosition, StreamId};

fn key(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![kind];
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

fn shard_bytes(shard: ShardId) -> [u8; 2] {
    shard.number().to_be_bytes()
}

/// Ends each text of a stream's name: no id of ours contains it.
const END: &[u8] = &[0];

pub fn event(shard: ShardId, position: FeedPosition) -> Vec<u8> {
    key(b'e', &[&shard_bytes(shard), &position.to_be_bytes()])
}

pub fn events(shard: ShardId) -> Vec<u8> {
    key(b'e', &[&shard_bytes(shard)])
}

fn stream(kind: u8, stream: &StreamId) -> Vec<u8> {
    let StreamId { organization, aggregate_type, aggregate_id } = stream;
    key(
        kind,
        &[
            aggregate_type.as_bytes(),
            END,
            organization.as_str().as_bytes(),
            END,
            aggregate_id.as_bytes(),
            END,
        ],
    )
}

/// Every version of a stream.
pub fn versions(id: &StreamId) -> Vec<u8> {
    stream(b'v', id)
}

pub fn version(id: &StreamId, version: u64) -> Vec<u8> {
    let mut key = versions(id);
    key.extend_from_slice(&version.to_be_bytes());
    key
}

pub fn last_version(id: &StreamId) -> Vec<u8> {
    stream(b'h', id)
}

/// Where a cause's events are in a stream.
pub fn cause(id: &StreamId, causation_id: &str) -> Vec<u8> {
    let mut key = stream(CAUSES[0], id);
    key.extend_from_slice(causation_id.as_bytes());
    key
}

pub const CAUSES: &[u8] = b"i";

/// The stream's own part of a [`cause`]'s key as the beginning of its [`versions`], and the cause.
pub fn of_cause(key: &[u8]) -> Option<(Vec<u8>, &str)> {
    let end = key.iter().enumerate().filter(|(_, byte)| **byte == 0).nth(2)?.0;
    let mut versions = key.get(..=end)?.to_vec();
    versions[0] = b'v';
    Some((versions, std::str::from_utf8(key.get(end + 1..)?).ok()?))
}

pub fn snapshot(id: &StreamId) -> Vec<u8> {
    stream(b's', id)
}

/// All snapshots of an aggregate type.
pub fn snapshots(aggregate_type: &str) -> Vec<u8> {
    key(b's', &[aggregate_type.as_bytes(), END])
}

pub fn owner(shard: ShardId) -> Vec<u8> {
    key(b'o', &[&shard_bytes(shard)])
}

pub const OWNERS: &[u8] = b"o";

pub fn checkpoint_piece(shard: ShardId, piece: u32) -> Vec<u8> {
    key(b'c', &[&shard_bytes(shard), &piece.to_be_bytes()])
}

pub fn checkpoint(shard: ShardId) -> Vec<u8> {
    key(b'c', &[&shard_bytes(shard)])
}

pub fn closed(shard: ShardId, name: &[u8]) -> Vec<u8> {
    key(b'k', &[&shard_bytes(shard), name])
}

pub fn manifest(position: ManifestPosition) -> Vec<u8> {
    key(b'm', &[&position.to_be_bytes()])
}

pub const MANIFEST: &[u8] = b"m";
pub const MANIFEST_HEAD: &[u8] = b"n";

pub fn path(path: &str) -> Vec<u8> {
    key(b'p', &[path.as_bytes()])
}

/// A file that was replaced.
pub fn replaced(path: &str) -> Vec<u8> {
    key(b'r', &[path.as_bytes()])
}

/// Every note of a trail.
pub fn notes(trail: &str) -> Vec<u8> {
    key(b't', &[trail.as_bytes(), END])
}

pub fn note(trail: &str, position: NotePosition) -> Vec<u8> {
    key(b't', &[trail.as_bytes(), END, &position.to_be_bytes()])
}

/// Where a trail ends.
pub fn notes_head(trail: &str) -> Vec<u8> {
    key(b'u', &[trail.as_bytes(), END])
}

pub const NOTES: &[u8] = b"t";
pub const REPLACED: &[u8] = b"r";
pub const REPLACING: &[u8] = b"x";

/// The big-endian number at the end of a key.
pub fn number_at_end(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

/// The shard after a key's first byte.
pub fn shard_of(key: &[u8]) -> Option<ShardId> {
    let number = key.get(1..3)?.try_into().ok().map(u16::from_be_bytes)?;
    ShardId::new(number)
}
