//! What is known of a ledger.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::Account;
use crate::money::Currency;

/// What is known of a ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerState {
    /// Transactions so far.
    pub transactions: u64,
    /// Minor units; a debit is positive.
    pub balances: BTreeMap<(Account, Currency), i64>,
    /// Hashes of the last transactions' keys and of what they said, oldest first.
    pub recent: VecDeque<(u64, u64)>,
}

impl LedgerState {
    /// The balance of an account, minor units.
    pub fn balance(&self, account: Account, currency: Currency) -> i64 {
        self.balances.get(&(account, currency)).copied().unwrap_or(0)
    }
}
