//! The vehicles' door (DESIGN D12): an MQTT endpoint of our own; nothing is routed, retained or queued in it.
//!
//! Owns: accepting, authenticating, admitting, the topic check, the map from vehicle to its one connection; and the
//! vehicles' HTTPS port, where they get their certificates. The only cloud crate that knows MQTT. Deliberately absent: what a message means (`remuda-vehicles`).

mod attempts;
mod connection;
mod door;
mod enrolment;
pub mod external;
pub mod identity;
mod metrics;
mod pace;
mod refusals;
mod registry;
mod tls;
mod trace;
mod verifier;

pub use door::{Door, DoorError, DoorSettings, TlsEntrance};
pub use enrolment::{EnrolmentError, EnrolmentMetrics, EnrolmentPort, EnrolmentSettings};
pub use identity::{Authenticator, CertifiedVehicles, Credentials, EnrolledSecrets, TrustLoopback};
pub use metrics::DoorMetrics;
pub use pace::VehicleLimits;
pub use tls::{TlsError, TlsFiles, VehicleTls};
