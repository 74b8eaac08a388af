//! What a fact changes.

use super::{DocumentKind, InvoicesEvent, InvoicesState};

pub(super) fn evolve(state: &mut InvoicesState, event: &InvoicesEvent) {
    match event {
        InvoicesEvent::Issued(issued) => {
            state.year = Some(issued.year);
            state.last_issued_ms = issued.issued.issued_ms;
            match issued.issued.document.kind {
                DocumentKind::Invoice => state.invoices = issued.sequence,
                DocumentKind::CreditNote { .. } => state.credit_notes = issued.sequence,
            }
            let payment = issued.issued.document.payment.clone();
            state.unconfirmed.insert(issued.key.clone(), (issued.issued.number.clone(), payment));
        }
        InvoicesEvent::Confirmed(confirmed) => {
            state.unconfirmed.remove(&confirmed.key);
        }
    }
}
