//! `remuda-agent`: runs in the vehicle.

mod commands;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use remuda_edge_agent::identity::TokenError;
use remuda_edge_agent::{ServerUrl, Token};

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
    /// Gets this vehicle its certificate: makes a key that stays here, and shows a one-time token to the cloud.
    Enroll(EnrollArgs),
}

#[derive(Debug, Args)]
struct EnrollArgs {
    /// Address of the vehicles' HTTPS port, such as `https://cloud.example:8884`.
    #[arg(long, requires = "token", required_unless_present = "from")]
    server: Option<ServerUrl>,
    /// The one-time token that remudactl printed; the environment keeps it out of the list of processes.
    #[arg(long, env = "REMUDA_ENROLMENT_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Directory for the identity, the configuration and the outbox.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// In place of server and token, for a plain door on this machine: what `remuda vehicles enroll` wrote.
    #[arg(long, conflicts_with = "server")]
    from: Option<PathBuf>,
    /// host:port of the plain door, in place of the one in the file.
    #[arg(long, requires = "from")]
    door: Option<String>,
}

impl EnrollArgs {
    fn run(self) -> Result<ExitCode, String> {
        match (self.server, self.token, self.from) {
            (_, _, Some(from)) => commands::enroll_from(&from, &self.dir, self.door.as_deref()),
            (Some(server), Some(token), None) => {
                let token: Token = token.parse().map_err(|e: TokenError| e.to_string())?;
                commands::enroll(server, &token, &self.dir)
            }
            // The parser requires one or the other.
            _ => Err("say --server and --token".to_owned()),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let result = match cli.command {
        Command::Run { config } => commands::run(&config),
        Command::Replay(args) => commands::replay(&args),
        Command::Enroll(args) => args.run(),
    };
    match result {
        Ok(code) => code,
        Err(sentence) => {
            eprintln!("remuda-agent: {sentence}");
            ExitCode::FAILURE
        }
    }
}
