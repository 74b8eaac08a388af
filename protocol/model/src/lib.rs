//! The words every part of Remuda shares: ids, lanes, signals, shards, invariants.
//!
//! Owns: typed identifiers, the signal registry, the shard hash, the numbered invariants. `no_std`, no
//! allocation, no I/O. Deliberately absent: encodings (`remuda-wire`), clocks, anything that can fail at run time
//! other than parsing.
#![no_std]

pub mod id;
pub mod invariant;
mod registry;
pub mod sequence;
pub mod shard;
pub mod signal;
mod signal_class;

pub use id::{IdError, OrganizationId, VehicleId};
pub use sequence::{ConnectionId, Epoch, Incarnation, Lane, Seq};
pub use shard::{SHARDS, ShardId};
pub use signal::{SignalClass, SignalDef, SignalId, SignalKind};
