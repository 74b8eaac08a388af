//! Real processes for whole-system tests: started on free ports, watched, killed by process id.
//!
//! The binaries are those of the build that runs the test; `cargo xtask test` builds them first, with crash points.

pub mod broker;
pub mod business;
pub mod chaos;
pub mod cloud;
pub mod process;

pub use broker::{Broker, BrokerKind};
pub use cloud::Cloud;
pub use process::{Process, binary, example, shared_data, wait_until, workspace_root};
