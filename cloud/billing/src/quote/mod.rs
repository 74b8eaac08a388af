//! The aggregate `quote`: a price that was promised, until when, and whether it was accepted.

mod command;
mod decide;
mod error;
mod event;
mod evolve;
mod state;

use remuda_eventsourcing::{Aggregate, Context, Encoded, Unreadable};

pub use command::QuoteCommand;
pub use error::QuoteRefusal;
pub use event::{Accepted, Given, QuoteEvent};
pub use state::{Quote, QuoteState};

use crate::fare::{FareError, Measured, fare};
use crate::tariff::Tariff;

/// The aggregate.
#[derive(Debug, Clone, Copy)]
pub struct Quotes;

impl Aggregate for Quotes {
    const TYPE: &'static str = "quote";
    const SNAPSHOT_VERSION: u16 = 1;
    type State = QuoteState;
    type Command = QuoteCommand;
    type Event = QuoteEvent;
    type Refusal = QuoteRefusal;

    fn decide(
        state: &QuoteState,
        command: &QuoteCommand,
        context: &Context,
    ) -> Result<Vec<QuoteEvent>, QuoteRefusal> {
        decide::decide(state, command, context.now_ms)
    }

    fn evolve(state: &mut QuoteState, event: &QuoteEvent) {
        evolve::evolve(state, event);
    }

    fn encode(event: &QuoteEvent) -> Encoded {
        event.encode()
    }

    fn decode(event_type: &str, schema_version: u16, payload: &[u8]) -> Result<QuoteEvent, Unreadable> {
        QuoteEvent::decode(event_type, schema_version, payload)
    }
}

/// Prices a planned ride: pure. The surge is cut to what the tariff allows.
///
/// # Errors
/// [`FareError`] for a ride that cannot be priced.
pub fn quote(
    tariff: &Tariff,
    rider: &str,
    planned: Measured,
    surge_percent: u32,
    now_ms: i64,
) -> Result<Quote, FareError> {
    let surge_percent = surge_percent.clamp(100, tariff.surge_percent_max);
    let fare = fare(tariff, planned, surge_percent)?;
    Ok(Quote {
        rider: rider.to_owned(),
        tariff: tariff.code.clone(),
        tariff_version: tariff.version,
        planned,
        surge_percent,
        fare,
        given_ms: now_ms,
        valid_until_ms: now_ms.saturating_add_unsigned(tariff.quote_valid_s * 1_000),
    })
}
