//! What a vehicle asks people: the aggregate `assistance`, run by the shell of business aggregates (docs/assistance.md).
//!
//! The question and what became of it are the vehicle's word; who takes it and who answers are people's. The answer goes
//! out as a command of the vehicle domain, so that it is signed, expires and is obeyed at most once. Pure, but for `desk`,
//! `lists` and `runner`.

pub mod command;
pub mod decide;
pub(crate) mod desk;
pub mod error;
pub mod event;
pub mod evolve;
pub mod lists;
pub(crate) mod runner;
pub mod state;

use remuda_eventsourcing::{Aggregate, Context, Encoded, Unreadable};
use remuda_model::{OrganizationId, VehicleId};
use sha2::{Digest, Sha256};

pub use command::AssistanceCommand;
pub use decide::decide;
pub use error::AssistanceRefusal;
pub use event::AssistanceEvent;
pub use evolve::evolve;
pub use state::{Assistance, Ending, Phase};

/// The aggregate `assistance`.
#[derive(Debug, Clone, Copy)]
pub struct Requests;

impl Aggregate for Requests {
    const TYPE: &'static str = "assistance";
    const SNAPSHOT_VERSION: u16 = 2;
    type State = Assistance;
    type Command = AssistanceCommand;
    type Event = AssistanceEvent;
    type Refusal = AssistanceRefusal;

    fn decide(
        state: &Assistance,
        command: &AssistanceCommand,
        context: &Context,
    ) -> Result<Vec<AssistanceEvent>, AssistanceRefusal> {
        decide(state, command, context)
    }

    fn evolve(state: &mut Assistance, event: &AssistanceEvent) {
        evolve(state, event);
    }

    fn encode(event: &AssistanceEvent) -> Encoded {
        event.encode()
    }

    fn decode(event_type: &str, schema_version: u16, payload: &[u8]) -> Result<AssistanceEvent, Unreadable> {
        AssistanceEvent::decode(event_type, schema_version, payload)
    }
}

/// The id of a request follows from who asks and what the vehicle calls its question: no vehicle can speak of another's.
pub fn id_of(organization: &OrganizationId, vehicle: &VehicleId, question: &[u8; 16]) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("remuda assistance\0{organization}\0{vehicle}\0"));
    hash.update(question);
    hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}
