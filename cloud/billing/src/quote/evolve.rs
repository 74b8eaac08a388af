//! What a fact changes.

use super::{QuoteEvent, QuoteState};

pub(super) fn evolve(state: &mut QuoteState, event: &QuoteEvent) {
    match event {
        QuoteEvent::Given(given) => state.quote = Some(given.quote.clone()),
        QuoteEvent::Accepted(accepted) => state.accepted_by = Some(accepted.trip.clone()),
    }
}
