//! What is known of a payment.

use serde::{Deserialize, Serialize};

use crate::fare::Fare;
use crate::money::Money;

/// How a rider pays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// A card, through the payment provider.
    #[default]
    Card,
    /// Credits bought before, held and spent in the users' domain.
    Credits,
    /// A direct debit.
    DirectDebit,
    /// The employer's monthly bill.
    Account,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Card, Self::Credits, Self::DirectDebit, Self::Account];

    /// Stable name, for metrics and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Credits => "credits",
            Self::DirectDebit => "direct-debit",
            Self::Account => "account",
        }
    }
}

/// What the provider is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// Set money aside.
    Hold,
    /// Take it, from the hold or directly.
    Capture,
    /// Give back.
    Refund,
    /// Let a hold go.
    Void,
}

/// An operation that was requested and has no answer yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// From 1 in each payment; with the payment's id it is the provider's idempotency key.
    pub number: u32,
    /// What.
    pub kind: OperationKind,
    /// How much; nothing for a void.
    pub amount: Option<Money>,
    /// The provider's name of what it acts on: a hold or a capture. None: the operation `on` tells.
    pub reference: Option<String>,
    /// The operation it acts on, when the provider has not told a name: a hold without an answer that is let
    /// go.
    pub on: Option<u32>,
}

/// Where the payment is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Nothing has happened.
    #[default]
    New,
    /// A hold was requested.
    Holding,
    /// Money is set aside.
    Held,
    /// The hold was declined.
    HoldDeclined,
    /// A price is due, and nothing is set aside.
    Owed,
    /// A capture was requested.
    Capturing,
    /// Everything due has been paid.
    Captured,
    /// A refund was requested.
    Refunding,
    /// Everything paid has been given back.
    Refunded,
    /// Letting the hold go was requested.
    Voiding,
    /// The hold is gone, and no later one is taken.
    Voided,
}

impl Status {
    /// Stable name, for people and filters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Holding => "holding",
            Self::Held => "held",
            Self::HoldDeclined => "hold-declined",
            Self::Owed => "owed",
            Self::Capturing => "capturing",
            Self::Captured => "captured",
            Self::Refunding => "refunding",
            Self::Refunded => "refunded",
            Self::Voiding => "voiding",
            Self::Voided => "voided",
        }
    }
}

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The event that made it due: a second one is refused.
    pub cause: [u8; 16],
    /// How much, line by line.
    pub fare: Fare,
    /// When the ride ended, ms since 1970 UTC.
    pub supplied_ms: i64,
    /// When it was charged, ms since 1970 UTC: says the invoice's year.
    pub charged_ms: i64,
    /// The invoice, once there is one.
    pub invoice: Option<String>,
}

/// A refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// Whoever asks gives it a name: the same name is the same refund.
    pub id: String,
    /// How much.
    pub amount: Money,
    /// Its part of tax.
    pub tax: Money,
    /// When it was asked for, ms since 1970 UTC: says the credit note's year.
    pub requested_ms: i64,
    /// Why, for the credit note.
    pub reason: String,
    /// Given back?
    pub done: bool,
    /// The credit note, once there is one.
    pub credit_note: Option<String>,
}

/// A transaction that the ledger must hold; posted in this order under `{payment}/{index}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// The invoice is out: the rider owes.
    Invoiced {
        /// Without tax.
        net: Money,
        /// Tax.
        tax: Money,
    },
    /// The provider has taken money, or credits were spent.
    Captured {
        /// How much.
        amount: Money,
        /// The provider's name of it.
        reference: String,
    },
    /// A refund was given: revenue and tax are less, and the provider has paid.
    Refunded {
        /// Name of the refund.
        refund_id: String,
        /// Without tax.
        net: Money,
        /// Tax.
        tax: Money,
        /// The provider's name of it.
        reference: String,
    },
    /// What was due will not be paid.
    WrittenOff {
        /// How much.
        amount: Money,
    },
}

/// What is known of a payment. Amounts in the currency of `hold` and `charge`, which is one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentState {
    /// Where it is.
    pub status: Status,
    /// Who pays: a user's id.
    pub payer: String,
    /// How.
    pub method: Method,
    /// What is set aside, and not yet captured or let go.
    pub hold: Option<Money>,
    /// The provider's name of the hold.
    pub hold_reference: Option<String>,
    /// The operation that requested the hold.
    pub hold_operation: Option<u32>,
    /// What is due.
    pub charge: Option<Charge>,
    /// Captured so far, minor units.
    pub captured_minor: i64,
    /// Given back so far, minor units.
    pub refunded_minor: i64,
    /// The provider's name of the last capture.
    pub capture_reference: Option<String>,
    /// Refunds asked for.
    pub refunds: Vec<Refund>,
    /// The operation that has no answer yet.
    pub pending: Option<Operation>,
    /// Operations so far.
    pub operations: u32,
    /// Captures declined since the last success.
    pub capture_declines: u32,
    /// The provider's last no.
    pub last_decline: Option<String>,
    /// What the ledger must hold.
    pub entries: Vec<Entry>,
    /// How many of them it holds.
    pub posted: u32,
    /// Given up so far, minor units.
    pub written_off_minor: i64,
}

impl PaymentState {
    /// What is still due, minor units.
    pub fn outstanding_minor(&self) -> i64 {
        self.charge
            .as_ref()
            .map_or(0, |c| c.fare.gross.minor_units - self.captured_minor - self.written_off_minor)
    }

    /// Is a hold set aside, or asked for?
    pub fn hold_is_open(&self) -> bool {
        self.hold.is_some() && matches!(self.status, Status::Holding | Status::Held)
    }

    /// The currency, once it is known.
    pub fn currency(&self) -> Option<crate::money::Currency> {
        let charged = self.charge.as_ref().map(|c| c.fare.gross.currency);
        charged.or(self.hold.map(|h| h.currency))
    }
}
