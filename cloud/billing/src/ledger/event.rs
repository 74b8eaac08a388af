//! What happened to a ledger.

use remuda_eventsourcing::event_codec;
use serde::{Deserialize, Serialize};

use super::Transaction;

/// A transaction stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// From 1 in each ledger, without a gap.
    pub number: u64,
    /// What.
    pub transaction: Transaction,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerEvent {
    /// A transaction stands.
    Recorded(Recorded),
}

event_codec!(LedgerEvent { Recorded = "ledger.recorded" 1 });
