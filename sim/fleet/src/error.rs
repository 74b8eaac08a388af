//! Why a fleet cannot run, in one sentence each.

use std::io;
use std::path::PathBuf;

use remuda_edge_agent::{OutboxError, RunError};
use remuda_model::VehicleId;

use crate::limits::{RATE_HZ_MAX, VEHICLES_MAX};
use crate::sockets::TooFewHandles;

/// Why a fleet cannot run.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A rate nobody can keep.
    #[error("a rate of {rate} per second is not possible; give one above 0 and up to {RATE_HZ_MAX}")]
    Rate {
        /// What was asked for.
        rate: f64,
    },
    /// A count nobody can run.
    #[error("{vehicles} vehicles are not possible; give 1 to {VEHICLES_MAX}")]
    Vehicles {
        /// What was asked for.
        vehicles: usize,
    },
    /// Too few file handles.
    #[error(transparent)]
    Handles(#[from] TooFewHandles),
    /// The outboxes cannot be opened or written.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// An agent ended.
    #[error(transparent)]
    Agent(#[from] RunError),
    /// The file of certificates.
    #[error(
        "the vehicles' certificates in {file} cannot be read or written: {source}; check its path and permissions"
    )]
    Identities {
        /// Which.
        file: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There are no tokens.
    #[error("the vehicles cannot be enrolled: {0}")]
    Tokens(String),
    /// There is no token for a vehicle that must enrol.
    #[error(
        "there is no enrolment token for {vehicle}; make one with remudactl vehicles provision or enroll-token"
    )]
    NoToken {
        /// Which.
        vehicle: VehicleId,
    },
    /// A vehicle did not get its certificate.
    #[error("{vehicle} cannot be enrolled: {reason}")]
    Enrolment {
        /// Which.
        vehicle: VehicleId,
        /// Why not.
        reason: String,
    },
    /// A TLS door, and a vehicle without a certificate.
    #[error("{vehicle} has no certificate for the TLS door; enrol it first")]
    NoCertificate {
        /// Which.
        vehicle: VehicleId,
    },
    /// A task panicked.
    #[error("the simulation broke off; the message above says where")]
    Broken,
}
