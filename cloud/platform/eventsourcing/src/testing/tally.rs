//! The smallest aggregate that has every case: for tests of the shell, of sagas and of projections.

use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Context, Encoded, Refusal, Unreadable};

/// A sum that may not go below zero and can be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally;

/// What is known of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TallyState {
    /// The sum.
    pub sum: i64,
    /// How many additions there were.
    pub additions: u64,
    /// Nothing may change any more.
    pub closed: bool,
}

/// A wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TallyCommand {
    /// Add this; nothing happens for zero.
    Add(i64),
    /// Add one, so many times.
    AddOnes(u32),
    /// Close it; nothing happens when it is closed.
    Close,
    /// Break the program.
    Panic,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TallyEvent {
    /// This was added.
    Added(i64),
    /// It was closed.
    Closed,
}

/// A no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TallyRefusal {
    /// It would go below zero.
    #[error("the sum may not go below zero")]
    BelowZero,
    /// It is closed.
    #[error("the tally is closed")]
    Closed,
}

impl Refusal for TallyRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::BelowZero => "below-zero",
            Self::Closed => "closed",
        }
    }
}

impl Aggregate for Tally {
    const TYPE: &'static str = "tally";
    const SNAPSHOT_VERSION: u16 = 1;
    type State = TallyState;
    type Command = TallyCommand;
    type Event = TallyEvent;
    type Refusal = TallyRefusal;

    fn decide(
        state: &TallyState,
        command: &TallyCommand,
        _: &Context,
    ) -> Result<Vec<TallyEvent>, TallyRefusal> {
        match command {
            TallyCommand::Panic => panic!("a test wanted this decision to panic"),
            TallyCommand::Close if state.closed => Ok(vec![]),
            TallyCommand::Close => Ok(vec![TallyEvent::Closed]),
            _ if state.closed => Err(TallyRefusal::Closed),
            TallyCommand::Add(0) => Ok(vec![]),
            TallyCommand::Add(n) if state.sum + n < 0 => Err(TallyRefusal::BelowZero),
            TallyCommand::Add(n) => Ok(vec![TallyEvent::Added(*n)]),
            TallyCommand::AddOnes(n) => Ok(vec![TallyEvent::Added(1); *n as usize]),
        }
    }

    fn evolve(state: &mut TallyState, event: &TallyEvent) {
        match event {
            TallyEvent::Added(n) => {
                state.sum += n;
                state.additions += 1;
            }
            TallyEvent::Closed => state.closed = true,
        }
    }

    fn encode(event: &TallyEvent) -> Encoded {
        // Version 1 of `tally.added` had an u32, before there were negative numbers.
        let (event_type, schema_version, payload) = match event {
            TallyEvent::Added(n) => ("tally.added", 2, postcard::to_allocvec(n)),
            TallyEvent::Closed => ("tally.closed", 1, Ok(vec![])),
        };
        Encoded { event_type, schema_version, payload: payload.expect("a number can be encoded") }
    }

    fn decode(event_type: &str, schema_version: u16, payload: &[u8]) -> Result<TallyEvent, Unreadable> {
        let unreadable =
            |reason: String| Unreadable { event_type: event_type.into(), schema_version, reason };
        match (event_type, schema_version) {
            ("tally.added", 1) => {
                let old: u32 = postcard::from_bytes(payload).map_err(|e| unreadable(e.to_string()))?;
                Ok(TallyEvent::Added(old.into()))
            }
            ("tally.added", 2) => {
                postcard::from_bytes(payload).map(TallyEvent::Added).map_err(|e| unreadable(e.to_string()))
            }
            ("tally.closed", 1) => Ok(TallyEvent::Closed),
            _ => Err(unreadable("no such form is known; a newer program may have written it".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{given, golden_event, written_now};

    #[test]
    fn the_kit_tells_what_happens() {
        given::<Tally>([TallyEvent::Added(3)])
            .when(TallyCommand::Add(-2))
            .then([TallyEvent::Added(-2)])
            .when(TallyCommand::Add(-2))
            .then_refused("below-zero")
            .when(TallyCommand::AddOnes(2))
            .then_events(|events| events.len() == 2)
            .then_state(|state| state.sum == 3 && state.additions == 4)
            .at(5)
            .by("user/ada")
            .when(TallyCommand::Close)
            .then([TallyEvent::Closed])
            .when(TallyCommand::Close)
            .then_nothing()
            .when(TallyCommand::Add(1))
            .then_refused("closed");
    }

    #[test]
    #[should_panic(expected = "was not refused")]
    fn the_kit_sees_what_should_have_been_refused() {
        let _ = given::<Tally>([]).when(TallyCommand::Add(1)).then_refused("closed");
    }

    #[test]
    #[should_panic(expected = "give its form a new version")]
    fn the_kit_sees_a_form_that_changed() {
        golden_event::<Tally>("tally.added", 2, "8600", &TallyEvent::Added(3));
    }

    #[test]
    fn old_forms_are_read() {
        golden_event::<Tally>("tally.added", 1, "ac02", &TallyEvent::Added(300));
        golden_event::<Tally>("tally.added", 2, "d804", &TallyEvent::Added(300));
        golden_event::<Tally>("tally.closed", 1, "", &TallyEvent::Closed);
        assert_eq!(written_now::<Tally>(&TallyEvent::Added(300)), "d804");
    }
}
