//! Trips: booked rides, moved on by what the vehicle reports (DESIGN D15).
//!
//! Owns: the aggregate `trip`, the watch that turns positions into reports about fences, live tracking (position, ETA) and
//! share links. Deliberately absent: journeys (driving found in telemetry, booked or not), money (billing reads
//! [`TripCompleted`](remuda_contracts::trips::TripCompleted)), and which vehicle takes a trip (the dispatcher).
//!
//! No wish moves a trip under way: an operator may end it by hand, with a reason, when its vehicle has vanished.

pub mod command;
pub mod decide;
pub mod error;
pub mod event;
pub mod evolve;
pub mod fences;
pub mod limits;
pub mod lists;
pub mod making;
pub mod route;
pub mod service;
pub mod share;
pub mod state;
pub mod tracking;

use remuda_eventsourcing::{Aggregate, Context, Encoded, Unreadable};

pub use command::TripCommand;
pub use decide::decide;
pub use error::TripRefusal;
pub use event::TripEvent;
pub use evolve::evolve;
pub use lists::{TripDirectory, TripLists};
pub use service::TripService;
pub use state::Trip;

/// The aggregate `trip`.
#[derive(Debug, Clone, Copy)]
pub struct Trips;

impl Aggregate for Trips {
    const TYPE: &'static str = "trip";
    const SNAPSHOT_VERSION: u16 = 2;
    type State = Trip;
    type Command = TripCommand;
    type Event = TripEvent;
    type Refusal = TripRefusal;

    fn decide(state: &Trip, command: &TripCommand, context: &Context) -> Result<Vec<TripEvent>, TripRefusal> {
        decide(state, command, context)
    }

    fn evolve(state: &mut Trip, event: &TripEvent) {
        evolve(state, event);
    }

    fn encode(event: &TripEvent) -> Encoded {
        event.encode()
    }

    fn decode(event_type: &str, schema_version: u16, payload: &[u8]) -> Result<TripEvent, Unreadable> {
        TripEvent::decode(event_type, schema_version, payload)
    }
}
