//! The vehicle domain: which frames are taken, what they say of a vehicle, what follows from it.
//!
//! Owns: reception (UPLINK section 3, the cloud's half), twin, rules, decisions, the vehicle's stream, its actors and
//! the fleet index. Deliberately absent: MQTT (`remuda-ingress`), files (`remuda-lake`), and how people see it
//! (`remuda-console`).
//!
//! Everything outside `actor`, `alert_index`, `index`, `figures`, `metrics` and `reprocess` is pure: no runtime, clock or randomness (I10).

mod actor;
mod alert_index;
pub mod alerts;
pub mod command;
pub mod decide;
pub mod diagnostics;
pub mod error;
pub mod event;
pub mod evolve;
mod figures;
pub mod geofences;
mod index;
pub mod journeys;
pub mod ledger;
pub mod limits;
pub mod metrics;
pub mod notes;
pub mod orders;
pub mod policies;
pub mod reception;
pub mod registry;
pub mod reprocess;
pub mod reservation;
pub mod rules;
pub mod signals;
pub mod state;
pub mod twin;
pub mod vehicle;

pub use actor::{
    CommandSigner, Forgetting, HomeOf, Homing, Signer, StartError, VehicleHandle, VehicleSettings,
    VehicleSystem, WallClock,
};
pub use figures::FiguresNow;
pub use metrics::VehicleMetrics;
pub use rules::RuleSettings;
