//! Doing what a payment's plan says, one durable step after the other.

use chrono::{DateTime, Datelike, Duration};
use remuda_entities::AskError;
use remuda_model::OrganizationId;

use super::{Billing, ask};
use crate::invoices::{Document, DocumentKind, DocumentLine, InvoicesCommand};
use crate::ledger::{LedgerCommand, Posting, Transaction, posting};
use crate::money::{Checked, MoneyError};
use crate::payment::{
    Entry, Method, Operation, Outcome, PaymentCommand, PaymentState, Refund, Step, needs_attention, plan,
};
use crate::provider::{ProviderAnswer, ProviderError, ProviderRequest};
use crate::reconcile::{LedgerLine, Report, TooMany, reconcile};

/// Steps of one drive: more than any payment needs, so that a fault of ours ends as an error and not as a loop.
const STEPS_MAX: usize = 512;

/// How far a payment came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driven {
    /// Nothing is left to do now.
    AtRest,
    /// The provider gave no definite answer: drive again later.
    Waiting(ProviderError),
    /// A price is due and was declined too often: somebody must look.
    NeedsAttention,
}

/// A step did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DriveError {
    /// An aggregate said no or does not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// A sum that does not exist.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// It does not come to rest: a fault of ours.
    #[error("payment {0} does not come to rest")]
    Endless(String),
}

impl DriveError {
    /// May it succeed later?
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Ask(error) if error.is_transient())
    }
}

impl Billing {
    /// Drives a payment until nothing is left to do or the provider gives no answer.
    ///
    /// # Errors
    /// [`DriveError`]; drive again when it is transient.
    pub async fn drive(&self, organization: &OrganizationId, payment: &str) -> Result<Driven, DriveError> {
        for _ in 0..STEPS_MAX {
            let state = self.inner.payments.read(organization, payment).await?.state;
            let job = Job { billing: self, organization, payment, state: &state };
            match plan(&state) {
                None if needs_attention(&state) => return Ok(Driven::NeedsAttention),
                None => return Ok(Driven::AtRest),
                Some(Step::Call(operation)) => {
                    if let Err(error) = job.call(&operation).await? {
                        return Ok(Driven::Waiting(error));
                    }
                }
                Some(Step::Post { index, entry }) => job.post(index, &entry).await?,
                Some(Step::IssueInvoice) => job.issue_invoice().await?,
                Some(Step::IssueCreditNote(refund)) => job.issue_credit_note(&refund).await?,
                Some(Step::Capture(amount)) => {
                    job.pay(PaymentCommand::Capture { amount }, "capture", state.operations + 1).await?;
                }
                Some(Step::Void) => {
                    let void = PaymentCommand::Void { reason: "nothing is due".into() };
                    job.pay(void, "void", state.operations + 1).await?;
                }
            }
        }
        Err(DriveError::Endless(payment.to_owned()))
    }

    /// Takes in answers that came by themselves; repetitions change nothing.
    ///
    /// # Errors
    /// [`AskError`] when an answer could not be kept: the operation stays pending, so it is asked for again.
    pub async fn take_late_answers(&self) -> Result<usize, AskError> {
        let (mut taken, mut failed) = (0, None);
        for gateway in self.inner.gateways.values() {
            for (key, answer) in gateway.late_answers().await {
                let Some((organization, payment, operation)) = parse_key(&key) else { continue };
                let (command, id) = answer_command(operation, answer);
                match self.pay(&organization, &payment, command, &id, "provider").await {
                    Ok(_) => taken += 1,
                    Err(AskError::Refused { .. }) => {}
                    // The others came once as well: they are taken before this is told.
                    Err(error) => failed = Some(error),
                }
            }
        }
        failed.map_or(Ok(taken), Err)
    }

    /// Compares a provider's statement with the ledger's lines of the same time.
    ///
    /// # Errors
    /// When the provider does not answer, or for too many lines.
    pub async fn reconcile(
        &self,
        method: Method,
        from_ms: i64,
        to_ms: i64,
        ledger: &[LedgerLine],
    ) -> Result<Result<Report, TooMany>, ProviderError> {
        let gateway = self.inner.gateways.get(&method);
        let gateway = gateway.ok_or_else(|| ProviderError::Unavailable("nobody takes this method".into()))?;
        Ok(reconcile(ledger, &gateway.statement(from_ms, to_ms).await?))
    }

    fn year(&self, ms: i64) -> String {
        let local = DateTime::from_timestamp_millis(ms).unwrap_or_default()
            + Duration::minutes(i64::from(self.inner.settings.utc_offset_min));
        local.year().to_string()
    }
}

/// The provider's idempotency key of an operation.
fn key(organization: &OrganizationId, payment: &str, operation: u32) -> String {
    format!("{organization}/{payment}/{operation}")
}

/// The inverse of [`key`]: an organisation has no slash, a number neither.
fn parse_key(key: &str) -> Option<(OrganizationId, String, u32)> {
    let (organization, rest) = key.split_once('/')?;
    let (payment, operation) = rest.rsplit_once('/')?;
    Some((organization.parse().ok()?, payment.to_owned(), operation.parse().ok()?))
}

fn answer_command(operation: u32, answer: ProviderAnswer) -> (PaymentCommand, String) {
    let (outcome, word) = match answer {
        ProviderAnswer::Done { reference } => (Outcome::Done { reference }, "done"),
        ProviderAnswer::Declined { code } => (Outcome::Declined { code }, "declined"),
    };
    (PaymentCommand::Answer { operation, outcome }, format!("answer/{operation}/{word}"))
}

/// One step of one payment.
struct Job<'a> {
    billing: &'a Billing,
    organization: &'a OrganizationId,
    payment: &'a str,
    state: &'a PaymentState,
}

impl Job<'_> {
    async fn pay(&self, command: PaymentCommand, what: &str, number: u32) -> Result<(), AskError> {
        let command_id = format!("{what}/{number}");
        self.billing.pay(self.organization, self.payment, command, &command_id, "billing").await.map(|_| ())
    }

    async fn call(&self, operation: &Operation) -> Result<Result<(), ProviderError>, AskError> {
        let inner = &self.billing.inner;
        let answer = match inner.gateways.get(&self.state.method) {
            None => ProviderAnswer::Declined { code: "method-not-offered".into() },
            Some(gateway) => {
                let request = ProviderRequest {
                    key: key(self.organization, self.payment, operation.number),
                    payment: self.payment.to_owned(),
                    payer: self.state.payer.clone(),
                    kind: operation.kind,
                    method: self.state.method,
                    amount: operation.amount,
                    reference: operation.reference.clone(),
                    on_key: operation.on.map(|on| key(self.organization, self.payment, on)),
                    now_ms: (inner.clock)(),
                };
                match gateway.call(&request).await {
                    Ok(answer) => answer,
                    Err(error) => return Ok(Err(error)),
                }
            }
        };
        let (command, id) = answer_command(operation.number, answer);
        self.billing.pay(self.organization, self.payment, command, &id, "provider").await?;
        Ok(Ok(()))
    }

    async fn post(&self, index: u32, entry: &Entry) -> Result<(), DriveError> {
        let charge = self.state.charge.as_ref();
        let by_credits = self.state.method == Method::Credits;
        let (what, memo, reference, document) = match entry {
            Entry::Invoiced { net, tax } => {
                let document = charge.map(|c| (c.charged_ms, self.payment.to_owned()));
                (Posting::Invoiced { net: *net, tax: *tax }, "ride invoiced", None, document)
            }
            Entry::Captured { amount, .. } if by_credits => {
                (Posting::CreditsSpent(*amount), "credits spent", None, None)
            }
            Entry::WrittenOff { amount } => (Posting::WrittenOff(*amount), "written off", None, None),
            Entry::Captured { amount, reference } => {
                (Posting::Captured(*amount), "payment captured", Some(reference.clone()), None)
            }
            Entry::Refunded { refund_id, net, tax, reference } => {
                let refund = self.state.refunds.iter().find(|r| r.id == *refund_id);
                let document = refund.map(|r| (r.requested_ms, self.refund_key(refund_id)));
                if by_credits {
                    let what = Posting::RefundedAsCredits { net: *net, tax: *tax };
                    (what, "refunded as credits", None, document)
                } else {
                    let what = Posting::Refunded { net: *net, tax: *tax };
                    (what, "refunded", Some(reference.clone()), document)
                }
            }
        };
        if let Some((time_ms, key)) = document {
            self.confirm(time_ms, key).await?;
        }
        let key = format!("{}/{index}", self.payment);
        let transaction = posting(&key, memo, what)?;
        let transaction = Transaction { reference, ..transaction };
        // A free part of a ride has no lines: there is nothing to post.
        if !transaction.lines.is_empty() {
            let inner = &self.billing.inner;
            let context = self.billing.context(&format!("post/{key}"), "billing", self.payment);
            let command = LedgerCommand::Post(transaction);
            ask(&inner.ledgers, self.organization, &self.state.payer, command, context).await?;
        }
        self.pay(PaymentCommand::MarkPosted { entries: index + 1 }, "posted", index + 1).await?;
        Ok(())
    }

    fn refund_key(&self, refund_id: &str) -> String {
        format!("{}#{refund_id}", self.payment)
    }

    async fn confirm(&self, time_ms: i64, key: String) -> Result<(), AskError> {
        let year = self.billing.year(time_ms);
        let context = self.billing.context(&format!("confirm/{key}"), "billing", self.payment);
        let command = InvoicesCommand::Confirm { key };
        ask(&self.billing.inner.books, self.organization, &year, command, context).await.map(|_| ())
    }

    async fn issue(&self, time_ms: i64, key: String, document: Document) -> Result<String, AskError> {
        let year = self.billing.year(time_ms);
        let books = &self.billing.inner.books;
        let seen = books.read(self.organization, &year).await?;
        if let Some((number, _)) = seen.state.unconfirmed.get(&key) {
            return Ok(number.clone());
        }
        // With the version: a refusal for now (too many at once) must not be remembered for the document.
        let context = self.billing.context(&format!("issue/{key}/{}", seen.version), "billing", self.payment);
        let number = year.parse().unwrap_or_default();
        let command = InvoicesCommand::Issue { key: key.clone(), year: number, document: Box::new(document) };
        ask(books, self.organization, &year, command, context).await?;
        let state = books.read(self.organization, &year).await?.state;
        let number = state.unconfirmed.get(&key).map(|(number, _)| number.clone());
        // Another driver of the same payment was faster and has confirmed it: read the payment again.
        number.ok_or(AskError::Overloaded { what: "the payment" })
    }

    async fn issue_invoice(&self) -> Result<(), DriveError> {
        let Some(charge) = &self.state.charge else { return Ok(()) };
        let seller = self.billing.inner.settings.seller.clone();
        let document =
            Document::invoice(self.payment, &self.state.payer, seller, charge.supplied_ms, &charge.fare);
        let number = self.issue(charge.charged_ms, self.payment.to_owned(), document).await?;
        self.pay(PaymentCommand::AttachInvoice { number }, "invoiced", 1).await?;
        Ok(())
    }

    async fn issue_credit_note(&self, refund: &Refund) -> Result<(), DriveError> {
        let Some(charge) = &self.state.charge else { return Ok(()) };
        let document = Document {
            kind: DocumentKind::CreditNote { invoice: charge.invoice.clone().unwrap_or_default() },
            payment: self.payment.to_owned(),
            buyer: self.state.payer.clone(),
            seller: self.billing.inner.settings.seller.clone(),
            supplied_ms: charge.supplied_ms,
            lines: vec![DocumentLine { label: refund.reason.clone(), amount: refund.amount }],
            tax_included: true,
            tax_basis_points: charge.fare.tax_basis_points,
            net: refund.amount.minus(refund.tax)?,
            tax: refund.tax,
            gross: refund.amount,
        };
        let number = self.issue(refund.requested_ms, self.refund_key(&refund.id), document).await?;
        let refund_id = refund.id.clone();
        let at = self.state.refunds.iter().position(|r| r.id == refund.id).unwrap_or_default();
        let at = u32::try_from(at).unwrap_or_default();
        self.pay(PaymentCommand::AttachCreditNote { refund_id, number }, "credit-note", at).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back() {
        let organization = OrganizationId::default();
        let text = key(&organization, "trips/t-1", 7);
        assert_eq!(text, "default/trips/t-1/7");
        assert_eq!(parse_key(&text), Some((organization, "trips/t-1".to_owned(), 7)));
        for wrong in ["", "default", "default/7", "default/t/x", "NO/t/1"] {
            assert_eq!(parse_key(wrong), None, "{wrong}");
        }
    }
}
