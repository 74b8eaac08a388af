//! What one may want of a ledger.

use super::Transaction;

/// A wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerCommand {
    /// Post a transaction.
    Post(Transaction),
}
