//! What operators do with vehicles beside single commands: commands to groups of them, what needs a second person, and
//! answers to what vehicles ask.
//!
//! Owns: the aggregates `command-group`, `approval` and `assistance`, the runner that gives a group's commands at their rate, the sweep
//! that carries approvals out, what brings questions to people and answers to vehicles, their lists. Deliberately absent: a vehicle's own commands (the vehicle domain's, behind
//! [`CommandDesk`](remuda_contracts::commands::CommandDesk)), filters and who may call (the console's).

pub mod approvals;
pub mod assistance;
mod desk;
pub mod groups;
pub mod limits;
pub mod metrics;
pub mod start;

pub use metrics::OperationsMetrics;
pub use start::{Clock, Danger, Operations, OperationsSettings, OperationsStartError, TwoPersons};
