//! Money: tariffs, holds, captures, refunds, invoices and a ledger that sums to zero (DESIGN D16).
//!
//! Owns: prices ([`tariff`], [`fare`], [`quote`]), one ride's money ([`payment`]), the accounts ([`ledger`]),
//! documents ([`invoices`]), the port to payment providers ([`provider`]) and the comparison with what they
//! say ([`reconcile`]). Deliberately absent: card numbers, rates of exchange, floating-point numbers, and any
//! way to a provider that is not counted.

mod currency;
pub mod desk;
pub mod fare;
pub mod invoices;
pub mod ledger;
pub mod limits;
pub mod metrics;
pub mod money;
pub mod payment;
pub mod provider;
pub mod quote;
pub mod reconcile;
pub mod tariff;
pub mod views;

pub use currency::decimals;
pub use desk::{Billing, BillingService, BillingSettings};
pub use views::{BillingReader, BillingViews};
