//! What one may want of a payment.

use crate::fare::Fare;
use crate::money::Money;
use crate::payment::Method;

/// What the provider said to an operation. Only definite answers: a lost one is asked for again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done; its name of what it did.
    Done {
        /// Opaque.
        reference: String,
    },
    /// No, for good.
    Declined {
        /// Why: a short code.
        code: String,
    },
}

/// A wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentCommand {
    /// Set money aside.
    Hold {
        /// Who pays.
        payer: String,
        /// How.
        method: Method,
        /// How much.
        amount: Money,
    },
    /// A ride has ended: this is due. Once per payment.
    Charge {
        /// The event that says so.
        cause: [u8; 16],
        /// Who pays; ignored when a hold has said it.
        payer: String,
        /// How; ignored when a hold has said it.
        method: Method,
        /// A hold made elsewhere, such as of credits.
        hold_reference: Option<String>,
        /// How much of it is held; all that is due, where unknown.
        hold_amount: Option<Money>,
        /// When the ride ended, ms since 1970 UTC.
        supplied_ms: i64,
        /// Code of the tariff.
        tariff: String,
        /// How much.
        fare: Box<Fare>,
    },
    /// The invoice is out.
    AttachInvoice {
        /// Its number.
        number: String,
    },
    /// Take what is due, or a part of it.
    Capture {
        /// How much.
        amount: Money,
    },
    /// Give back what was paid, or a part of it.
    Refund {
        /// Name of this refund.
        refund_id: String,
        /// How much.
        amount: Money,
        /// Why.
        reason: String,
    },
    /// The credit note is out.
    AttachCreditNote {
        /// Of which refund.
        refund_id: String,
        /// Its number.
        number: String,
    },
    /// Let the hold go; before any hold: never take one.
    Void {
        /// Why.
        reason: String,
    },
    /// A price was declined too often; somebody has spoken to the payer: ask the provider again.
    TryAgain {
        /// Why.
        reason: String,
    },
    /// A price was declined too often: nobody will pay it.
    WriteOff {
        /// Why.
        reason: String,
    },
    /// The provider has answered.
    Answer {
        /// Which operation.
        operation: u32,
        /// What.
        outcome: Outcome,
    },
    /// The ledger holds the first entries.
    MarkPosted {
        /// How many.
        entries: u32,
    },
}
