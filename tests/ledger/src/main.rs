//! `remuda-ledger`: counts a stopped cloud and its vehicles, and prints the verdict.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Counts every frame from what is on disk. Exit code 1 when anything was lost or doubled.
#[derive(Parser)]
#[command(name = "remuda-ledger", version)]
struct Cli {
    /// Data folder of a stopped node.
    #[arg(long)]
    cloud: PathBuf,
    /// Data folders of stopped agents or simulators.
    #[arg(long)]
    vehicles: Vec<PathBuf>,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let Cli { cloud, vehicles, json } = Cli::parse();
    let ledger = match remuda_ledger::count_blocking(&cloud, &vehicles) {
        Ok(ledger) => ledger,
        Err(error) => {
            eprintln!("remuda-ledger: {error}");
            return ExitCode::FAILURE;
        }
    };
    if json {
        println!("{}", serde_json::to_string(&ledger).unwrap_or_default());
    } else {
        print!("{ledger}");
    }
    if ledger.balances() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
