//! The trips domain, from outside.

mod golden;
mod model;
mod reports;
mod scenarios;
mod support;
mod table;
