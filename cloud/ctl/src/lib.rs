//! remudactl, the operators' command line: `remudactl <resource> <verb>`.
//!
//! Owns: arguments, the client, how answers are printed. Deliberately absent: scales of signals (the server answers in physical
//! values with their units; the registry is asked for names only), and any address or token of its own: both come from flags,
//! the environment, or the contexts file.

mod alerts;
mod args;
mod assistance;
mod audit;
mod business;
mod client;
mod commands;
mod context_commands;
mod contexts;
mod delivery;
mod error;
mod feeds;
mod geofences;
mod groups;
mod history;
mod identities;
mod login;
mod manual;
mod policies;
mod print;
mod run;
mod system;
mod table;
mod target;
mod text;
mod yaml;

pub use alerts::AlertsCommand;
pub use args::{Cli, Command, Global, Output, OutputFormat, VehiclesCommand};
pub use audit::AuditCommand;
pub use business::{How, SagasCommand, TripsCommand, UsersCommand};
pub use commands::{ActionName, CommandsCommand, SendArgs};
pub use context_commands::ContextsCommand;
pub use error::CtlError;
pub use feeds::{CreateArgs, FeedsCommand, FromArgs, ToArgs, What, WhatArgs};
pub use history::{
    Aggregate, ExportArgs, Format, HistoryCommand, JourneysArgs, QueryArgs, ScopeArgs, SignalArgs,
};
pub use identities::IdentityCommand;
pub use login::LoginArgs;
pub use manual::{CompletionArgs, ManArgs};
pub use policies::{PoliciesCommand, TargetArgs};
pub use run::run;
pub use target::{Secret, Target};
