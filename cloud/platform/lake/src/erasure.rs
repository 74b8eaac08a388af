//! Erasure: what a person or the law asks to be forgotten.
//!
//! A request is a *tombstone*, durable in the journal's trail before it is answered; from then on no reader of ours
//! shows what it covers. The compaction rewrites the files that hold such rows, and notes in the same trail what it
//! removed, in the same transaction that removes it, and when nothing was left: the proof. Rows that arrive later and are
//! covered are taken out on their way to `history/`, for ever.

/// Where copies of tombstones lie in the lake.
pub(crate) const COPIES: &str = "erasures/";

mod preview;
mod requests;
mod tombstone;
mod trail;

pub use preview::ErasurePreview;
pub use requests::{Erasure, ErasureRequest, RemovedFrom};

pub(crate) use tombstone::blank;
pub use tombstone::{ErasureId, Stripped, Tombstone, Tombstones, row_time_ns};
pub(crate) use trail::{ErasureRecord, Known, State};
