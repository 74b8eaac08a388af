//! `cargo xtask business-chaos`: the whole ride business under faults, killed at random writes (docs/business.md).

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use crate::run::{Outcome, cargo, command, run, target};

/// What is passed on.
#[derive(Debug, Args)]
pub struct BusinessChaosArgs {
    /// Rides asked for.
    #[arg(long, default_value_t = 10_000)]
    bookings: u64,
    /// Draws what goes wrong; without it a random one, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// A new folder for journal and logs; without it one below `target/`.
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// When it does not build, or something is wrong in the journal it leaves.
pub fn business_chaos(args: &BusinessChaosArgs) -> Outcome {
    run(cargo().args(["build", "--quiet", "--package", "remuda-business", "--example", "life"]))?;
    run(cargo().args(["build", "--quiet", "--package", "remuda-e2e", "--example", "business_chaos"]))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = args.seed.unwrap_or(now.as_secs());
    let folder =
        args.folder.clone().unwrap_or_else(|| target().join(format!("business-chaos-{}", now.as_secs())));
    eprintln!("seed {seed}, folder {}", folder.display());
    let mut chaos = command(target().join("debug/examples/business_chaos"));
    chaos.args([args.bookings.to_string(), seed.to_string()]).arg(folder);
    run(&mut chaos)
}
