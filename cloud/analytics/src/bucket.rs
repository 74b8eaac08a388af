//! Time in buckets of a time zone: pure.

use chrono::{DateTime, Datelike, Duration, LocalResult, NaiveDate, NaiveTime, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// How long a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// An hour of the clock.
    Hour,
    /// A day of the calendar.
    Day,
    /// A month of the calendar.
    Month,
}

impl Granularity {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Month];

    /// Stable name, for people and queries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// When the bucket began that holds a moment, ms since 1970 UTC. Days and months begin at local midnight
/// (where clocks skip it, at the first moment of the day), so a day may have 23 or 25 hours; an hour that
/// happens twice is two buckets.
pub fn bucket_start(zone: Tz, granularity: Granularity, time_ms: i64) -> i64 {
    let Some(time) = DateTime::from_timestamp_millis(time_ms) else { return time_ms };
    let local = time.with_timezone(&zone);
    let date = match granularity {
        Granularity::Hour => {
            let into = i64::from(local.minute()) * 60_000 + i64::from(local.second()) * 1_000;
            return time_ms - into - time_ms.rem_euclid(1_000);
        }
        Granularity::Day => local.date_naive(),
        Granularity::Month => local.date_naive().with_day(1).unwrap_or(local.date_naive()),
    };
    midnight(zone, date).map_or(time_ms, |start| start.timestamp_millis())
}

fn midnight(zone: Tz, date: NaiveDate) -> Option<DateTime<Utc>> {
    let mut wanted = date.and_time(NaiveTime::MIN);
    for _ in 0..96 {
        match zone.from_local_datetime(&wanted) {
            LocalResult::Single(one) => return Some(one.to_utc()),
            LocalResult::Ambiguous(first, _) => return Some(first.to_utc()),
            LocalResult::None => wanted = wanted.checked_add_signed(Duration::minutes(15))?,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<DateTime<Utc>>().expect("a time").timestamp_millis()
    }

    #[test]
    fn days_and_months_begin_at_local_midnight() {
        use Granularity::{Day, Hour, Month};
        let berlin = chrono_tz::Europe::Berlin;
        for (granularity, time, start) in [
            (Day, "2026-01-10T22:59:59.999Z", "2026-01-09T23:00:00Z"),
            (Day, "2026-01-10T23:00:00Z", "2026-01-10T23:00:00Z"),
            (Day, "2026-07-10T12:00:00Z", "2026-07-09T22:00:00Z"),
            (Month, "2026-03-31T21:59:59Z", "2026-02-28T23:00:00Z"),
            (Month, "2026-03-31T22:00:00Z", "2026-03-31T22:00:00Z"),
            (Hour, "2026-01-10T22:59:59.999Z", "2026-01-10T22:00:00Z"),
            // 02:30 happens twice in this night.
            (Hour, "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z"),
            (Hour, "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z"),
        ] {
            assert_eq!(bucket_start(berlin, granularity, at(time)), at(start), "{granularity:?} {time}");
        }
        let half = chrono_tz::Asia::Kolkata;
        assert_eq!(bucket_start(half, Hour, at("2026-01-10T10:29:00Z")), at("2026-01-10T09:30:00Z"));
        // Midnight does not exist in this night: clocks go from 23:59:59 to 01:00.
        let cairo = chrono_tz::Africa::Cairo;
        assert_eq!(bucket_start(cairo, Day, at("2026-04-24T12:00:00Z")), at("2026-04-23T22:00:00Z"));
    }

    proptest! {
        /// A bucket's start is in the bucket, and no bucket is longer than its name.
        #[test]
        fn a_start_is_its_own_start(time in 0_i64..4_000_000_000_000, zone in prop::sample::select(&chrono_tz::TZ_VARIANTS[..])) {
            for granularity in Granularity::ALL {
                let start = bucket_start(zone, granularity, time);
                prop_assert!(start <= time, "{zone} {granularity:?} {time}");
                prop_assert_eq!(bucket_start(zone, granularity, start), start, "{} {:?} {}", zone, granularity, time);
                let hours = (time - start) / 3_600_000;
            let longest = match granularity {
                Granularity::Hour => 0,
                Granularity::Day => 26,
                Granularity::Month => 31 * 24 + 26,
            };
            prop_assert!(hours <= longest, "{zone} {granularity:?} {time}");
        }
        }
    }
}
