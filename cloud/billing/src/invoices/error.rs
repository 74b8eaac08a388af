//! The book says no.

use remuda_eventsourcing::Refusal;

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvoicesRefusal {
    /// A book is of one year.
    #[error("this is the book of {0}")]
    WrongYear(i32),
    /// It does not add up, or has too many lines or too long texts.
    #[error(
        "the document does not add up, has no or more than 64 lines, or a text that is empty or of more than 256 bytes"
    )]
    Document,
    /// Too many at once.
    #[error("too many documents wait for their payment; try again later")]
    TooManyUnconfirmed,
    /// The same key for another payment.
    #[error("the key {0} was used for another payment")]
    KeyReused(String),
}

impl Refusal for InvoicesRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::WrongYear(_) => "wrong-year",
            Self::Document => "invalid-document",
            Self::TooManyUnconfirmed => "too-many-unconfirmed",
            Self::KeyReused(_) => "key-reused",
        }
    }
}
