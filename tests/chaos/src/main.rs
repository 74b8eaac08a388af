//! `remuda-chaos`: rounds of faults, counted.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use remuda_chaos::{Kind, Plan, Programs, Sabotage, Settings};

/// Breaks a running fleet and its cloud on purpose and counts what is left. Exit code 1 when a round fails.
#[derive(Debug, Parser)]
#[command(name = "remuda-chaos", version)]
struct Cli {
    /// Rounds; round n has the seed `seed + n`.
    #[arg(long, default_value_t = 27)]
    rounds: u64,
    /// Seed of the first round; without it a random one, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Only this fault, with those that come with it.
    #[arg(long)]
    kind: Option<Kind>,
    /// Takes a rule out, to see that its absence is found.
    #[arg(long)]
    sabotage: Option<Sabotage>,
    /// Prints what the first round would do, and does nothing.
    #[arg(long)]
    plan: bool,
    /// Ends with the first round that fails.
    #[arg(long)]
    until_failure: bool,
    /// Folder of the binaries; without it that of this program.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Folder of the rounds; without it `chaos` beside the binaries' folder.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(sentence) => {
            eprintln!("remuda-chaos: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, String> {
    let seed = cli.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    if cli.plan {
        println!("{:#?}", Plan::new(seed, cli.kind));
        return Ok(ExitCode::SUCCESS);
    }
    let own = std::env::current_exe().map_err(|e| format!("its own path is not known: {e}"))?;
    let build = cli.programs.or_else(|| own.parent().map(PathBuf::from)).unwrap_or_default();
    let rounds_folder = cli.folder.unwrap_or_else(|| build.parent().unwrap_or(&build).join("chaos"));
    let folder = rounds_folder.join(format!("{seed}-{}", std::process::id()));
    let programs = Programs::take(&build, &folder.join("bin"))?;
    eprintln!("seed {seed}; rounds in {}", folder.display());
    let settings = Settings {
        rounds: cli.rounds,
        seed,
        kind: cli.kind,
        sabotage: cli.sabotage,
        until_failure: cli.until_failure,
        folder: folder.clone(),
    };
    let stop = watch_for_stop()?;
    let report = remuda_chaos::run(&programs, &settings, &|| stop.load(Ordering::Relaxed));
    let held = report.seed_of_first_failure.is_none();
    if held {
        // Nothing to look at.
        let _ = std::fs::remove_dir_all(&folder);
    }
    let text = if cli.json { serde_json::to_string(&report) } else { serde_json::to_string_pretty(&report) };
    println!("{}", text.map_err(|e| e.to_string())?);
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// True once Ctrl-C or SIGTERM came.
fn watch_for_stop() -> Result<Arc<AtomicBool>, String> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("no runtime for signals: {e}"))?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let terminated = async {
                match signal(SignalKind::terminate()) {
                    Ok(mut terminate) => drop(terminate.recv().await),
                    Err(_) => std::future::pending().await,
                }
            };
            tokio::select! { _ = tokio::signal::ctrl_c() => {}, () = terminated => {} }
            told.store(true, Ordering::Relaxed);
        });
    });
    Ok(stop)
}
