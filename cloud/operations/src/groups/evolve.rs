//! What a fact does to a group command. Cannot fail.

use super::event::{GroupEvent, Steered};
use super::state::{Group, Line, Member, Outcome, Phase};
use crate::limits;

impl Line {
    fn turn(&mut self, phase: Phase, e: &Steered) {
        self.phase = phase;
        self.phase_by.clone_from(&e.by);
        self.phase_reason.clone_from(&e.reason);
        self.changed_ms = e.time_ms;
    }

    /// Takes a fact in.
    pub fn take(&mut self, event: &GroupEvent) {
        use GroupEvent as E;
        self.events += 1;
        match event {
            E::Created(e) => {
                let by = e.spec.requested_by.clone();
                self.vehicles = e.vehicles;
                self.digest = e.digest;
                (self.created_ms, self.phase_by) = (e.time_ms, by);
                self.changed_ms = e.time_ms;
                self.phase_reason = e.because.clone().unwrap_or_else(|| e.spec.reason.clone());
                self.phase = if e.because.is_some() { Phase::AwaitingApproval } else { Phase::Running };
                self.spec = Some(e.spec.clone());
            }
            E::VehiclesNamed(_) => {}
            E::Approved(e) => self.turn(Phase::Running, e),
            E::Denied(e) => self.turn(Phase::Denied, e),
            E::Dispatched(e) => {
                self.dispatched = e.from + e.count;
                self.changed_ms = e.time_ms;
            }
            E::Settled(e) => {
                for (_, outcome, _) in &e.endings {
                    self.ended[*outcome as usize] += 1;
                }
                self.changed_ms = e.time_ms;
            }
            E::Paused(e) => self.turn(Phase::Paused, e),
            E::Resumed(e) => {
                self.base = self.answers();
                self.turn(Phase::Running, e);
            }
            E::Aborted(e) => self.turn(Phase::Aborting, e),
            E::Completed(e) => {
                self.phase = match self.phase {
                    Phase::Aborting => Phase::Aborted,
                    _ => Phase::Completed,
                };
                self.changed_ms = e.time_ms;
            }
        }
    }
}

/// Takes a fact in.
pub fn evolve(state: &mut Group, event: &GroupEvent) {
    state.line.take(event);
    let at = state.line.events;
    match event {
        GroupEvent::VehiclesNamed(e) => {
            let waiting = |vehicle| Member { vehicle, outcome: Outcome::Waiting, at };
            state.members.extend(e.vehicles.iter().copied().map(waiting));
        }
        GroupEvent::Dispatched(e) => {
            let turn = state.members.iter_mut().skip(e.from as usize).take(e.count as usize);
            turn.for_each(|member| (member.outcome, member.at) = (Outcome::Given, at));
        }
        GroupEvent::Settled(e) => {
            for (index, outcome, detail) in &e.endings {
                let Some(member) = state.members.get_mut(*index as usize) else { continue };
                (member.outcome, member.at) = (*outcome, at);
                if !detail.is_empty() && state.details.len() < limits::DETAILS_MAX {
                    state.details.insert(*index, detail.clone());
                }
            }
        }
        _ => {}
    }
}
