//! The vehicles' door (DESIGN D12): an MQTT endpoint of our own; nothing is routed, retained or queued in it.
//!
//! Owns: accepting, authenticating, admitting, the topic check, the map from vehicle to its one connection. The only
//! cloud crate that knows MQTT. Deliberately absent: what a message means (`remuda-vehicles`).

mod connection;
mod door;
pub mod identity;
mod metrics;
mod registry;

pub use door::{Door, DoorError, DoorSettings};
pub use identity::{Authenticator, EnrolledSecrets, TrustLoopback};
pub use metrics::DoorMetrics;
