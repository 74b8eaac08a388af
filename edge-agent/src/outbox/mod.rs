//! The outbox: frames on disk until the cloud has them (docs/adr/0004-segment-log-outbox.md).
//!
//! One engine and one format, used in two ways: a directory per vehicle (the product), and one log that thousands of
//! simulated vehicles share, with one fdatasync for all of them.

mod error;
mod files;
mod index;
pub mod offline;
mod record;
mod store;
#[cfg(test)]
mod tests;
mod upkeep;
mod vehicle;

pub use error::OutboxError;
pub use record::{ShedRange, StreamKey};
pub use store::{Group, Profile, Store};
pub use vehicle::{Opened, VehicleOutbox};
