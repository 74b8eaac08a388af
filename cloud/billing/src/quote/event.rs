//! What happened to a quote.

use remuda_eventsourcing::event_codec;
use serde::{Deserialize, Serialize};

use super::Quote;

/// A price was promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The promise.
    pub quote: Quote,
}

/// A ride was booked at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The ride.
    pub trip: String,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuoteEvent {
    /// A price was promised.
    Given(Given),
    /// A ride was booked at it.
    Accepted(Accepted),
}

event_codec!(QuoteEvent { Given = "quote.given" 1, Accepted = "quote.accepted" 1 });
