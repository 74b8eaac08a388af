//! What follows from a wish.

use super::error::InvoicesRefusal as No;
use super::{
    Confirmed, Document, DocumentKind, InvoicesCommand, InvoicesEvent, InvoicesState, Issued, IssuedDocument,
};
use crate::limits::{INVOICE_LINES_MAX, INVOICES_UNCONFIRMED_MAX, TEXT_BYTES_MAX};

pub(super) fn decide(
    state: &InvoicesState,
    command: &InvoicesCommand,
    now_ms: i64,
) -> Result<Vec<InvoicesEvent>, No> {
    match command {
        InvoicesCommand::Issue { key, year, document } => issue(state, key, *year, document, now_ms),
        InvoicesCommand::Confirm { key } if state.unconfirmed.contains_key(key) => {
            Ok(vec![InvoicesEvent::Confirmed(Confirmed { key: key.clone() })])
        }
        InvoicesCommand::Confirm { .. } => Ok(Vec::new()),
    }
}

fn issue(
    state: &InvoicesState,
    key: &str,
    year: i32,
    document: &Document,
    now_ms: i64,
) -> Result<Vec<InvoicesEvent>, No> {
    if let Some(book) = state.year.filter(|book| *book != year) {
        return Err(No::WrongYear(book));
    }
    if let Some((_, payment)) = state.unconfirmed.get(key) {
        return if *payment == document.payment {
            Ok(Vec::new())
        } else {
            Err(No::KeyReused(key.to_owned()))
        };
    }
    let seller = &document.seller;
    let texts = [key, &document.payment, &document.buyer, &seller.name, &seller.tax_id];
    let short = |text: &str| text.len() <= TEXT_BYTES_MAX;
    let labels =
        document.lines.iter().map(|l| l.label.as_str()).chain(seller.address.iter().map(String::as_str));
    let texts_fit = texts.iter().all(|text| !text.is_empty() && short(text)) && labels.into_iter().all(short);
    let lines_fit = (1..=INVOICE_LINES_MAX).contains(&document.lines.len()) && seller.address.len() <= 6;
    if !texts_fit || !lines_fit || !document.adds_up() {
        return Err(No::Document);
    }
    if state.unconfirmed.len() >= INVOICES_UNCONFIRMED_MAX {
        return Err(No::TooManyUnconfirmed);
    }
    let (sequence, number) = match &document.kind {
        DocumentKind::Invoice => (state.invoices + 1, format!("{year}-{:06}", state.invoices + 1)),
        DocumentKind::CreditNote { .. } => {
            (state.credit_notes + 1, format!("{year}-C{:06}", state.credit_notes + 1))
        }
    };
    let issued_ms = now_ms.max(state.last_issued_ms);
    let issued = IssuedDocument { number, issued_ms, document: document.clone() };
    Ok(vec![InvoicesEvent::Issued(Box::new(Issued { key: key.to_owned(), year, sequence, issued }))])
}
