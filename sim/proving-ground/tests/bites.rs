//! Rules taken out one at a time are missed within few seeds. Own process: fail points are global.
// A test may unwrap.
#![allow(clippy::unwrap_used)]

use remuda_proving_ground::{Plan, Sabotage, run};

/// The first seed that notices, of at most `seeds`, and what it says.
fn noticed(seeds: u64, of: impl Fn(u64) -> Plan) -> (u64, String) {
    let found = (1..=seeds).find_map(|seed| Some((seed, run(of(seed), false).outcome.err()?)));
    found.unwrap_or_else(|| panic!("{seeds} seeds noticed nothing"))
}

fn sabotaged(seeds: u64, sabotage: Sabotage) -> String {
    let (seed, what) = noticed(seeds, |seed| Plan::new(seed).sabotaged(sabotage));
    eprintln!("{sabotage:?}: seed {seed}: {what}");
    what
}

fn switched(seeds: u64, point: &str, of: impl Fn(u64) -> Plan) -> String {
    fail::cfg(point, "return").unwrap();
    let (seed, what) = noticed(seeds, of);
    fail::remove(point);
    eprintln!("{point}: seed {seed}: {what}");
    what
}

#[test]
fn each_rule_taken_out_is_missed() {
    let scenario = fail::FailScenario::setup();
    let held = run(Plan::new(1), false).outcome;
    assert!(held.is_ok(), "{held:?}");

    let slow_disks = |seed| Plan { agent_crash: 20_000, sync_ms: 1..500, ..Plan::new(seed) };
    let (_, what) = noticed(20, |seed| slow_disks(seed).sabotaged(Sabotage::SentBeforeSynced));
    assert!(what.contains("lost") || what.contains("never made"), "{what}");
    let what = sabotaged(10, Sabotage::TrimBeyondDurable);
    assert!(what.contains("lost") || what.contains("that nobody told"), "{what}");
    let what = sabotaged(10, Sabotage::CommitNotDurable);
    assert!(what.contains("are committed"), "{what}");

    let what = switched(10, "ack-before-commit", Plan::new);
    assert!(what.contains("are committed"), "{what}");
    let what = switched(60, "accept-ahead", Plan::new);
    assert!(what.contains("is committed before"), "{what}");
    let what = switched(60, "forget-set-back", Plan::new);
    assert!(!what.contains("did not drain"), "{what}");
    // Nothing is lost by silence, it only lasts: each frame dropped without a word costs a stall.
    let what = switched(60, "forget-missing", Plan::crowded);
    assert!(what.contains("did not drain"), "{what}");
    let held = noticed_nothing(20, Plan::crowded);
    assert!(held, "with the rule in place the same worlds do not drain");
    scenario.teardown();
}

fn noticed_nothing(seeds: u64, of: impl Fn(u64) -> Plan) -> bool {
    (1..=seeds).all(|seed| run(of(seed), false).outcome.is_ok())
}
