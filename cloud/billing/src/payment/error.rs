//! The payment says no.

use remuda_eventsourcing::Refusal;

use crate::money::{Checked, Money};
use crate::payment::OperationKind;

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaymentRefusal {
    /// Not an amount that is paid.
    #[error("{} is no amount that can be paid: it must be above zero and at most 1,000,000.00", .0.shown())]
    Amount(Money),
    /// A text that is empty or too long.
    #[error("{0} must have 1 to 256 bytes")]
    Text(&'static str),
    /// Another currency than the payment's.
    #[error("the payment is in another currency")]
    Currency,
    /// There is a hold already, of another amount or payer.
    #[error("another amount or payer is held already")]
    AlreadyHeld,
    /// The hold was let go, or barred before it came.
    #[error("the payment was voided")]
    Voided,
    /// The price of the ride stands already.
    #[error("the ride is charged already")]
    AlreadyCharged,
    /// No price stands yet.
    #[error("the ride is not charged yet")]
    NotCharged,
    /// The invoice has another number.
    #[error("the ride is invoiced already, as {0}")]
    AlreadyInvoiced(String),
    /// No invoice yet: nothing is taken before there is one.
    #[error("the ride has no invoice yet")]
    NotInvoiced,
    /// An operation has no answer yet.
    #[error("a {0:?} has no answer yet; try again when it has")]
    OperationPending(OperationKind),
    /// More than is due.
    #[error("only {} is due", .0.shown())]
    OverCapture(Money),
    /// More than was paid and not yet given back.
    #[error("only {} can be given back", .0.shown())]
    OverRefund(Money),
    /// The same name with another amount.
    #[error("the refund {0} was asked for with another amount")]
    RefundDiffers(String),
    /// No such refund, or not done.
    #[error("there is no refund {0} that was given back")]
    UnknownRefund(String),
    /// Too many.
    #[error("a payment has at most 32 refunds")]
    TooManyRefunds,
    /// Money was taken already: give it back instead.
    #[error("the money was taken already; refund it instead")]
    AlreadyCaptured,
    /// A price is due: the hold is needed.
    #[error("a price is due from the hold")]
    HoldNeeded,
    /// Nothing was declined too often.
    #[error("nothing is due that was declined too often; there is nothing to collect or to write off")]
    NothingToCollect,
    /// Never requested.
    #[error("operation {0} was never requested")]
    UnknownOperation(u32),
    /// More entries than there are.
    #[error("there are only {0} entries")]
    UnknownEntry(u32),
}

impl Refusal for PaymentRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Amount(_) => "invalid-amount",
            Self::Text(_) => "invalid-text",
            Self::Currency => "currency-differs",
            Self::AlreadyHeld => "already-held",
            Self::Voided => "payment-voided",
            Self::AlreadyCharged => "already-charged",
            Self::NotCharged => "not-charged",
            Self::AlreadyInvoiced(_) => "already-invoiced",
            Self::NotInvoiced => "not-invoiced",
            Self::OperationPending(_) => "operation-pending",
            Self::OverCapture(_) => "over-capture",
            Self::OverRefund(_) => "over-refund",
            Self::RefundDiffers(_) => "refund-differs",
            Self::UnknownRefund(_) => "unknown-refund",
            Self::TooManyRefunds => "too-many-refunds",
            Self::AlreadyCaptured => "already-captured",
            Self::HoldNeeded => "hold-needed",
            Self::NothingToCollect => "nothing-to-collect",
            Self::UnknownOperation(_) => "unknown-operation",
            Self::UnknownEntry(_) => "unknown-entry",
        }
    }
}
