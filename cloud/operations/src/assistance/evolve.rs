//! What a fact does to a request for assistance. Cannot fail.

use super::event::AssistanceEvent;
use super::state::{Assistance, Ending, Phase};

/// Takes a fact in.
pub fn evolve(state: &mut Assistance, event: &AssistanceEvent) {
    use AssistanceEvent as E;
    state.changed_ms = match event {
        E::Asked(e) => {
            (state.asked, state.phase) = (Some(e.clone()), Phase::Waiting);
            e.time_ms
        }
        E::Taken(e) => {
            (state.taken, state.phase) = (Some(e.clone()), Phase::Taken);
            e.time_ms
        }
        E::Released(e) => {
            (state.taken, state.phase) = (None, Phase::Waiting);
            e.time_ms
        }
        E::Answered(e) => {
            (state.answered, state.phase) = (Some(e.clone()), Phase::Answered);
            state.not_given.clear();
            e.time_ms
        }
        E::Given(e) => {
            match &e.given {
                Ok(command) => state.given = Some(command.clone()),
                Err(why) => returned(state, why),
            }
            e.time_ms
        }
        E::Returned(e) => {
            returned(state, &e.why);
            e.time_ms
        }
        E::Expired(e) => {
            state.phase = Phase::Expired;
            e.time_ms
        }
        E::Decided(e) => {
            state.decided = Some(*e);
            e.time_ms
        }
        E::Acted(e) => {
            state.ending = Some(Ending::Acted(e.outcome.clone()));
            e.time_ms
        }
        E::Forgotten(e) => {
            state.ending = Some(Ending::Forgotten);
            e.time_ms
        }
    };
}

fn returned(state: &mut Assistance, why: &str) {
    (state.answered, state.given, state.phase) = (None, None, Phase::Taken);
    state.returns = state.returns.saturating_add(1);
    why.clone_into(&mut state.not_given);
}
