//! Times and spans as people type them.

use chrono::{DateTime, NaiveDate};
use prost_types::Timestamp;

/// A time: fixed, or so many nanoseconds before now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    At(i64),
    Ago(i64),
}

impl When {
    pub fn ns(self, now_ns: i64) -> i64 {
        match self {
            Self::At(ns) => ns,
            Self::Ago(ns) => now_ns.saturating_sub(ns),
        }
    }
}

/// `now`, `-90m`, `now-1h30m`, `2026-11-30` (midnight UTC), or RFC 3339.
pub(crate) fn when(text: &str) -> Result<When, String> {
    let relative = text.strip_prefix("now").unwrap_or(text);
    if relative.is_empty() && !text.is_empty() {
        return Ok(When::Ago(0));
    }
    if let Some(ago) = relative.strip_prefix('-') {
        return span_ns(ago).map(When::Ago);
    }
    let date = text.parse::<NaiveDate>().ok().and_then(|date| date.and_hms_opt(0, 0, 0));
    let time = match date {
        Some(midnight) => Some(midnight.and_utc()),
        None => DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc()),
    };
    time.and_then(|time| time.timestamp_nanos_opt()).map(When::At).ok_or_else(|| {
        format!(
            "{text} is no time; say now, -1h, -1d12h, 2026-11-30 (midnight UTC) or 2026-11-30T14:00:00Z (Z or an offset such as +02:00)"
        )
    })
}

const UNITS: &[(&str, i64)] = &[
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];

/// A span such as `10s`, `1h30m`, `250ms` or `7d`, in nanoseconds.
pub(crate) fn span_ns(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text} is no span of time; say 250ms, 10s, 5m, 1h30m, 7d or 2w");
    let mut rest = text;
    let mut sum: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let (_, unit_ns) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let number: i64 = number.parse().map_err(|_| wrong())?;
        sum = number.checked_mul(*unit_ns).and_then(|ns| sum.checked_add(ns)).ok_or_else(wrong)?;
        rest = after;
    }
    if sum == 0 { Err(wrong()) } else { Ok(sum) }
}

/// As `span_ns`, in whole milliseconds.
pub(crate) fn span_ms(text: &str) -> Result<i64, String> {
    span_ns(text).map(|ns| ns / 1_000_000)
}

pub(crate) fn timestamp(ns: i64) -> Timestamp {
    let nanos = ns.rem_euclid(1_000_000_000);
    Timestamp { seconds: ns.div_euclid(1_000_000_000), nanos: i32::try_from(nanos).unwrap_or_default() }
}

pub(crate) fn nanoseconds(time: &Timestamp) -> i64 {
    time.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(time.nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_understood() {
        let noon = 1_700_000_000_000_000_000;
        assert_eq!(when("now"), Ok(When::Ago(0)));
        assert_eq!(when("-1h").map(|w| w.ns(noon)), Ok(noon - 3_600_000_000_000));
        assert_eq!(when("now-1h30m"), Ok(When::Ago(5_400_000_000_000)));
        assert_eq!(when("2023-11-14T22:13:20Z"), Ok(When::At(noon)));
        assert_eq!(when("2023-11-15T00:13:20.5+02:00"), Ok(When::At(noon + 500_000_000)));
        assert_eq!(when("2023-11-14"), Ok(When::At(1_699_920_000_000_000_000)));
        for wrong in [
            "",
            "-",
            "-1",
            "-1y",
            "--1h",
            "yesterday",
            "2023-11-14T22:13:20",
            "2023-13-01",
            "-0s",
            "9999-01-01",
        ] {
            assert!(when(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_are_understood() {
        assert_eq!(span_ns("250ms"), Ok(250_000_000));
        assert_eq!(span_ms("1d12h"), Ok(129_600_000));
        for wrong in ["", "10", "s", "1.5h", "-1s", "99999999999w", "1h 5m", "10é"] {
            assert!(span_ns(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn timestamps_are_their_nanoseconds() {
        for ns in [0, -1, 1_700_000_000_123_456_789, -1_700_000_000_123_456_789, i64::MAX] {
            assert_eq!(nanoseconds(&timestamp(ns)), ns);
        }
    }
}
