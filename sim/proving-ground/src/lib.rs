//! The proving ground: real vehicles and a real cloud under one seeded scheduler with virtual time and faults.
//!
//! Real: the agent's core, the MQTT session machine, the cloud's whole ingest (actors, rules, rounds, files, recovery) and
//! the journal's engine. Simulated: networks, disks, stores, clocks, and everything that goes wrong with them. A cloud
//! *process* is a runtime of one thread with a paused clock; to crash it is to drop it, at any await. The ledger is kept
//! over sets and checked at each commit, each word to a vehicle, and at the end, when everything must have drained.
//!
//! One seed gives one run, byte for byte: its trace is compared by a test. Deliberately absent: sockets, files, threads.

mod client;
mod clock;
mod disk;
mod door;
mod ground;
mod instance;
mod journal;
mod plan;
mod process;
mod store;
mod trace;
mod trouble;
mod truth;
mod verdict;
mod world;

pub use plan::{Plan, Sabotage};
pub use verdict::Report;
pub use world::{Run, run};
