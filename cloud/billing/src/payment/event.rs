//! What happened to a payment.

use remuda_contracts::figures::RidePriced;
use remuda_eventsourcing::event_codec;
use serde::{Deserialize, Serialize};

use crate::fare::Fare;
use crate::money::Money;
use crate::payment::{Method, OperationKind};

/// A hold was requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRequested {
    /// Number of the operation.
    pub operation: u32,
    /// Who pays.
    pub payer: String,
    /// How.
    pub method: Method,
    /// How much.
    pub amount: Money,
}

/// Money is set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldPlaced {
    /// Number of the operation.
    pub operation: u32,
    /// The provider's name of the hold.
    pub reference: String,
}

/// The provider said no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declined {
    /// Number of the operation.
    pub operation: u32,
    /// To what.
    pub kind: OperationKind,
    /// Why.
    pub code: String,
}

/// A price is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charged {
    /// The event that made it due.
    pub cause: [u8; 16],
    /// Who pays.
    pub payer: String,
    /// How.
    pub method: Method,
    /// A hold made elsewhere.
    pub hold_reference: Option<String>,
    /// How much of it is held.
    pub hold_amount: Option<Money>,
    /// When the ride ended, ms since 1970 UTC.
    pub supplied_ms: i64,
    /// When it was charged, ms since 1970 UTC.
    pub charged_ms: i64,
    /// How much.
    pub fare: Fare,
}

/// The invoice is out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoiced {
    /// Its number.
    pub number: String,
}

/// A capture was requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureRequested {
    /// Number of the operation.
    pub operation: u32,
    /// How much.
    pub amount: Money,
    /// From the hold? Else directly.
    pub from_hold: bool,
}

/// Money was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// Number of the operation.
    pub operation: u32,
    /// How much.
    pub amount: Money,
    /// The provider's name of it.
    pub reference: String,
}

/// A refund was requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundRequested {
    /// Number of the operation.
    pub operation: u32,
    /// Name of the refund.
    pub refund_id: String,
    /// How much.
    pub amount: Money,
    /// Its part of tax.
    pub tax: Money,
    /// When, ms since 1970 UTC.
    pub requested_ms: i64,
    /// Why.
    pub reason: String,
}

/// Money was given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refunded {
    /// Number of the operation.
    pub operation: u32,
    /// Name of the refund.
    pub refund_id: String,
    /// The provider's name of it.
    pub reference: String,
}

/// The credit note is out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditNoted {
    /// Of which refund.
    pub refund_id: String,
    /// Its number.
    pub number: String,
}

/// Letting the hold go was requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoidRequested {
    /// Number of the operation.
    pub operation: u32,
    /// Why.
    pub reason: String,
}

/// The hold is gone, or will never be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voided {
    /// Number of the operation; 0 when there was no hold.
    pub operation: u32,
}

/// The ledger holds the first entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// How many.
    pub entries: u32,
}

/// The provider is asked again for a price that was declined too often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriedAgain {
    /// Why.
    pub reason: String,
}

/// What is due will not be paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenOff {
    /// How much.
    pub amount: Money,
    /// Why.
    pub reason: String,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // Each variant is its payload's page.
pub enum PaymentEvent {
    HoldRequested(HoldRequested),
    HoldPlaced(HoldPlaced),
    Declined(Declined),
    Charged(Box<Charged>),
    /// For the others: what a charge amounts to.
    Priced(RidePriced),
    Invoiced(Invoiced),
    CaptureRequested(CaptureRequested),
    Captured(Captured),
    RefundRequested(RefundRequested),
    Refunded(Refunded),
    CreditNoted(CreditNoted),
    VoidRequested(VoidRequested),
    Voided(Voided),
    Posted(Posted),
    TriedAgain(TriedAgain),
    WrittenOff(WrittenOff),
}

event_codec!(PaymentEvent {
    HoldRequested = "payment.hold-requested" 1,
    HoldPlaced = "payment.hold-placed" 1,
    Declined = "payment.declined" 1,
    Charged = "payment.charged" 1,
    Priced = "payment.priced" 1,
    Invoiced = "payment.invoiced" 1,
    CaptureRequested = "payment.capture-requested" 1,
    Captured = "payment.captured" 1,
    RefundRequested = "payment.refund-requested" 1,
    Refunded = "payment.refunded" 1,
    CreditNoted = "payment.credit-noted" 1,
    VoidRequested = "payment.void-requested" 1,
    Voided = "payment.voided" 1,
    Posted = "payment.posted" 1,
    TriedAgain = "payment.tried-again" 1,
    WrittenOff = "payment.written-off" 1,
});
