//! What a vehicle is: model, capabilities, sensors, firmware, where it belongs, how far it has driven, when service is due.
//!
//! One aggregate `vehicle-registry` per vehicle. Pure, but for `counting` and `lists`. Words, states and refusals: README.md here.

pub mod command;
pub mod counting;
pub mod decide;
pub mod error;
pub mod event;
pub mod evolve;
pub mod limits;
pub mod lists;
pub mod state;

use remuda_eventsourcing::{Aggregate, Context, Encoded, Unreadable};

pub use command::RegistryCommand;
pub use counting::CountTrips;
pub use decide::decide;
pub use error::RegistryRefusal;
pub use event::RegistryEvent;
pub use evolve::evolve;
pub use lists::{PartOf, RecordDirectory, RecordLine, RecordLists, RecordsOf};
pub use state::{VehicleDetails, VehicleRecord};

/// The aggregate `vehicle-registry`.
#[derive(Debug, Clone, Copy)]
pub struct Registry;

impl Aggregate for Registry {
    const TYPE: &'static str = "vehicle-registry";
    const SNAPSHOT_VERSION: u16 = 1;
    type State = VehicleRecord;
    type Command = RegistryCommand;
    type Event = RegistryEvent;
    type Refusal = RegistryRefusal;

    fn decide(
        state: &VehicleRecord,
        command: &RegistryCommand,
        context: &Context,
    ) -> Result<Vec<RegistryEvent>, RegistryRefusal> {
        decide(state, command, context)
    }

    fn evolve(state: &mut VehicleRecord, event: &RegistryEvent) {
        evolve(state, event);
    }

    fn encode(event: &RegistryEvent) -> Encoded {
        event.encode()
    }

    fn decode(event_type: &str, schema_version: u16, payload: &[u8]) -> Result<RegistryEvent, Unreadable> {
        RegistryEvent::decode(event_type, schema_version, payload)
    }
}
