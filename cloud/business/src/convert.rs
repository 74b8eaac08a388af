//! From the domains' words to those of the contract.

use remuda_contracts::business::{BusinessError, SagaLine, SagaStepView, SagaView, TripView, UserView};
use remuda_entities::AskError;
use remuda_saga::aggregate::StepStatus;
use remuda_saga::{Entry, SagaError, Status, Summary};
use remuda_trips::lists::TripLine;
use remuda_users::lists::UserLine;
use remuda_users::state::UserPhase;

pub(crate) fn ask_error(error: AskError) -> BusinessError {
    match error {
        AskError::Refused { code, text } => BusinessError::Refused { code, text },
        AskError::Invalid { .. } => {
            BusinessError::Refused { code: "invalid".into(), text: error.to_string() }
        }
        other => BusinessError::Unavailable(other.to_string()),
    }
}

pub(crate) fn saga_error(error: SagaError, id: &str) -> BusinessError {
    match error {
        SagaError::Refused { ref code, .. } if code == "not-started" => {
            BusinessError::NotFound { what: "saga", id: id.to_owned() }
        }
        SagaError::Journal(reason) => BusinessError::Unavailable(reason),
        SagaError::Stopping | SagaError::Busy(_) => BusinessError::Unavailable(error.to_string()),
        other => BusinessError::Refused { code: other.code().to_owned(), text: other.to_string() },
    }
}

pub(crate) const fn status_name(status: Status) -> &'static str {
    match status {
        Status::Loading | Status::Running => "running",
        Status::Unwinding => "unwinding",
        Status::Stuck => "stuck",
        Status::Completed => "completed",
        Status::Compensated => "compensated",
    }
}

const fn step_name(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Pending => "pending",
        StepStatus::Open => "open",
        StepStatus::Waiting => "waiting",
        StepStatus::Succeeded => "done",
        StepStatus::Failed => "failed",
        StepStatus::Undone => "undone",
        StepStatus::Skipped => "skipped",
    }
}

pub(crate) fn saga_view(summary: &Summary) -> SagaView {
    SagaView {
        id: summary.id.id.clone(),
        definition: summary.saga.clone(),
        version: summary.version,
        state: status_name(summary.status),
        detail: match &summary.stuck_on {
            Some(step) => format!("stuck on {step}: {}", summary.reason),
            None => summary.reason.clone(),
        },
        started_ms: summary.started_ms,
        ended_ms: summary.ended_ms,
        steps: summary
            .steps
            .iter()
            .map(|step| SagaStepView {
                name: step.name.clone(),
                what: step.what.clone(),
                state: step_name(step.status).to_owned(),
                tries: u32::from(step.tries),
            })
            .collect(),
    }
}

pub(crate) fn saga_line(entry: Entry) -> SagaLine {
    SagaLine {
        time_ms: entry.time_ms,
        event: entry.event.to_owned(),
        step: entry.step.unwrap_or_default(),
        what: entry.what,
        by: entry.by,
    }
}

/// A trip, and what its saga has come to.
pub(crate) fn trip_view(id: &str, line: Option<TripLine>, saga: Option<&Summary>) -> TripView {
    let saga_state = saga.map_or("", |saga| status_name(saga.status));
    let state = match (&line, saga.map(|saga| saga.status)) {
        (Some(line), _) => line.phase.name(),
        (None, Some(Status::Compensated)) => "not-booked",
        (None, _) => "booking",
    };
    let line = line.unwrap_or_default();
    let started = saga.map_or(0, |saga| saga.started_ms);
    TripView {
        id: id.to_owned(),
        state,
        rider: line.rider,
        vehicle: line.vehicle,
        requested_ms: if line.requested_ms == 0 { started } else { line.requested_ms },
        changed_ms: line.changed_ms.max(saga.and_then(|saga| saga.ended_ms).unwrap_or(0)),
        distance_m: line.distance_m,
        saga: saga_state,
        detail: saga.map(|saga| saga.reason.clone()).unwrap_or_default(),
    }
}

const fn phase_name(phase: UserPhase) -> &'static str {
    match phase {
        UserPhase::Unknown => "unknown",
        UserPhase::Active => "active",
        UserPhase::Suspended => "suspended",
        UserPhase::Erasing => "erasing",
        UserPhase::Erased => "erased",
    }
}

pub(crate) fn user_view(line: UserLine) -> UserView {
    UserView {
        id: line.user,
        state: phase_name(line.phase),
        available: line.available,
        held: line.held,
        registered_ms: line.registered_ms,
    }
}

/// A user as its own aggregate says, which is newer than any list.
pub(crate) fn user_now(id: &str, user: &remuda_users::User) -> UserView {
    UserView {
        id: id.to_owned(),
        state: phase_name(user.phase),
        available: user.credits.available,
        held: user.credits.held(),
        registered_ms: user.registered_ms,
    }
}
