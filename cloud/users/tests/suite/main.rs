//! The users domain, from outside.

#![allow(clippy::unwrap_used)]

mod golden;
mod living;
mod model;
mod privacy;
mod scenarios;
mod support;
mod table;
