//! The aggregate `invoices`: the book of one year; its id is the year. It gives the numbers, without a gap,
//! since number and document are one event.

mod command;
mod decide;
mod document;
mod error;
mod event;
mod evolve;
mod font;
mod pdf;
mod state;

use remuda_eventsourcing::{Aggregate, Context, Encoded, Unreadable};

pub use command::InvoicesCommand;
pub use document::{Buyer, Document, DocumentKind, DocumentLine, IssuedDocument, Seller};
pub use error::InvoicesRefusal;
pub use event::{Confirmed, InvoicesEvent, Issued};
pub use pdf::pdf;
pub use state::InvoicesState;

/// The aggregate.
#[derive(Debug, Clone, Copy)]
pub struct Invoices;

impl Aggregate for Invoices {
    const TYPE: &'static str = "invoices";
    const SNAPSHOT_VERSION: u16 = 1;
    type State = InvoicesState;
    type Command = InvoicesCommand;
    type Event = InvoicesEvent;
    type Refusal = InvoicesRefusal;

    fn decide(
        state: &InvoicesState,
        command: &InvoicesCommand,
        context: &Context,
    ) -> Result<Vec<InvoicesEvent>, InvoicesRefusal> {
        decide::decide(state, command, context.now_ms)
    }

    fn evolve(state: &mut InvoicesState, event: &InvoicesEvent) {
        evolve::evolve(state, event);
    }

    fn encode(event: &InvoicesEvent) -> Encoded {
        event.encode()
    }

    fn decode(event_type: &str, schema_version: u16, payload: &[u8]) -> Result<InvoicesEvent, Unreadable> {
        InvoicesEvent::decode(event_type, schema_version, payload)
    }
}
