//! What a saga wants done now: data, which the runner carries out.

use super::state::{Phase, State, StepStatus};

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Call a step's action.
    Do {
        /// Its index.
        step: u16,
        /// Which try, from 1.
        attempt: u16,
    },
    /// Call a step's compensation; never while its action is still being called.
    Undo {
        /// Its index.
        step: u16,
        /// Which try, from 1.
        attempt: u16,
    },
    /// A timer is over: say so.
    Fire {
        /// Its index.
        step: u16,
    },
    /// Ask again then, ms since 1970 UTC.
    WakeAt(i64),
}

/// What is to be done now; nothing while it is stuck or has ended. Asked again, it answers the same until a fact changes
/// it: the runner knows what it has begun.
pub fn next(state: &State, now_ms: i64) -> Vec<Intent> {
    if state.stuck.is_some() {
        return Vec::new();
    }
    let due = |at_ms: i64, intent: Intent| if at_ms > now_ms { Intent::WakeAt(at_ms) } else { intent };
    match state.phase {
        Phase::Running => {
            let Some(stage) = state.stage_doing() else { return Vec::new() };
            let its_turn = state.each().filter(|(_, step, _)| step.stage == stage);
            its_turn
                .filter_map(|(step, _, s)| match s.status {
                    StepStatus::Open => Some(due(s.retry_at_ms, Intent::Do { step, attempt: s.tries + 1 })),
                    StepStatus::Waiting => Some(due(s.retry_at_ms, Intent::Fire { step })),
                    _ => None,
                })
                .collect()
        }
        Phase::Unwinding => {
            let Some(stage) = state.stage_undoing() else { return Vec::new() };
            let its_turn = state.each().filter(|(_, step, s)| step.stage == stage && s.needs_undo(step));
            its_turn
                .map(|(step, _, s)| {
                    due(s.retry_at_ms, Intent::Undo { step, attempt: s.tries.saturating_add(1) })
                })
                .collect()
        }
        Phase::Absent | Phase::Completed | Phase::Compensated => Vec::new(),
    }
}
