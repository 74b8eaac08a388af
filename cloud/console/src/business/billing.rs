//! Money.

use remuda_api::billing::v1 as api;
use remuda_api::billing::v1::billing_service_server::BillingService;
use remuda_api::billing::v1::{
    AccountBalance, Balances, CollectPaymentRequest, Collection as ApiCollection, Difference,
    DifferenceCount, GetBalancesRequest, GetInvoicePdfRequest, GetInvoicePdfResponse, GetInvoiceRequest,
    GetPaymentRequest, Invoice, InvoiceLine, ListInvoicesRequest, ListInvoicesResponse, ListPaymentsRequest,
    ListPaymentsResponse, Payment, ReconcileRequest, ReconcileResponse, Refund, RefundPaymentRequest,
};
use remuda_contracts::business::billing::{
    Collection, InvoiceView, PaymentFilter, PaymentView, StatementView,
};
use remuda_contracts::money::Money;
use tonic::{Request, Response, Status};

use super::{Business, asker, convert, named_asker, next_page, page, reason};
use crate::refusal::Refusal;
use crate::scope::{field, who};

fn money(amount: Money) -> api::Money {
    api::Money { currency_code: amount.currency.to_string(), minor_units: amount.minor_units }
}

fn amount(of: &'static str, given: Option<&api::Money>) -> Result<Money, Refusal> {
    let given = given.ok_or_else(|| field(of, "it is missing"))?;
    let currency = given.currency_code.parse().map_err(|e: &str| field(of, e))?;
    Ok(Money { minor_units: given.minor_units, currency })
}

/// Sums that do not fit the wire stay at its bound.
fn bounded(minor_units: i128) -> i64 {
    i64::try_from(minor_units).unwrap_or(if minor_units < 0 { i64::MIN } else { i64::MAX })
}

impl Business {
    fn invoice_of(&self, view: InvoiceView) -> Invoice {
        Invoice {
            name: convert::name_of(self.scope.organization, "invoices", &view.number),
            kind: view.kind.to_owned(),
            invoice_number: view.invoice,
            payment: view.payment,
            buyer: view.buyer,
            issue_time: convert::some_time(view.issued_ms),
            supply_time: convert::some_time(view.supplied_ms),
            lines: view
                .lines
                .into_iter()
                .map(|(label, amount)| InvoiceLine { label, amount: Some(money(amount)) })
                .collect(),
            tax_included: view.tax_included,
            tax_basis_points: view.tax_basis_points,
            net: Some(money(view.net)),
            tax: Some(money(view.tax)),
            gross: Some(money(view.gross)),
        }
    }

    fn payment_of(&self, view: PaymentView) -> Payment {
        Payment {
            name: convert::name_of(self.scope.organization, "payments", &view.id),
            payer: view.payer,
            method: view.method.to_owned(),
            state: view.state.to_owned(),
            price: view.price.map(money),
            held: view.held.map(money),
            captured_minor: view.captured_minor,
            refunded_minor: view.refunded_minor,
            written_off_minor: view.written_off_minor,
            due_minor: view.due_minor,
            invoice_number: view.invoice,
            refunds: view
                .refunds
                .into_iter()
                .map(|refund| Refund {
                    id: refund.id,
                    amount: Some(money(refund.amount)),
                    reason: refund.reason,
                    done: refund.done,
                    credit_note_number: refund.credit_note,
                })
                .collect(),
            declined: view.declined,
            needs_attention: view.needs_attention,
            update_time: convert::some_time(view.changed_ms),
        }
    }

    async fn invoice(&self, request: GetInvoiceRequest) -> Result<Invoice, Refusal> {
        let number = self.scope.child("invoices", &request.name)?;
        let view = self.desk.invoice(&self.scope.organization, &number).await;
        view.map(|view| self.invoice_of(view)).map_err(Refusal::business)
    }

    async fn invoices(&self, request: ListInvoicesRequest) -> Result<ListInvoicesResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let of = format!("invoices {}", request.payment);
        let (size, after) = page(request.page_size, &request.page_token, &of)?;
        let payment = Some(request.payment.as_str()).filter(|payment| !payment.is_empty());
        // One more than wanted tells whether there is another page.
        let found = self.desk.invoices(&self.scope.organization, payment, after.as_deref(), size + 1).await;
        let mut found = found.map_err(Refusal::business)?;
        let next_page_token = next_page(&mut found, size, &of, |view| &view.number);
        let invoices = found.into_iter().map(|view| self.invoice_of(view)).collect();
        Ok(ListInvoicesResponse { invoices, next_page_token })
    }

    async fn pdf(&self, request: GetInvoicePdfRequest) -> Result<GetInvoicePdfResponse, Refusal> {
        let number = self.scope.child("invoices", &request.name)?;
        let pdf = self.desk.invoice_pdf(&self.scope.organization, &number).await;
        Ok(GetInvoicePdfResponse { pdf: pdf.map_err(Refusal::business)? })
    }

    async fn payment(&self, request: GetPaymentRequest) -> Result<Payment, Refusal> {
        let id = self.scope.child("payments", &request.name)?;
        let view = self.desk.payment(&self.scope.organization, &id).await;
        view.map(|view| self.payment_of(view)).map_err(Refusal::business)
    }

    async fn payments(&self, request: ListPaymentsRequest) -> Result<ListPaymentsResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let of = format!("payments {} {}", request.needs_attention, request.payer);
        let (size, after) = page(request.page_size, &request.page_token, &of)?;
        let filter = PaymentFilter {
            attention: request.needs_attention,
            payer: Some(request.payer.as_str()).filter(|payer| !payer.is_empty()),
        };
        let found = self.desk.payments(&self.scope.organization, filter, after.as_deref(), size + 1).await;
        let mut found = found.map_err(Refusal::business)?;
        let next_page_token = next_page(&mut found, size, &of, |view| &view.id);
        let payments = found.into_iter().map(|view| self.payment_of(view)).collect();
        Ok(ListPaymentsResponse { payments, next_page_token })
    }

    async fn give_back(&self, request: RefundPaymentRequest, who: String) -> Result<Payment, Refusal> {
        let id = self.scope.child("payments", &request.name)?;
        let amount = amount("amount", request.amount.as_ref())?;
        let reason = reason(&request.reason)?;
        let asker = named_asker(who, request.request_id, "the refund, so that it is given once")?;
        let view = self.desk.refund(&self.scope.organization, &id, amount, reason, asker).await;
        view.map(|view| self.payment_of(view)).map_err(Refusal::business)
    }

    async fn collect(&self, request: CollectPaymentRequest, who: String) -> Result<Payment, Refusal> {
        let id = self.scope.child("payments", &request.name)?;
        let how = match request.collection() {
            ApiCollection::TryAgain => Collection::TryAgain,
            ApiCollection::WriteOff => Collection::WriteOff,
            ApiCollection::Unspecified => {
                return Err(field("collection", "say what to do: try again, or write off"));
            }
        };
        let (reason, asker) = (reason(&request.reason)?, asker(who, request.request_id.clone())?);
        let view = self.desk.collect(&self.scope.organization, &id, how, reason, asker).await;
        view.map(|view| self.payment_of(view)).map_err(Refusal::business)
    }

    async fn balances(&self, request: GetBalancesRequest) -> Result<Balances, Refusal> {
        self.scope.parent(&request.parent)?;
        let view = self.desk.balances(&self.scope.organization).await.map_err(Refusal::business)?;
        let account = |account: remuda_contracts::business::billing::AccountView| AccountBalance {
            account: account.account.to_owned(),
            currency_code: account.currency,
            minor_units: bounded(account.minor_units),
        };
        Ok(Balances {
            transactions: view.transactions,
            accounts: view.accounts.into_iter().map(account).collect(),
            imbalance_minor: u64::try_from(view.imbalance_minor).unwrap_or(u64::MAX),
        })
    }

    async fn compare(&self, request: ReconcileRequest) -> Result<ReconcileResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let from = convert::needed_time("from_time", request.from_time.as_ref())?;
        let to = convert::needed_time("to_time", request.to_time.as_ref())?;
        let line = |line: &api::StatementLine| {
            let amount = amount("statement", line.amount.as_ref())?;
            Ok::<_, Refusal>(StatementView { reference: line.reference.clone(), amount })
        };
        let statement = request.statement.iter().map(line).collect::<Result<_, _>>()?;
        let organization = &self.scope.organization;
        let view = self.desk.reconcile(organization, &request.method, (from, to), statement).await;
        let view = view.map_err(Refusal::business)?;
        let count = |(kind, count): (&str, u64)| DifferenceCount { kind: kind.to_owned(), count };
        let difference = |one: remuda_contracts::business::billing::DifferenceView| Difference {
            kind: one.kind.to_owned(),
            reference: one.reference,
            about: one.about,
            here: one.here.map(money),
            there: one.there.map(money),
        };
        Ok(ReconcileResponse {
            matched: view.matched,
            counts: view.counts.into_iter().map(count).collect(),
            differences: view.differences.into_iter().map(difference).collect(),
        })
    }
}

#[tonic::async_trait]
impl BillingService for Business {
    async fn get_invoice(&self, request: Request<GetInvoiceRequest>) -> Result<Response<Invoice>, Status> {
        self.scope.measured("GetInvoice", self.invoice(request.into_inner())).await
    }

    async fn list_invoices(
        &self,
        request: Request<ListInvoicesRequest>,
    ) -> Result<Response<ListInvoicesResponse>, Status> {
        self.scope.measured("ListInvoices", self.invoices(request.into_inner())).await
    }

    async fn get_invoice_pdf(
        &self,
        request: Request<GetInvoicePdfRequest>,
    ) -> Result<Response<GetInvoicePdfResponse>, Status> {
        self.scope.measured("GetInvoicePdf", self.pdf(request.into_inner())).await
    }

    async fn get_payment(&self, request: Request<GetPaymentRequest>) -> Result<Response<Payment>, Status> {
        self.scope.measured("GetPayment", self.payment(request.into_inner())).await
    }

    async fn list_payments(
        &self,
        request: Request<ListPaymentsRequest>,
    ) -> Result<Response<ListPaymentsResponse>, Status> {
        self.scope.measured("ListPayments", self.payments(request.into_inner())).await
    }

    async fn refund_payment(
        &self,
        request: Request<RefundPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        let who = who(&request);
        self.scope.measured("RefundPayment", self.give_back(request.into_inner(), who)).await
    }

    async fn collect_payment(
        &self,
        request: Request<CollectPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        let who = who(&request);
        self.scope.measured("CollectPayment", self.collect(request.into_inner(), who)).await
    }

    async fn get_balances(&self, request: Request<GetBalancesRequest>) -> Result<Response<Balances>, Status> {
        self.scope.measured("GetBalances", self.balances(request.into_inner())).await
    }

    async fn reconcile(
        &self,
        request: Request<ReconcileRequest>,
    ) -> Result<Response<ReconcileResponse>, Status> {
        self.scope.measured("Reconcile", self.compare(request.into_inner())).await
    }
}
