//! Bounds, each with its reason.

use std::time::Duration;

/// Longest URL, bytes: what common servers and proxies still take.
pub const URL_BYTES_MAX: usize = 2_048;
/// Largest body, bytes: a message, not a file; receivers commonly refuse more than this.
pub const BODY_BYTES_MAX: usize = 256 * 1_024;
/// Longest message id, bytes: it travels in a header.
pub const ID_BYTES_MAX: usize = 128;
/// Most of an answer that is read, bytes: an acknowledgement has no content; an endless one must not fill
/// memory.
pub const ANSWER_BYTES_MAX: usize = 16 * 1_024;
/// Most of an answer that is kept to show an operator, bytes.
pub const EXCERPT_BYTES_MAX: usize = 512;
/// Largest head of an answer, bytes.
pub const ANSWER_HEAD_BYTES_MAX: usize = 32 * 1_024;
/// Most addresses of one name that are looked at: more says that somebody plays with us.
pub const ADDRESSES_MAX: usize = 32;
/// Most addresses that one attempt connects to, one after the other.
pub const CONNECTS_MAX: usize = 3;
/// Looking a name up.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connecting, with TLS.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The whole attempt: Standard Webhooks advises receivers to answer within 15 to 30 s.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
/// Shortest and longest signing secret, bytes (Standard Webhooks).
pub const SECRET_BYTES: (usize, usize) = (24, 64);
/// Most secrets at once: the new one and the old one while they are exchanged, and one spare.
pub const SECRETS_MAX: usize = 3;
/// How far a message's time may be from the receiver's, s (Standard Webhooks: five minutes).
pub const TOLERANCE_S: i64 = 300;
/// Longest wait that a receiver may ask for with `Retry-After`, s: otherwise it could park a message for ever.
pub const RETRY_AFTER_S_MAX: u64 = 3_600;
