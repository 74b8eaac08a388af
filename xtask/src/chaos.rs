//! `cargo xtask chaos`: builds with crash points, then runs rounds of faults (docs/chaos.md).

use clap::Args;

use crate::run::{Outcome, cargo, command, run, target};

/// What is passed on.
#[derive(Debug, Args)]
pub struct ChaosArgs {
    /// Rounds; round n has the seed `seed + n`.
    #[arg(long, default_value_t = 27)]
    rounds: u64,
    /// Seed of the first round; without it a random one, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Only this fault, with those that come with it.
    #[arg(long)]
    kind: Option<String>,
    /// Takes a rule out, to see that its absence is found.
    #[arg(long)]
    sabotage: Option<String>,
    /// Ends with the first round that fails.
    #[arg(long)]
    until_failure: bool,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// Runs the rounds.
///
/// # Errors
/// When it does not build, or a round fails.
pub fn chaos(args: &ChaosArgs) -> Outcome {
    let mut build = cargo();
    build.args(["build", "--quiet", "--package", "remuda-node", "--package", "remuda-fleet"]);
    build.args(["--package", "remuda-edge-agent", "--package", "remuda-ctl"]);
    run(build.args(["--package", "remuda-chaos", "--bins", "--features", "remuda-node/failpoints"]))?;
    let mut chaos = command(target().join("debug/remuda-chaos"));
    chaos.args(["--rounds", &args.rounds.to_string()]);
    if let Some(seed) = args.seed {
        chaos.args(["--seed", &seed.to_string()]);
    }
    for (flag, value) in [("--kind", &args.kind), ("--sabotage", &args.sabotage)] {
        chaos.args(value.iter().flat_map(|value| [flag, value.as_str()]));
    }
    chaos.args(args.until_failure.then_some("--until-failure"));
    chaos.args(args.json.then_some("--json"));
    run(&mut chaos)
}
