//! Bounds, each with its reason.

use std::time::Duration;

/// Longest id, name, reason or parameter, bytes: it stands in events and headers.
pub const TEXT_BYTES_MAX: usize = 512;
/// Most parameters of a notification: a text with more is no message.
pub const PARAMETERS_MAX: usize = 32;
/// Longest subject after filling in, characters: mail programs show fewer.
pub const SUBJECT_CHARS_MAX: usize = 200;
/// Longest body after filling in, bytes.
pub const BODY_BYTES_MAX: usize = 16 * 1_024;
/// Most templates of a catalogue.
pub const TEMPLATES_MAX: usize = 500;
/// Most languages of a template.
pub const LOCALES_MAX: usize = 60;
/// Messages on their way at once: each may wait for a slow server; more would only fill memory.
pub const SENDING_MAX: usize = 16;
/// Messages looked at in one round of the runner.
pub const ROUND_MAX: usize = 256;
/// Longest wait of the runner before it looks again, although nothing has happened.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Time for one e-mail: relays that check for spam take tens of seconds.
pub const MAIL_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest life of a message that says nothing of it, ms: three days later nobody wants to know.
pub const LIFETIME_MS: i64 = 72 * 3_600_000;
/// Most messages of one answer: a page of 1,000, and one that tells whether there is another.
pub const PAGE_MAX: usize = 1_001;
