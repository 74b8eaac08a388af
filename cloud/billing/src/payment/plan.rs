//! What is to be done next: pure, from the state alone, so that it can be asked again after any crash.

use super::{Entry, Operation, PaymentState, Refund, Status};
use crate::money::Money;

/// Captures that may be declined before somebody must look.
const CAPTURE_DECLINES_MAX: u32 = 3;

/// A step that somebody outside of the aggregate must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Call the provider, under the operation's key, then answer.
    Call(Operation),
    /// Post an entry to the payer's ledger, then mark it.
    Post {
        /// From 0; part of its key.
        index: u32,
        /// What.
        entry: Entry,
    },
    /// Issue the invoice, then attach it.
    IssueInvoice,
    /// Issue the credit note of a refund, then attach it.
    IssueCreditNote(Refund),
    /// Command a capture.
    Capture(Money),
    /// Command that the hold be let go.
    Void,
}

/// The next step; nothing when the payment is at rest.
pub fn plan(state: &PaymentState) -> Option<Step> {
    if let Some(pending) = &state.pending {
        return Some(Step::Call(pending.clone()));
    }
    // Before its posting, which also confirms the document: so the book never remembers a key for ever.
    if let Some(refund) = state.refunds.iter().find(|r| r.done && r.credit_note.is_none()) {
        return Some(Step::IssueCreditNote(refund.clone()));
    }
    if let Some(entry) = state.entries.get(state.posted as usize) {
        return Some(Step::Post { index: state.posted, entry: entry.clone() });
    }
    let charge = state.charge.as_ref()?;
    if charge.fare.gross.minor_units == 0 {
        return (state.status == Status::Held).then_some(Step::Void);
    }
    if charge.invoice.is_none() {
        return Some(Step::IssueInvoice);
    }
    let due = state.outstanding_minor();
    if due > 0 && state.status == Status::Held && state.capture_declines > 0 {
        return Some(Step::Void);
    }
    if due > 0 && state.capture_declines < CAPTURE_DECLINES_MAX {
        let most = state.hold.filter(|_| state.status == Status::Held).map_or(due, |held| held.minor_units);
        return Some(Step::Capture(Money { minor_units: due.min(most), ..charge.fare.gross }));
    }
    None
}

/// Is somebody needed: a price is due and was declined too often?
pub fn needs_attention(state: &PaymentState) -> bool {
    state.outstanding_minor() > 0 && state.capture_declines >= CAPTURE_DECLINES_MAX
}
