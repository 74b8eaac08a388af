//! `remudactl invoices`, `payments` and `ledger`.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use remuda_api::MESSAGE_BYTES_MAX;
use remuda_api::billing::v1::billing_service_client::BillingServiceClient;
use remuda_api::billing::v1::{
    CollectPaymentRequest, Collection, GetBalancesRequest, GetInvoicePdfRequest, GetInvoiceRequest,
    GetPaymentRequest, Invoice, ListInvoicesRequest, ListPaymentsRequest, Money, Payment, ReconcileRequest,
    RefundPaymentRequest, StatementLine,
};
use serde_json::{Value, json};

use super::{PAGE, Session};
use crate::args::{Global, OutputFormat};
use crate::client::Service;
use crate::error::CtlError;
use crate::history::range::{When, timestamp, when};
use crate::table::{Cell, Tint, cell};
use crate::text::{id, now_ns, rfc3339};

/// What can be done with invoices and credit notes.
#[derive(Debug, Subcommand)]
pub enum InvoicesCommand {
    /// Lists documents by number.
    List {
        /// Only those of this payment, which is a trip's id.
        #[arg(long)]
        payment: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Shows one document.
    Get {
        /// Its number.
        invoice: String,
    },
    /// Writes a document as a PDF.
    Pdf {
        /// Its number.
        invoice: String,
        /// The file; `{number}.pdf` when it is not named. It must not exist.
        #[arg(long)]
        file: Option<PathBuf>,
    },
}

/// What can be done with payments.
#[derive(Debug, Subcommand)]
pub enum PaymentsCommand {
    /// Lists payments by id.
    List {
        /// Only those whose price was declined too often: collect it, or write it off.
        #[arg(long, conflicts_with = "payer")]
        needs_attention: bool,
        /// Only those of this user.
        #[arg(long)]
        payer: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Shows one payment.
    Get {
        /// The trip's id.
        payment: String,
    },
    /// Gives money back, never more than was taken.
    Refund {
        /// The trip's id.
        payment: String,
        /// How much, minor units (cents).
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        amount_minor: i64,
        /// ISO 4217.
        #[arg(long, default_value = "EUR")]
        currency: String,
        /// Why; it stands on the credit note.
        #[arg(long)]
        reason: String,
        /// The refund's own name: the same name is the same refund.
        #[arg(long)]
        request_id: String,
    },
    /// Asks the provider again for a price that was declined too often.
    Collect(Resolve),
    /// Gives a price up that was declined too often.
    WriteOff(Resolve),
}

/// Which payment, and why.
#[derive(Debug, Args)]
pub struct Resolve {
    /// The trip's id.
    payment: String,
    /// Why; it stands in the journal.
    #[arg(long)]
    reason: String,
}

/// What can be done with the ledger.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Shows the accounts of the double-entry ledger, over all payers.
    Balances,
    /// Compares the ledger with a provider's statement. Exit code 1 when they do not agree.
    Reconcile(Compare),
}

/// What is compared.
#[derive(Debug, Args)]
pub struct Compare {
    /// From this moment.
    #[arg(long, default_value = "-1d", allow_hyphen_values = true, value_parser = when)]
    from: When,
    /// To before this moment.
    #[arg(long, default_value = "now", allow_hyphen_values = true, value_parser = when)]
    to: When,
    /// card, credits, direct-debit or account.
    #[arg(long, default_value = "credits")]
    method: String,
    /// The statement: lines of `reference,amount in minor units,currency`; without it the provider is asked.
    #[arg(long)]
    statement: Option<PathBuf>,
}

fn shown(amount: Option<&Money>) -> String {
    amount.map_or_else(String::new, |money| format!("{} {}", money.minor_units, money.currency_code))
}

fn money_json(amount: Option<&Money>) -> Value {
    amount.map_or(
        Value::Null,
        |money| json!({ "currencyCode": money.currency_code, "minorUnits": money.minor_units }),
    )
}

fn invoice_json(invoice: &Invoice) -> Value {
    let lines = invoice
        .lines
        .iter()
        .map(|line| json!({ "label": line.label, "amount": money_json(line.amount.as_ref()) }));
    json!({
        "name": invoice.name,
        "kind": invoice.kind,
        "invoiceNumber": invoice.invoice_number,
        "payment": invoice.payment,
        "buyer": invoice.buyer,
        "issueTime": invoice.issue_time.as_ref().map(rfc3339),
        "supplyTime": invoice.supply_time.as_ref().map(rfc3339),
        "lines": lines.collect::<Vec<_>>(),
        "taxIncluded": invoice.tax_included,
        "taxBasisPoints": invoice.tax_basis_points,
        "net": money_json(invoice.net.as_ref()),
        "tax": money_json(invoice.tax.as_ref()),
        "gross": money_json(invoice.gross.as_ref()),
    })
}

fn invoice_row(invoice: &Invoice) -> Vec<Cell> {
    vec![
        cell(id(&invoice.name)),
        cell(invoice.kind.clone()),
        cell(invoice.issue_time.as_ref().map_or_else(String::new, rfc3339)),
        cell(invoice.payment.clone()),
        cell(invoice.buyer.clone()),
        cell(shown(invoice.net.as_ref())).right(),
        cell(shown(invoice.tax.as_ref())).right(),
        cell(shown(invoice.gross.as_ref())).right(),
    ]
}

fn payment_json(payment: &Payment) -> Value {
    let refunds = payment.refunds.iter().map(|refund| {
        json!({
            "id": refund.id,
            "amount": money_json(refund.amount.as_ref()),
            "reason": refund.reason,
            "done": refund.done,
            "creditNoteNumber": refund.credit_note_number,
        })
    });
    json!({
        "name": payment.name,
        "payer": payment.payer,
        "method": payment.method,
        "state": payment.state,
        "price": money_json(payment.price.as_ref()),
        "held": money_json(payment.held.as_ref()),
        "capturedMinor": payment.captured_minor,
        "refundedMinor": payment.refunded_minor,
        "writtenOffMinor": payment.written_off_minor,
        "dueMinor": payment.due_minor,
        "invoiceNumber": payment.invoice_number,
        "refunds": refunds.collect::<Vec<_>>(),
        "declined": payment.declined,
        "needsAttention": payment.needs_attention,
        "updateTime": payment.update_time.as_ref().map(rfc3339),
    })
}

fn payment_row(payment: &Payment) -> Vec<Cell> {
    let tint = if payment.needs_attention { Tint::Warn } else { Tint::Plain };
    vec![
        cell(id(&payment.name)),
        cell(payment.state.clone()).tint(tint),
        cell(payment.payer.clone()),
        cell(payment.method.clone()),
        cell(shown(payment.price.as_ref())).right(),
        cell(payment.captured_minor.to_string()).right(),
        cell(payment.refunded_minor.to_string()).right(),
        cell(payment.due_minor.to_string()).right(),
        cell(payment.invoice_number.clone()),
        cell(payment.declined.clone()),
    ]
}

impl Session<'_> {
    fn invoices(&mut self, invoices: &[Invoice]) -> Result<(), CtlError> {
        let names: Vec<&str> = invoices.iter().map(|invoice| invoice.name.as_str()).collect();
        let documents = invoices.iter().map(invoice_json).collect();
        let rows: Vec<Vec<Cell>> = invoices.iter().map(invoice_row).collect();
        let heads = ["INVOICE", "KIND", "ISSUED", "PAYMENT", "BUYER", "NET", "TAX", "GROSS"];
        self.print(("invoices", &heads), &names, documents, &rows)
    }

    fn payments(&mut self, payments: &[Payment]) -> Result<(), CtlError> {
        let names: Vec<&str> = payments.iter().map(|payment| payment.name.as_str()).collect();
        let documents = payments.iter().map(payment_json).collect();
        let rows: Vec<Vec<Cell>> = payments.iter().map(payment_row).collect();
        let heads = [
            "PAYMENT",
            "STATE",
            "PAYER",
            "METHOD",
            "PRICE",
            "TAKEN",
            "GIVEN BACK",
            "DUE",
            "INVOICE",
            "DECLINED",
        ];
        self.print(("payments", &heads), &names, documents, &rows)
    }

    fn billing(&self) -> BillingServiceClient<Service> {
        BillingServiceClient::new(self.service.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

/// Runs a command about documents.
pub(crate) async fn invoices(
    command: InvoicesCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let mut session = Session::open(global, out, colours).await?;
    let mut client = session.billing();
    match command {
        InvoicesCommand::List { payment, limit } => {
            let (mut invoices, mut page_token) = (Vec::new(), String::new());
            loop {
                let request = session.request(ListInvoicesRequest {
                    parent: session.parent(),
                    page_size: PAGE,
                    page_token,
                    payment: payment.clone().unwrap_or_default(),
                });
                let page = client.list_invoices(request).await?.into_inner();
                invoices.extend(page.invoices);
                page_token = page.next_page_token;
                if page_token.is_empty() || invoices.len() >= limit {
                    break;
                }
            }
            invoices.truncate(limit);
            session.invoices(&invoices)
        }
        InvoicesCommand::Get { invoice } => {
            let request = session.request(GetInvoiceRequest { name: session.name("invoices", &invoice) });
            let invoice = client.get_invoice(request).await?.into_inner();
            session.invoices(std::slice::from_ref(&invoice))
        }
        InvoicesCommand::Pdf { invoice, file } => {
            let request = session.request(GetInvoicePdfRequest { name: session.name("invoices", &invoice) });
            let pdf = client.get_invoice_pdf(request).await?.into_inner().pdf;
            let path = file.unwrap_or_else(|| PathBuf::from(format!("{}.pdf", id(&invoice))));
            let written = fs::File::create_new(&path).and_then(|mut file| file.write_all(&pdf));
            let file = path.display().to_string();
            written.map_err(|source| CtlError::Unwritable { file, source })?;
            eprintln!("{} holds {} bytes", path.display(), pdf.len());
            Ok(())
        }
    }
}

/// Runs a command about payments.
pub(crate) async fn payments(
    command: PaymentsCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let mut session = Session::open(global, out, colours).await?;
    let mut client = session.billing();
    let collection = match &command {
        PaymentsCommand::WriteOff(_) => Collection::WriteOff,
        _ => Collection::TryAgain,
    };
    let payment = match command {
        PaymentsCommand::List { needs_attention, payer, limit } => {
            let (mut payments, mut page_token) = (Vec::new(), String::new());
            loop {
                let request = session.request(ListPaymentsRequest {
                    parent: session.parent(),
                    page_size: PAGE,
                    page_token,
                    needs_attention,
                    payer: payer.clone().unwrap_or_default(),
                });
                let page = client.list_payments(request).await?.into_inner();
                payments.extend(page.payments);
                page_token = page.next_page_token;
                if page_token.is_empty() || payments.len() >= limit {
                    break;
                }
            }
            payments.truncate(limit);
            return session.payments(&payments);
        }
        PaymentsCommand::Get { payment } => {
            let request = session.request(GetPaymentRequest { name: session.name("payments", &payment) });
            client.get_payment(request).await?.into_inner()
        }
        PaymentsCommand::Refund { payment, amount_minor, currency, reason, request_id } => {
            let amount = Money { currency_code: currency, minor_units: amount_minor };
            let request = session.request(RefundPaymentRequest {
                name: session.name("payments", &payment),
                amount: Some(amount),
                reason,
                request_id,
            });
            client.refund_payment(request).await?.into_inner()
        }
        PaymentsCommand::Collect(which) | PaymentsCommand::WriteOff(which) => {
            let request = session.request(CollectPaymentRequest {
                name: session.name("payments", &which.payment),
                collection: collection.into(),
                reason: which.reason,
                request_id: String::new(),
            });
            client.collect_payment(request).await?.into_inner()
        }
    };
    session.payments(std::slice::from_ref(&payment))
}

/// `reference,amount in minor units,currency` a line; empty lines and those that begin with `#` say nothing.
fn statement(text: &str) -> Result<Vec<StatementLine>, CtlError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = |line: &str| {
        let wrong = || CtlError::Usage("a statement has lines of `reference,amount in minor units,currency`");
        let mut parts = line.rsplitn(3, ',').map(str::trim);
        let (currency, amount, reference) = (parts.next(), parts.next(), parts.next());
        let (Some(currency), Some(amount), Some(reference)) = (currency, amount, reference) else {
            return Err(wrong());
        };
        let minor_units = amount.parse().map_err(|_| wrong())?;
        let amount = Some(Money { currency_code: currency.to_owned(), minor_units });
        Ok(StatementLine { reference: reference.to_owned(), amount })
    };
    lines.map(line).collect()
}

/// Runs a command about the ledger.
pub(crate) async fn ledger(
    command: LedgerCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let mut session = Session::open(global, out, colours).await?;
    let mut client = session.billing();
    match command {
        LedgerCommand::Balances => {
            let request = session.request(GetBalancesRequest { parent: session.parent() });
            let balances = client.get_balances(request).await?.into_inner();
            if session.global.output == OutputFormat::Json {
                let accounts = balances.accounts.iter().map(|account| {
                    json!({
                        "account": account.account,
                        "currencyCode": account.currency_code,
                        "minorUnits": account.minor_units,
                    })
                });
                let document = json!({
                    "transactions": balances.transactions,
                    "accounts": accounts.collect::<Vec<_>>(),
                    "imbalanceMinor": balances.imbalance_minor,
                });
                writeln!(session.out, "{document:#}")?;
                return Ok(());
            }
            let rows: Vec<Vec<Cell>> = balances
                .accounts
                .iter()
                .map(|account| {
                    vec![
                        cell(account.account.clone()),
                        cell(account.currency_code.clone()),
                        cell(account.minor_units.to_string()).right(),
                    ]
                })
                .collect();
            let names: Vec<&str> = balances.accounts.iter().map(|account| account.account.as_str()).collect();
            session.print(
                ("accounts", &["ACCOUNT", "CURRENCY", "MINOR UNITS"]),
                &names,
                Vec::new(),
                &rows,
            )?;
            eprintln!("{} transactions, which sum to {}", balances.transactions, balances.imbalance_minor);
            Ok(())
        }
        LedgerCommand::Reconcile(Compare { from, to, method, statement: file }) => {
            let now = now_ns();
            let lines = match file {
                Some(path) => {
                    let file = path.display().to_string();
                    let text = fs::read_to_string(path);
                    statement(&text.map_err(|source| CtlError::File { file, source })?)?
                }
                None => Vec::new(),
            };
            let request = session.request(ReconcileRequest {
                parent: session.parent(),
                method,
                from_time: Some(timestamp(from.ns(now))),
                to_time: Some(timestamp(to.ns(now))),
                statement: lines,
            });
            let report = client.reconcile(request).await?.into_inner();
            let differ: u64 = report.counts.iter().map(|count| count.count).sum();
            let documents: Vec<Value> = report
                .differences
                .iter()
                .map(|one| {
                    json!({
                        "kind": one.kind, "reference": one.reference, "about": one.about,
                        "here": money_json(one.here.as_ref()), "there": money_json(one.there.as_ref()),
                    })
                })
                .collect();
            let rows: Vec<Vec<Cell>> = report
                .differences
                .iter()
                .map(|one| {
                    vec![
                        cell(one.kind.clone()).tint(Tint::Warn),
                        cell(one.reference.clone()),
                        cell(one.about.clone()),
                        cell(shown(one.here.as_ref())).right(),
                        cell(shown(one.there.as_ref())).right(),
                    ]
                })
                .collect();
            let names: Vec<&str> = report.differences.iter().map(|one| one.reference.as_str()).collect();
            let heads = ["KIND", "REFERENCE", "ABOUT", "LEDGER", "PROVIDER"];
            session.print(("differences", &heads), &names, documents, &rows)?;
            eprintln!("{} movements agree, {differ} do not", report.matched);
            if differ > 0 { Err(CtlError::Differs(differ)) } else { Ok(()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_read_line_by_line() {
        let lines = statement("# a bank\n\npay,1, -250,EUR\npay-2,100,EUR\n").unwrap();
        let read: Vec<_> =
            lines.iter().map(|line| (line.reference.as_str(), shown(line.amount.as_ref()))).collect();
        assert_eq!(read, [("pay,1", "-250 EUR".to_owned()), ("pay-2", "100 EUR".to_owned())]);
        for wrong in ["a,b", "a,b,EUR", "a"] {
            assert!(statement(wrong).is_err(), "{wrong}");
        }
    }
}
