//! Erasure: what a person or the law asks to be forgotten.
//!
//! A request is a *tombstone*, durable in the journal's trail before it is answered; from then on no reader of ours
//! shows what it covers. The compaction rewrites the files that hold such rows, and notes in the same trail what it
//! removed and when nothing was left: the proof.

mod tombstone;

pub use tombstone::{ErasureId, Stripped, Tombstone, Tombstones, row_time_ns};
