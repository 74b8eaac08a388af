//! One node of the cloud: configuration, wiring, health, shutdown.
//!
//! Owns: the `remuda` binary and the one place where ports meet adapters (`wiring`). It alone reads the environment.
//! Deliberately absent: any rule of the business, any protocol.

pub mod access;
mod backup;
pub mod broker;
pub mod business;
pub mod cli;
mod compacting;
pub mod config;
pub mod console_tls;
mod control;
#[cfg(feature = "demo")]
mod demo;
mod enrolment;
mod erasing;
pub mod feeds;
mod history;
mod identity;
mod journal;
mod lake;
mod lake_config;
mod lake_control;
mod lake_erase;
mod lake_files;
pub mod on_call;
pub mod operations;
mod tail;
pub mod wiring;
