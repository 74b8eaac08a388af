//! Taking over policies (docs/uplink.md section 8): parsed, made durable, and only then followed and reported.

use std::sync::Arc;

use remuda_policy::Policy;
use remuda_wire::{Policy as Sent, PolicyRefused, limits as wire_limits};

use super::{Agent, Saving, Settings};
use crate::state::SavedState;

/// Which policy is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct InForce {
    /// 0 = the built-in one.
    pub revision: u32,
    pub fingerprint: u32,
}

impl InForce {
    fn of(policy: &Sent) -> Self {
        Self { revision: policy.revision, fingerprint: policy.fingerprint() }
    }
}

/// What an agent begins with: the policy it remembers, if it may and can follow it, or the built-in one.
pub(super) fn remembered(
    settings: &Settings,
    state: &SavedState,
) -> (InForce, Arc<Policy>, Option<PolicyRefused>) {
    let built_in = || Arc::clone(&settings.policy);
    let Some(sent) = state.policy.as_ref().filter(|_| settings.follow_policy) else {
        return (InForce::default(), built_in(), None);
    };
    match Policy::parse(&sent.document) {
        Ok(policy) => (InForce::of(sent), Arc::new(policy), None),
        // Taken over by a newer agent, before this one was put back.
        Err(error) => (InForce::default(), built_in(), Some(refused(sent.revision, &error.to_string()))),
    }
}

fn refused(revision: u32, reason: &str) -> PolicyRefused {
    let mut end = reason.len().min(wire_limits::TEXT_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    PolicyRefused { revision, reason: reason[..end].to_owned() }
}

impl Agent {
    /// Any other one than the newest known is taken over: a vehicle that moves to another cohort may get an older one.
    pub(super) fn handle_policy(&mut self, sent: Sent, now: u64) {
        if !self.settings.follow_policy {
            let reason = "this agent keeps the policy that its own configuration names";
            return self.refuse_policy(sent.revision, reason, now);
        }
        let known = self.state.policy.as_ref();
        let is_known = known.map_or(sent.revision == 0, |known| *known == sent);
        // What is known and still refused was saved by a newer agent, and is no more readable than before.
        if is_known && self.policy_refused.is_none() {
            return self.report_soon(now);
        }
        let compiled = match sent.revision {
            0 => Ok(Arc::clone(&self.settings.policy)),
            _ => Policy::parse(&sent.document).map(Arc::new),
        };
        match compiled {
            Ok(policy) => {
                let in_force = InForce::of(&sent);
                self.state.policy = (sent.revision != 0).then_some(sent);
                self.save_then(Saving::Policy(in_force, policy));
            }
            Err(error) => self.refuse_policy(sent.revision, &error.to_string(), now),
        }
    }

    fn refuse_policy(&mut self, revision: u32, reason: &str, now: u64) {
        self.policy_refused = Some(refused(revision, reason));
        self.report_soon(now);
    }

    /// The policy is durable: from here on it counts.
    pub(super) fn apply_policy(&mut self, in_force: InForce, policy: Arc<Policy>, now: u64) {
        self.intake.set_policy(policy);
        self.in_force = in_force;
        self.policy_refused = None;
        self.figures.policies_applied += 1;
        self.report_soon(now);
        self.weigh(now);
    }
}
