//! What is known of a quote.

use serde::{Deserialize, Serialize};

use crate::fare::{Fare, Measured};

/// A promised price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// To whom: a user's id.
    pub rider: String,
    /// Code of the tariff.
    pub tariff: String,
    /// Its version: the trip is priced by the same.
    pub tariff_version: u32,
    /// What was planned.
    pub planned: Measured,
    /// Percent; the trip is priced with the same.
    pub surge_percent: u32,
    /// The price.
    pub fare: Fare,
    /// When, ms since 1970 UTC.
    pub given_ms: i64,
    /// Until when it can be accepted, ms since 1970 UTC.
    pub valid_until_ms: i64,
}

/// What is known of a quote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuoteState {
    /// The quote, once given.
    pub quote: Option<Quote>,
    /// The ride that accepted it.
    pub accepted_by: Option<String>,
}
