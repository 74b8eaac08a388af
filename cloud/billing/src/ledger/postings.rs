//! The transactions that billing knows: each by name, so that no other code writes debits and credits.

use super::{Account, Line, Transaction};
use crate::money::{Checked, Money, MoneyError};

/// What happened to money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posting {
    /// A ride was invoiced.
    Invoiced {
        /// Without tax.
        net: Money,
        /// Tax.
        tax: Money,
    },
    /// The provider has taken money for an invoice.
    Captured(Money),
    /// Credits were spent for an invoice.
    CreditsSpent(Money),
    /// A refund through the provider, with its credit note.
    Refunded {
        /// Without tax.
        net: Money,
        /// Tax.
        tax: Money,
    },
    /// A refund as credits, with its credit note.
    RefundedAsCredits {
        /// Without tax.
        net: Money,
        /// Tax.
        tax: Money,
    },
    /// Credits were bought through the provider.
    CreditsBought(Money),
    /// Credits were given away.
    CreditsGranted(Money),
    /// Credits were given up by who is erased: nobody is owed a ride for them any more.
    CreditsForfeited(Money),
    /// The provider has paid out, less its fees.
    PaidOut {
        /// What it had taken.
        gross: Money,
        /// What it kept.
        fees: Money,
    },
    /// Nobody will pay this any more.
    WrittenOff(Money),
}

/// The transaction of a posting.
///
/// # Errors
/// Two currencies, or an amount too large.
pub fn posting(key: &str, memo: &str, what: Posting) -> Result<Transaction, MoneyError> {
    use Account as A;
    let lines = match what {
        Posting::Invoiced { net, tax } => vec![
            (A::AccountsReceivable, net.plus(tax)?),
            (A::Revenue, net.negated()?),
            (A::TaxPayable, tax.negated()?),
        ],
        Posting::Captured(amount) => two(A::ProviderClearing, A::AccountsReceivable, amount)?,
        Posting::CreditsSpent(amount) => two(A::CreditsLiability, A::AccountsReceivable, amount)?,
        Posting::Refunded { net, tax } => back(A::ProviderClearing, net, tax)?,
        Posting::RefundedAsCredits { net, tax } => back(A::CreditsLiability, net, tax)?,
        Posting::CreditsBought(amount) => two(A::ProviderClearing, A::CreditsLiability, amount)?,
        Posting::CreditsGranted(amount) => two(A::Promotions, A::CreditsLiability, amount)?,
        Posting::CreditsForfeited(amount) => two(A::CreditsLiability, A::Revenue, amount)?,
        Posting::PaidOut { gross, fees } => vec![
            (A::Bank, gross.minus(fees)?),
            (A::ProviderFees, fees),
            (A::ProviderClearing, gross.negated()?),
        ],
        Posting::WrittenOff(amount) => two(A::BadDebt, A::AccountsReceivable, amount)?,
    };
    let lines = lines.into_iter().map(|(account, amount)| Line { account, amount });
    let lines = lines.filter(|line| line.amount.minor_units != 0).collect();
    Ok(Transaction { key: key.to_owned(), memo: memo.to_owned(), reference: None, lines })
}

fn two(debit: Account, credit: Account, amount: Money) -> Result<Vec<(Account, Money)>, MoneyError> {
    Ok(vec![(debit, amount), (credit, amount.negated()?)])
}

fn back(from: Account, net: Money, tax: Money) -> Result<Vec<(Account, Money)>, MoneyError> {
    Ok(vec![(Account::Revenue, net), (Account::TaxPayable, tax), (from, net.plus(tax)?.negated()?)])
}
