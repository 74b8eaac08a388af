//! What is known of a book of invoices.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is known of a book of invoices. Documents are read from the events; only what is not confirmed is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoicesState {
    /// The year; nothing before the first document.
    pub year: Option<i32>,
    /// Last number of invoices.
    pub invoices: u32,
    /// Last number of credit notes.
    pub credit_notes: u32,
    /// When the last document was issued, ms since 1970 UTC.
    pub last_issued_ms: i64,
    /// Key, and number and payment of what is issued and not confirmed.
    pub unconfirmed: BTreeMap<String, (String, String)>,
}
