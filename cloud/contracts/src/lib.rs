//! What one part of the cloud may say to another: the vehicles' door to the vehicle actors (`uplink`), the vehicle
//! domain to whoever shows it (`fleet`).
//!
//! Owns: data and the ports between crates that must not know each other. Deliberately absent: behaviour.

pub mod commands;
pub mod fleet;
pub mod policies;
pub mod uplink;
