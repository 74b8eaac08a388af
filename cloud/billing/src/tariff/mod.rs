//! What a ride costs: rates with a version and a time from which it holds.

mod config;

use serde::{Deserialize, Serialize};

pub use config::{TariffError, Tariffs};

use crate::money::Currency;

/// How a quote binds the price of the trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum QuoteRule {
    /// The quote is the price; waiting is added.
    Fixed,
    /// The trip is measured, and never costs more than the quote and this many percent; waiting is added.
    Capped {
        /// Percent above the quote.
        percent: u32,
    },
    /// The trip is measured; the quote is an estimate.
    Metered,
}

/// One version of a tariff. Amounts in minor units of the currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tariff {
    /// Name, such as `standard`: `[a-z0-9-]{1,32}`.
    pub code: String,
    /// From 1, ascending; a quote names it, so that an old quote is priced by what it was made with.
    pub version: u32,
    /// From when on it holds for new quotes, ms since 1970 UTC.
    pub valid_from_ms: i64,
    /// ISO 4217.
    pub currency: Currency,
    /// For every ride.
    pub base: i64,
    /// Per 1,000 m.
    pub per_km: i64,
    /// Per 60,000 ms under way.
    pub per_minute: i64,
    /// A ride never costs less, before waiting.
    pub minimum: i64,
    /// Per 60,000 ms of waiting beyond the free time.
    #[serde(default)]
    pub waiting_per_minute: i64,
    /// For a cancellation after the free time.
    #[serde(default)]
    pub cancellation_fee: i64,
    /// When the rider does not come.
    #[serde(default)]
    pub no_show_fee: i64,
    /// Highest surge, percent; 100 = none.
    #[serde(default = "no_surge")]
    pub surge_percent_max: u32,
    /// Tax rate, hundredths of a percent: 1900 = 19 %.
    pub tax_basis_points: u32,
    /// Do the amounts contain the tax (riders' prices), or is it added (business prices)?
    #[serde(default = "yes")]
    pub tax_included: bool,
    /// How a quote binds.
    #[serde(default = "capped")]
    pub quote_rule: QuoteRule,
    /// How long a quote holds, s.
    #[serde(default = "five_minutes")]
    pub quote_valid_s: u64,
}

fn no_surge() -> u32 {
    100
}

fn yes() -> bool {
    true
}

fn capped() -> QuoteRule {
    QuoteRule::Capped { percent: 20 }
}

fn five_minutes() -> u64 {
    300
}

#[cfg(test)]
pub(crate) fn test_file() -> &'static str {
    config::tests::FILE
}
