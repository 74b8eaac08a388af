//! Bounds of the wire, each with its reason.

/// Largest MQTT payload, bytes: two full frames fit, and a slow link still sends one in seconds.
pub const PAYLOAD_BYTES_MAX: usize = 128 * 1024;
/// Most frames in a message: the smallest whole frame and its length take 14 bytes, so a full payload has fewer.
pub const FRAMES_MAX: usize = 10 * 1024;
/// Largest encoded frame, bytes: one second of samples of a very chatty vehicle.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Longest span of samples in a frame, ms: bounds what one damaged record can cost.
pub const FRAME_SPAN_MS_MAX: u64 = 1_000;
/// Most rows in a sample block: a row takes at least a byte of its frame.
pub const BLOCK_ROWS_MAX: usize = 16 * 1024;
/// Most signals in a sample block: the registry and a customer's file together are smaller.
pub const BLOCK_SIGNALS_MAX: usize = 1024;
/// Most rows times signals in a sample block: a bus replayed whole has some 50,000 a second, and decoded they are 2 MiB,
/// whatever few bytes said them.
pub const BLOCK_CELLS_MAX: usize = 128 * 1024;
/// Most (lane, incarnation) pairs in a Hello: a vehicle that restarted 64 times without ever draining.
pub const HELLO_LANES_MAX: usize = 128;
/// Longest text in a message, bytes.
pub const TEXT_BYTES_MAX: usize = 256;
/// Most options of a question: what a person can tell apart at a glance.
pub const OPTIONS_MAX: usize = 8;
/// Longest question with all its options, bytes: it is read by a person, at once.
pub const QUESTION_BYTES_MAX: usize = 1024;
/// How long a vehicle may wait for an answer, ms.
pub const QUESTION_TIMEOUT_MS: std::ops::RangeInclusive<u32> = 1_000..=3_600_000;
/// Most stops of a trip, pick-up and drop-off among them: more than any trip has.
pub const STOPS_MAX: usize = 16;
/// Default credit per lane, bytes beyond `durable`.
pub const CREDIT_BYTES_DEFAULT: u32 = 256 * 1024;
