//! The ledger says no.

use remuda_eventsourcing::Refusal;

use crate::money::Currency;

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerRefusal {
    /// Debits and credits differ.
    #[error("debits and credits differ by {by} minor units of {currency}")]
    Unbalanced {
        /// Minor units.
        by: i128,
        /// In this currency.
        currency: Currency,
    },
    /// Less than two lines, or too many, or one of zero.
    #[error("a transaction has 2 to 16 lines, none of them zero")]
    Lines,
    /// A text that is empty or too long.
    #[error("key and memo must have 1 to 256 bytes")]
    Text,
    /// The same key said something else before.
    #[error("the key {0} was used for another transaction")]
    KeyReused(String),
    /// A balance would no longer be a number.
    #[error("a balance would become too large")]
    Overflow,
    /// Too many accounts and currencies.
    #[error("the ledger has too many currencies")]
    TooManyBalances,
}

impl Refusal for LedgerRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Unbalanced { .. } => "unbalanced-transaction",
            Self::Lines => "invalid-lines",
            Self::Text => "invalid-text",
            Self::KeyReused(_) => "key-reused",
            Self::Overflow => "balance-overflow",
            Self::TooManyBalances => "too-many-balances",
        }
    }
}
