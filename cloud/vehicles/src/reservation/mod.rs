//! Who has a vehicle: one holder at a time.
//!
//! One aggregate `vehicle-reservation` per vehicle, beside the vehicle's own stream and run by the shell of business aggregates:
//! bookings must be able to wait for it without waiting for telemetry. Pure, but for `lists`, `service` and `giving_back`. Words, states and refusals: README.md here.

pub mod command;
pub mod decide;
pub mod error;
pub mod event;
pub mod evolve;
pub mod giving_back;
pub mod limits;
pub mod lists;
pub mod service;
pub mod state;

use remuda_eventsourcing::{Aggregate, Context, Encoded, Unreadable};

pub use command::ReservationCommand;
pub use decide::decide;
pub use error::ReservationRefusal;
pub use event::ReservationEvent;
pub use evolve::evolve;
pub use giving_back::ReleaseVehicles;
pub use lists::{AvailabilityDirectory, AvailabilityLists};
pub use service::VehicleService;
pub use state::{Availability, Reservation};

/// The aggregate `vehicle-reservation`.
#[derive(Debug, Clone, Copy)]
pub struct Reservations;

impl Aggregate for Reservations {
    const TYPE: &'static str = "vehicle-reservation";
    const SNAPSHOT_VERSION: u16 = 1;
    type State = Availability;
    type Command = ReservationCommand;
    type Event = ReservationEvent;
    type Refusal = ReservationRefusal;

    fn decide(
        state: &Availability,
        command: &ReservationCommand,
        context: &Context,
    ) -> Result<Vec<ReservationEvent>, ReservationRefusal> {
        decide(state, command, context)
    }

    fn evolve(state: &mut Availability, event: &ReservationEvent) {
        evolve(state, event);
    }

    fn encode(event: &ReservationEvent) -> Encoded {
        event.encode()
    }

    fn decode(event_type: &str, schema_version: u16, payload: &[u8]) -> Result<ReservationEvent, Unreadable> {
        ReservationEvent::decode(event_type, schema_version, payload)
    }
}
