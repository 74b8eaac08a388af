//! How values, times and ages are written.

use std::time::{SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;
use remuda_api::vehicles::v1::signal_value::Value;
use remuda_api::vehicles::v1::{Presence, SignalValue, Vehicle};

pub(crate) fn millis(time: &Timestamp) -> i64 {
    time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000)
}

pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// `0.4s`, `12s`, `3m`, `2h`, `5d`: as exact as it is young. A time ahead of ours is 0.
pub(crate) fn age(ms: i64) -> String {
    let ms = ms.max(0);
    match ms / 1000 {
        0..10 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        s @ 10..120 => format!("{s}s"),
        s @ 120..7_200 => format!("{}m", s / 60),
        s @ 7_200..172_800 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

pub(crate) fn age_of(time: Option<&Timestamp>, now_ms: i64) -> String {
    time.map_or_else(|| "-".to_owned(), |time| age(now_ms.saturating_sub(millis(time))))
}

pub(crate) fn value(signal: &SignalValue) -> String {
    match &signal.value {
        Some(Value::Number(n)) => format!("{n:.*}", signal.decimals.min(12) as usize),
        Some(Value::Boolean(yes)) => yes.to_string(),
        Some(Value::Text(text)) => text.clone(),
        Some(Value::Raw(raw)) => format!("raw {raw}"),
        None => "-".to_owned(),
    }
}

pub(crate) fn presence(vehicle: &Vehicle) -> &'static str {
    match vehicle.presence() {
        Presence::Online => "online",
        Presence::Offline => "offline",
        Presence::Unknown | Presence::Unspecified => "unknown",
    }
}

/// The last part of a resource name.
pub(crate) fn id(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn rfc3339(time: &Timestamp) -> String {
    // Its own Display leaves the fraction out when it is 0; always three digits are easier to read in columns.
    let whole = Timestamp { seconds: time.seconds, nanos: 0 }.to_string();
    format!("{}.{:03}Z", whole.trim_end_matches('Z'), time.nanos / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let cases = [
            (-5, "0.0s"),
            (400, "0.4s"),
            (9_999, "9.9s"),
            (12_345, "12s"),
            (125_000, "2m"),
            (7_200_000, "2h"),
            (172_800_000, "2d"),
        ];
        for (ms, text) in cases {
            assert_eq!(age(ms), text);
        }
        assert_eq!(age_of(None, 7), "-");
    }

    #[test]
    fn values_have_the_digits_that_mean_something() {
        let signal = |value, decimals| SignalValue { value: Some(value), decimals, ..SignalValue::default() };
        assert_eq!(value(&signal(Value::Number(0.1 + 0.2), 2)), "0.30");
        assert_eq!(value(&signal(Value::Raw(-4), 0)), "raw -4");
        assert_eq!(value(&signal(Value::Boolean(true), 0)), "true");
    }

    #[test]
    fn times_are_in_utc() {
        let time = Timestamp { seconds: 1_700_000_000, nanos: 5_000_000 };
        assert_eq!(rfc3339(&time), "2023-11-14T22:13:20.005Z");
    }
}
