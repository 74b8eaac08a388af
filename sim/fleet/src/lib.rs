//! Thousands of simulated vehicles in one process, each with the real agent core and a real, durable outbox.
//!
//! Owns: running a world against a cloud, load for the benches, the bare-broker baseline, and the figures of all
//! three. Deliberately absent: any vehicle logic of its own (`remuda-edge-agent`), any physics (`remuda-world`).

mod agents;
mod backlog;
pub mod broker;
mod certificates;
mod controls;
mod error;
mod figures;
mod fleet;
pub mod histogram;
mod ingest;
mod latency;
pub mod limits;
mod reconnect;
mod settings;
pub mod sockets;
pub mod synthetic;

pub use backlog::{Drained, backlog};
pub use certificates::{Certificates, enrol, tokens_in};
pub use error::FleetError;
pub use figures::Figures;
pub use fleet::{Fleet, FleetHandle};
pub use ingest::ingest;
pub use reconnect::{Storm, reconnect};
pub use settings::{BacklogSettings, FleetSettings, LoadKind, LoadSettings};
