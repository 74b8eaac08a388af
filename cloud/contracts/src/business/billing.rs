//! Money, as people ask for it: documents, payments, refunds, balances, reconciliation. Amounts are minor units.

use async_trait::async_trait;
use remuda_model::OrganizationId;

use super::{Asker, BusinessError};
use crate::money::Money;

/// An invoice or a credit note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceView {
    /// Its number.
    pub number: String,
    /// `invoice` or `credit-note`.
    pub kind: &'static str,
    /// The invoice that a credit note takes back from; else empty.
    pub invoice: String,
    /// The payment, which is the trip's id.
    pub payment: String,
    /// Who buys: a user's id.
    pub buyer: String,
    /// When it was issued, ms since 1970 UTC.
    pub issued_ms: i64,
    /// When the service was given, ms since 1970 UTC.
    pub supplied_ms: i64,
    /// What for, and how much.
    pub lines: Vec<(String, Money)>,
    /// The lines contain the tax.
    pub tax_included: bool,
    /// Tax rate, hundredths of a percent.
    pub tax_basis_points: u32,
    /// Without tax.
    pub net: Money,
    /// Tax.
    pub tax: Money,
    /// With tax.
    pub gross: Money,
}

/// A refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundView {
    /// Its name: the request's.
    pub id: String,
    /// How much.
    pub amount: Money,
    /// Why.
    pub reason: String,
    /// Given back.
    pub done: bool,
    /// Number of its credit note; empty until there is one.
    pub credit_note: String,
}

/// One ride's money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentView {
    /// The trip's id.
    pub id: String,
    /// Who pays: a user's id.
    pub payer: String,
    /// `card`, `credits` and the like.
    pub method: &'static str,
    /// `new`, `holding`, `held`, `hold-declined`, `owed`, `capturing`, `captured`, `refunding`, `refunded`, `voiding`, `voided`.
    pub state: &'static str,
    /// The price; none before the ride has ended.
    pub price: Option<Money>,
    /// Set aside and not yet taken.
    pub held: Option<Money>,
    /// Taken so far, minor units.
    pub captured_minor: i64,
    /// Given back so far, minor units.
    pub refunded_minor: i64,
    /// Given up, minor units.
    pub written_off_minor: i64,
    /// Still due, minor units.
    pub due_minor: i64,
    /// Number of the invoice; empty until there is one.
    pub invoice: String,
    /// Refunds, oldest first.
    pub refunds: Vec<RefundView>,
    /// The provider's last no; empty when there was none.
    pub declined: String,
    /// A price is due and was declined too often: somebody must collect it, or write it off.
    pub needs_attention: bool,
    /// When it last changed, ms since 1970 UTC.
    pub changed_ms: i64,
}

/// An account of the double-entry ledger, over all payers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountView {
    /// `accounts-receivable`, `revenue` and the like.
    pub account: &'static str,
    /// ISO 4217.
    pub currency: String,
    /// Minor units; a debit is positive.
    pub minor_units: i128,
}

/// All accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BalancesView {
    /// Transactions counted.
    pub transactions: u64,
    /// In the order of a balance sheet.
    pub accounts: Vec<AccountView>,
    /// Sum of all sums without their signs: zero, or money appeared or vanished.
    pub imbalance_minor: u128,
}

/// A line of a provider's statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementView {
    /// The provider's name of the movement.
    pub reference: String,
    /// What it took is positive, what it gave back negative.
    pub amount: Money,
}

/// A movement that ledger and statement do not agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DifferenceView {
    /// `missing-here`, `missing-there`, `amounts-differ`, `repeated`.
    pub kind: &'static str,
    /// The provider's name of the movement.
    pub reference: String,
    /// The ride or transaction; empty when unknown.
    pub about: String,
    /// What the ledger says.
    pub here: Option<Money>,
    /// What the provider says.
    pub there: Option<Money>,
}

/// Ledger against statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconciliationView {
    /// Movements that both know with the same amount.
    pub matched: u64,
    /// How many differ, by kind.
    pub counts: Vec<(&'static str, u64)>,
    /// The first of them.
    pub differences: Vec<DifferenceView>,
}

/// What to do about a price that was declined too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collection {
    /// Ask the provider again.
    TryAgain,
    /// Give it up.
    WriteOff,
}

/// Which payments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PaymentFilter<'a> {
    /// Only those that need attention.
    pub attention: bool,
    /// Only those of this payer.
    pub payer: Option<&'a str>,
}

/// Money, as people ask for it.
#[async_trait]
pub trait BillingDesk: Send + Sync + 'static {
    /// One document.
    async fn invoice(
        &self,
        organization: &OrganizationId,
        number: &str,
    ) -> Result<InvoiceView, BusinessError>;

    /// Documents by number after `after`, at most `limit`; only those of a payment, when one is named.
    async fn invoices(
        &self,
        organization: &OrganizationId,
        payment: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<InvoiceView>, BusinessError>;

    /// A document as a PDF, with the buyer's name as it can be read now.
    async fn invoice_pdf(
        &self,
        organization: &OrganizationId,
        number: &str,
    ) -> Result<Vec<u8>, BusinessError>;

    /// One payment.
    async fn payment(&self, organization: &OrganizationId, id: &str) -> Result<PaymentView, BusinessError>;

    /// Payments by id after `after`, at most `limit`.
    async fn payments(
        &self,
        organization: &OrganizationId,
        filter: PaymentFilter<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<PaymentView>, BusinessError>;

    /// Gives back, never more than was taken. The request's id is the refund's name: the same again is the same refund.
    async fn refund(
        &self,
        organization: &OrganizationId,
        id: &str,
        amount: Money,
        reason: &str,
        asker: Asker,
    ) -> Result<PaymentView, BusinessError>;

    /// Collects a price that needs attention, or gives it up.
    async fn collect(
        &self,
        organization: &OrganizationId,
        id: &str,
        how: Collection,
        reason: &str,
        asker: Asker,
    ) -> Result<PaymentView, BusinessError>;

    /// All accounts together.
    async fn balances(&self, organization: &OrganizationId) -> Result<BalancesView, BusinessError>;

    /// Compares the ledger of a time, ms since 1970 UTC, with a provider's statement: the lines given, or what the provider of
    /// this method says when there are none.
    async fn reconcile(
        &self,
        organization: &OrganizationId,
        method: &str,
        range_ms: (i64, i64),
        statement: Vec<StatementView>,
    ) -> Result<ReconciliationView, BusinessError>;
}
