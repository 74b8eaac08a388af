//! A command for many vehicles: the aggregate `command-group`, run by the shell of business aggregates.
//!
//! Its vehicles are named when it is created and never change. A vehicle's turn is written down before it is told
//! anything, and its command's request id follows from the group's id: whoever goes on after a crash asks again under the
//! same name, and the vehicle gets its command once. Pure, but for `runner` and `lists`.

pub mod command;
pub mod decide;
pub mod error;
pub mod event;
pub mod evolve;
pub mod lists;
pub(crate) mod runner;
pub mod state;

use remuda_eventsourcing::{Aggregate, Context, Encoded, Unreadable};
use remuda_model::VehicleId;
use sha2::{Digest, Sha256};

pub use command::{Ending, GroupCommand};
pub use decide::decide;
pub use error::GroupRefusal;
pub use event::{GroupEvent, Spec, Threshold};
pub use evolve::evolve;
pub use state::{Group, Line, Member, Outcome, Phase};

/// All outcomes.
pub const OUTCOMES: [Outcome; Outcome::COUNT] = [
    Outcome::Waiting,
    Outcome::Given,
    Outcome::Done,
    Outcome::Failed,
    Outcome::Expired,
    Outcome::Refused,
    Outcome::Unknown,
    Outcome::Cancelled,
    Outcome::Rejected,
];

/// The aggregate `command-group`.
#[derive(Debug, Clone, Copy)]
pub struct Groups;

impl Aggregate for Groups {
    const TYPE: &'static str = "command-group";
    const SNAPSHOT_VERSION: u16 = 1;
    type State = Group;
    type Command = GroupCommand;
    type Event = GroupEvent;
    type Refusal = GroupRefusal;

    fn decide(
        state: &Group,
        command: &GroupCommand,
        context: &Context,
    ) -> Result<Vec<GroupEvent>, GroupRefusal> {
        decide(state, command, context)
    }

    fn evolve(state: &mut Group, event: &GroupEvent) {
        evolve(state, event);
    }

    fn encode(event: &GroupEvent) -> Encoded {
        event.encode()
    }

    fn decode(event_type: &str, schema_version: u16, payload: &[u8]) -> Result<GroupEvent, Unreadable> {
        GroupEvent::decode(event_type, schema_version, payload)
    }
}

/// SHA-256 of everything that a group command says: what a second person agrees to.
pub fn digest(spec: &Spec, vehicles: &[VehicleId]) -> [u8; 32] {
    // Plain data always encodes.
    let bytes = postcard::to_allocvec(&("remuda command group 1", spec, vehicles)).unwrap_or_default();
    Sha256::digest(bytes).into()
}

/// The request id of a vehicle's command: the same for the same group, always.
pub fn request_id(group: &str) -> String {
    format!("group-{group}")
}
