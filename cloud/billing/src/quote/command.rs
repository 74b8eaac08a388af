//! What one may want of a quote.

use super::Quote;

/// A wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuoteCommand {
    /// Promise a price.
    Give(Quote),
    /// Book a ride at it. Once.
    Accept {
        /// The ride.
        trip: String,
    },
}
