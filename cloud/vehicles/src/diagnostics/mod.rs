//! Trouble codes of a vehicle (DTCs): what its ECUs complain of, since when, how often, and who has looked at it.
//!
//! One aggregate `vehicle-diagnostics` per vehicle. Pure, but for `lists`. Words, states and refusals: README.md here.

pub mod command;
pub mod decide;
pub mod error;
pub mod event;
pub mod evolve;
pub mod limits;
pub mod lists;
pub mod state;

use remuda_eventsourcing::{Aggregate, Context, Encoded, Unreadable};

pub use command::DiagnosticsCommand;
pub use decide::decide;
pub use error::DiagnosticsRefusal;
pub use event::DiagnosticsEvent;
pub use evolve::evolve;
pub use lists::{TroubleDirectory, TroubleLine, TroubleLists};
pub use state::{Dtc, DtcKey, Severity, Troubles};

/// The aggregate `vehicle-diagnostics`.
#[derive(Debug, Clone, Copy)]
pub struct Diagnostics;

impl Aggregate for Diagnostics {
    const TYPE: &'static str = "vehicle-diagnostics";
    const SNAPSHOT_VERSION: u16 = 1;
    type State = Troubles;
    type Command = DiagnosticsCommand;
    type Event = DiagnosticsEvent;
    type Refusal = DiagnosticsRefusal;

    fn decide(
        state: &Troubles,
        command: &DiagnosticsCommand,
        context: &Context,
    ) -> Result<Vec<DiagnosticsEvent>, DiagnosticsRefusal> {
        decide(state, command, context)
    }

    fn evolve(state: &mut Troubles, event: &DiagnosticsEvent) {
        evolve(state, event);
    }

    fn encode(event: &DiagnosticsEvent) -> Encoded {
        event.encode()
    }

    fn decode(event_type: &str, schema_version: u16, payload: &[u8]) -> Result<DiagnosticsEvent, Unreadable> {
        DiagnosticsEvent::decode(event_type, schema_version, payload)
    }
}
