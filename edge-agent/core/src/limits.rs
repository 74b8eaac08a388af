//! Bounds of the agent, each with its reason.

/// Longest span of one frame of samples, ms: what a power cut may cost (docs/uplink.md section 9).
pub const BATCH_SPAN_MS: u64 = 1_000;
/// Readings in a batch before it is closed early: such a block stays below the frame limit in all but absurd cases,
/// and those are split.
pub const BATCH_READINGS_MAX: usize = 4_000;
/// Frames in one message: bounds the work of one answer.
pub const MESSAGE_FRAMES_MAX: usize = 512;
/// No durable progress for so long though frames are out: say Hello again, ms.
pub const STALL_MS: u64 = 10_000;
/// First pause between two Hellos without a Welcome, ms; doubles.
pub const HELLO_INTERVAL_MS: u64 = 1_000;
/// Longest pause between two Hellos, ms.
pub const HELLO_INTERVAL_MS_MAX: u64 = 16_000;
/// Hellos without a Welcome before the connection is given up: whatever is behind it does not answer.
pub const HELLOS_MAX: u32 = 6;
/// Pause between two probes beyond the credit, ms: an overloaded cloud is not asked at the speed of light.
pub const PROBE_INTERVAL_MS: u64 = 500;
/// Bounds of the measured round trip, ms: below, a scheduler's hiccup looks like loss; above, an outage like distance.
pub const ROUND_TRIP_MS: (u64, u64) = (20, 5_000);
/// Pause between two messages of newest values while samples have a backlog, ms.
pub const LIVE_INTERVAL_MS: u64 = 1_000;
/// The same while samples are held back on purpose, for a link that costs nothing, ms.
pub const LIVE_HELD_INTERVAL_MS: u64 = 30_000;
/// What a message costs over a metered link beside its payload, bytes: topic, MQTT, TLS, TCP and IP.
pub const MESSAGE_COST: u64 = 96;
/// Spent bytes are saved when they grew by this part of the budget: what a crash may forget.
pub const SPENT_SAVED_PARTS: u64 = 1_000;
/// First pause before connecting again, ms; doubles, jittered.
pub const RECONNECT_MS: u64 = 500;
/// Longest pause before connecting again, ms.
pub const RECONNECT_MS_MAX: u64 = 30_000;
/// After a connection that was welcome for so long the pauses begin with the shortest again, ms.
pub const STEADY_MS: u64 = 30_000;
/// Longest pause that a cloud's farewell may ask for, ms: one that errs does not keep a fleet away for a day.
pub const HAND_OVER_MS_MAX: u64 = 600_000;
/// How long a cloud's farewell holds, ms: a connection that ends later ends for another reason.
pub const HAND_OVER_HOLDS_MS: u64 = 30_000;
/// Bytes an outbox may hold, default.
pub const OUTBOX_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Bytes shed at once when the outbox is full: a segment.
pub const SHED_BYTES: u64 = 1024 * 1024;
/// Age at which frames are shed, ms: the cloud forgets closed incarnations after 200 days.
pub const AGE_MS_MAX: i64 = 180 * 24 * 3_600 * 1_000;
/// How often frames are looked at for their age, ms: of 180 days a quarter of one is nothing.
pub const AGE_CHECK_MS: u64 = 6 * 3_600 * 1_000;
/// Commands remembered: far more than can arrive before the oldest expired.
pub const COMMANDS_REMEMBERED: usize = 256;
/// Questions to people that wait at once: a vehicle has one road ahead of it.
pub const QUESTIONS_OPEN_MAX: usize = 4;
/// Ended questions remembered: an answer that comes after them is told that it is late.
pub const QUESTIONS_ENDED_REMEMBERED: usize = 32;
/// Trip marks that wait for their time, of a vehicle that has been out of reach since its machine's start: those of one trip, as
/// no other comes to it there.
pub const MARKS_WAITING_MAX: usize = 64;
// Setting off, and a rest before that; arrival, first rest and departure at each stop.
const _: () = assert!(2 + 3 * remuda_wire::limits::STOPS_MAX <= MARKS_WAITING_MAX);
/// Signals whose last value is remembered; further ones are dropped and counted.
pub const SIGNALS_MAX: usize = 1024;
