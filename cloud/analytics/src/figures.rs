//! Sums, and differences of sums.

use std::collections::BTreeMap;

use remuda_contracts::money::{Currency, Money};
use serde::{Deserialize, Serialize};

use crate::limits::CURRENCIES_MAX;

/// Sums of a cell, or what one trip adds to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Trips.
    pub trips: i64,
    /// Of them: those whose samples have not come and whose deadline has not passed.
    pub provisional_trips: i64,
    /// Of them: those without a price.
    pub unpriced_trips: i64,
    /// Driven, m.
    pub distance_m: i64,
    /// Under way, ms.
    pub duration_ms: i64,
    /// Used, Wh.
    pub energy_wh: i64,
    /// Trips that told what they used: `energy_wh` is of these.
    pub energy_trips: i64,
    /// Charging sessions.
    pub charging_sessions: i64,
    /// Charged, Wh.
    pub charged_wh: i64,
    /// Revenue without tax, minor units by currency. A currency whose sum is zero is left out.
    pub revenue_minor: BTreeMap<Currency, i64>,
}

impl Figures {
    /// With revenue in one currency.
    pub(crate) fn with_revenue(mut self, revenue: Option<Money>) -> Self {
        if let Some(Money { minor_units, currency }) = revenue.filter(|money| money.minor_units != 0) {
            self.revenue_minor.insert(currency, minor_units);
        }
        self
    }

    /// Adds what something adds, `times` once or minus once. Sums that would not fit stay at their bound.
    pub(crate) fn add(&mut self, other: &Self, times: i64) {
        let sums = [
            (&mut self.trips, other.trips),
            (&mut self.provisional_trips, other.provisional_trips),
            (&mut self.unpriced_trips, other.unpriced_trips),
            (&mut self.distance_m, other.distance_m),
            (&mut self.duration_ms, other.duration_ms),
            (&mut self.energy_wh, other.energy_wh),
            (&mut self.energy_trips, other.energy_trips),
            (&mut self.charging_sessions, other.charging_sessions),
            (&mut self.charged_wh, other.charged_wh),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more.saturating_mul(times));
        }
        for (currency, more) in &other.revenue_minor {
            if self.revenue_minor.len() >= CURRENCIES_MAX && !self.revenue_minor.contains_key(currency) {
                continue;
            }
            let sum = self.revenue_minor.entry(*currency).or_insert(0);
            *sum = sum.saturating_add(more.saturating_mul(times));
            if *sum == 0 {
                self.revenue_minor.remove(currency);
            }
        }
    }

    /// Is there nothing in it?
    pub(crate) fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}
