//! Money, for people.

use async_trait::async_trait;
use remuda_billing::desk::{DriveError, Driven};
use remuda_billing::invoices::{Buyer, DocumentKind, IssuedDocument, pdf};
use remuda_billing::payment::{Method, PaymentState, needs_attention};
use remuda_billing::provider::StatementLine;
use remuda_billing::reconcile::{Difference, Differences, Report, reconcile};
use remuda_billing::views::{PaymentLine, PaymentsOf};
use remuda_contracts::business::billing::{
    AccountView, BalancesView, BillingDesk, Collection, DifferenceView, InvoiceView, PaymentFilter,
    PaymentView, ReconciliationView, RefundView, StatementView,
};
use remuda_contracts::business::{Asker, BusinessError};
use remuda_contracts::money::Money;
use remuda_model::OrganizationId;
use remuda_notifications::Directory;

use super::{Desk, refused, unavailable};
use crate::convert::ask_error;

fn invoice_view(issued: IssuedDocument) -> InvoiceView {
    let document = issued.document;
    let (kind, invoice) = match document.kind {
        DocumentKind::Invoice => ("invoice", String::new()),
        DocumentKind::CreditNote { invoice } => ("credit-note", invoice),
    };
    InvoiceView {
        number: issued.number,
        kind,
        invoice,
        payment: document.payment,
        buyer: document.buyer,
        issued_ms: issued.issued_ms,
        supplied_ms: document.supplied_ms,
        lines: document.lines.into_iter().map(|line| (line.label, line.amount)).collect(),
        tax_included: document.tax_included,
        tax_basis_points: document.tax_basis_points,
        net: document.net,
        tax: document.tax,
        gross: document.gross,
    }
}

fn payment_view(id: &str, payment: PaymentState, changed_ms: i64) -> PaymentView {
    let (due_minor, attention) = (payment.outstanding_minor(), needs_attention(&payment));
    let held = payment.hold.filter(|_| payment.hold_is_open());
    let refunds = payment.refunds.into_iter().map(|refund| RefundView {
        id: refund.id,
        amount: refund.amount,
        reason: refund.reason,
        done: refund.done,
        credit_note: refund.credit_note.unwrap_or_default(),
    });
    PaymentView {
        id: id.to_owned(),
        payer: payment.payer,
        method: payment.method.name(),
        state: payment.status.name(),
        price: payment.charge.as_ref().map(|charge| charge.fare.gross),
        held,
        captured_minor: payment.captured_minor,
        refunded_minor: payment.refunded_minor,
        written_off_minor: payment.written_off_minor,
        due_minor,
        invoice: payment.charge.and_then(|charge| charge.invoice).unwrap_or_default(),
        refunds: refunds.collect(),
        declined: payment.last_decline.unwrap_or_default(),
        needs_attention: attention,
        changed_ms,
    }
}

fn line_view(line: PaymentLine) -> PaymentView {
    payment_view(&line.id, line.payment, line.changed_ms)
}

fn drive_error(error: DriveError) -> BusinessError {
    match error {
        DriveError::Ask(error) => ask_error(error),
        other => unavailable(other),
    }
}

fn report_view(report: Report) -> ReconciliationView {
    let kinds: [(&'static str, Differences); 4] = [
        ("missing-here", report.missing_here),
        ("missing-there", report.missing_there),
        ("amounts-differ", report.amounts_differ),
        ("repeated", report.repeated),
    ];
    let counts = kinds.iter().map(|(kind, differences)| (*kind, differences.count as u64)).collect();
    let view = |kind: &'static str, difference: Difference| DifferenceView {
        kind,
        reference: difference.reference,
        about: difference.about.unwrap_or_default(),
        here: difference.here,
        there: difference.there,
    };
    let all = kinds.into_iter().flat_map(|(kind, differences)| {
        differences.first.into_iter().map(move |difference| view(kind, difference))
    });
    ReconciliationView { matched: report.matched as u64, counts, differences: all.collect() }
}

impl Desk {
    async fn document(
        &self,
        organization: &OrganizationId,
        number: &str,
    ) -> Result<IssuedDocument, BusinessError> {
        self.check(organization)?;
        let found = self.0.bills.document(organization, number).map_err(unavailable)?;
        found.ok_or_else(|| BusinessError::NotFound { what: "invoice", id: number.to_owned() })
    }

    /// A payment as its own aggregate says: a list may be a moment behind.
    async fn payment_now(
        &self,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<PaymentView, BusinessError> {
        self.check(organization)?;
        let seen = self.0.billing.payments().read(organization, id).await.map_err(ask_error)?;
        if seen.state == PaymentState::default() {
            return Err(BusinessError::NotFound { what: "payment", id: id.to_owned() });
        }
        let listed = self.0.bills.payment(organization, id).map_err(unavailable)?;
        Ok(payment_view(id, seen.state, listed.map_or(0, |line| line.changed_ms)))
    }

    /// What was asked for is durable; where the provider does not answer, it is asked again until it does.
    fn driven(driven: Result<Driven, DriveError>) -> Result<(), BusinessError> {
        match driven {
            Ok(Driven::AtRest | Driven::NeedsAttention | Driven::Waiting(_)) => Ok(()),
            Err(error) => Err(drive_error(error)),
        }
    }
}

#[async_trait]
impl BillingDesk for Desk {
    async fn invoice(
        &self,
        organization: &OrganizationId,
        number: &str,
    ) -> Result<InvoiceView, BusinessError> {
        self.document(organization, number).await.map(invoice_view)
    }

    async fn invoices(
        &self,
        organization: &OrganizationId,
        payment: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<InvoiceView>, BusinessError> {
        self.check(organization)?;
        let found = match payment {
            None => self.0.bills.documents(organization, after, limit).map_err(unavailable)?,
            Some(payment) => {
                // A payment has one invoice and at most 32 credit notes.
                let numbers = self.0.bills.numbers(organization, payment).map_err(unavailable)?;
                let wanted =
                    numbers.iter().filter(|number| after.is_none_or(|after| number.as_str() > after));
                let found: Result<Vec<_>, _> =
                    wanted.take(limit).map(|number| self.0.bills.document(organization, number)).collect();
                found.map_err(unavailable)?.into_iter().flatten().collect()
            }
        };
        Ok(found.into_iter().map(invoice_view).collect())
    }

    async fn invoice_pdf(
        &self,
        organization: &OrganizationId,
        number: &str,
    ) -> Result<Vec<u8>, BusinessError> {
        let issued = self.document(organization, number).await?;
        // Names are sealed with the user, and gone with them: then the document says the user's id.
        let contact = self.0.directory.contact(organization, &issued.document.buyer).await;
        let name = contact.map_err(unavailable)?.map(|contact| contact.name).unwrap_or_default();
        Ok(pdf(&issued, &Buyer { name, address: Vec::new() }))
    }

    async fn payment(&self, organization: &OrganizationId, id: &str) -> Result<PaymentView, BusinessError> {
        self.payment_now(organization, id).await
    }

    async fn payments(
        &self,
        organization: &OrganizationId,
        filter: PaymentFilter<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<PaymentView>, BusinessError> {
        self.check(organization)?;
        let of = match (filter.attention, filter.payer) {
            (true, Some(_)) => {
                return Err(refused("bad-filter", "name a payer, or ask for those that need attention"));
            }
            (true, None) => PaymentsOf::Attention,
            (false, Some(payer)) => PaymentsOf::Payer(payer),
            (false, None) => PaymentsOf::All,
        };
        let found = self.0.bills.payments(organization, of, after, limit).map_err(unavailable)?;
        Ok(found.into_iter().map(line_view).collect())
    }

    async fn refund(
        &self,
        organization: &OrganizationId,
        id: &str,
        amount: Money,
        reason: &str,
        asker: Asker,
    ) -> Result<PaymentView, BusinessError> {
        self.payment_now(organization, id).await?;
        let actor = format!("user/{}", asker.who);
        let billing = &self.0.billing;
        let driven = billing.refund(organization, id, &asker.request_id, amount, reason, &actor).await;
        Self::driven(driven)?;
        self.payment_now(organization, id).await
    }

    async fn collect(
        &self,
        organization: &OrganizationId,
        id: &str,
        how: Collection,
        reason: &str,
        asker: Asker,
    ) -> Result<PaymentView, BusinessError> {
        self.payment_now(organization, id).await?;
        let (actor, name) = (format!("user/{}", asker.who), &asker.request_id);
        let driven = match how {
            Collection::TryAgain => self.0.billing.try_again(organization, id, reason, name, &actor).await,
            Collection::WriteOff => self.0.billing.write_off(organization, id, reason, name, &actor).await,
        };
        Self::driven(driven)?;
        self.payment_now(organization, id).await
    }

    async fn balances(&self, organization: &OrganizationId) -> Result<BalancesView, BusinessError> {
        self.check(organization)?;
        let all = self.0.bills.trial_balance(organization).map_err(unavailable)?;
        let imbalance_minor = all.imbalance_minor();
        let account = |((account, currency), minor_units): (&(remuda_billing::ledger::Account, _), &i128)| {
            let currency: &remuda_contracts::money::Currency = currency;
            AccountView { account: account.name(), currency: currency.to_string(), minor_units: *minor_units }
        };
        Ok(BalancesView {
            transactions: all.transactions,
            accounts: all.balances.iter().map(account).collect(),
            imbalance_minor,
        })
    }

    async fn reconcile(
        &self,
        organization: &OrganizationId,
        method: &str,
        (from_ms, to_ms): (i64, i64),
        statement: Vec<StatementView>,
    ) -> Result<ReconciliationView, BusinessError> {
        self.check(organization)?;
        let method = Method::ALL.into_iter().find(|known| known.name() == method).ok_or_else(|| {
            let known = Method::ALL.map(Method::name).join(", ");
            refused("bad-method", format!("there is no method `{method}`; there are {known}"))
        })?;
        if from_ms >= to_ms {
            return Err(refused("bad-range", "the end must lie after the beginning"));
        }
        let ledger = self.0.bills.moved(organization, from_ms, to_ms).map_err(unavailable)?;
        let report = if statement.is_empty() {
            if method == Method::Credits {
                let text = "credits have no provider's statement: they are in the same journal; give the lines of \
                            whoever took the money for them";
                return Err(refused("no-statement", text));
            }
            self.0.billing.reconcile(method, from_ms, to_ms, &ledger).await.map_err(unavailable)?
        } else {
            let line = |line: StatementView| StatementLine {
                reference: line.reference,
                payment: None,
                amount: line.amount,
                time_ms: from_ms,
            };
            let statement: Vec<StatementLine> = statement.into_iter().map(line).collect();
            reconcile(&ledger, &statement)
        };
        report.map(report_view).map_err(|error| refused("too-much", error.to_string()))
    }
}
