//! The users domain, from outside.

mod golden;
mod model;
mod privacy;
mod scenarios;
mod support;
mod table;
