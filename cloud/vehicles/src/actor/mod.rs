//! The shell around the pure domain: shards and vehicles as supervised actors, their books, and what they share.

mod alerts;
mod batch;
mod books;
mod commit;
mod fault;
mod forget;
mod geofences;
mod listener;
mod node;
mod orders;
mod policies;
mod recovery;
mod reports;
mod room;
mod shard;
mod show;
mod slot;
mod snapshots;
mod system;
mod vehicle;
mod view;
mod warm;
mod watches;

use std::time::{SystemTime, UNIX_EPOCH};

pub use forget::Forgetting;
pub use geofences::{HomeOf, Homing};
pub use node::{Signer, VehicleSettings, WallClock};
pub use orders::CommandSigner;
pub use system::{StartError, VehicleHandle, VehicleSystem};

/// Server time, ms since 1970 UTC.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
