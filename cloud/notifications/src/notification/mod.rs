//! The aggregate `notification`: one message to one person over one channel. Its id is the message's key and
//! the channel, so that asking twice sends once.

mod command;
mod decide;
mod error;
mod event;
mod evolve;
mod state;

use remuda_eventsourcing::{Aggregate, Context, Encoded, Unreadable};

pub use command::NotificationCommand;
pub use decide::jitter;
pub use error::NotificationRefusal;
pub use event::{
    Acknowledged, Cancelled, DeadLettered, Failed, NotificationEvent, Read, Rendered, Requested, Retried,
    Sent,
};
pub use state::{NotificationState, Request, Status};

/// The aggregate.
#[derive(Debug, Clone, Copy)]
pub struct Notification;

impl Aggregate for Notification {
    const TYPE: &'static str = "notification";
    const SNAPSHOT_VERSION: u16 = 1;
    type State = NotificationState;
    type Command = NotificationCommand;
    type Event = NotificationEvent;
    type Refusal = NotificationRefusal;

    fn decide(
        state: &NotificationState,
        command: &NotificationCommand,
        context: &Context,
    ) -> Result<Vec<NotificationEvent>, NotificationRefusal> {
        decide::decide(state, command, context)
    }

    fn evolve(state: &mut NotificationState, event: &NotificationEvent) {
        evolve::evolve(state, event);
    }

    fn encode(event: &NotificationEvent) -> Encoded {
        event.encode()
    }

    fn decode(
        event_type: &str,
        schema_version: u16,
        payload: &[u8],
    ) -> Result<NotificationEvent, Unreadable> {
        NotificationEvent::decode(event_type, schema_version, payload)
    }
}
