//! Thousands of simulated vehicles in one process, each with the real agent core and a real, durable outbox.
//!
//! Owns: running a world against a cloud, load for the benches, the bare-broker baseline, and the figures of all
//! three. Deliberately absent: any vehicle logic of its own (`remuda-edge-agent`), any physics (`remuda-world`).

pub mod broker;
pub mod histogram;
pub mod sockets;
pub mod synthetic;
