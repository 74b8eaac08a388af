//! Prepaid credits: what is free, what is held for whom, what became of ended holds. Pure.

use std::collections::BTreeMap;

use remuda_contracts::money::Currency;
use serde::{Deserialize, Serialize};

/// Credits set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// How much, minor units, more than zero.
    pub amount: i64,
    /// When it goes back by itself, ms since 1970 UTC.
    pub expires_ms: i64,
}

/// What became of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HoldEnd {
    /// It went back, or was called off before it was made.
    Released,
    /// It went back by itself.
    Expired,
    /// Somebody was paid from it.
    Captured {
        /// How much, minor units.
        amount: i64,
        /// How much of that was given back since, minor units.
        refunded: i64,
    },
}

/// An ended hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedHold {
    /// Its key.
    pub key: String,
    /// What became of it.
    pub end: HoldEnd,
}

/// Credits came in under this name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The payment's own name.
    pub reference: String,
    /// How much, minor units.
    pub amount: i64,
}

/// A user's credits. `available` and every hold are never negative.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credits {
    /// Currency, set at registration.
    pub currency: Option<Currency>,
    /// Free to use, minor units.
    pub available: i64,
    /// Set aside, by key.
    pub holds: BTreeMap<String, Hold>,
    /// Ended, oldest first. Bounded by [`crate::limits::ENDED_HOLDS_MAX`].
    pub ended: Vec<EndedHold>,
    /// What came in, oldest first. Bounded by [`crate::limits::REFERENCES_MAX`].
    pub references: Vec<Reference>,
}

impl Credits {
    /// Set aside, minor units.
    pub fn held(&self) -> i64 {
        self.holds.values().map(|hold| hold.amount).sum()
    }

    /// All that the user owns, minor units.
    pub fn balance(&self) -> i64 {
        self.available + self.held()
    }

    /// What became of a hold, as long as it is remembered.
    pub fn ended(&self, key: &str) -> Option<HoldEnd> {
        self.ended.iter().rev().find(|ended| ended.key == key).map(|ended| ended.end)
    }

    /// What came in under this name.
    pub fn reference(&self, reference: &str) -> Option<i64> {
        self.references.iter().rev().find(|known| known.reference == reference).map(|known| known.amount)
    }

    /// Keys of holds whose time is over.
    pub fn due(&self, now_ms: i64) -> impl Iterator<Item = (&String, &Hold)> {
        self.holds.iter().filter(move |(_, hold)| hold.expires_ms <= now_ms)
    }
}
