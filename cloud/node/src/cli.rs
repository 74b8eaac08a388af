//! The commands of `remuda`. Exit codes: 0 held, 1 failed, 2 usage.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use remuda_observability::{LogFormat, init_logs};

use crate::config::Config;
use crate::{backup, enrolment, journal, lake, wiring};

/// The cloud of a connected-vehicle fleet.
#[derive(Parser)]
#[command(name = "remuda", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A whole fleet on this machine: simulated vehicles, cloud, console, and the ledger at the end.
    #[cfg(feature = "demo")]
    Demo(remuda_demo::DemoArgs),
    /// Runs a node until SIGTERM or Ctrl-C.
    Serve {
        #[command(flatten)]
        config: ConfigArgs,
        /// Prints one JSON object with the addresses and the token on standard output once it serves.
        #[arg(long)]
        json: bool,
    },
    /// Looks at the configuration.
    Config {
        /// What to do with it.
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Works on the journal of a stopped node.
    Journal {
        #[command(flatten)]
        config: ConfigArgs,
        /// What to do with it.
        #[command(subcommand)]
        action: journal::JournalAction,
    },
    /// Works on the lake of a stopped node.
    Lake {
        #[command(flatten)]
        config: ConfigArgs,
        /// What to do with it.
        #[command(subcommand)]
        action: lake::LakeAction,
    },
    /// Takes a backup, of a node that runs or one that is stopped; keys, lists, checks and removes backups.
    Backup {
        #[command(flatten)]
        config: ConfigArgs,
        /// What to do.
        #[command(flatten)]
        args: backup::BackupArgs,
    },
    /// Makes a data folder out of a backup; it must be new, or empty.
    Restore {
        #[command(flatten)]
        config: ConfigArgs,
        /// What to do.
        #[command(flatten)]
        args: backup::RestoreArgs,
    },
    /// Makes an account with a token of its own: prints what to put into the configuration, and the token, once.
    Account {
        /// Its name: 1 to 64 characters out of a-z, 0-9 and `-`.
        name: String,
        /// What it may do, such as `operator` or `default/fleets/north:viewer`; several may be given.
        #[arg(long = "grant", required = true)]
        grants: Vec<String>,
    },
    /// Vehicles that may connect.
    Vehicles {
        #[command(flatten)]
        config: ConfigArgs,
        /// What to do with them.
        #[command(subcommand)]
        action: enrolment::VehiclesAction,
    },
}

/// Where the configuration is.
#[derive(Args, Clone)]
pub struct ConfigArgs {
    /// Configuration file, TOML.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Folder of everything durable; overrides the configuration.
    #[arg(long)]
    data: Option<PathBuf>,
}

#[derive(Subcommand)]
enum ConfigAction {
    /// Says whether a node would start with it.
    Check(ConfigArgs),
    /// Prints it as a file, with every default filled in.
    Print(ConfigArgs),
}

impl ConfigArgs {
    fn load(&self) -> Result<Config, String> {
        let mut config = Config::load(self.config.as_deref()).map_err(|e| e.to_string())?;
        if let Some(data) = &self.data {
            config.data_dir.clone_from(data);
        }
        Ok(config)
    }
}

/// Parses the arguments, runs the command, answers its exit code.
pub fn main() -> ExitCode {
    // Reads FAILPOINTS; without the feature there are no points and nothing happens.
    let _points = fail::FailScenario::setup();
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(sentence) => {
            eprintln!("remuda: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, String> {
    match command {
        #[cfg(feature = "demo")]
        Command::Demo(args) => crate::demo::run(args),
        Command::Serve { config, json } => serve(&config.load()?, json).map(|()| ExitCode::SUCCESS),
        Command::Config { action } => {
            let text = match action {
                ConfigAction::Check(args) => {
                    args.load()?;
                    "the configuration holds\n".to_owned()
                }
                ConfigAction::Print(args) => args.load()?.to_toml(),
            };
            // A closed pipe is the reader's choice.
            let _ = std::io::stdout().write_all(text.as_bytes());
            Ok(ExitCode::SUCCESS)
        }
        Command::Journal { config, action } => {
            journal::run(&config.load()?, action).map(|()| ExitCode::SUCCESS)
        }
        Command::Lake { config, action } => lake::run(&config.load()?, &action).map(|()| ExitCode::SUCCESS),
        Command::Backup { config, args } => backup::run(&config.load()?, args).map(|()| ExitCode::SUCCESS),
        Command::Restore { config, args } => {
            backup::run_restore(&config.load()?, args).map(|()| ExitCode::SUCCESS)
        }
        Command::Account { name, grants } => {
            let (token, toml) = crate::access::new_account(&name, &grants)?;
            // So that the output can go into the configuration as it is.
            let _ = std::io::stdout().write_all(toml.as_bytes());
            eprintln!("the token of account {name}, which is not shown again: {}", token.reveal());
            Ok(ExitCode::SUCCESS)
        }
        Command::Vehicles { config, action } => {
            enrolment::run(&config.load()?, action).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// The runtime of a node or a demo.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("remuda")
        .build()
        .map_err(|e| format!("the runtime could not start: {e}"))
}

fn serve(config: &Config, json: bool) -> Result<(), String> {
    let format: LogFormat = config.log.format.parse()?;
    init_logs(format, &config.log.filter)?;
    runtime()?.block_on(async {
        let node =
            wiring::start(config.clone(), wiring::Drawing::FromConfig).await.map_err(|e| e.to_string())?;
        if json {
            let said = serde_json::json!({
                "door": node.door,
                "plain_door": node.plain_door,
                "broker": node.broker,
                "enrolment": node.enrolment,
                "console": node.console,
                "token": node.token,
            });
            println!("{said}");
        }
        let vehicles = match &node.broker {
            // No door of the node's own: what it speaks is the broker's affair.
            Some(broker) if *broker == node.door => format!("the external broker {broker}"),
            Some(broker) => format!("mqtts://{} and the external broker {broker}", node.door),
            None => format!("mqtts://{}", node.door),
        };
        eprintln!("vehicles: {vehicles}   enrolment: {}   console: {}", node.enrolment, node.console_url());
        if let Some(plain) = &node.plain_door {
            eprintln!("without TLS, from this machine: mqtt://{plain}");
        }
        wait_for_stop().await;
        eprintln!("stopping: draining vehicles, committing the last round");
        node.stop().await.map_err(|e| e.to_string())
    })
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn wait_for_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
