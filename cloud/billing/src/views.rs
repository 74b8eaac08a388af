//! What can be read off billing's events: documents by number, the trial balance, and what the provider must
//! know.

use remuda_entities::projection::{Poisoned, Projected, Projection, View, fact, key, numbered};
use remuda_eventsourcing::{Aggregate, Event};
use remuda_model::OrganizationId;

use serde::{Deserialize, Serialize};

use crate::invoices::{Invoices, InvoicesEvent, IssuedDocument};
use crate::ledger::{Ledger, TrialBalance};
use crate::limits::{DOCUMENTS_PAGE_MAX, STATEMENT_LINES_MAX};
use crate::payment::{Payment, PaymentState, needs_attention};
use crate::reconcile::LedgerLine;

/// The projection.
#[derive(Debug, Clone, Copy, Default)]
pub struct BillingViews;

/// A payment in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentLine {
    /// The ride's id.
    pub id: String,
    /// All that is known of it.
    pub payment: PaymentState,
    /// When it last changed, ms since 1970 UTC.
    pub changed_ms: i64,
}

/// Which payments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentsOf<'a> {
    /// All.
    All,
    /// Those whose price was declined too often.
    Attention,
    /// Those of a payer.
    Payer(&'a str),
}

fn sortable(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or_default()
}

impl Projection for BillingViews {
    const NAME: &'static str = "billing-views";
    const VERSION: u32 = 2;
    const READS: &'static [&'static str] = &[Invoices::TYPE, Ledger::TYPE, Payment::TYPE];

    fn apply(&self, event: &Event, view: &mut View<'_>) -> Result<(), Poisoned> {
        let stream = &event.event.stream;
        let organization = stream.organization.as_str();
        if let Some(InvoicesEvent::Issued(issued)) = fact::<Invoices>(event)? {
            let number = &issued.issued.number;
            let payment = &issued.issued.document.payment;
            view.put(&key(&["paid", organization, payment, number]), number)?;
            view.put(&key(&["document", organization, number]), &issued.issued)?;
        }
        if let Some(fact) = fact::<Payment>(event)? {
            let id = &stream.aggregate_id;
            let place = key(&["payment", organization, id]);
            let mut line: PaymentLine = view.get(&place)?.unwrap_or_default();
            // The same rules as the aggregate's own, so that a list never says anything else.
            Payment::evolve(&mut line.payment, &fact);
            line.id.clone_from(id);
            line.changed_ms = event.event.time_ms;
            let attention = key(&["attention", organization, id]);
            if needs_attention(&line.payment) {
                view.put(&attention, &line)?;
            } else {
                view.remove(&attention);
            }
            if !line.payment.payer.is_empty() {
                view.put(&key(&["payer", organization, &line.payment.payer, id]), &line)?;
            }
            view.put(&place, &line)?;
        }
        if let Some(recorded) = fact::<Ledger>(event)? {
            let place = key(&["balance", organization]);
            let mut balance: TrialBalance = view.get(&place)?.unwrap_or_default();
            balance.apply(&recorded);
            view.put(&place, &balance)?;
            for line in LedgerLine::of(&recorded) {
                let mut place = numbered(&["moved", organization], sortable(event.event.time_ms));
                place.extend_from_slice(line.key.as_bytes());
                view.put(&place, &line)?;
            }
        }
        Ok(())
    }
}

/// Reads the projection.
#[derive(Clone)]
pub struct BillingReader(pub Projected<BillingViews>);

impl BillingReader {
    /// A document.
    ///
    /// # Errors
    /// When the projection does not serve.
    pub fn document(
        &self,
        organization: &OrganizationId,
        number: &str,
    ) -> Result<Option<IssuedDocument>, Poisoned> {
        self.0.get(&key(&["document", organization.as_str(), number]))
    }

    /// Documents of an organisation in the order of their numbers, after one.
    ///
    /// # Errors
    /// When the projection does not serve.
    pub fn documents(
        &self,
        organization: &OrganizationId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<IssuedDocument>, Poisoned> {
        let after = after.map(|number| key(&["document", organization.as_str(), number]));
        let prefix = key(&["document", organization.as_str()]);
        let found = self.0.scan(&prefix, after.as_deref(), limit.min(DOCUMENTS_PAGE_MAX))?;
        Ok(found.into_iter().map(|(_, document)| document).collect())
    }

    /// Numbers of a payment's documents: its invoice and credit notes.
    ///
    /// # Errors
    /// When the projection does not serve.
    pub fn numbers(&self, organization: &OrganizationId, payment: &str) -> Result<Vec<String>, Poisoned> {
        let prefix = key(&["paid", organization.as_str(), payment]);
        let found = self.0.scan(&prefix, None, DOCUMENTS_PAGE_MAX)?;
        Ok(found.into_iter().map(|(_, number)| number).collect())
    }

    /// One payment; it may be a moment behind the payment's own aggregate.
    ///
    /// # Errors
    /// When the projection does not serve.
    pub fn payment(&self, organization: &OrganizationId, id: &str) -> Result<Option<PaymentLine>, Poisoned> {
        self.0.get(&key(&["payment", organization.as_str(), id]))
    }

    /// Payments by id, after one.
    ///
    /// # Errors
    /// When the projection does not serve.
    pub fn payments(
        &self,
        organization: &OrganizationId,
        of: PaymentsOf<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<PaymentLine>, Poisoned> {
        let organization = organization.as_str();
        let list: &[&str] = match of {
            PaymentsOf::All => &["payment", organization],
            PaymentsOf::Attention => &["attention", organization],
            PaymentsOf::Payer(payer) => &["payer", organization, payer],
        };
        let after = after.map(|after| key(&[list, &[after]].concat()));
        let found = self.0.scan(&key(list), after.as_deref(), limit.min(DOCUMENTS_PAGE_MAX))?;
        Ok(found.into_iter().map(|(_, line)| line).collect())
    }

    /// The balance of all ledgers of an organisation; ask its [`TrialBalance::imbalance_minor`].
    ///
    /// # Errors
    /// When the projection does not serve.
    pub fn trial_balance(&self, organization: &OrganizationId) -> Result<TrialBalance, Poisoned> {
        Ok(self.0.get(&key(&["balance", organization.as_str()]))?.unwrap_or_default())
    }

    /// What the provider must know of a time, ms since 1970 UTC, for [`crate::reconcile::reconcile`]: at most
    /// one line more than that takes, so that it says when there are too many.
    ///
    /// # Errors
    /// When the projection does not serve.
    pub fn moved(
        &self,
        organization: &OrganizationId,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<LedgerLine>, Poisoned> {
        let prefix = key(&["moved", organization.as_str()]);
        let mut after = numbered(&["moved", organization.as_str()], sortable(from_ms));
        let end = numbered(&["moved", organization.as_str()], sortable(to_ms));
        let mut lines = Vec::new();
        loop {
            let page: Vec<(Vec<u8>, LedgerLine)> = self.0.scan(&prefix, Some(&after), DOCUMENTS_PAGE_MAX)?;
            let Some((last, _)) = page.last() else { return Ok(lines) };
            after.clone_from(last);
            for (place, line) in page {
                if place >= end || lines.len() > STATEMENT_LINES_MAX {
                    return Ok(lines);
                }
                lines.push(line);
            }
        }
    }
}
