//! A few rounds of every kind of fault hold; with a rule taken out, one of few rounds fails.

use std::path::Path;

use remuda_chaos::{KINDS, Kind, Programs, Report, Sabotage, Settings};

/// Rounds of each kind: in CI, and where there is time.
const ROUNDS: u64 = 1;
const ROUNDS_FULL: u64 = 20;
/// Within so many rounds a missing rule must be found.
const BITES_WITHIN: u64 = 20;

fn programs(folder: &Path) -> Programs {
    let build = remuda_e2e::binary("remuda");
    let build = build.parent().expect("a binary stands in a folder");
    Programs::take(build, &folder.join("bin")).expect("the build's binaries and a C compiler")
}

fn run(rounds: u64, kind: Option<Kind>, sabotage: Option<Sabotage>) -> Report {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let seed = std::env::var("REMUDA_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_130);
    let until_failure = sabotage.is_some();
    let settings =
        Settings { rounds, seed, kind, sabotage, until_failure, folder: folder.path().to_path_buf() };
    let report = remuda_chaos::run(&programs(folder.path()), &settings, &|| false);
    if sabotage.is_none() && report.seed_of_first_failure.is_some() {
        eprintln!("the failing round is kept in {}", folder.keep().display());
    }
    report
}

#[test]
fn rounds_of_every_kind_hold() {
    let full = std::env::var("REMUDA_TEST_TIER").is_ok_and(|tier| tier == "full");
    let rounds = KINDS.len() as u64 * if full { ROUNDS_FULL } else { ROUNDS };
    let report = run(rounds, None, None);
    eprintln!("{report:#?}");
    assert_eq!(report.seed_of_first_failure, None, "a round failed; see above");
    assert_eq!(report.rounds, rounds);
    for kind in KINDS {
        assert!(report.faults[kind.name()] >= 1, "{} was never made: {report:?}", kind.name());
    }
    let Report { frames_lost, frames_duplicated, decisions_missing, decisions_doubled, .. } = report;
    assert_eq!((frames_lost, frames_duplicated, decisions_missing, decisions_doubled), (0, 0, 0, 0));
    // That a retention took something, and that what a lost node had is told, each round checks itself: frames that are gone
    // from the lake may still be in an outbox, and count as that.
    assert!(report.frames_stored > 20 * rounds, "too little happened to prove anything: {report:?}");
}

fn bites(sabotage: Sabotage, kind: Kind) {
    let report = run(BITES_WITHIN, Some(kind), Some(sabotage));
    let found = report.seed_of_first_failure;
    assert!(found.is_some(), "{sabotage:?} was not found in {BITES_WITHIN} rounds: {report:?}");
}

#[test]
fn a_journal_without_its_sync_is_found() {
    bites(Sabotage::JournalSync, Kind::PowerCutCloud);
}

#[test]
fn an_outbox_without_its_sync_is_found() {
    bites(Sabotage::OutboxSync, Kind::PowerCutVehicles);
}

#[test]
fn history_without_its_sync_is_found() {
    bites(Sabotage::HistorySync, Kind::PowerCutCloud);
}

#[test]
fn an_ack_before_the_commit_is_found() {
    bites(Sabotage::AckBeforeCommit, Kind::KillCloud);
}

#[test]
fn epochs_of_a_restored_node_that_are_kept_are_found() {
    bites(Sabotage::RestoreKeepsEpochs, Kind::Restore);
}

#[test]
fn a_sweep_that_comes_too_early_is_found() {
    bites(Sabotage::SweepTooEarly, Kind::SlowDisk);
}
