//! The aggregate `payment`: one ride's money, from hold to refund. Its id is the ride's.
//!
//! Every call to the provider is an *operation*: requested (durable), then called as often as it takes under
//! one key, then answered (durable). [`plan`] says what is to be done next; whoever does it may die at any
//! time and ask again.

mod command;
mod decide;
mod error;
mod event;
mod evolve;
mod plan;
mod state;

use remuda_eventsourcing::{Aggregate, Context, Encoded, Unreadable};

pub use command::{Outcome, PaymentCommand};
pub use error::PaymentRefusal;
pub use event::{
    CaptureRequested, Captured, Charged, CreditNoted, Declined, HoldPlaced, HoldRequested, Invoiced,
    PaymentEvent, Posted, RefundRequested, Refunded, TriedAgain, VoidRequested, Voided, WrittenOff,
};
pub use plan::{Step, needs_attention, plan};
pub use state::{Charge, Entry, Method, Operation, OperationKind, PaymentState, Refund, Status};

/// The aggregate.
#[derive(Debug, Clone, Copy)]
pub struct Payment;

impl Aggregate for Payment {
    const TYPE: &'static str = "payment";
    const SNAPSHOT_VERSION: u16 = 2;
    type State = PaymentState;
    type Command = PaymentCommand;
    type Event = PaymentEvent;
    type Refusal = PaymentRefusal;

    fn decide(
        state: &PaymentState,
        command: &PaymentCommand,
        context: &Context,
    ) -> Result<Vec<PaymentEvent>, PaymentRefusal> {
        decide::decide(state, command, context.now_ms)
    }

    fn evolve(state: &mut PaymentState, event: &PaymentEvent) {
        evolve::evolve(state, event);
    }

    fn encode(event: &PaymentEvent) -> Encoded {
        event.encode()
    }

    fn decode(event_type: &str, schema_version: u16, payload: &[u8]) -> Result<PaymentEvent, Unreadable> {
        PaymentEvent::decode(event_type, schema_version, payload)
    }
}
