//! The ledger: counts every frame from what is on disk (docs/uplink.md section 9).
//!
//! Owns: the books (pure counting) and the reading of outboxes, lake and journal. It is the one judge of the demo, the
//! kill tests and the benches. Deliberately absent: counters of running processes; they may lie, disks do not.

pub mod books;

pub use books::{Books, Ledger, Stream};
