//! A payment's rules, told as scenarios and as properties.

mod common;

use common::{after, attach_invoice, capture, charge, declined, done, eur, hold, refund, void};
use proptest::prelude::*;
use remuda_billing::payment::{
    Entry, OperationKind, Payment, PaymentCommand, PaymentState, Status, Step, needs_attention, plan,
};
use remuda_eventsourcing::testing::{context, given};
use remuda_eventsourcing::{Aggregate, Refusal};

fn code(state: &PaymentState, command: &PaymentCommand) -> &'static str {
    Payment::decide(state, command, &context()).expect_err("a refusal").code()
}

#[test]
fn a_ride_is_held_charged_invoiced_and_captured() {
    given::<Payment>([])
        .when(hold(2_000))
        .then_events(|events| events.len() == 1)
        .when(hold(2_000))
        .then_nothing()
        .when(done(1))
        .then_state_of(|s| s.status == Status::Held && s.hold_reference.as_deref() == Some("ref_1"))
        .when(charge(1, 1_190))
        .then_state_of(|s| s.status == Status::Held && s.outstanding_minor() == 1_190)
        .when(charge(1, 1_190))
        .then_nothing()
        .when(charge(2, 1_190))
        .then_refused("already-charged")
        .when(capture(1_190))
        .then_refused("not-invoiced")
        .when(attach_invoice())
        .then_state_of(|s| s.entries == [Entry::Invoiced { net: eur(1_000), tax: eur(190) }])
        .when(capture(1_191))
        .then_refused("over-capture")
        .when(capture(1_190))
        .then_state_of(|s| s.status == Status::Capturing)
        .when(refund("r1", 1))
        .then_refused("operation-pending")
        .when(done(2))
        .then_state_of(|s| s.status == Status::Captured && s.captured_minor == 1_190)
        .when(done(2))
        .then_nothing()
        .when(declined(2))
        .then_nothing()
        .when(void())
        .then_refused("already-captured");
}

/// A short way to look at the state after a command that was accepted.
trait ThenState {
    fn then_state_of(
        self,
        holds: impl FnOnce(&PaymentState) -> bool,
    ) -> remuda_eventsourcing::testing::Scenario<Payment>;
}

impl ThenState for remuda_eventsourcing::testing::Decided<Payment> {
    fn then_state_of(
        self,
        holds: impl FnOnce(&PaymentState) -> bool,
    ) -> remuda_eventsourcing::testing::Scenario<Payment> {
        self.then_events(|events| !events.is_empty()).then_state(holds)
    }
}

#[test]
fn a_hold_that_comes_after_its_void_is_barred() {
    let barred = after(&[void()]);
    assert_eq!(barred.status, Status::Voided);
    assert_eq!(code(&barred, &hold(100)), "payment-voided");
    // Voided while nobody knows whether the hold came: the provider is told by the hold's key.
    let voiding = after(&[hold(100), void()]);
    let Some(Step::Call(operation)) = plan(&voiding) else { panic!("a call") };
    assert_eq!((operation.kind, operation.on, operation.reference), (OperationKind::Void, Some(1), None));
    // The hold's answer comes late and changes nothing.
    assert_eq!(after(&[hold(100), void(), done(1)]), voiding);
    assert_eq!(after(&[hold(100), void(), done(2)]).status, Status::Voided);
    // A ride that is driven all the same is charged, and paid directly.
    let charged = after(&[hold(100), void(), done(2), charge(1, 500), attach_invoice()]);
    assert_eq!((charged.status, charged.outstanding_minor()), (Status::Owed, 500));
}

#[test]
fn more_than_was_held_is_taken_in_two_steps() {
    let state = after(&[hold(1_000), done(1), charge(1, 1_500), attach_invoice()]);
    assert_eq!(code(&state, &capture(1_500)), "over-capture");
    let posted = |state: &PaymentState| {
        let entries = u32::try_from(state.entries.len()).expect("few");
        PaymentCommand::MarkPosted { entries }
    };
    let mut state = state;
    let did = |state: &mut PaymentState, command: PaymentCommand| {
        for event in common::decide(state, &command) {
            Payment::evolve(state, &event);
        }
    };
    let mark = posted(&state);
    did(&mut state, mark);
    assert_eq!(plan(&state), Some(Step::Capture(eur(1_000))));
    did(&mut state, capture(1_000));
    did(&mut state, done(2));
    let mark = posted(&state);
    did(&mut state, mark);
    assert_eq!((state.status, plan(&state)), (Status::Owed, Some(Step::Capture(eur(500)))));
    did(&mut state, capture(500));
    let Some(Step::Call(direct)) = plan(&state) else { panic!("a call") };
    assert_eq!((direct.on, direct.amount), (None, Some(eur(500))));
    did(&mut state, done(3));
    assert_eq!(state.status, Status::Captured);
}

#[test]
fn a_hold_made_elsewhere_is_captured_or_let_go() {
    let elsewhere = |gross: i64| match charge(1, gross) {
        PaymentCommand::Charge { cause, payer, supplied_ms, tariff, fare, .. } => PaymentCommand::Charge {
            cause,
            payer,
            method: remuda_billing::payment::Method::Credits,
            hold_reference: Some("booking-1".into()),
            hold_amount: Some(eur(1_000)),
            supplied_ms,
            tariff,
            fare,
        },
        other => panic!("{other:?}"),
    };
    let mark = PaymentCommand::MarkPosted { entries: 1 };
    let state = after(&[elsewhere(1_200), attach_invoice(), mark]);
    assert_eq!(plan(&state), Some(Step::Capture(eur(1_000))));
    let state = after(&[elsewhere(1_200), attach_invoice(), capture(1_000)]);
    let Some(Step::Call(operation)) = plan(&state) else { panic!("a call") };
    assert_eq!((operation.reference.as_deref(), operation.on), (Some("booking-1"), None));
    let free = after(&[elsewhere(0)]);
    assert_eq!(plan(&free), Some(Step::Void));
    let Some(Step::Call(operation)) = plan(&after(&[elsewhere(0), void()])) else { panic!("a call") };
    assert_eq!((operation.kind, operation.reference.as_deref()), (OperationKind::Void, Some("booking-1")));
    assert_eq!(plan(&after(&[elsewhere(0), void(), done(1)])), None);
}

#[test]
fn refunds_never_give_back_more_than_was_taken_and_return_the_tax_exactly() {
    let paid = [charge(1, 1_000), attach_invoice(), capture(1_000), done(1)];
    let state = after(&paid);
    assert_eq!(code(&state, &refund("r1", 1_001)), "over-refund");
    assert_eq!(code(&state, &refund("r1", 0)), "invalid-amount");
    let first = [refund("r1", 333), done(2)];
    let state = after(&[&paid[..], &first].concat());
    assert_eq!(code(&state, &refund("r1", 334)), "refund-differs");
    assert_eq!(code(&state, &refund("r2", 668)), "over-refund");
    assert_eq!(common::decide(&state, &refund("r1", 333)), []);
    let state =
        after(&[&paid[..], &first, &[refund("r2", 333), done(3), refund("r3", 334), done(4)]].concat());
    assert_eq!(state.status, Status::Refunded);
    let tax: i64 = state.refunds.iter().map(|r| r.tax.minor_units).sum();
    assert_eq!(tax, 1_000 * 19 / 119, "a full refund in parts gives back the whole tax");
    // A declined refund was never given: its name may be used again, with another amount.
    let state = after(&[&paid[..], &[refund("r1", 500), declined(2), refund("r1", 400), done(3)]].concat());
    assert_eq!((state.refunded_minor, state.refunds.len()), (400, 1));
}

#[test]
fn a_capture_declined_too_often_needs_attention() {
    let mut commands = vec![charge(1, 500), attach_invoice(), PaymentCommand::MarkPosted { entries: 1 }];
    for operation in 1..=3 {
        commands.extend([capture(500), declined(operation)]);
    }
    let state = after(&commands);
    assert_eq!((plan(&state), needs_attention(&state), state.status), (None, true, Status::Owed));
    commands.extend([capture(500), done(4)]);
    assert!(!needs_attention(&after(&commands)), "an operator may still try");
}

#[test]
fn bad_input_is_refused() {
    let new = PaymentState::default();
    for (command, expected) in [
        (hold(0), "invalid-amount"),
        (hold(-1), "invalid-amount"),
        (hold(100_000_001), "invalid-amount"),
        (PaymentCommand::Void { reason: String::new() }, "invalid-text"),
        (refund("", 1), "invalid-text"),
        (done(0), "unknown-operation"),
        (done(1), "unknown-operation"),
        (PaymentCommand::MarkPosted { entries: 1 }, "unknown-entry"),
        (charge(1, -5), "invalid-amount"),
        (capture(1), "not-charged"),
        (refund("r", 1), "not-charged"),
    ] {
        assert_eq!(code(&new, &command), expected, "{command:?}");
    }
    let mut dollars = charge(1, 100);
    if let PaymentCommand::Charge { fare, .. } = &mut dollars {
        fare.gross.currency = "USD".parse().expect("a code");
    }
    assert_eq!(code(&after(&[hold(100), done(1)]), &dollars), "currency-differs");
}

fn any_command() -> impl Strategy<Value = PaymentCommand> {
    let amount = 1_i64..600;
    prop_oneof![
        amount.clone().prop_map(hold),
        (0_u8..3, 0_i64..600).prop_map(|(cause, gross)| charge(cause, gross)),
        Just(attach_invoice()),
        amount.clone().prop_map(capture),
        ("[ab]", amount).prop_map(|(id, amount)| refund(&id, amount)),
        Just(void()),
        Just(PaymentCommand::TryAgain { reason: "they called".into() }),
        Just(PaymentCommand::WriteOff { reason: "they moved".into() }),
        (0_u32..8).prop_map(done),
        (0_u32..8).prop_map(declined),
        (0_u32..6).prop_map(|entries| PaymentCommand::MarkPosted { entries }),
    ]
}

proptest! {
    /// Whatever is asked in whatever order: never more captured than due, never more refunded than captured,
    /// one charge, and the entries tell exactly what was invoiced, captured and refunded.
    #[test]
    fn no_order_of_commands_makes_or_loses_money(commands in prop::collection::vec(any_command(), 0..60)) {
        let mut state = PaymentState::default();
        let mut charges = 0;
        for command in &commands {
            let Ok(events) = Payment::decide(&state, command, &context()) else { continue };
            for event in &events {
                charges += usize::from(matches!(event, remuda_billing::payment::PaymentEvent::Charged(_)));
                Payment::evolve(&mut state, event);
            }
            // Said again at once, the command changes nothing, unless it is a wish that may be had twice.
            if !matches!(command, PaymentCommand::Capture { .. }) {
                let again = Payment::decide(&state, command, &context());
                prop_assert!(again.map_or(true, |events| events.is_empty()) || events.is_empty(), "{command:?}");
            }
            let due = state.charge.as_ref().map_or(0, |c| c.fare.gross.minor_units);
            prop_assert!((0..=due).contains(&state.captured_minor));
            prop_assert!((0..=state.captured_minor).contains(&state.refunded_minor));
            prop_assert!(charges <= 1);
            prop_assert!(state.posted as usize <= state.entries.len());
            let (mut invoiced, mut captured, mut refunded, mut given_up) = (0, 0, 0, 0);
            for entry in &state.entries {
                match entry {
                    Entry::Invoiced { net, tax } => invoiced += net.minor_units + tax.minor_units,
                    Entry::Captured { amount, .. } => captured += amount.minor_units,
                    Entry::Refunded { net, tax, .. } => refunded += net.minor_units + tax.minor_units,
                    Entry::WrittenOff { amount } => given_up += amount.minor_units,
                }
            }
            prop_assert!(invoiced == 0 || invoiced == due);
            prop_assert_eq!((captured, refunded), (state.captured_minor, state.refunded_minor));
            prop_assert_eq!(given_up, state.written_off_minor);
            prop_assert!(state.outstanding_minor() >= 0);
        }
    }

    /// Whoever does what the plan says, and a provider that answers at last, brings every payment to rest.
    #[test]
    fn every_plan_ends(commands in prop::collection::vec(any_command(), 0..30), answers in prop::collection::vec(any::<bool>(), 40)) {
        let mut state = PaymentState::default();
        let obey = |state: &mut PaymentState, command: &PaymentCommand| {
            if let Ok(events) = Payment::decide(state, command, &context()) {
                events.iter().for_each(|event| Payment::evolve(state, event));
            }
        };
        commands.iter().for_each(|command| obey(&mut state, command));
        for yes in answers {
            let command = match plan(&state) {
                None => break,
                Some(Step::Call(operation)) if yes => done(operation.number),
                Some(Step::Call(operation)) => declined(operation.number),
                Some(Step::Post { index, .. }) => PaymentCommand::MarkPosted { entries: index + 1 },
                Some(Step::IssueInvoice) => attach_invoice(),
                Some(Step::IssueCreditNote(refund)) => {
                    PaymentCommand::AttachCreditNote { refund_id: refund.id, number: "2026-C000001".into() }
                }
                Some(Step::Capture(amount)) => PaymentCommand::Capture { amount },
                Some(Step::Void) => void(),
            };
            let before = state.clone();
            obey(&mut state, &command);
            prop_assert!(state != before, "{command:?} does not move {before:?}");
        }
        prop_assert_eq!(plan(&state), None);
        prop_assert!(state.outstanding_minor() == 0 || needs_attention(&state));
    }
}
