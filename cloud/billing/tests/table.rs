//! The README's tables of commands and states are what the code does.

mod common;

use std::fmt::Write as _;
use std::path::Path;

use common::{after, attach_invoice, capture, charge, done, eur, fare, hold, invoice, refund, void};
use remuda_billing::fare::Measured;
use remuda_billing::invoices::{Invoices, InvoicesCommand, InvoicesState};
use remuda_billing::ledger::{
    Account, Ledger, LedgerCommand, LedgerState, Line, Posting, Transaction, posting,
};
use remuda_billing::payment::{Outcome, Payment, PaymentCommand, PaymentState};
use remuda_billing::quote::{Quote, QuoteCommand, QuoteState, Quotes};
use remuda_eventsourcing::Aggregate;
use remuda_eventsourcing::table::{check, decisions};
use remuda_eventsourcing::testing::context;

fn fold<A: Aggregate>(commands: &[A::Command]) -> A::State {
    let mut state = A::State::default();
    for command in commands {
        for event in A::decide(&state, command, &context()).unwrap_or_else(|no| panic!("{command:?}: {no}")) {
            A::evolve(&mut state, &event);
        }
    }
    state
}

fn payment_table() -> String {
    let held = [hold(1_000), done(1)];
    let due = [charge(1, 1_000), attach_invoice()];
    let declined = |n| [capture(1_000), common::declined(n)];
    let thrice = [&due[..], &declined(1), &declined(2), &declined(3)].concat();
    let paid = [&due[..], &[capture(1_000), done(1)]].concat();
    let states: Vec<(&str, PaymentState)> = vec![
        ("new", PaymentState::default()),
        ("holding", after(&held[..1])),
        ("held", after(&held)),
        ("hold-declined", after(&[hold(1_000), common::declined(1)])),
        ("held, charged", after(&[&held[..], &due[..1]].concat())),
        ("owed", after(&due)),
        ("declined thrice", after(&thrice)),
        ("capturing", after(&[&due[..], &[capture(1_000)]].concat())),
        ("captured", after(&paid)),
        ("refunding", after(&[&paid[..], &[refund("r", 400)]].concat())),
        ("refunded", after(&[&paid[..], &[refund("r", 1_000), done(2)]].concat())),
        ("voiding", after(&[hold(1_000), void()])),
        ("voided", after(&[void()])),
    ];
    let other_hold =
        PaymentCommand::Hold { payer: "bob".into(), method: Default::default(), amount: eur(500) };
    let commands = [
        ("hold", hold(1_000)),
        ("hold of another", other_hold),
        ("charge", charge(1, 1_000)),
        ("charge again", charge(2, 1_000)),
        ("attach invoice", attach_invoice()),
        ("capture", capture(1_000)),
        ("capture too much", capture(1_001)),
        ("refund", refund("r2", 500)),
        ("void", void()),
        ("try again", PaymentCommand::TryAgain { reason: "called".into() }),
        ("write off", PaymentCommand::WriteOff { reason: "gone".into() }),
        ("answer done", done(1)),
        (
            "answer declined",
            PaymentCommand::Answer { operation: 1, outcome: Outcome::Declined { code: "no".into() } },
        ),
        (
            "credit note",
            PaymentCommand::AttachCreditNote { refund_id: "r".into(), number: "2026-C000001".into() },
        ),
        ("mark posted", PaymentCommand::MarkPosted { entries: 1 }),
    ];
    decisions::<Payment>(&states, &commands, &context())
}

fn ledger_table() -> String {
    let what = Posting::Invoiced { net: eur(100), tax: eur(19) };
    let good = posting("k", "ride", what).expect("a transaction");
    let with = |lines: &[i64]| {
        let lines = lines.iter().map(|l| Line { account: Account::Bank, amount: eur(*l) }).collect();
        LedgerCommand::Post(Transaction { lines, ..good.clone() })
    };
    let states =
        [("empty", LedgerState::default()), ("posted", fold::<Ledger>(&[LedgerCommand::Post(good.clone())]))];
    let commands = [
        ("post", LedgerCommand::Post(good.clone())),
        ("post otherwise under the key", with(&[7, -7])),
        ("post unbalanced", with(&[7, -6])),
        ("post one line", with(&[7])),
        ("post without memo", LedgerCommand::Post(Transaction { memo: String::new(), ..good.clone() })),
    ];
    decisions::<Ledger>(&states, &commands, &context())
}

fn invoices_table() -> String {
    let issue = |key: &str, payment: &str, year| InvoicesCommand::Issue {
        key: key.into(),
        year,
        document: Box::new(invoice(payment, 119, 19)),
    };
    let confirm = InvoicesCommand::Confirm { key: "t1".into() };
    let states = [
        ("empty", InvoicesState::default()),
        ("issued", fold::<Invoices>(&[issue("t1", "t1", 2026)])),
        ("confirmed", fold::<Invoices>(&[issue("t1", "t1", 2026), confirm.clone()])),
    ];
    let mut wrong = invoice("t1", 119, 19);
    wrong.gross = eur(120);
    let commands = [
        ("issue", issue("t1", "t1", 2026)),
        ("issue for another under the key", issue("t1", "t2", 2026)),
        ("issue in another year", issue("t2", "t2", 2027)),
        (
            "issue what does not add up",
            InvoicesCommand::Issue { key: "t3".into(), year: 2026, document: Box::new(wrong) },
        ),
        ("confirm", confirm),
    ];
    decisions::<Invoices>(&states, &commands, &context())
}

fn quote_table() -> String {
    let now_ms = context().now_ms;
    let quote = |valid_until_ms| Quote {
        rider: "ada".into(),
        tariff: "standard".into(),
        tariff_version: 1,
        planned: Measured { distance_m: 5_000, duration_ms: 600_000, waiting_ms: 0 },
        surge_percent: 100,
        fare: fare(1_000, 159),
        given_ms: now_ms - 1_000,
        valid_until_ms,
    };
    let (open, late) = (quote(now_ms + 1), quote(now_ms - 1));
    let accept = |trip: &str| QuoteCommand::Accept { trip: trip.into() };
    let states = [
        ("none", QuoteState::default()),
        ("given", fold::<Quotes>(&[QuoteCommand::Give(open.clone())])),
        ("expired", fold::<Quotes>(&[QuoteCommand::Give(late)])),
        ("accepted", fold::<Quotes>(&[QuoteCommand::Give(open.clone()), accept("t1")])),
    ];
    let commands =
        [("give", QuoteCommand::Give(open)), ("accept", accept("t1")), ("accept for another", accept("t2"))];
    decisions::<Quotes>(&states, &commands, &context())
}

#[test]
fn the_table_of_decisions_is_true() {
    let mut text = String::new();
    for (name, table) in [
        ("payment", payment_table()),
        ("ledger", ledger_table()),
        ("invoices", invoices_table()),
        ("quote", quote_table()),
    ] {
        let _ = write!(text, "**{name}**\n\n{table}\n");
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    check(&page, &text).unwrap_or_else(|advice| panic!("{advice}"));
}
