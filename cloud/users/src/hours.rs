//! How long somebody may drive, after the shape of Regulation (EC) 561/2006: a bound per day (between two daily rests), per
//! week (from Monday, UTC) and without a break. The figures are settings; [`HoursRules::default`] has the regulation's.
//! Stricter than it in one point: a break counts only in one piece. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::HOUR_MS;

/// From when to when somebody drove, ms since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// Beginning.
    pub from_ms: i64,
    /// End.
    pub to_ms: i64,
}

/// How long one may drive, ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoursRules {
    /// Between two daily rests.
    pub daily_ms_max: i64,
    /// From Monday 00:00 UTC to the next.
    pub weekly_ms_max: i64,
    /// Without a break.
    pub unbroken_ms_max: i64,
    /// What counts as a break.
    pub break_ms: i64,
    /// What counts as a daily rest.
    pub daily_rest_ms: i64,
}

impl Default for HoursRules {
    fn default() -> Self {
        Self {
            daily_ms_max: 9 * HOUR_MS,
            weekly_ms_max: 56 * HOUR_MS,
            unbroken_ms_max: 9 * HOUR_MS / 2,
            break_ms: 3 * HOUR_MS / 4,
            daily_rest_ms: 11 * HOUR_MS,
        }
    }
}

/// A bound that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Of the day.
    Day,
    /// Of the week.
    Week,
    /// Without a break.
    Break,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Day => "the driver has driven as long as a day allows; a daily rest comes first",
            Self::Week => "the driver has driven as long as a week allows; the next one begins on Monday",
            Self::Break => "the driver has driven as long as may be without a break; a break comes first",
        })
    }
}

/// How much longer one may drive, ms; zero when a bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    /// Today.
    pub day_ms: i64,
    /// This week.
    pub week_ms: i64,
    /// Until a break.
    pub unbroken_ms: i64,
}

impl Remaining {
    /// The first bound that is reached.
    pub fn exhausted(&self) -> Option<Limit> {
        [(self.day_ms, Limit::Day), (self.week_ms, Limit::Week), (self.unbroken_ms, Limit::Break)]
            .into_iter()
            .find_map(|(left, limit)| (left <= 0).then_some(limit))
    }

    /// The least of them.
    pub fn least_ms(&self) -> i64 {
        self.day_ms.min(self.week_ms).min(self.unbroken_ms)
    }
}

const DAY_MS: i64 = 24 * HOUR_MS;

/// Monday 00:00 UTC at or before `now_ms`: 1970 began on a Thursday.
fn week_start(now_ms: i64) -> i64 {
    let day = now_ms.div_euclid(DAY_MS);
    (day - (day + 3).rem_euclid(7)) * DAY_MS
}

/// How much longer one may drive at `now_ms`. `driven` is in order and does not overlap; `since_ms` is when the present
/// drive began.
pub fn remaining(driven: &[Period], since_ms: Option<i64>, now_ms: i64, rules: &HoursRules) -> Remaining {
    let open = since_ms.map(|from_ms| Period { from_ms, to_ms: now_ms.max(from_ms) });
    let monday = week_start(now_ms);
    let (mut day, mut unbroken, mut week) = (0, 0, 0);
    let (mut day_is_over, mut stretch_is_over) = (false, false);
    // From now back: each sum ends at the first pause that is long enough.
    let mut resumed_ms = now_ms;
    for period in open.iter().chain(driven.iter().rev()) {
        let pause = resumed_ms - period.to_ms;
        day_is_over |= pause >= rules.daily_rest_ms;
        stretch_is_over |= pause >= rules.break_ms;
        let length = period.to_ms - period.from_ms;
        if !day_is_over {
            day += length;
        }
        if !stretch_is_over {
            unbroken += length;
        }
        week += (period.to_ms - period.from_ms.max(monday)).max(0);
        resumed_ms = period.from_ms;
    }
    Remaining {
        day_ms: (rules.daily_ms_max - day).max(0),
        week_ms: (rules.weekly_ms_max - week).max(0),
        unbroken_ms: (rules.unbroken_ms_max - unbroken).max(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Monday, 2023-11-13 00:00 UTC.
    const MONDAY: i64 = 1_699_833_600_000;

    fn hours(from: f64, to: f64) -> Period {
        let at = |hour: f64| MONDAY + (hour * HOUR_MS as f64) as i64;
        Period { from_ms: at(from), to_ms: at(to) }
    }

    fn left(driven: &[Period], now: f64) -> Remaining {
        remaining(driven, None, hours(0.0, now).to_ms, &HoursRules::default())
    }

    #[test]
    fn a_week_begins_on_monday() {
        assert_eq!(week_start(MONDAY), MONDAY);
        assert_eq!(week_start(MONDAY - 1), MONDAY - 7 * DAY_MS);
        assert_eq!(week_start(MONDAY + 7 * DAY_MS - 1), MONDAY);
        assert_eq!(week_start(0), -3 * DAY_MS);
    }

    #[test]
    fn a_break_begins_a_new_stretch_and_a_rest_a_new_day() {
        let morning = hours(6.0, 10.0);
        assert_eq!(left(&[morning], 10.0).unbroken_ms, HOUR_MS / 2);
        assert_eq!(left(&[morning], 10.7).unbroken_ms, HOUR_MS / 2, "42 minutes are no break");
        assert_eq!(left(&[morning], 10.75).unbroken_ms, 9 * HOUR_MS / 2);
        assert_eq!(left(&[morning], 10.75).day_ms, 5 * HOUR_MS);
        let day = [morning, hours(10.5, 11.0)];
        assert_eq!(left(&day, 11.0).exhausted(), Some(Limit::Break));
        let long = [morning, hours(11.0, 15.0), hours(16.0, 17.0)];
        assert_eq!(left(&long, 18.0).exhausted(), Some(Limit::Day));
        assert_eq!(left(&long, 27.9).exhausted(), Some(Limit::Day));
        assert_eq!(left(&long, 28.0).exhausted(), None, "eleven hours of rest");
        assert_eq!(
            left(&[], 0.0),
            Remaining { day_ms: 9 * HOUR_MS, week_ms: 56 * HOUR_MS, unbroken_ms: 9 * HOUR_MS / 2 }
        );
    }

    #[test]
    fn the_week_counts_from_monday_and_the_present_drive_counts() {
        let days: Vec<Period> =
            (0..7).map(|day| hours(f64::from(day) * 24.0 + 8.0, f64::from(day) * 24.0 + 16.0)).collect();
        assert_eq!(left(&days, 6.0 * 24.0 + 17.0).exhausted(), Some(Limit::Week));
        assert_eq!(left(&days, 7.0 * 24.0 + 8.0).exhausted(), None);
        let over_midnight = [hours(-2.0, 2.0)];
        assert_eq!(left(&over_midnight, 2.0).week_ms, 54 * HOUR_MS);
        let driving = remaining(&[], Some(MONDAY), MONDAY + HOUR_MS, &HoursRules::default());
        assert_eq!((driving.unbroken_ms, driving.least_ms()), (7 * HOUR_MS / 2, 7 * HOUR_MS / 2));
    }
}
