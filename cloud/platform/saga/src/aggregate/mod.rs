//! A saga as an aggregate: pure, so that everything it will ever do follows from its events.

mod back_off;
mod command;
mod decide;
mod error;
mod event;
mod evolve;
mod next;
mod state;

use remuda_eventsourcing::{Aggregate, Context, Encoded, Unreadable};

pub use command::Command;
pub use error::SagaRefusal;
pub use event::{
    Cause, Compensated, Completed, Failure, FailureKind, OperatorRetried, OperatorSkipped, SagaEvent,
    Started, StepFailed, StepSucceeded, StepUndone, StepsClosed, StepsOpened, Stuck, StuckWhy, TimerFired,
    TimerSet, TryFailed, UndoFailed, UndoTryFailed, UnwindingBegun,
};
pub use next::{Intent, next};
pub use state::{Phase, State, StepState, StepStatus};

/// The aggregate.
#[derive(Debug, Clone, Copy)]
pub struct Saga;

impl Aggregate for Saga {
    const TYPE: &'static str = "saga";
    const SNAPSHOT_VERSION: u16 = 1;

    type State = State;
    type Command = Command;
    type Event = SagaEvent;
    type Refusal = SagaRefusal;

    fn decide(state: &State, command: &Command, context: &Context) -> Result<Vec<SagaEvent>, SagaRefusal> {
        decide::decide(state, command, context)
    }

    fn evolve(state: &mut State, event: &SagaEvent) {
        evolve::evolve(state, event);
    }

    fn encode(event: &SagaEvent) -> Encoded {
        event.encode()
    }

    fn decode(event_type: &str, schema_version: u16, payload: &[u8]) -> Result<SagaEvent, Unreadable> {
        SagaEvent::decode(event_type, schema_version, payload)
    }
}
