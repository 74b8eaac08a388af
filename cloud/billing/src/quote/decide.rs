//! What follows from a wish.

use super::error::QuoteRefusal as No;
use super::{Accepted, Given, QuoteCommand, QuoteEvent, QuoteState};
use crate::limits::TEXT_BYTES_MAX;

pub(super) fn decide(state: &QuoteState, command: &QuoteCommand, now_ms: i64) -> Result<Vec<QuoteEvent>, No> {
    match (command, &state.quote) {
        (QuoteCommand::Give(quote), None) => Ok(vec![QuoteEvent::Given(Given { quote: quote.clone() })]),
        (QuoteCommand::Give(quote), Some(known)) if known == quote => Ok(Vec::new()),
        (QuoteCommand::Give(_), Some(_)) => Err(No::AlreadyGiven),
        (QuoteCommand::Accept { .. }, None) => Err(No::Unknown),
        (QuoteCommand::Accept { trip }, Some(quote)) => match &state.accepted_by {
            // Said again, perhaps much later: it was accepted in time.
            Some(known) if known == trip => Ok(Vec::new()),
            Some(_) => Err(No::AlreadyAccepted),
            None if trip.is_empty() || trip.len() > TEXT_BYTES_MAX => Err(No::Text),
            None if now_ms > quote.valid_until_ms => Err(No::Expired),
            None => Ok(vec![QuoteEvent::Accepted(Accepted { trip: trip.clone() })]),
        },
    }
}
