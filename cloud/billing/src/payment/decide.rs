//! What follows from a wish.

use remuda_contracts::figures::RidePriced;

use super::error::PaymentRefusal as No;
use super::{
    CaptureRequested, Captured, Charged, CreditNoted, Declined, HoldPlaced, HoldRequested, Invoiced,
    OperationKind, Outcome, PaymentCommand, PaymentEvent, PaymentState, Posted, RefundRequested, Refunded,
    Status, TriedAgain, VoidRequested, Voided, WrittenOff, needs_attention,
};
use crate::limits::{AMOUNT_MINOR_MAX, REFUNDS_MAX, TEXT_BYTES_MAX};
use crate::money::{Checked, Money};

type Decision = Result<Vec<PaymentEvent>, No>;

pub(super) fn decide(state: &PaymentState, command: &PaymentCommand, now_ms: i64) -> Decision {
    match command {
        PaymentCommand::Hold { payer, method, amount } => {
            text("the payer", payer)?;
            payable(*amount)?;
            let operation = state.operations + 1;
            let request = HoldRequested { operation, payer: payer.clone(), method: *method, amount: *amount };
            hold(state, request)
        }
        PaymentCommand::Charge {
            cause,
            payer,
            method,
            hold_reference,
            hold_amount,
            supplied_ms,
            tariff,
            fare,
        } => {
            text("the payer", payer)?;
            let held = state.operations > 0;
            text("the tariff", tariff)?;
            charge(
                state,
                tariff,
                Charged {
                    cause: *cause,
                    payer: if held { state.payer.clone() } else { payer.clone() },
                    method: if held { state.method } else { *method },
                    hold_reference: hold_reference.clone().filter(|_| !held),
                    hold_amount: hold_amount.filter(|_| !held),
                    supplied_ms: *supplied_ms,
                    charged_ms: now_ms,
                    fare: (**fare).clone(),
                },
            )
        }
        PaymentCommand::AttachInvoice { number } => attach_invoice(state, number),
        PaymentCommand::Capture { amount } => capture(state, *amount),
        PaymentCommand::Refund { refund_id, amount, reason } => {
            refund(state, refund_id, *amount, reason, now_ms)
        }
        PaymentCommand::AttachCreditNote { refund_id, number } => {
            attach_credit_note(state, refund_id, number)
        }
        PaymentCommand::Void { reason } => void(state, reason),
        PaymentCommand::TryAgain { reason } => {
            collectable(state, reason)?;
            Ok(vec![PaymentEvent::TriedAgain(TriedAgain { reason: reason.clone() })])
        }
        PaymentCommand::WriteOff { reason } => {
            let amount = collectable(state, reason)?;
            Ok(vec![PaymentEvent::WrittenOff(WrittenOff { amount, reason: reason.clone() })])
        }
        PaymentCommand::Answer { operation, outcome } => answer(state, *operation, outcome),
        PaymentCommand::MarkPosted { entries } => mark_posted(state, *entries),
    }
}

fn text(what: &'static str, value: &str) -> Result<(), No> {
    if value.is_empty() || value.len() > TEXT_BYTES_MAX { Err(No::Text(what)) } else { Ok(()) }
}

fn payable(amount: Money) -> Result<(), No> {
    if (1..=AMOUNT_MINOR_MAX).contains(&amount.minor_units) { Ok(()) } else { Err(No::Amount(amount)) }
}

fn nothing_pending(state: &PaymentState) -> Result<(), No> {
    state.pending.as_ref().map_or(Ok(()), |pending| Err(No::OperationPending(pending.kind)))
}

fn same_currency(state: &PaymentState, amount: Money) -> Result<(), No> {
    let differs = state.currency().is_some_and(|currency| currency != amount.currency);
    if differs { Err(No::Currency) } else { Ok(()) }
}

fn hold(state: &PaymentState, request: HoldRequested) -> Decision {
    match state.status {
        Status::New | Status::HoldDeclined if state.charge.is_none() => {
            Ok(vec![PaymentEvent::HoldRequested(request)])
        }
        Status::Voiding | Status::Voided => Err(No::Voided),
        _ if state.charge.is_some() => Err(No::AlreadyCharged),
        _ if state.hold == Some(request.amount) && state.payer == request.payer => Ok(Vec::new()),
        _ => Err(No::AlreadyHeld),
    }
}

fn charge(state: &PaymentState, tariff: &str, charged: Charged) -> Decision {
    if let Some(charge) = &state.charge {
        return if charge.cause == charged.cause { Ok(Vec::new()) } else { Err(No::AlreadyCharged) };
    }
    let gross = charged.fare.gross;
    if !(0..=AMOUNT_MINOR_MAX).contains(&gross.minor_units) {
        return Err(No::Amount(gross));
    }
    same_currency(state, gross)?;
    let priced = RidePriced { net: charged.fare.net, gross, tariff: tariff.to_owned() };
    Ok(vec![PaymentEvent::Charged(Box::new(charged)), PaymentEvent::Priced(priced)])
}

fn attach_invoice(state: &PaymentState, number: &str) -> Decision {
    text("the number", number)?;
    let charge = state.charge.as_ref().ok_or(No::NotCharged)?;
    match &charge.invoice {
        Some(known) if known == number => Ok(Vec::new()),
        Some(known) => Err(No::AlreadyInvoiced(known.clone())),
        None => Ok(vec![PaymentEvent::Invoiced(Invoiced { number: number.to_owned() })]),
    }
}

fn capture(state: &PaymentState, amount: Money) -> Decision {
    let charge = state.charge.as_ref().ok_or(No::NotCharged)?;
    same_currency(state, amount)?;
    nothing_pending(state)?;
    if charge.invoice.is_none() {
        return Err(No::NotInvoiced);
    }
    payable(amount)?;
    let due = state.outstanding_minor();
    if amount.minor_units > due {
        return Err(No::OverCapture(Money { minor_units: due, ..amount }));
    }
    // A provider never takes more from a hold than was held: the rest is taken directly, afterwards.
    let from_hold = state.status == Status::Held;
    if let Some(held) = state.hold.filter(|held| from_hold && amount.minor_units > held.minor_units) {
        return Err(No::OverCapture(held));
    }
    let operation = state.operations + 1;
    Ok(vec![PaymentEvent::CaptureRequested(CaptureRequested { operation, amount, from_hold })])
}

fn refund(state: &PaymentState, refund_id: &str, amount: Money, reason: &str, now_ms: i64) -> Decision {
    text("the refund's name", refund_id)?;
    text("the reason", reason)?;
    if let Some(known) = state.refunds.iter().find(|r| r.id == refund_id) {
        return if known.amount == amount {
            Ok(Vec::new())
        } else {
            Err(No::RefundDiffers(refund_id.to_owned()))
        };
    }
    let charge = state.charge.as_ref().ok_or(No::NotCharged)?;
    same_currency(state, amount)?;
    nothing_pending(state)?;
    payable(amount)?;
    let most = state.captured_minor - state.refunded_minor;
    if amount.minor_units > most {
        return Err(No::OverRefund(Money { minor_units: most, ..amount }));
    }
    if state.refunds.len() >= REFUNDS_MAX {
        return Err(No::TooManyRefunds);
    }
    // The tax of all refunds together is rounded, not each: so a full refund in parts gives back exactly the
    // tax.
    let fare = &charge.fare;
    let share = |refunded: i64| fare.tax.ratio(refunded, fare.gross.minor_units);
    let (before, after) = (share(state.refunded_minor), share(state.refunded_minor + amount.minor_units));
    let tax = match (before, after) {
        (Ok(before), Ok(after)) => after.minus(before).map_err(|_| No::Amount(amount))?,
        _ => return Err(No::Amount(amount)),
    };
    Ok(vec![PaymentEvent::RefundRequested(RefundRequested {
        operation: state.operations + 1,
        refund_id: refund_id.to_owned(),
        amount,
        tax,
        requested_ms: now_ms,
        reason: reason.to_owned(),
    })])
}

/// What is due and was declined too often.
fn collectable(state: &PaymentState, reason: &str) -> Result<Money, No> {
    text("the reason", reason)?;
    nothing_pending(state)?;
    let charge = state.charge.as_ref().filter(|_| needs_attention(state)).ok_or(No::NothingToCollect)?;
    Ok(Money { minor_units: state.outstanding_minor(), ..charge.fare.gross })
}

fn attach_credit_note(state: &PaymentState, refund_id: &str, number: &str) -> Decision {
    text("the number", number)?;
    let refund = state.refunds.iter().find(|r| r.id == refund_id && r.done);
    match refund.ok_or_else(|| No::UnknownRefund(refund_id.to_owned()))?.credit_note.as_deref() {
        Some(known) if known == number => Ok(Vec::new()),
        Some(known) => Err(No::AlreadyInvoiced(known.to_owned())),
        None => Ok(vec![PaymentEvent::CreditNoted(CreditNoted {
            refund_id: refund_id.to_owned(),
            number: number.to_owned(),
        })]),
    }
}

fn void(state: &PaymentState, reason: &str) -> Decision {
    text("the reason", reason)?;
    // A hold that could not be captured is of no more use: it is let go although a price is due.
    let useless = state.status == Status::Held && state.capture_declines > 0;
    if state.outstanding_minor() > 0 && !useless {
        return Err(No::HoldNeeded);
    }
    match state.status {
        // Nothing was asked for: a hold that comes late is barred (the contract of a saga's undo).
        Status::New | Status::HoldDeclined => Ok(vec![PaymentEvent::Voided(Voided { operation: 0 })]),
        // Also while the hold has no answer: whether it came or not, it must go.
        Status::Holding | Status::Held => Ok(vec![PaymentEvent::VoidRequested(VoidRequested {
            operation: state.operations + 1,
            reason: reason.to_owned(),
        })]),
        Status::Voiding | Status::Voided => Ok(Vec::new()),
        Status::Owed => Ok(Vec::new()),
        Status::Capturing | Status::Captured | Status::Refunding | Status::Refunded => {
            Err(No::AlreadyCaptured)
        }
    }
}

fn answer(state: &PaymentState, operation: u32, outcome: &Outcome) -> Decision {
    if operation == 0 || operation > state.operations {
        return Err(No::UnknownOperation(operation));
    }
    let Some(pending) = state.pending.as_ref().filter(|p| p.number == operation) else {
        // Answered before, or overtaken by a void: the provider may answer twice.
        return Ok(Vec::new());
    };
    let reference = match outcome {
        Outcome::Declined { code } => {
            let code: String = code.chars().take(64).collect();
            return Ok(vec![PaymentEvent::Declined(Declined { operation, kind: pending.kind, code })]);
        }
        Outcome::Done { reference } => reference.clone(),
    };
    let event = match (pending.kind, pending.amount) {
        (OperationKind::Capture, Some(amount)) => {
            PaymentEvent::Captured(Captured { operation, amount, reference })
        }
        (OperationKind::Refund, _) => {
            let asked = state.refunds.iter().rev().find(|r| !r.done);
            let refund_id = asked.map(|r| r.id.clone()).unwrap_or_default();
            PaymentEvent::Refunded(Refunded { operation, refund_id, reference })
        }
        (OperationKind::Void, _) => PaymentEvent::Voided(Voided { operation }),
        (OperationKind::Hold | OperationKind::Capture, _) => {
            PaymentEvent::HoldPlaced(HoldPlaced { operation, reference })
        }
    };
    Ok(vec![event])
}

fn mark_posted(state: &PaymentState, entries: u32) -> Decision {
    let known = u32::try_from(state.entries.len()).unwrap_or(u32::MAX);
    if entries > known {
        return Err(No::UnknownEntry(known));
    }
    if entries <= state.posted { Ok(Vec::new()) } else { Ok(vec![PaymentEvent::Posted(Posted { entries })]) }
}
