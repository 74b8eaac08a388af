//! The trips domain, from outside.

#![allow(clippy::unwrap_used)]

mod golden;
mod living;
mod making;
mod model;
mod reports;
mod scenarios;
mod support;
mod table;
