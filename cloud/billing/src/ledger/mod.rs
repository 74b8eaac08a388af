//! The aggregate `ledger`: the double-entry accounts of one payer; its id is the payer's.
//!
//! Every transaction sums to zero in each currency, so does every ledger, and so do all of them together. A
//! ledger per payer keeps writers apart; the organisation's balance is the projection [`TrialBalance`].

mod accounts;
mod command;
mod decide;
mod error;
mod event;
mod evolve;
mod postings;
mod state;
mod trial_balance;

use remuda_eventsourcing::{Aggregate, Context, Encoded, Unreadable};

pub use accounts::{Account, Line, Transaction};
pub use command::LedgerCommand;
pub use error::LedgerRefusal;
pub use event::{LedgerEvent, Recorded};
pub use postings::{Posting, posting};
pub use state::LedgerState;
pub use trial_balance::TrialBalance;

/// The aggregate.
#[derive(Debug, Clone, Copy)]
pub struct Ledger;

impl Aggregate for Ledger {
    const TYPE: &'static str = "ledger";
    const SNAPSHOT_VERSION: u16 = 1;
    type State = LedgerState;
    type Command = LedgerCommand;
    type Event = LedgerEvent;
    type Refusal = LedgerRefusal;

    fn decide(
        state: &LedgerState,
        command: &LedgerCommand,
        _: &Context,
    ) -> Result<Vec<LedgerEvent>, LedgerRefusal> {
        decide::decide(state, command)
    }

    fn evolve(state: &mut LedgerState, event: &LedgerEvent) {
        evolve::evolve(state, event);
    }

    fn encode(event: &LedgerEvent) -> Encoded {
        event.encode()
    }

    fn decode(event_type: &str, schema_version: u16, payload: &[u8]) -> Result<LedgerEvent, Unreadable> {
        LedgerEvent::decode(event_type, schema_version, payload)
    }
}
