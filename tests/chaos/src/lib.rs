//! The chaos harness: breaks a running fleet and its cloud on purpose, then counts from the disks (docs/chaos.md).
//!
//! Owns: disks that lose power and fail ([`disk`]), a network that breaks ([`proxy`]), plans made from a seed
//! ([`plan`]), and the rounds that carry them out with real processes and real sockets. Deliberately absent: any
//! judgement of its own; the ledger is the one judge.

pub mod disk;
mod obedient;
pub mod plan;
pub mod proxy;
pub mod report;
mod restore;
mod retention;
mod round;
mod scene;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use remuda_ledger::Ledger;

pub use plan::{KINDS, Kind, Plan};
pub use report::Report;
pub use scene::{Programs, Trouble};

/// A rule taken out on purpose, to show that its absence is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// The journal is not synced.
    JournalSync,
    /// The outboxes are not synced.
    OutboxSync,
    /// The files that a compaction writes are not synced.
    HistorySync,
    /// The vehicle is told *durable* before the commit.
    AckBeforeCommit,
    /// A restored node hands out epochs that the lost one handed out after its backup.
    RestoreKeepsEpochs,
    /// The sweep takes files that may still be committed.
    SweepTooEarly,
}

impl std::str::FromStr for Sabotage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "journal-sync" => Ok(Self::JournalSync),
            "outbox-sync" => Ok(Self::OutboxSync),
            "history-sync" => Ok(Self::HistorySync),
            "ack-before-commit" => Ok(Self::AckBeforeCommit),
            "restore-keeps-epochs" => Ok(Self::RestoreKeepsEpochs),
            "sweep-too-early" => Ok(Self::SweepTooEarly),
            _ => Err(format!(
                "no rule is called {text}; there are: journal-sync, outbox-sync, history-sync, ack-before-commit, restore-keeps-epochs, sweep-too-early"
            )),
        }
    }
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many rounds; round n has the seed `seed + n`.
    pub rounds: u64,
    /// Of the first round.
    pub seed: u64,
    /// Only this fault, with those that come with it.
    pub kind: Option<Kind>,
    /// A rule to take out.
    pub sabotage: Option<Sabotage>,
    /// Ends with the first round that fails.
    pub until_failure: bool,
    /// Folder of the rounds.
    pub folder: PathBuf,
}

/// Runs the rounds, tells each on standard error, and answers what they came to. A round that fails keeps its folder.
pub fn run(programs: &Programs, settings: &Settings, stopped: &dyn Fn() -> bool) -> Report {
    let mut report = Report::default();
    for n in 0..settings.rounds {
        let plan = Plan::new(settings.seed.wrapping_add(n), settings.kind);
        let folder = settings.folder.join(format!("round-{}", plan.seed));
        let begun = Instant::now();
        let result = round::run(programs, &plan, settings.sabotage, &folder, &mut report, stopped);
        if matches!(result, Err(Trouble::Stopped)) || stopped() {
            eprintln!("stopped");
            let _ = fs::remove_dir_all(&folder);
            break;
        }
        report.rounds += 1;
        let failure = judge(&result);
        if let Ok(ledger) = &result {
            report.add(ledger);
        }
        let made = result.as_ref().map_or(0, |ledger| ledger.frames_made);
        let seconds = begun.elapsed().as_secs_f64();
        let verdict = if failure.is_none() { "held" } else { "FAILED" };
        let (number, of, seed, name) = (n + 1, settings.rounds, plan.seed, plan.kind.name());
        eprintln!("round {number}/{of}, seed {seed}, {name}: {made} frames, {seconds:.1} s, {verdict}");
        match failure {
            None => {
                let _ = fs::remove_dir_all(&folder);
            }
            Some(sentence) => {
                tell(&plan, &folder, &sentence, settings);
                report.seed_of_first_failure.get_or_insert(plan.seed);
                if settings.until_failure {
                    break;
                }
            }
        }
    }
    report
}

/// What is wrong with a round, if anything.
fn judge(result: &Result<Ledger, Trouble>) -> Option<String> {
    match result {
        Err(trouble) => Some(trouble.to_string()),
        Ok(ledger) if !ledger.balances() => Some(ledger.to_string()),
        // Every outbox is at hand: a frame that the cloud has and none of them knows was sent before it was safe at home.
        Ok(ledger) if ledger.frames_unclaimed > 0 => Some(format!(
            "{} frames are in the cloud and no outbox made them: they were sent before they were durable\n{ledger}",
            ledger.frames_unclaimed
        )),
        Ok(_) => None,
    }
}

fn tell(plan: &Plan, folder: &Path, sentence: &str, settings: &Settings) {
    let kind = settings.kind.map(|kind| format!(" --kind {}", kind.name())).unwrap_or_default();
    let text = format!(
        "{sentence}\n\nits end: {}\n{plan:#?}\n\nto repeat its plan: cargo xtask chaos --rounds 1 --seed {}{kind}\n",
        round::describe(plan.end),
        plan.seed
    );
    eprintln!("{sentence}\n  it is kept in {}", folder.display());
    eprintln!("  to repeat its plan: cargo xtask chaos --rounds 1 --seed {}{kind}", plan.seed);
    if let Err(error) = fs::write(folder.join("failure.txt"), text) {
        eprintln!("  its failure.txt cannot be written: {error}");
    }
}
