//! What happened to a book of invoices.

use remuda_eventsourcing::event_codec;
use serde::{Deserialize, Serialize};

use super::IssuedDocument;

/// A document is out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// Its key.
    pub key: String,
    /// The book's year.
    pub year: i32,
    /// From 1 in its series.
    pub sequence: u32,
    /// What.
    pub issued: IssuedDocument,
}

/// The payment knows the number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// Its key.
    pub key: String,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvoicesEvent {
    /// A document is out.
    Issued(Box<Issued>),
    /// The payment knows the number.
    Confirmed(Confirmed),
}

event_codec!(InvoicesEvent { Issued = "invoices.issued" 1, Confirmed = "invoices.confirmed" 1 });
