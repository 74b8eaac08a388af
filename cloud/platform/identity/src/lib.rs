//! Who a vehicle is (DESIGN D13): certificates, the authority that issues them, enrolment tokens, revocations.
//!
//! Owns: the one function that reads a vehicle out of a certificate, the issuer's trait and the embedded authority, the
//! register of vehicles with its tokens and deny list, and certificates in PEM files that are read again when they change.
//! Deliberately absent: sockets and TLS (`remuda-ingress`, `remuda-console`), people and their roles, and keys of vehicles,
//! which never leave them.

mod ca;
mod certificate;
mod command_key;
mod decision;
mod files;
mod followed;
mod issuer;
mod log;
pub mod pem;
mod register;
mod token;

pub use ca::{CaError, EmbeddedCa, ServerCertificate};
pub use certificate::{CertificateRefusal, Certified, Serial, VehicleIdentity, vehicle_of};
pub use command_key::{CommandKey, CommandKeyError};
pub use decision::{Decision, Who};
pub use followed::{Complaint, Followed};
pub use issuer::{IssueError, IssuedCertificate, Issuer};
pub use register::{NewToken, NewVehicle, Register, RegisterError, Registered, Revocation};
pub use token::{CaFingerprint, EnrolmentToken, TokenForm};
