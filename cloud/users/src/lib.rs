//! Users: riders, drivers and staff, their credits and their privacy.
//!
//! Owns: the aggregate `user` (profile, roles, preferences, consent, licences, driving hours, credits), the keys that
//! open personal data, export and erasure. Deliberately absent: who may call what (identity), and payments (billing).
//!
//! Personal fields are encrypted *before* a command reaches [`decide()`]: commands, events and state hold
//! [`Sealed`](remuda_contracts::sealed::Sealed) values that pure code carries and compares, never reads (I10).

pub mod command;
pub mod credits;
pub mod decide;
pub mod error;
pub mod event;
pub mod evolve;
pub mod hours;
pub mod limits;
pub mod lists;
pub mod privacy;
pub mod returning;
pub mod service;
pub mod state;

use remuda_eventsourcing::{Aggregate, Context, Encoded, Unreadable};

pub use command::UserCommand;
pub use decide::decide;
pub use error::UserRefusal;
pub use event::UserEvent;
pub use evolve::evolve;
pub use lists::{UserDirectory, UserLists};
pub use service::{UserError, UserService};
pub use state::User;

/// The aggregate `user`.
#[derive(Debug, Clone, Copy)]
pub struct Users;

impl Aggregate for Users {
    const TYPE: &'static str = "user";
    const SNAPSHOT_VERSION: u16 = 1;
    type State = User;
    type Command = UserCommand;
    type Event = UserEvent;
    type Refusal = UserRefusal;

    fn decide(state: &User, command: &UserCommand, context: &Context) -> Result<Vec<UserEvent>, UserRefusal> {
        decide(state, command, context)
    }

    fn evolve(state: &mut User, event: &UserEvent) {
        evolve(state, event);
    }

    fn encode(event: &UserEvent) -> Encoded {
        event.encode()
    }

    fn decode(event_type: &str, schema_version: u16, payload: &[u8]) -> Result<UserEvent, Unreadable> {
        UserEvent::decode(event_type, schema_version, payload)
    }
}
