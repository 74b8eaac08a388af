//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::manual::EXIT_CODES;
use crate::target::{Secret, Target};

/// Operate a Remuda fleet.
#[derive(Debug, Parser)]
#[command(name = "remudactl", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// Which resource.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// The console's address, such as `https://fleet.example:7070`; may carry `#token=...`, as a node prints it. Nothing is taken
    /// out of a context then [env: REMUDA_SERVER] [default: the current context's, or http://127.0.0.1:7070]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub server: Option<String>,
    /// The context to use, of those that `remudactl contexts list` shows. Nothing is taken out of the environment then
    /// [env: REMUDA_CONTEXT]
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The console's token, when neither the address nor the context has it [env: REMUDA_TOKEN]
    #[arg(long, global = true)]
    pub token: Option<Secret>,
    /// PEM file with the authorities that vouch for the server, in place of the system's [env: REMUDA_CA]
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// PEM file with the client certificate to come in with [env: REMUDA_CERT]
    #[arg(long, global = true, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// PEM file with its key [env: REMUDA_KEY]
    #[arg(long, global = true, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The organization [env: REMUDA_ORGANIZATION] [default: the context's, or default]
    #[arg(long = "organization", global = true, value_name = "ORGANIZATION")]
    pub in_organization: Option<String>,
    /// The organization, as it was found.
    #[arg(skip)]
    pub organization: String,
    /// The server and how to come in, as they were found.
    #[arg(skip)]
    pub target: Target,
    /// How to print; `csv` and `ndjson` are for history.
    #[arg(short = 'o', long = "output", global = true, value_enum, default_value_t = Output::Table)]
    pub print: Output,
    /// What `print` means to a command that knows documents: YAML is made of them on the way out.
    #[arg(skip)]
    pub output: OutputFormat,
    /// Seconds that a call may take; a watch has no end.
    #[arg(long, global = true, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

/// How to print, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// Columns.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// One JSON document; one a line when watching.
    Json,
    /// One YAML document; one after the other when watching.
    Yaml,
    /// Resource names only.
    Name,
    /// Comma-separated values, RFC 4180.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

/// How a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputFormat {
    /// Columns.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// One JSON document; one a line when watching.
    Json,
    /// Resource names only.
    Name,
}

/// Resources.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Vehicles and their twins.
    #[command(subcommand, visible_alias = "vehicle")]
    Vehicles(VehiclesCommand),
    /// Commands to vehicles: lock, honk, limit the speed.
    #[command(subcommand, visible_alias = "command")]
    Commands(crate::commands::CommandsCommand),
    /// Questions that vehicles ask people: take one, answer it, see what the vehicle did.
    #[command(subcommand)]
    Assistance(crate::assistance::AssistanceCommand),
    /// Alerts on vehicles: see them, look after them, want quiet, end them.
    #[command(subcommand, visible_alias = "alert")]
    Alerts(crate::alerts::AlertsCommand),
    /// Places that vehicles shall stay in or out of, and who is in them.
    #[command(subcommand, visible_alias = "geofence")]
    Geofences(crate::geofences::GeofencesCommand),
    /// What vehicles collect: documents, whom they are meant for, how far they have come.
    #[command(subcommand, visible_alias = "policy")]
    Policies(crate::policies::PoliciesCommand),
    /// Booked rides, and which vehicles take them.
    #[command(subcommand, visible_alias = "trip", allow_negative_numbers = true)]
    Trips(crate::business::TripsCommand),
    /// Riders and their credits.
    #[command(subcommand, visible_alias = "user")]
    Users(crate::business::UsersCommand),
    /// Work that happens as a whole or not at all; what is stuck waits here.
    #[command(subcommand, visible_alias = "saga")]
    Sagas(crate::business::SagasCommand),
    /// Invoices and credit notes.
    #[command(subcommand, visible_alias = "invoice")]
    Invoices(crate::business::money::InvoicesCommand),
    /// What rides cost, what was taken and given back.
    #[command(subcommand, visible_alias = "payment")]
    Payments(crate::business::money::PaymentsCommand),
    /// Accounts of the double-entry ledger, and whether a provider's statement agrees.
    #[command(subcommand)]
    Ledger(crate::business::money::LedgerCommand),
    /// Mileage, consumption and revenue by time and dimension.
    Analytics(crate::business::figures::AnalyticsCommand),
    /// Messages to people; those that were given up wait here.
    #[command(subcommand, visible_alias = "notification")]
    Notifications(crate::business::messages::NotificationsCommand),
    /// What the ECUs of vehicles complain of.
    #[command(subcommand)]
    Diagnostics(crate::business::troubles::DiagnosticsCommand),
    /// What reads the business journal; what stopped at an event waits here.
    #[command(subcommand, visible_alias = "reactor")]
    Reactors(crate::business::reactors::ReactorsCommand),
    /// What is told to customers' own systems: webhooks, NATS, MQTT, or a stream here.
    #[command(subcommand, visible_alias = "feed")]
    Feeds(crate::feeds::FeedsCommand),
    /// Who changed what, when, from where and why.
    #[command(subcommand)]
    Audit(crate::audit::AuditCommand),
    /// How the node itself is.
    #[command(subcommand)]
    System(crate::system::SystemCommand),
    /// What vehicles measured: samples, positions, journeys; plots and exports.
    #[command(subcommand)]
    History(crate::history::HistoryCommand),
    /// Servers, and how to come in: kept in a file of yours.
    #[command(subcommand, visible_alias = "context")]
    Contexts(crate::context_commands::ContextsCommand),
    /// Logs in at your organization's issuer with a browser, on this machine or another; keeps the token in the context.
    Login(crate::login::LoginArgs),
    /// Prints what a shell needs to complete commands.
    Completion(crate::manual::CompletionArgs),
    /// Writes the man pages.
    Man(crate::manual::ManArgs),
}

/// What can be done with vehicles.
#[derive(Debug, Subcommand)]
pub enum VehiclesCommand {
    /// Lists vehicles, in order of their ids unless told otherwise.
    List {
        /// Which vehicles, such as `presence = ONLINE AND charge_percent < 20`.
        #[arg(long, default_value = "")]
        filter: String,
        /// In which order: fields with commas between, each with ` desc` for downwards, such as `charge_percent, last_seen_time desc`.
        #[arg(long, default_value = "", value_name = "FIELDS")]
        order_by: String,
        /// Vehicles read at once, 1 to 1000; all pages are printed.
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(i32).range(1..=1000))]
        page_size: i32,
        /// Print at most so many vehicles.
        #[arg(long)]
        limit: Option<usize>,
    },
    /// Shows one vehicle with every signal of its twin.
    Get {
        /// Its id, or its whole resource name.
        vehicle: String,
    },
    /// Follows vehicles until Ctrl-C: all, those of a filter, or one with its twin.
    Watch {
        /// One vehicle: its id, or its whole resource name.
        #[arg(conflicts_with = "filter")]
        vehicle: Option<String>,
        /// Which vehicles, as in `list`.
        #[arg(long, default_value = "")]
        filter: String,
        /// Least milliseconds between two updates, 100 to 60000.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(i32).range(100..=60_000))]
        interval_ms: i32,
        /// End after so many updates.
        #[arg(long)]
        updates: Option<u64>,
    },
    /// Which vehicles there are, and who may connect.
    #[command(flatten)]
    Identity(crate::identities::IdentityCommand),
    /// Vehicles as things: what they are, when they must be serviced.
    #[command(flatten)]
    Records(crate::business::records::RecordCommand),
}
