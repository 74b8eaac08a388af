//! What billing's tests share.
#![allow(dead_code, missing_docs)] // Each test file uses a part of it.

use remuda_billing::fare::{Fare, FareLine, LineKind};
use remuda_billing::invoices::{Document, Seller};
use remuda_billing::money::{Currency, Money};
use remuda_billing::payment::{Method, Outcome, Payment, PaymentCommand, PaymentEvent, PaymentState};
use remuda_eventsourcing::Aggregate;
use remuda_eventsourcing::testing::context;

pub const TARIFFS: &str = r#"
    [[tariff]]
    code = "standard"
    version = 1
    valid_from_ms = 0
    currency = "EUR"
    base = 350
    per_km = 140
    per_minute = 25
    minimum = 700
    waiting_per_minute = 50
    cancellation_fee = 500
    no_show_fee = 800
    surge_percent_max = 200
    tax_basis_points = 1900
    quote_rule = { capped = { percent = 20 } }
"#;

pub fn eur(minor_units: i64) -> Money {
    Money { minor_units, currency: Currency::EUR }
}

pub fn fare(gross: i64, tax: i64) -> Fare {
    Fare {
        lines: vec![FareLine { kind: LineKind::Base, amount: eur(gross) }],
        net: eur(gross - tax),
        tax: eur(tax),
        gross: eur(gross),
        tax_basis_points: 1900,
        tax_included: true,
    }
}

pub fn seller() -> Seller {
    Seller {
        name: "Müller & Söhne Mobilität GmbH".into(),
        address: vec!["Straße des 17. Juni 135".into(), "10623 Berlin".into()],
        tax_id: "DE123456789".into(),
    }
}

pub fn invoice(payment: &str, gross: i64, tax: i64) -> Document {
    Document::invoice(payment, "ada", seller(), 1_700_000_000_000, &fare(gross, tax))
}

pub fn hold(minor_units: i64) -> PaymentCommand {
    PaymentCommand::Hold { payer: "ada".into(), method: Method::Card, amount: eur(minor_units) }
}

pub fn charge(cause: u8, gross: i64) -> PaymentCommand {
    PaymentCommand::Charge {
        cause: [cause; 16],
        payer: "ada".into(),
        method: Method::Card,
        hold_reference: None,
        hold_amount: None,
        supplied_ms: 1_700_000_000_000,
        tariff: "standard".into(),
        fare: Box::new(fare(gross, gross * 19 / 119)),
    }
}

pub fn attach_invoice() -> PaymentCommand {
    PaymentCommand::AttachInvoice { number: "2026-000001".into() }
}

pub fn capture(minor_units: i64) -> PaymentCommand {
    PaymentCommand::Capture { amount: eur(minor_units) }
}

pub fn refund(id: &str, minor_units: i64) -> PaymentCommand {
    PaymentCommand::Refund { refund_id: id.into(), amount: eur(minor_units), reason: "late".into() }
}

pub fn void() -> PaymentCommand {
    PaymentCommand::Void { reason: "cancelled".into() }
}

pub fn done(operation: u32) -> PaymentCommand {
    let outcome = Outcome::Done { reference: format!("ref_{operation}") };
    PaymentCommand::Answer { operation, outcome }
}

pub fn declined(operation: u32) -> PaymentCommand {
    PaymentCommand::Answer { operation, outcome: Outcome::Declined { code: "insufficient-funds".into() } }
}

/// The state after commands that are all accepted.
pub fn after(commands: &[PaymentCommand]) -> PaymentState {
    let mut state = PaymentState::default();
    for command in commands {
        for event in decide(&state, command) {
            Payment::evolve(&mut state, &event);
        }
    }
    state
}

pub fn decide(state: &PaymentState, command: &PaymentCommand) -> Vec<PaymentEvent> {
    Payment::decide(state, command, &context()).unwrap_or_else(|no| panic!("{command:?}: {no}"))
}
