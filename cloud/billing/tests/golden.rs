//! Stored forms that must be read for ever. Cases are only added.

mod common;

use common::eur;
use remuda_billing::fare::{Fare, FareLine, LineKind, Measured};
use remuda_billing::invoices::{
    Confirmed, Document, DocumentKind, DocumentLine, Invoices, InvoicesEvent, Issued, IssuedDocument, Seller,
};
use remuda_billing::ledger::{Account, Ledger, LedgerEvent, Line, Recorded, Transaction};
use remuda_billing::payment::{
    CaptureRequested, Captured, Charged, CreditNoted, Declined, HoldPlaced, HoldRequested, Invoiced, Method,
    OperationKind, Payment, PaymentEvent, Posted, RefundRequested, Refunded, TriedAgain, VoidRequested,
    Voided, WrittenOff,
};
use remuda_billing::quote::{Accepted, Given, Quote, QuoteEvent, Quotes};
use remuda_contracts::figures::RidePriced;
use remuda_eventsourcing::testing::golden_event;

/// One piece of a stored form per argument, so that a reader can follow it.
fn check(event_type: &str, pieces: &[&str], meaning: &PaymentEvent) {
    golden_event::<Payment>(event_type, 1, &pieces.concat(), meaning);
}

#[test]
fn payments() {
    let (reference, refund_id) = ("r".to_owned(), "r1".to_owned());
    let hold = HoldRequested { operation: 1, payer: "ada".into(), method: Method::Card, amount: eur(1_000) };
    check(
        "payment.hold-requested",
        &["01", "03616461", "00", "d00f03455552"],
        &PaymentEvent::HoldRequested(hold),
    );
    let placed = HoldPlaced { operation: 1, reference: reference.clone() };
    check("payment.hold-placed", &["01", "0172"], &PaymentEvent::HoldPlaced(placed));
    let declined = Declined { operation: 2, kind: OperationKind::Capture, code: "no".into() };
    check("payment.declined", &["02", "01", "026e6f"], &PaymentEvent::Declined(declined));
    let charged = Charged {
        cause: [1; 16],
        payer: "a".into(),
        method: Method::Card,
        hold_reference: None,
        hold_amount: None,
        supplied_ms: 1,
        charged_ms: 2,
        fare: Fare {
            lines: vec![FareLine { kind: LineKind::Base, amount: eur(5) }],
            net: eur(4),
            tax: eur(1),
            gross: eur(5),
            tax_basis_points: 1_900,
            tax_included: true,
        },
    };
    let fare = ["01000a03455552", "0803455552", "0203455552", "0a03455552", "ec0e", "01"].concat();
    check(
        "payment.charged",
        &[&"01".repeat(16), "0161", "00", "00", "00", "02", "04", &fare],
        &PaymentEvent::Charged(Box::new(charged)),
    );
    let priced = RidePriced { net: eur(5), gross: eur(6), tariff: "t".into() };
    check("payment.priced", &["0a03455552", "0c03455552", "0174"], &PaymentEvent::Priced(priced));
    check("payment.invoiced", &["016e"], &PaymentEvent::Invoiced(Invoiced { number: "n".into() }));
    let requested = CaptureRequested { operation: 2, amount: eur(5), from_hold: true };
    check(
        "payment.capture-requested",
        &["02", "0a03455552", "01"],
        &PaymentEvent::CaptureRequested(requested),
    );
    let captured = Captured { operation: 2, amount: eur(5), reference: reference.clone() };
    check("payment.captured", &["02", "0a03455552", "0172"], &PaymentEvent::Captured(captured));
    let requested = RefundRequested {
        operation: 3,
        refund_id: refund_id.clone(),
        amount: eur(5),
        tax: eur(1),
        requested_ms: 1,
        reason: "late".into(),
    };
    check(
        "payment.refund-requested",
        &["03", "027231", "0a03455552", "0203455552", "02", "046c617465"],
        &PaymentEvent::RefundRequested(requested),
    );
    let refunded = Refunded { operation: 3, refund_id: refund_id.clone(), reference };
    check("payment.refunded", &["03", "027231", "0172"], &PaymentEvent::Refunded(refunded));
    let noted = CreditNoted { refund_id, number: "n".into() };
    check("payment.credit-noted", &["027231", "016e"], &PaymentEvent::CreditNoted(noted));
    let voiding = VoidRequested { operation: 2, reason: "x".into() };
    check("payment.void-requested", &["02", "0178"], &PaymentEvent::VoidRequested(voiding));
    check("payment.voided", &["00"], &PaymentEvent::Voided(Voided { operation: 0 }));
    check("payment.posted", &["01"], &PaymentEvent::Posted(Posted { entries: 1 }));
    let again = TriedAgain { reason: "x".into() };
    check("payment.tried-again", &["0178"], &PaymentEvent::TriedAgain(again));
    let off = WrittenOff { amount: eur(5), reason: "x".into() };
    check("payment.written-off", &["0a03455552", "0178"], &PaymentEvent::WrittenOff(off));
}

#[test]
fn ledgers() {
    let line = |account, minor_units| Line { account, amount: eur(minor_units) };
    let transaction = Transaction {
        key: "k".into(),
        memo: "m".into(),
        reference: None,
        lines: vec![line(Account::Bank, 5), line(Account::Revenue, -5)],
    };
    let hex = ["01", "016b", "016d", "00", "02", "020a03455552", "050903455552"].concat();
    golden_event::<Ledger>(
        "ledger.recorded",
        1,
        &hex,
        &LedgerEvent::Recorded(Recorded { number: 1, transaction }),
    );
}

#[test]
fn quotes() {
    let nothing = Fare {
        lines: Vec::new(),
        net: eur(0),
        tax: eur(0),
        gross: eur(0),
        tax_basis_points: 0,
        tax_included: false,
    };
    let quote = Quote {
        rider: "a".into(),
        tariff: "t".into(),
        tariff_version: 1,
        planned: Measured { distance_m: 5, duration_ms: 1, waiting_ms: 0 },
        surge_percent: 100,
        fare: nothing,
        given_ms: 1,
        valid_until_ms: 2,
    };
    let fare = ["00", "0003455552", "0003455552", "0003455552", "00", "00"].concat();
    let hex = ["0161", "0174", "01", "050200", "64", &fare, "02", "04"].concat();
    golden_event::<Quotes>("quote.given", 1, &hex, &QuoteEvent::Given(Given { quote }));
    golden_event::<Quotes>("quote.accepted", 1, "0174", &QuoteEvent::Accepted(Accepted { trip: "t".into() }));
}

#[test]
fn invoices() {
    let document = Document {
        kind: DocumentKind::Invoice,
        payment: "p".into(),
        buyer: "b".into(),
        seller: Seller { name: "s".into(), address: Vec::new(), tax_id: "i".into() },
        supplied_ms: 1,
        lines: vec![DocumentLine { label: "l".into(), amount: eur(5) }],
        tax_included: true,
        tax_basis_points: 0,
        net: eur(5),
        tax: eur(0),
        gross: eur(5),
    };
    let issued = IssuedDocument { number: "n".into(), issued_ms: 1, document };
    let hex = [
        "016b",
        "d41f",
        "01",
        "016e",
        "02",
        "00",
        "0170",
        "0162",
        "0173",
        "00",
        "0169",
        "02",
        "01016c0a03455552",
        "01",
        "00",
        "0a03455552",
        "0003455552",
        "0a03455552",
    ]
    .concat();
    let event = InvoicesEvent::Issued(Box::new(Issued { key: "k".into(), year: 2026, sequence: 1, issued }));
    golden_event::<Invoices>("invoices.issued", 1, &hex, &event);
    let confirmed = InvoicesEvent::Confirmed(Confirmed { key: "k".into() });
    golden_event::<Invoices>("invoices.confirmed", 1, "016b", &confirmed);
}
