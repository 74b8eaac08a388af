//! Checks, benches and formatting, with what they need installed.
//!
//! `cargo xtask test` is what CI runs. Every step prints its name and its time; the first failure ends the run with
//! exit code 1, wrong usage with 2.

mod bench;
mod business_chaos;
mod chaos;
mod run;
mod soak;
mod steps;
mod suites;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Work on the Remuda workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything CI checks, installing what it needs.
    Test {
        /// More seeds and rounds; up to two hours.
        #[arg(long)]
        full: bool,
        /// Run only the steps whose name contains one of these.
        only: Vec<String>,
    },
    /// The figures of docs/benchmarks.md, each beside its baseline from the same run.
    Bench {
        /// Only the figures whose name contains one of these.
        names: Vec<String>,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
        /// Seconds each load runs.
        #[arg(long, default_value_t = 20)]
        seconds: u64,
        /// History of a billion samples instead of 78 million: some minutes and 1 GB more.
        #[arg(long)]
        billion: bool,
    },
    /// Breaks a running fleet and its cloud on purpose, round after round, and counts what is left.
    Chaos(chaos::ChaosArgs),
    /// Books rides while everything fails and the business dies at random writes, then reads its journal.
    BusinessChaos(business_chaos::BusinessChaosArgs),
    /// Fuzzes every decoder that meets the outside.
    Soak {
        /// Minutes in all.
        #[arg(long, default_value_t = 60.0)]
        minutes: f64,
        /// Only this target.
        #[arg(long)]
        target: Option<String>,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Formats all code.
    Fmt {
        /// Only check.
        #[arg(long)]
        check: bool,
    },
    /// Installs what the checks need and nothing else.
    Install,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Test { full, only } => steps::test(full, &only),
        Command::Bench { names, json, seconds, billion } => bench::bench(&names, json, seconds, billion),
        Command::Chaos(args) => chaos::chaos(&args),
        Command::BusinessChaos(args) => business_chaos::business_chaos(&args),
        Command::Soak { minutes, target, json } => soak::soak(minutes, target.as_deref(), json),
        Command::Fmt { check } => steps::fmt(check),
        Command::Install => tools::install_all(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("xtask: {sentence}");
            ExitCode::FAILURE
        }
    }
}
