//! The quote says no.

use remuda_eventsourcing::Refusal;

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuoteRefusal {
    /// Another price stands under this name.
    #[error("another price was given under this name")]
    AlreadyGiven,
    /// Nothing was given.
    #[error("there is no such quote")]
    Unknown,
    /// Too late.
    #[error("the quote has expired; ask for a new one")]
    Expired,
    /// One ride per quote.
    #[error("another ride was booked at this quote")]
    AlreadyAccepted,
    /// A name that is empty or too long.
    #[error("the ride's name must have 1 to 256 bytes")]
    Text,
}

impl Refusal for QuoteRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::AlreadyGiven => "already-given",
            Self::Unknown => "unknown-quote",
            Self::Expired => "quote-expired",
            Self::AlreadyAccepted => "already-accepted",
            Self::Text => "invalid-text",
        }
    }
}
