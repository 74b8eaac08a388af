//! The audit log: who changed what, when, from where and why, chained so that no line can be taken out or changed.
//!
//! Owns: entries, their chain, the file, reading back and checking. Deliberately absent: what is audited (the protos say
//! it) and who may read it (`remuda-console`). Each entry holds the SHA-256 of the one before, so whoever changes a line
//! must change all that follow; the newest hash, kept elsewhere (`remudactl audit verify` prints it), shows even that.
//!
//! A call is written twice: before it is carried out, synced, and when it has ended. So nothing happens that does not
//! stand here, and a call whose end is missing was cut short by a crash.

mod chain;
mod entry;
pub mod limits;
mod log;
mod read;

pub use chain::{Hash, ZERO};
pub use entry::{Entry, Outcome, What};
pub use log::{AuditError, AuditLog};
pub use read::{Broken, Checked, Page, Query, check, check_against};
