//! What one may want of a book of invoices.

use super::Document;

/// A wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvoicesCommand {
    /// Issue a document under the next number.
    Issue {
        /// The same key is the same document, until it is confirmed.
        key: String,
        /// The book's year; the first document says it for good.
        year: i32,
        /// What.
        document: Box<Document>,
    },
    /// The payment knows the number: the key need not be remembered.
    Confirm {
        /// Its key.
        key: String,
    },
}
