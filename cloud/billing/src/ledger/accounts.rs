//! The chart of accounts, and what a transaction is.

use serde::{Deserialize, Serialize};

use crate::money::Money;

/// An account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Account {
    /// Asset: what riders owe.
    AccountsReceivable,
    /// Asset: what the payment provider has taken for us and not yet paid out.
    ProviderClearing,
    /// Asset: the bank.
    Bank,
    /// Liability: credits that riders have bought and not yet spent.
    CreditsLiability,
    /// Liability: tax that we owe the state.
    TaxPayable,
    /// Income.
    Revenue,
    /// Expense: the provider's fees.
    ProviderFees,
    /// Expense: what will never be paid.
    BadDebt,
    /// Expense: credits given away.
    Promotions,
}

impl Account {
    /// All of them, in the order of a balance sheet.
    pub const ALL: [Self; 9] = [
        Self::AccountsReceivable,
        Self::ProviderClearing,
        Self::Bank,
        Self::CreditsLiability,
        Self::TaxPayable,
        Self::Revenue,
        Self::ProviderFees,
        Self::BadDebt,
        Self::Promotions,
    ];

    /// Stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccountsReceivable => "accounts-receivable",
            Self::ProviderClearing => "provider-clearing",
            Self::Bank => "bank",
            Self::CreditsLiability => "credits-liability",
            Self::TaxPayable => "tax-payable",
            Self::Revenue => "revenue",
            Self::ProviderFees => "provider-fees",
            Self::BadDebt => "bad-debt",
            Self::Promotions => "promotions",
        }
    }
}

/// One side of a transaction: a debit is positive, a credit negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Which account.
    pub account: Account,
    /// How much.
    pub amount: Money,
}

/// What is posted as one. Its lines sum to zero in each currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// The same key is the same transaction.
    pub key: String,
    /// What for, for people.
    pub memo: String,
    /// The provider's name of what it did, when it did something: reconciliation goes by it.
    pub reference: Option<String>,
    /// Two or more.
    pub lines: Vec<Line>,
}
