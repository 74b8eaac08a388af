//! What sending may cost, and what is left out when it is nearly, or wholly, spent.

use serde::{Deserialize, Serialize};

/// Over which links samples may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bulk {
    /// Over any.
    #[default]
    Any,
    /// Over Wi-Fi only; over any other link, and over one whose kind is not known, samples wait in the outbox.
    Wifi,
}

/// How much is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Collection {
    /// What the policy says.
    #[default]
    Full,
    /// The same signals, rarer.
    Stretched,
    /// No samples; events go on.
    EventsOnly,
}

/// The data budget of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Millions of bytes that may go over metered links in a calendar month (UTC), both ways; none is no bound.
    pub megabytes_per_month: Option<u32>,
    /// From this share of the budget on, intervals are stretched, percent.
    pub stretch_from_percent: u8,
    /// How many times longer intervals become.
    pub stretch_factor: u8,
    /// Over which links samples may be sent.
    pub bulk: Bulk,
}

impl Default for Budget {
    fn default() -> Self {
        Self { megabytes_per_month: None, stretch_from_percent: 80, stretch_factor: 10, bulk: Bulk::Any }
    }
}

/// A budget that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// The budget's size.
    #[error("megabytes_per_month must be from 1 to 1000000; leave it out for no bound")]
    Megabytes,
    /// Where stretching begins.
    #[error("stretch_from_percent must be from 1 to 100")]
    Percent,
    /// How much is stretched.
    #[error("stretch_factor must be from 2 to 100")]
    Factor,
}

const MEGABYTES_MAX: u32 = 1_000_000;

impl Budget {
    /// Does it make sense?
    ///
    /// # Errors
    /// Says which field does not, and what it must be.
    pub fn check(&self) -> Result<(), BudgetError> {
        if self.megabytes_per_month.is_some_and(|mb| !(1..=MEGABYTES_MAX).contains(&mb)) {
            return Err(BudgetError::Megabytes);
        }
        if !(1..=100).contains(&self.stretch_from_percent) {
            return Err(BudgetError::Percent);
        }
        if !(2..=100).contains(&self.stretch_factor) {
            return Err(BudgetError::Factor);
        }
        Ok(())
    }

    /// Bytes a month; none is no bound.
    pub fn bytes(&self) -> Option<u64> {
        self.megabytes_per_month.map(|mb| u64::from(mb) * 1_000_000)
    }

    /// How much is collected when so many bytes of the month's are spent.
    pub fn collection(&self, spent_bytes: u64) -> Collection {
        let Some(bytes) = self.bytes() else { return Collection::Full };
        if spent_bytes >= bytes {
            Collection::EventsOnly
        } else if spent_bytes >= bytes / 100 * u64::from(self.stretch_from_percent) {
            Collection::Stretched
        } else {
            Collection::Full
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_stretched_then_only_events() {
        let budget = Budget { megabytes_per_month: Some(10), ..Budget::default() };
        assert_eq!(budget.collection(7_999_999), Collection::Full);
        assert_eq!(budget.collection(8_000_000), Collection::Stretched);
        assert_eq!(budget.collection(9_999_999), Collection::Stretched);
        assert_eq!(budget.collection(10_000_000), Collection::EventsOnly);
        assert_eq!(Budget::default().collection(u64::MAX), Collection::Full);
    }
}
