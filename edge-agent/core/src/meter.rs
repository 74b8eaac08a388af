//! Bytes spent over metered links, by calendar month of trusted time (docs/uplink.md section 8).

use serde::{Deserialize, Serialize};

/// What is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spent {
    /// The month it is counted for, as 202_611; 0 when no trusted time was known yet.
    pub month: u32,
    /// Bytes.
    pub bytes: u64,
}

const DAY_MS: i64 = 86_400_000;

impl Spent {
    /// Begins the next month when trusted time says that it has come. A time of an earlier month, by more than a day,
    /// corrects which month this is, but gives nothing back: a clock that jumps both ways must not refill the budget.
    pub(crate) fn roll(&mut self, trusted_ms: i64) -> bool {
        let now = month_of(trusted_ms);
        let before = *self;
        if self.month == 0 || month_of(trusted_ms.saturating_add(DAY_MS)) < self.month {
            self.month = now;
        } else if now > self.month {
            *self = Self { month: now, bytes: 0 };
        }
        *self != before
    }
}

/// Year and month in UTC, as 202_611. The civil-from-days algorithm of Howard Hinnant.
fn month_of(ms: i64) -> u32 {
    let days = ms.div_euclid(DAY_MS).saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    u32::try_from(year * 100 + month).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_those_of_the_calendar() {
        for (ms, month) in [
            (0, 197_001),
            (951_782_400_000, 200_002),   // 29 February 2000
            (951_868_800_000, 200_003),   // 1 March 2000
            (1_767_225_599_999, 202_512), // the last ms of 2025
            (1_767_225_600_000, 202_601),
            (-1, 196_912),
        ] {
            assert_eq!(month_of(ms), month, "{ms}");
        }
    }

    #[test]
    fn a_clock_that_jumps_refills_nothing() {
        let (december, january) = (1_767_225_600_000 - 5_000, 1_767_225_600_000 + 5_000);
        let mut spent = Spent { month: 0, bytes: 7 };
        assert!(spent.roll(december) && spent == Spent { month: 202_512, bytes: 7 });
        assert!(spent.roll(january) && spent == Spent { month: 202_601, bytes: 0 });
        spent.bytes = 9;
        // A few seconds back, such as from another node of the cloud: nothing.
        assert!(!spent.roll(december));
        // A year back: the month is corrected, what is spent stays spent.
        assert!(spent.roll(december - 365 * DAY_MS) && spent == Spent { month: 202_412, bytes: 9 });
    }
}
