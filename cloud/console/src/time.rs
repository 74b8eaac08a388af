//! The clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// ms since 1970 UTC.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// An instant as text, such as `2026-11-30T18:50:06.250Z`.
pub(crate) fn rfc3339(ms: i64) -> String {
    let nanos = i32::try_from(ms.rem_euclid(1_000) * 1_000_000).unwrap_or_default();
    prost_types::Timestamp { seconds: ms.div_euclid(1_000), nanos }.to_string()
}
