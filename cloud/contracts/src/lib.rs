//! What one part of the cloud may say to another: the vehicles' door to the vehicle actors (`uplink`), the vehicle
//! domain to whoever shows it (`fleet`), vehicles to whoever helps them (`assistance`), vehicles and trips to each other (`marks`), trips to billing and
//! analytics (`trips`).
//!
//! Owns: data and the ports between crates that must not know each other. Deliberately absent: behaviour.

pub mod alerts;
pub mod assistance;
pub mod booking;
pub mod business;
pub mod commands;
pub mod erasures;
pub mod figures;
pub mod fleet;
pub mod geofences;
pub mod history;
pub mod marks;
pub mod money;
pub mod operations;
pub mod policies;
pub mod sealed;
pub mod system;
pub mod trips;
pub mod uplink;
