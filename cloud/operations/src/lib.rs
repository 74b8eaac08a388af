//! What operators do with vehicles beside single commands: commands to groups of them, and what needs a second person.
//!
//! Owns: the aggregates `command-group` and `approval`, the runner that gives a group's commands at their rate, the sweep
//! that carries approvals out, their lists. Deliberately absent: a vehicle's own commands (the vehicle domain's, behind
//! [`CommandDesk`](remuda_contracts::commands::CommandDesk)), filters and who may call (the console's).

pub mod approvals;
mod desk;
pub mod groups;
pub mod limits;
pub mod metrics;
pub mod start;

pub use metrics::OperationsMetrics;
pub use start::{Clock, Danger, Operations, OperationsSettings, OperationsStartError, TwoPersons};
