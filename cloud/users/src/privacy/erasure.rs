//! What an erasure leaves behind, and why: told to the person who asks for it.

/// How long the law wants what kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Invoices, years after their own.
    pub invoice_years: u8,
    /// On what ground, as it is told to the person.
    pub invoice_basis: String,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            invoice_years: 10,
            invoice_basis: "tax law (GDPR article 17 (3) b); the invoice keeps what it must name".into(),
        }
    }
}

/// Something that stays.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Retained {
    /// What.
    pub what: &'static str,
    /// On what ground.
    pub basis: String,
    /// For how long, years; absent = for ever, since it says nothing of a person any more.
    pub years: Option<u8>,
}

impl Retention {
    /// What stays after an erasure.
    pub fn notice(&self) -> Vec<Retained> {
        vec![
            Retained { what: "invoices", basis: self.invoice_basis.clone(), years: Some(self.invoice_years) },
            Retained {
                what: "trips, credits and consents under a bare id",
                basis: "they name no person once the key is deleted".into(),
                years: None,
            },
        ]
    }
}
