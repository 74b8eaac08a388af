//! What one person may not do alone: the aggregate `approval`, run by the shell of business aggregates.
//!
//! It is bound to its content by a hash, waits for a second person for a bounded time, and is carried out once: what it
//! does has a request id of its own, so that whoever goes on after a crash does it again under the same name. Pure, but
//! for `lists`.

pub mod command;
pub mod decide;
pub mod error;
pub mod event;
pub mod evolve;
pub mod lists;
pub mod state;

use remuda_eventsourcing::{Aggregate, Context, Encoded, Unreadable};
use sha2::{Digest, Sha256};

pub use command::ApprovalCommand;
pub use decide::decide;
pub use error::ApprovalRefusal;
pub use event::{ApprovalEvent, Content, Person};
pub use evolve::evolve;
pub use state::{Approval, ApprovalPhase};

/// The aggregate `approval`.
#[derive(Debug, Clone, Copy)]
pub struct Approvals;

impl Aggregate for Approvals {
    const TYPE: &'static str = "approval";
    const SNAPSHOT_VERSION: u16 = 1;
    type State = Approval;
    type Command = ApprovalCommand;
    type Event = ApprovalEvent;
    type Refusal = ApprovalRefusal;

    fn decide(
        state: &Approval,
        command: &ApprovalCommand,
        context: &Context,
    ) -> Result<Vec<ApprovalEvent>, ApprovalRefusal> {
        decide(state, command, context)
    }

    fn evolve(state: &mut Approval, event: &ApprovalEvent) {
        evolve(state, event);
    }

    fn encode(event: &ApprovalEvent) -> Encoded {
        event.encode()
    }

    fn decode(event_type: &str, schema_version: u16, payload: &[u8]) -> Result<ApprovalEvent, Unreadable> {
        ApprovalEvent::decode(event_type, schema_version, payload)
    }
}

/// SHA-256 of what is to be done and who wants it.
pub fn digest(content: &Content, by: &Person) -> [u8; 32] {
    // Plain data always encodes.
    let bytes = postcard::to_allocvec(&("remuda approval 1", content, by)).unwrap_or_default();
    Sha256::digest(bytes).into()
}
