//! `remuda-agent`: runs in the vehicle.

mod commands;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The vehicle's agent.
#[derive(Debug, Parser)]
#[command(name = "remuda-agent", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sends what the sources say until SIGTERM or Ctrl-C, or until the input ends and the cloud has all of it.
    Run {
        /// The configuration.
        #[arg(long)]
        config: PathBuf,
    },
    /// Sends a recorded drive, raw CAN frames at their real rate, and ends when the cloud has all of it.
    Replay(commands::ReplayArgs),
    /// Takes an enrolment that `remuda vehicles enroll` wrote.
    Enroll {
        /// The enrolment.
        #[arg(long)]
        from: PathBuf,
        /// Directory for the identity, the configuration and the outbox.
        #[arg(long, default_value = ".")]
        dir: PathBuf,
        /// host:port of the vehicles' door, in place of the one in the enrolment.
        #[arg(long)]
        door: Option<String>,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let result = match cli.command {
        Command::Run { config } => commands::run(&config),
        Command::Replay(args) => commands::replay(&args),
        Command::Enroll { from, dir, door } => commands::enroll(&from, &dir, door.as_deref()),
    };
    match result {
        Ok(code) => code,
        Err(sentence) => {
            eprintln!("remuda-agent: {sentence}");
            ExitCode::FAILURE
        }
    }
}
