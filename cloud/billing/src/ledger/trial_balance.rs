//! All ledgers of an organisation together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Account, LedgerEvent};
use crate::money::Currency;

/// The sum of every account over all ledgers. Feed it each event once, in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialBalance {
    /// Transactions counted.
    pub transactions: u64,
    /// Minor units; a debit is positive. Wide: it sums many ledgers.
    pub balances: BTreeMap<(Account, Currency), i128>,
}

impl TrialBalance {
    /// Takes a ledger's event in.
    pub fn apply(&mut self, event: &LedgerEvent) {
        let LedgerEvent::Recorded(recorded) = event;
        self.transactions += 1;
        for line in &recorded.transaction.lines {
            let key = (line.account, line.amount.currency);
            *self.balances.entry(key).or_insert(0) += i128::from(line.amount.minor_units);
        }
    }

    /// The sum over all accounts in each currency: zero, or money was made or lost.
    pub fn sums(&self) -> BTreeMap<Currency, i128> {
        let mut sums = BTreeMap::new();
        for ((_, currency), balance) in &self.balances {
            *sums.entry(*currency).or_insert(0) += balance;
        }
        sums
    }

    /// The sum of what [`Self::sums`] says, without signs: the demo's `ledger_sum_minor_units`.
    pub fn imbalance_minor(&self) -> u128 {
        self.sums().values().map(|sum| sum.unsigned_abs()).sum()
    }

    /// An account's balance, minor units.
    pub fn balance(&self, account: Account, currency: Currency) -> i128 {
        self.balances.get(&(account, currency)).copied().unwrap_or(0)
    }
}
