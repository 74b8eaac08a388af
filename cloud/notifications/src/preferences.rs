//! What people want to be told, how, and when not: pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, LocalResult, NaiveDateTime, NaiveTime, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::channels::Channel;

/// Hours in which a person is not disturbed, in their own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// Minute of the day at which they begin, 0 to 1439.
    pub from_min: u16,
    /// Minute of the day at which they end, 0 to 1439. Earlier than the beginning: on the next day. The same:
    /// never quiet.
    pub to_min: u16,
}

/// A person's wishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preferences {
    /// BCP 47, such as `de-AT`.
    pub locale: String,
    /// IANA name, such as `Europe/Vienna`.
    pub time_zone: String,
    /// Channels by kind of message; for kinds that are not named: [`Preferences::otherwise`].
    pub channels: BTreeMap<String, Vec<Channel>>,
    /// Channels of all other kinds.
    pub otherwise: Vec<Channel>,
    /// When not to be disturbed.
    pub quiet: Option<QuietHours>,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            locale: "en".into(),
            time_zone: "UTC".into(),
            channels: BTreeMap::new(),
            otherwise: vec![Channel::InApp, Channel::Email],
            quiet: None,
        }
    }
}

/// Wishes that cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PreferencesError {
    /// No such time zone.
    #[error("{0:?} is no time zone; write a name such as Europe/Vienna")]
    TimeZone(String),
    /// No such minute.
    #[error("quiet hours are minutes of the day, 0 to 1439")]
    QuietHours,
}

impl Preferences {
    /// Checks wishes before they are kept.
    ///
    /// # Errors
    /// [`PreferencesError`].
    pub fn check(&self) -> Result<(), PreferencesError> {
        self.time_zone.parse::<Tz>().map_err(|_| PreferencesError::TimeZone(self.time_zone.clone()))?;
        match self.quiet {
            Some(quiet) if quiet.from_min > 1_439 || quiet.to_min > 1_439 => {
                Err(PreferencesError::QuietHours)
            }
            _ => Ok(()),
        }
    }

    /// The channels of a kind, each once. The inbox of the app is always among them: it disturbs nobody.
    pub fn route(&self, kind: &str) -> Vec<Channel> {
        let wished = self.channels.get(kind).unwrap_or(&self.otherwise);
        let mut channels = vec![Channel::InApp];
        for channel in wished {
            if !channels.contains(channel) {
                channels.push(*channel);
            }
        }
        channels
    }

    /// From when on a person may be disturbed: `now_ms`, or the end of their quiet hours. An unknown time
    /// zone counts as UTC.
    pub fn awake_from(&self, now_ms: i64) -> i64 {
        let Some(quiet) = self.quiet.filter(|q| q.from_min != q.to_min) else { return now_ms };
        let zone: Tz = self.time_zone.parse().unwrap_or(Tz::UTC);
        let Some(now) = DateTime::from_timestamp_millis(now_ms) else { return now_ms };
        let local = now.with_timezone(&zone);
        let minute = u16::try_from(local.hour() * 60 + local.minute()).unwrap_or_default();
        let over_midnight = quiet.from_min > quiet.to_min;
        let inside = if over_midnight {
            minute >= quiet.from_min || minute < quiet.to_min
        } else {
            (quiet.from_min..quiet.to_min).contains(&minute)
        };
        if !inside {
            return now_ms;
        }
        let days = u64::from(over_midnight && minute >= quiet.from_min);
        let to = NaiveTime::from_num_seconds_from_midnight_opt(u32::from(quiet.to_min) * 60, 0);
        let end = local.date_naive().checked_add_days(Days::new(days)).zip(to).map(|(d, t)| d.and_time(t));
        end.and_then(|end| instant(zone, end)).map_or(now_ms, |end| end.timestamp_millis().max(now_ms))
    }
}

/// The moment of a local time; where clocks skip it, the first moment after; where they repeat it, the
/// second: quiet is quiet.
fn instant(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    let mut wanted = local;
    for _ in 0..8 {
        match zone.from_local_datetime(&wanted) {
            LocalResult::Single(one) => return Some(one.to_utc()),
            LocalResult::Ambiguous(_, second) => return Some(second.to_utc()),
            LocalResult::None => wanted = wanted.checked_add_signed(chrono::Duration::minutes(15))?,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn berlin(from_min: u16, to_min: u16) -> Preferences {
        let quiet = Some(QuietHours { from_min, to_min });
        Preferences { time_zone: "Europe/Berlin".into(), quiet, ..Preferences::default() }
    }

    fn at(text: &str) -> i64 {
        text.parse::<DateTime<Utc>>().expect("a time").timestamp_millis()
    }

    #[test]
    fn messages_wait_for_the_morning_in_the_persons_own_time() {
        let night = berlin(22 * 60, 7 * 60);
        // Winter: UTC+1; summer: UTC+2.
        for (now, awake) in [
            ("2026-01-10T20:59:59Z", "2026-01-10T20:59:59Z"),
            ("2026-01-10T21:00:00Z", "2026-01-11T06:00:00Z"),
            ("2026-01-11T05:59:00Z", "2026-01-11T06:00:00Z"),
            ("2026-01-11T06:00:00Z", "2026-01-11T06:00:00Z"),
            ("2026-07-10T21:00:00Z", "2026-07-11T05:00:00Z"),
            // The night in which summer begins is an hour shorter.
            ("2026-03-28T22:00:00Z", "2026-03-29T05:00:00Z"),
        ] {
            assert_eq!(night.awake_from(at(now)), at(awake), "{now}");
        }
        let noon = berlin(12 * 60, 13 * 60);
        assert_eq!(noon.awake_from(at("2026-01-10T11:30:00Z")), at("2026-01-10T12:00:00Z"));
        // 02:30 does not exist in that night: the first moment after.
        let odd = berlin(60, 150);
        assert_eq!(odd.awake_from(at("2026-03-29T00:30:00Z")), at("2026-03-29T01:00:00Z"));
        // 02:30 happens twice in this one: the second counts.
        assert_eq!(odd.awake_from(at("2026-10-25T00:10:00Z")), at("2026-10-25T01:30:00Z"));
        assert_eq!(berlin(0, 0).awake_from(5), 5);
    }

    #[test]
    fn wishes_are_checked_and_the_inbox_is_always_there() {
        let mut wishes =
            Preferences { otherwise: vec![Channel::Email, Channel::Email], ..Preferences::default() };
        assert_eq!(wishes.route("anything"), [Channel::InApp, Channel::Email]);
        wishes.channels.insert("booking-confirmed".into(), Vec::new());
        assert_eq!(wishes.route("booking-confirmed"), [Channel::InApp]);
        wishes.time_zone = "Mars/Olympus".into();
        assert!(wishes.check().expect_err("no zone").to_string().contains("Europe/Vienna"));
        assert_eq!(berlin(1_440, 0).check(), Err(PreferencesError::QuietHours));
    }

    proptest! {
        /// Whoever is woken is awake, and nobody waits longer than a day.
        #[test]
        fn a_message_waits_at_most_a_day_and_then_passes(now in 0_i64..4_000_000_000_000, from in 0_u16..1_440, to in 0_u16..1_440) {
            let wishes = berlin(from, to);
            let awake = wishes.awake_from(now);
            prop_assert!(awake >= now && awake - now <= 25 * 3_600_000);
            prop_assert_eq!(wishes.awake_from(awake), awake);
        }
    }
}
