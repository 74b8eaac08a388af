//! Bounds, each with its reason.

use std::time::Duration;

/// Commands and reads that may wait for one entity: a hot one answers some thousand a second, so these wait less than one.
pub const MAILBOX_MAX: usize = 256;
/// Commands that an entity decides before it appends: they share a write, and the first of them waits for the last.
pub const BATCH_MAX: usize = 64;
/// Commands and reads under way in one [`crate::Entities`]: bounds their memory whatever the number of entities.
pub const IN_FLIGHT_MAX: usize = 8_192;
/// Active entities of one kind: about 8 KB each.
pub const ACTIVE_MAX: usize = 100_000;
/// Entities that read their past at the same time: each holds a thread of the runtime's blocking pool.
pub const ACTIVATIONS_MAX: usize = 64;
/// Events read at a time.
pub const PAGE: usize = 512;
/// Events a command may cause: they are one append.
pub const EVENTS_PER_COMMAND_MAX: usize = 512;
/// Events in one append of a shard: the journal commits up to 256 appends together.
pub const APPEND_EVENTS_MAX: usize = 1_024;
/// Appends that may wait for one shard.
pub const SHARD_APPENDS_MAX: usize = 4_096;
/// Largest payload of an event, bytes: the journal takes values of 100 KiB, and the envelope needs some of it.
pub const PAYLOAD_BYTES_MAX: usize = 96 * 1024;
/// Longest id of an entity, bytes: it is part of several keys of each event.
pub const ID_BYTES_MAX: usize = 200;
/// Longest command id, actor and correlation id, bytes; the journal finds causes of up to 256.
pub const TEXT_BYTES_MAX: usize = 256;
/// Outcomes that an active entity remembers itself; older ones are found in the journal.
pub const REMEMBERED_MAX: usize = 16;
/// Events of a shard that are kept for readers of its feed, so that who keeps up does not read the disk.
pub const RECENT_EVENTS: usize = 64;
/// Without a message for this long an entity leaves the memory.
pub const IDLE: Duration = Duration::from_secs(120);
/// A snapshot is written after so many events.
pub const SNAPSHOT_EVERY: u64 = 200;
/// An entity that leaves the memory writes a snapshot when more events came since the last: its next activation reads at
/// most these.
pub const SNAPSHOT_WHEN_LEAVING: u64 = 50;
/// Snapshots being written; one that finds no place waits for the next batch of its entity.
pub const SNAPSHOTS_MAX: usize = 32;
/// First wait after an entity failed; doubles with each failure.
pub const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Longest wait after failures.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Failures are forgotten after holding for this long.
pub const QUIET: Duration = Duration::from_secs(300);
/// Entities whose failures are remembered.
pub const FAILING_MAX: usize = 1_024;
/// Pause before a shard that lost its place is taken again.
pub const REACQUIRE_PAUSE: Duration = Duration::from_secs(1);
/// How long draining waits for commands under way.
pub const DRAIN: Duration = Duration::from_secs(10);
/// How often a projection's store is made durable: what is lost in a crash is taken in again.
pub const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Shards of which a reactor handles events at the same time.
pub const REACTIONS_MAX: usize = 64;
/// First wait before a reaction is tried again; doubles up to [`REACTION_WAIT_MAX`].
pub const REACTION_WAIT_MIN: Duration = Duration::from_millis(50);
/// Longest wait before a reaction is tried again.
pub const REACTION_WAIT_MAX: Duration = Duration::from_secs(30);
