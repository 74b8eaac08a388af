//! Runs seeds, or one seed with its trace.

use std::process::ExitCode;

use clap::Parser;
use remuda_proving_ground::{Plan, run};

/// Prove the ingest on simulated faults.
#[derive(Parser)]
#[command(name = "remuda-proving-ground", version)]
struct Args {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Print what happened.
    #[arg(long)]
    trace: bool,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (mut held, mut failed) = (0u64, Vec::new());
    let mut made = 0;
    let mut slowest = (0, 0);
    let mut faults = std::collections::BTreeMap::<&str, u64>::new();
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        let done = run(Plan::new(seed), args.trace);
        if args.trace {
            eprint!("{}", done.trace);
        }
        match done.outcome {
            Ok(report) => {
                held += 1;
                made += report.frames_made;
                slowest = slowest.max((report.drained_ms, seed));
                for (name, count) in &report.faults {
                    *faults.entry(name).or_default() += count;
                }
                if args.seeds == 1 {
                    eprintln!("seed {seed} held: {report:?}, trace {:016x}", done.digest);
                }
            }
            Err(what) => {
                eprintln!(
                    "seed {seed}: {what}\nrepeat with: cargo run -p remuda-proving-ground -- --seed {seed} --trace"
                );
                failed.push(seed);
            }
        }
    }
    let faults_in_all: u64 = faults.values().sum();
    eprintln!(
        "{held} seeds held, {} failed; {made} frames made, {faults_in_all} faults; slowest to drain: seed {} in {} ms",
        failed.len(),
        slowest.1,
        slowest.0
    );
    if args.json {
        let json = serde_json::json!({
            "seeds_held": held, "seeds_failed": failed, "frames_made": made, "faults": faults,
            "drained_ms_max": slowest.0,
        });
        println!("{json}");
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
