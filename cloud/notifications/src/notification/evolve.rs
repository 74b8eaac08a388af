//! What a fact changes.

use super::{NotificationEvent, NotificationState, Status};

pub(super) fn evolve(state: &mut NotificationState, event: &NotificationEvent) {
    match event {
        NotificationEvent::Requested(e) => {
            state.status = Status::Requested;
            state.request = Some(e.request.clone());
            state.since_ms = e.time_ms;
            state.due_ms = e.time_ms;
        }
        NotificationEvent::Rendered(e) => {
            state.status = Status::Rendered;
            state.due_ms = e.not_before_ms;
        }
        NotificationEvent::Sent(_) => {
            state.status = Status::Sent;
            state.attempts += 1;
        }
        NotificationEvent::Failed(e) => {
            state.status = Status::Failed;
            state.attempts += 1;
            state.due_ms = e.retry_at_ms;
            state.last_failure = Some(e.reason.clone());
        }
        NotificationEvent::DeadLettered(e) => {
            state.status = Status::DeadLetter;
            state.attempts += 1;
            state.last_failure = Some(e.reason.clone());
        }
        NotificationEvent::Retried(e) => {
            state.status = Status::Requested;
            state.since_ms = e.time_ms;
            state.due_ms = e.time_ms;
            state.attempts = 0;
            if let Some(request) = &mut state.request {
                request.expires_ms = e.expires_ms;
            }
        }
        NotificationEvent::Read(_) => state.status = Status::Read,
        NotificationEvent::Acknowledged(_) => state.status = Status::Acknowledged,
        NotificationEvent::Cancelled(_) => state.status = Status::Cancelled,
    }
}
