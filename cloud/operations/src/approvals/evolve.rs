//! What a fact does to something that needs a second person. Cannot fail.

use super::event::ApprovalEvent;
use super::state::{Approval, ApprovalPhase};

/// Takes a fact in.
pub fn evolve(state: &mut Approval, event: &ApprovalEvent) {
    use ApprovalEvent as E;
    match event {
        E::Asked(e) => {
            state.asked = Some(e.clone());
            (state.phase, state.changed_ms) = (ApprovalPhase::Pending, e.time_ms);
        }
        E::Approved(e) => (state.phase, state.changed_ms) = (ApprovalPhase::Approved(e.clone()), e.time_ms),
        E::Denied(e) => (state.phase, state.changed_ms) = (ApprovalPhase::Denied(e.clone()), e.time_ms),
        E::Expired(e) => (state.phase, state.changed_ms) = (ApprovalPhase::Expired, e.time_ms),
        E::Concluded(e) => {
            state.result = Some(e.result.clone());
            state.changed_ms = e.time_ms;
        }
    }
}
