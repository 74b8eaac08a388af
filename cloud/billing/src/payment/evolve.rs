//! What a fact changes.

use super::{
    CaptureRequested, Captured, Charge, Charged, Declined, Entry, HoldRequested, Operation, OperationKind,
    PaymentEvent, PaymentState, Refund, RefundRequested, Refunded, Status,
};
use crate::money::Money;

pub(super) fn evolve(state: &mut PaymentState, event: &PaymentEvent) {
    match event {
        PaymentEvent::HoldRequested(e) => hold_requested(state, e),
        PaymentEvent::HoldPlaced(e) => {
            state.pending = None;
            state.hold_reference = Some(e.reference.clone());
            state.status = Status::Held;
        }
        PaymentEvent::Declined(e) => declined(state, e),
        PaymentEvent::Charged(e) => charged(state, e),
        PaymentEvent::Priced(_) => {}
        PaymentEvent::Invoiced(e) => {
            if let Some(charge) = &mut state.charge {
                charge.invoice = Some(e.number.clone());
                state.entries.push(Entry::Invoiced { net: charge.fare.net, tax: charge.fare.tax });
            }
        }
        PaymentEvent::CaptureRequested(e) => capture_requested(state, e),
        PaymentEvent::Captured(e) => captured(state, e),
        PaymentEvent::RefundRequested(e) => refund_requested(state, e),
        PaymentEvent::Refunded(e) => refunded(state, e),
        PaymentEvent::CreditNoted(e) => {
            if let Some(refund) = state.refunds.iter_mut().find(|r| r.id == e.refund_id) {
                refund.credit_note = Some(e.number.clone());
            }
        }
        PaymentEvent::VoidRequested(e) => {
            let reference = state.hold_reference.clone();
            pend(state, e.operation, OperationKind::Void, None, reference, state.hold_operation);
            state.status = Status::Voiding;
        }
        PaymentEvent::Voided(_) => {
            state.pending = None;
            state.hold = None;
            state.status = without_hold(state);
        }
        PaymentEvent::Posted(e) => state.posted = e.entries,
        PaymentEvent::TriedAgain(_) => state.capture_declines = 0,
        PaymentEvent::WrittenOff(e) => {
            state.capture_declines = 0;
            state.written_off_minor += e.amount.minor_units;
            state.entries.push(Entry::WrittenOff { amount: e.amount });
            state.status = settled(state);
        }
    }
}

fn pend(
    state: &mut PaymentState,
    number: u32,
    kind: OperationKind,
    amount: Option<Money>,
    reference: Option<String>,
    on: Option<u32>,
) {
    state.operations = number;
    state.pending = Some(Operation { number, kind, amount, reference, on });
}

fn hold_requested(state: &mut PaymentState, e: &HoldRequested) {
    state.payer.clone_from(&e.payer);
    state.method = e.method;
    state.hold = Some(e.amount);
    state.hold_operation = Some(e.operation);
    state.hold_reference = None;
    state.status = Status::Holding;
    pend(state, e.operation, OperationKind::Hold, Some(e.amount), None, None);
}

/// Where the payment stands when nothing is asked of the provider.
fn settled(state: &PaymentState) -> Status {
    if state.outstanding_minor() > 0 {
        Status::Owed
    } else if state.captured_minor > 0 && state.refunded_minor >= state.captured_minor {
        Status::Refunded
    } else {
        Status::Captured
    }
}

/// Where the payment stands when its hold is gone.
fn without_hold(state: &PaymentState) -> Status {
    if state.outstanding_minor() > 0 { Status::Owed } else { Status::Voided }
}

fn declined(state: &mut PaymentState, e: &Declined) {
    let from_hold = state.pending.as_ref().is_some_and(|p| p.on.is_some() || p.reference.is_some());
    state.pending = None;
    state.last_decline = Some(e.code.clone());
    state.status = match e.kind {
        OperationKind::Hold => {
            state.hold = None;
            state.hold_operation = None;
            if state.charge.is_some() { settled(state) } else { Status::HoldDeclined }
        }
        OperationKind::Capture => {
            state.capture_declines += 1;
            // The hold still stands at the provider: it is let go before what is due is taken directly.
            if from_hold { Status::Held } else { settled(state) }
        }
        OperationKind::Refund => {
            // It was never given: its name may be used again.
            state.refunds.retain(|r| r.done);
            settled(state)
        }
        // The provider knows no such hold any more: it has lapsed or never came.
        OperationKind::Void => {
            state.hold = None;
            without_hold(state)
        }
    };
}

fn charged(state: &mut PaymentState, e: &Charged) {
    state.payer.clone_from(&e.payer);
    state.method = e.method;
    let held_elsewhere = e.hold_reference.is_some() && state.status != Status::Voided;
    if held_elsewhere {
        state.hold_reference.clone_from(&e.hold_reference);
        state.hold = e.hold_amount;
    }
    state.charge = Some(Charge {
        cause: e.cause,
        fare: e.fare.clone(),
        supplied_ms: e.supplied_ms,
        charged_ms: e.charged_ms,
        invoice: None,
    });
    if held_elsewhere {
        state.status = Status::Held;
    } else if !matches!(state.status, Status::Holding | Status::Held | Status::Voiding) {
        state.status = settled(state);
    }
}

fn capture_requested(state: &mut PaymentState, e: &CaptureRequested) {
    let on = state.hold_operation.filter(|_| e.from_hold);
    let reference = state.hold_reference.clone().filter(|_| e.from_hold);
    pend(state, e.operation, OperationKind::Capture, Some(e.amount), reference, on);
    state.status = Status::Capturing;
}

fn captured(state: &mut PaymentState, e: &Captured) {
    state.pending = None;
    state.hold = None;
    state.capture_declines = 0;
    state.captured_minor += e.amount.minor_units;
    state.capture_reference = Some(e.reference.clone());
    state.entries.push(Entry::Captured { amount: e.amount, reference: e.reference.clone() });
    state.status = settled(state);
}

fn refund_requested(state: &mut PaymentState, e: &RefundRequested) {
    state.refunds.push(Refund {
        id: e.refund_id.clone(),
        amount: e.amount,
        tax: e.tax,
        requested_ms: e.requested_ms,
        reason: e.reason.clone(),
        done: false,
        credit_note: None,
    });
    let reference = state.capture_reference.clone();
    pend(state, e.operation, OperationKind::Refund, Some(e.amount), reference, None);
    state.status = Status::Refunding;
}

fn refunded(state: &mut PaymentState, e: &Refunded) {
    state.pending = None;
    if let Some(refund) = state.refunds.iter_mut().find(|r| r.id == e.refund_id) {
        refund.done = true;
        state.refunded_minor += refund.amount.minor_units;
        let net = Money { minor_units: refund.amount.minor_units - refund.tax.minor_units, ..refund.amount };
        state.entries.push(Entry::Refunded {
            refund_id: refund.id.clone(),
            net,
            tax: refund.tax,
            reference: e.reference.clone(),
        });
    }
    state.status = settled(state);
}
