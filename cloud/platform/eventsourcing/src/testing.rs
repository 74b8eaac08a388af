//! For tests: the contract of every engine as one suite, makers of events, and the kit for aggregates.
//!
//! The pattern for an event whose form changes, tested with [`golden_event`]: `encode` writes the newest form under its
//! `schema_version`; `decode` matches on (type, version) and makes the newest event out of each form ever written.

mod contract;
mod golden;
mod scenario;
mod tally;

pub use contract::{contract, entry, event, shard, stream};
pub use golden::{golden_event, written_now};
pub use scenario::{Decided, Scenario, context, given};
pub use tally::{Tally, TallyCommand, TallyEvent, TallyRefusal, TallyState};
