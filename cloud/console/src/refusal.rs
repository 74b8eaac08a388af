//! Why a call is refused: one table from reasons to gRPC statuses.

use std::collections::HashMap;

use remuda_access::{CertificateRefusal, RateRefusal, TokenRefusal};
use remuda_api::ERROR_DOMAIN;
use remuda_contracts::alerts::AlertError;
use remuda_contracts::business::BusinessError;
use remuda_contracts::commands::CommandError;
use remuda_contracts::erasures::ErasureError;
use remuda_contracts::geofences::{GeofenceId, GeofenceRefusal};
use remuda_contracts::history::HistoryError;
use remuda_contracts::operations::OperationsError;
use remuda_contracts::policies::PolicyRefusal;
use remuda_model::VehicleId;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Everything the console says no with.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The call carries no token, or another one.
    #[error("a valid token is wanted, as metadata `authorization: Bearer TOKEN`")]
    Unauthenticated,
    /// A token that is not believed, or grants nothing.
    #[error("{0}")]
    Token(TokenRefusal),
    /// A client certificate that opens nothing.
    #[error("{0}")]
    Certificate(CertificateRefusal),
    /// The caller's roles do not include what the method needs.
    #[error(
        "this needs the permission `{permission}`, which {roles} have; ask your administrator for the role"
    )]
    PermissionMissing {
        /// What is missing.
        permission: &'static str,
        /// Who has it.
        roles: String,
    },
    /// The caller's role does not reach far enough.
    #[error(
        "this needs the permission `{0}` in the whole organization, and your role is on fleets or depots only; ask your \
         administrator"
    )]
    GrantTooNarrow(&'static str),
    /// The caller calls too often.
    #[error("{0}")]
    TooManyCalls(RateRefusal),
    /// What must stand in the audit log cannot be written there.
    #[error(
        "the audit log cannot be written, so nothing that must stand in it is carried out; see the node's log"
    )]
    AuditUnavailable,
    /// The audit log's chain does not hold.
    #[error("the audit log is damaged: {0}")]
    AuditBroken(String),
    /// A body that is not one message.
    #[error("the request must hold exactly one message, not compressed")]
    NotOneMessage,
    /// A request that the audit log could not tell.
    #[error(
        "the request has a value out of its range, so the audit log could not tell it; check durations and times"
    )]
    Undescribable,
    /// A request that is too large.
    #[error("the request is larger than 4 MiB; send less at once")]
    RequestTooLarge,
    /// The token is for another organization.
    #[error("this token does not reach the organization `{0}`")]
    ForeignOrganization(String),
    /// There is no such vehicle.
    #[error("there is no vehicle `{0}`")]
    NoSuchVehicle(String),
    /// There is no such policy.
    #[error("there is no policy `{0}`")]
    NoSuchPolicy(String),
    /// There is no such alert.
    #[error("there is no alert `{0}`, or it ended long ago; list alerts to see which there are")]
    NoSuchAlert(String),
    /// There is no such command.
    #[error("there is no command `{0}`; list the vehicle's commands to see which there are")]
    NoSuchCommand(String),
    /// A command was refused.
    #[error("{sentence}")]
    Command {
        /// The status.
        code: Code,
        /// The stable reason.
        reason: &'static str,
        /// The sentence.
        sentence: String,
    },
    /// Other vehicles match than the preview said.
    #[error("other vehicles match by now than the preview said; preview again and use its vehicles_hash")]
    OtherVehicles,
    /// The ride business says no.
    #[error("{sentence}")]
    Business {
        /// The status.
        code: Code,
        /// The stable reason.
        reason: String,
        /// The sentence.
        sentence: String,
    },
    /// A change of the policies was refused.
    #[error("{0}")]
    Policy(#[from] PolicyRefusal),
    /// History is not answered.
    #[error("{0}")]
    History(HistoryError),
    /// An erasure is not taken, or not known.
    #[error("{0}")]
    Erasure(ErasureError),
    /// The register of vehicles says no.
    #[error("{problem}")]
    Identity {
        /// The status.
        code: Code,
        /// The stable reason.
        reason: &'static str,
        /// The sentence.
        problem: String,
    },
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
    /// Too many streams of one caller are open.
    #[error("you have {0} streams open, which is the most of one caller; close some")]
    TooManyOfCaller(usize),
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
    pub fn code_and_reason(&self) -> (Code, &str) {
        match self {
            Self::Unauthenticated => (Code::Unauthenticated, "TOKEN_INVALID"),
            Self::Token(TokenRefusal::NoGrant) => (Code::PermissionDenied, "ROLE_MISSING"),
            Self::Token(TokenRefusal::SubjectTooLong(_)) => (Code::Unauthenticated, "SUBJECT_TOO_LONG"),
            Self::Token(TokenRefusal::Expired) => (Code::Unauthenticated, "TOKEN_EXPIRED"),
            Self::Token(TokenRefusal::Unavailable) => (Code::Unavailable, "ISSUER_UNAVAILABLE"),
            Self::Token(TokenRefusal::Invalid(_)) => (Code::Unauthenticated, "TOKEN_INVALID"),
            Self::Certificate(refusal) => (Code::Unauthenticated, certificate(*refusal)),
            Self::PermissionMissing { .. } => (Code::PermissionDenied, "PERMISSION_MISSING"),
            Self::GrantTooNarrow(_) => (Code::PermissionDenied, "GRANT_TOO_NARROW"),
            Self::TooManyCalls(_) => (Code::ResourceExhausted, "CALLS_EXHAUSTED"),
            Self::AuditUnavailable => (Code::Unavailable, "AUDIT_UNAVAILABLE"),
            Self::AuditBroken(_) => (Code::DataLoss, "AUDIT_BROKEN"),
            Self::NotOneMessage => (Code::InvalidArgument, "MESSAGE_NOT_SINGLE"),
            Self::Undescribable => (Code::InvalidArgument, "MESSAGE_INVALID"),
            Self::RequestTooLarge => (Code::ResourceExhausted, "REQUEST_TOO_LARGE"),
            Self::ForeignOrganization(_) => (Code::PermissionDenied, "ORGANIZATION_FOREIGN"),
            Self::NoSuchVehicle(_) => (Code::NotFound, "VEHICLE_NOT_FOUND"),
            Self::NoSuchPolicy(_) => (Code::NotFound, "POLICY_NOT_FOUND"),
            Self::NoSuchAlert(_) => (Code::NotFound, "ALERT_NOT_FOUND"),
            Self::NoSuchCommand(_) => (Code::NotFound, "COMMAND_NOT_FOUND"),
            Self::Command { code, reason, .. } => (*code, reason),
            Self::OtherVehicles => (Code::Aborted, "VEHICLES_CHANGED"),
            Self::Business { code, reason, .. } => (*code, reason),
            Self::Policy(refusal) => policy(refusal),
            Self::Erasure(ErasureError::Refused(_)) => (Code::InvalidArgument, "ERASURE_INVALID"),
            Self::Erasure(ErasureError::NoSuchErasure(_)) => (Code::NotFound, "ERASURE_NOT_FOUND"),
            Self::Erasure(ErasureError::Unavailable) => (Code::Unavailable, "ERASURES_UNAVAILABLE"),
            Self::History(error) => crate::history::code_and_reason(error),
            Self::Identity { code, reason, .. } => (*code, reason),
            Self::Field { .. } => (Code::InvalidArgument, "FIELD_INVALID"),
            Self::TooManyWatchers(_) | Self::TooManyOfCaller(_) => {
                (Code::ResourceExhausted, "WATCHERS_EXHAUSTED")
            }
            Self::Stopping => (Code::Unavailable, "NODE_STOPPING"),
            Self::DeadlinePassed => (Code::DeadlineExceeded, "DEADLINE_PASSED"),
            Self::NoSuchMethod(_) => (Code::Unimplemented, "METHOD_UNKNOWN"),
        }
    }
}

impl Refusal {
    /// What the ride business says.
    pub(crate) fn business(error: BusinessError) -> Self {
        let sentence = error.to_string();
        let (code, reason) = match error {
            BusinessError::NotFound { what, .. } => (Code::NotFound, format!("{what}-not-found")),
            BusinessError::Unavailable(_) => (Code::Unavailable, "business-unavailable".into()),
            BusinessError::Refused { code, .. } => (business(&code), code),
        };
        Self::Business { code, reason: reason.replace('-', "_").to_uppercase(), sentence }
    }

    /// What is said of group commands and approvals.
    pub(crate) fn operations(error: OperationsError) -> Self {
        let sentence = error.to_string();
        let (code, reason) = match error {
            OperationsError::NotFound { what, .. } => (Code::NotFound, format!("{what}-not-found")),
            OperationsError::Unavailable(_) => (Code::Unavailable, "operations-unavailable".into()),
            OperationsError::Changed => (Code::Aborted, "etag-mismatch".into()),
            OperationsError::Refused { code, .. } => match code.as_str() {
                "request-id-reused" => (Code::AlreadyExists, code),
                "self-approval" => (Code::PermissionDenied, code),
                "content-changed" | "assistance-taken" => (Code::Aborted, code),
                "too-many-vehicles" | "no-vehicles" => (Code::FailedPrecondition, code),
                _ => (business(&code), code),
            },
            OperationsError::Command(_) => (Code::Unavailable, "commands-unavailable".into()),
        };
        Self::Business { code, reason: reason.replace('-', "_").to_uppercase(), sentence }
    }

    /// What the vehicle domain says of an alert.
    pub(crate) fn alert(error: AlertError, id: String) -> Self {
        let sentence = error.to_string();
        let (code, reason) = match error {
            AlertError::NoSuchAlert => return Self::NoSuchAlert(id),
            AlertError::Unavailable(_) => (Code::Unavailable, "alerts-unavailable"),
            AlertError::Refused { code: "etag-mismatch", .. } => (Code::Aborted, "etag-mismatch"),
            AlertError::Refused { code: "request-id-reused", .. } => {
                (Code::AlreadyExists, "request-id-reused")
            }
            AlertError::Refused { code, .. } => (business(code), code),
        };
        Self::Business { code, reason: reason.replace('-', "_").to_uppercase(), sentence }
    }

    /// There is no such geofence, or it is not theirs.
    pub(crate) fn no_geofence(id: GeofenceId) -> Self {
        Self::geofence(GeofenceRefusal::NoSuchGeofence(id))
    }

    /// What the vehicle domain says of a geofence.
    pub(crate) fn geofence(refusal: GeofenceRefusal) -> Self {
        let sentence = refusal.to_string();
        let (code, reason) = match refusal {
            GeofenceRefusal::Invalid { field, problem } => return Self::Field { field, problem },
            GeofenceRefusal::NoSuchGeofence(_) => (Code::NotFound, "GEOFENCE_NOT_FOUND"),
            GeofenceRefusal::Exists(_) => (Code::AlreadyExists, "GEOFENCE_EXISTS"),
            GeofenceRefusal::Changed => (Code::Aborted, "ETAG_MISMATCH"),
            GeofenceRefusal::RequestIdReused => (Code::AlreadyExists, "REQUEST_ID_REUSED"),
            GeofenceRefusal::TooMany(_) => (Code::ResourceExhausted, "GEOFENCES_EXHAUSTED"),
            GeofenceRefusal::OutOfReach => (Code::PermissionDenied, "GRANT_TOO_NARROW"),
            GeofenceRefusal::Unavailable => (Code::Unavailable, "GEOFENCES_UNAVAILABLE"),
        };
        Self::Business { code, reason: reason.into(), sentence }
    }

    /// What the vehicle domain says of a command.
    pub(crate) fn command(error: CommandError, vehicle: &VehicleId) -> Self {
        match error {
            CommandError::NoSuchVehicle => Self::NoSuchVehicle(vehicle.to_string()),
            CommandError::NoSuchCommand => Self::Command {
                code: Code::NotFound,
                reason: "COMMAND_NOT_FOUND",
                sentence: error.to_string(),
            },
            CommandError::Unavailable(_) => Self::Command {
                code: Code::Unavailable,
                reason: "COMMANDS_UNAVAILABLE",
                sentence: error.to_string(),
            },
            CommandError::Refused { code, sentence } => {
                let (code, reason) = match code {
                    "request_id_reused" => (Code::AlreadyExists, "REQUEST_ID_REUSED"),
                    "too_many_open_commands" => (Code::ResourceExhausted, "COMMANDS_EXHAUSTED"),
                    "bad_expiry" => (Code::InvalidArgument, "TIME_TO_LIVE_INVALID"),
                    "bad_speed_limit" => (Code::InvalidArgument, "SPEED_LIMIT_INVALID"),
                    "command_already_sent" => (Code::FailedPrecondition, "COMMAND_SENT"),
                    "command_already_final" => (Code::FailedPrecondition, "COMMAND_ENDED"),
                    _ => (Code::InvalidArgument, "COMMAND_INVALID"),
                };
                Self::Command { code, reason, sentence }
            }
        }
    }
}

fn certificate(refusal: CertificateRefusal) -> &'static str {
    match refusal {
        CertificateRefusal::Unknown => "CERTIFICATE_UNKNOWN",
        CertificateRefusal::Ambiguous => "CERTIFICATE_AMBIGUOUS",
        CertificateRefusal::Expired => "CERTIFICATE_EXPIRED",
        CertificateRefusal::Revoked => "CERTIFICATE_REVOKED",
        CertificateRefusal::Foreign => "CERTIFICATE_FOREIGN",
    }
}

/// The status of a domain's own code, by how such codes are made.
fn business(code: &str) -> Code {
    match code {
        "invalid" | "wrong-currency" => Code::InvalidArgument,
        "already-registered"
        | "vehicle-already-registered"
        | "id-taken"
        | "reference-reused"
        | "hold-key-reused" => Code::AlreadyExists,
        "too-many" => Code::ResourceExhausted,
        _ if code.starts_with("bad-") => Code::InvalidArgument,
        _ if code.starts_with("no-such-") => Code::NotFound,
        _ => Code::FailedPrecondition,
    }
}

fn policy(refusal: &PolicyRefusal) -> (Code, &'static str) {
    match refusal {
        PolicyRefusal::NoSuchPolicy(_) => (Code::NotFound, "POLICY_NOT_FOUND"),
        PolicyRefusal::Changed(_) => (Code::Aborted, "ETAG_MISMATCH"),
        PolicyRefusal::Exists(_) => (Code::AlreadyExists, "POLICY_EXISTS"),
        PolicyRefusal::Name => (Code::InvalidArgument, "POLICY_NAME_INVALID"),
        PolicyRefusal::Document(_) => (Code::InvalidArgument, "POLICY_DOCUMENT_INVALID"),
        PolicyRefusal::Target(_) => (Code::InvalidArgument, "POLICY_TARGET_INVALID"),
        PolicyRefusal::Assigned(_) => (Code::FailedPrecondition, "POLICY_ASSIGNED"),
        PolicyRefusal::TooMany { .. } => (Code::ResourceExhausted, "POLICIES_EXHAUSTED"),
        PolicyRefusal::Unavailable => (Code::Unavailable, "POLICIES_UNAVAILABLE"),
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let (code, reason) = refusal.code_and_reason();
        let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
        if let Refusal::PermissionMissing { permission, .. } | Refusal::GrantTooNarrow(permission) = &refusal
        {
            let metadata = HashMap::from([("permission".to_owned(), (*permission).to_owned())]);
            details.set_error_info(reason, ERROR_DOMAIN, metadata);
        }
        if let Refusal::TooManyCalls(rate) = &refusal {
            details.set_retry_info(Some(rate.retry_after));
        }
        if let Refusal::Field { field, problem } = &refusal {
            details.add_bad_request_violation(*field, problem.clone());
        }
        Self::with_error_details(code, refusal.to_string(), details)
    }
}
