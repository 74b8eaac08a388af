//! remudactl, the operators' command line: `remudactl <resource> <verb>`.
//!
//! Owns: arguments, the client, how answers are printed. Deliberately absent: the signal registry (the server answers in
//! physical values with their units), and any address or token of its own: both come from flags or the environment.

mod args;
mod client;
mod commands;
mod delivery;
mod error;
mod identities;
mod policies;
mod print;
mod run;
mod table;
mod text;

pub use args::{Cli, Command, Global, OutputFormat, VehiclesCommand};
pub use commands::{ActionName, CommandsCommand, SendArgs};
pub use error::CtlError;
pub use identities::IdentityCommand;
pub use policies::{PoliciesCommand, TargetArgs};
pub use run::run;
