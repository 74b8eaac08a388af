//! Why a call is refused: one table from reasons to gRPC statuses.

use std::collections::HashMap;

use remuda_api::ERROR_DOMAIN;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Everything the console says no with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The call carries no token, or another one.
    #[error("a valid token is wanted, as metadata `authorization: Bearer TOKEN`")]
    Unauthenticated,
    /// The token is for another organization.
    #[error("this token does not reach the organization `{0}`")]
    ForeignOrganization(String),
    /// There is no such vehicle.
    #[error("there is no vehicle `{0}`")]
    NoSuchVehicle(String),
    /// A field of the request cannot be used: its name and why.
    #[error("{field}: {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// Why.
        problem: String,
    },
    /// Too many streams are open.
    #[error("{0} streams are open, which is the most; try again later")]
    TooManyWatchers(usize),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// The caller's deadline has passed.
    #[error("the call's deadline has passed")]
    DeadlinePassed,
    /// There is no such method.
    #[error("there is no method `{0}`")]
    NoSuchMethod(String),
}

impl Refusal {
    /// The status code and the stable reason.
    pub fn code_and_reason(&self) -> (Code, &'static str) {
        match self {
            Self::Unauthenticated => (Code::Unauthenticated, "TOKEN_INVALID"),
            Self::ForeignOrganization(_) => (Code::PermissionDenied, "ORGANIZATION_FOREIGN"),
            Self::NoSuchVehicle(_) => (Code::NotFound, "VEHICLE_NOT_FOUND"),
            Self::Field { .. } => (Code::InvalidArgument, "FIELD_INVALID"),
            Self::TooManyWatchers(_) => (Code::ResourceExhausted, "WATCHERS_EXHAUSTED"),
            Self::Stopping => (Code::Unavailable, "NODE_STOPPING"),
            Self::DeadlinePassed => (Code::DeadlineExceeded, "DEADLINE_PASSED"),
            Self::NoSuchMethod(_) => (Code::Unimplemented, "METHOD_UNKNOWN"),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let (code, reason) = refusal.code_and_reason();
        let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
        if let Refusal::Field { field, problem } = &refusal {
            details.add_bad_request_violation(*field, problem.clone());
        }
        Self::with_error_details(code, refusal.to_string(), details)
    }
}
