//! Invoices and credit notes.

use serde::{Deserialize, Serialize};

use crate::fare::Fare;
use crate::money::{Checked, Money, total};

/// Who sells. Stands in every document as it was when that was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seller {
    /// Name.
    pub name: String,
    /// Street, town, country; a line each.
    pub address: Vec<String>,
    /// Tax number, as the law wants it shown.
    pub tax_id: String,
}

/// Who buys, for printing. The journal holds only the user's id: name and address are personal data and live
/// with the user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buyer {
    /// Name.
    pub name: String,
    /// A line each.
    pub address: Vec<String>,
}

/// What a document is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DocumentKind {
    /// An invoice.
    Invoice,
    /// It takes back an invoice, or a part of it.
    CreditNote {
        /// Number of the invoice.
        invoice: String,
    },
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentLine {
    /// What.
    pub label: String,
    /// How much; with tax when the document says so.
    pub amount: Money,
}

/// A document without its number. Amounts of a credit note are positive: what is given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// What it is.
    pub kind: DocumentKind,
    /// The payment that it belongs to.
    pub payment: String,
    /// Who buys: a user's id.
    pub buyer: String,
    /// Who sells.
    pub seller: Seller,
    /// When the service was given, ms since 1970 UTC.
    pub supplied_ms: i64,
    /// Lines.
    pub lines: Vec<DocumentLine>,
    /// Do the lines contain the tax?
    pub tax_included: bool,
    /// Hundredths of a percent.
    pub tax_basis_points: u32,
    /// Without tax.
    pub net: Money,
    /// Tax.
    pub tax: Money,
    /// With tax.
    pub gross: Money,
}

impl Document {
    /// The invoice of a fare.
    pub fn invoice(payment: &str, buyer: &str, seller: Seller, supplied_ms: i64, fare: &Fare) -> Self {
        let line =
            |l: &crate::fare::FareLine| DocumentLine { label: l.kind.label().into(), amount: l.amount };
        Self {
            kind: DocumentKind::Invoice,
            payment: payment.to_owned(),
            buyer: buyer.to_owned(),
            seller,
            supplied_ms,
            lines: fare.lines.iter().map(line).collect(),
            tax_included: fare.tax_included,
            tax_basis_points: fare.tax_basis_points,
            net: fare.net,
            tax: fare.tax,
            gross: fare.gross,
        }
    }

    /// Does it add up?
    pub(super) fn adds_up(&self) -> bool {
        let currency = self.gross.currency;
        let sum = total(currency, self.lines.iter().map(|l| l.amount));
        let expected = if self.tax_included { self.gross } else { self.net };
        sum == Ok(expected) && self.net.plus(self.tax) == Ok(self.gross) && self.gross.minor_units > 0
    }
}

/// A document with its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedDocument {
    /// `2026-000001`, a credit note `2026-C000001`: each series without a gap.
    pub number: String,
    /// When, ms since 1970 UTC; never before that of the number before.
    pub issued_ms: i64,
    /// What.
    pub document: Document,
}

impl IssuedDocument {
    /// For machines.
    ///
    /// # Errors
    /// Never for plain data.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }
}
