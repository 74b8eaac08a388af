//! The rules hold, and each of them is needed.

use remuda_uplink_model::explorer::{Counterexample, explore};
use remuda_uplink_model::{link, rounds};

/// More states than any of the models has: beyond, a bound was widened too far for CI.
const STATES_MAX: usize = 4_000_000;

#[test]
fn vehicle_link_and_cloud_lose_and_double_nothing() {
    for &fault in link::Fault::ALL {
        let explored = explore(&link::Link { fault, without: None }, STATES_MAX);
        let explored = explored.unwrap_or_else(|found| panic!("with {fault:?}: {found}"));
        eprintln!("{fault:?}: {} states, {} of them ends", explored.states, explored.ends);
        assert!(explored.ends > 0);
    }
}

#[test]
fn each_rule_of_the_link_is_needed() {
    for &rule in link::Rule::NEEDED {
        let broken = |fault: &link::Fault| {
            explore(&link::Link { fault: *fault, without: Some(rule) }, STATES_MAX).err()
        };
        let found: Option<Counterexample> = link::Fault::ALL.iter().find_map(broken);
        let found = found.unwrap_or_else(|| panic!("without {rule:?} nothing goes wrong within the bounds"));
        eprintln!("without {rule:?}, {found}");
    }
}

#[test]
fn thrifty_rules_are_only_thrifty() {
    for &rule in link::Rule::THRIFTY {
        for fault in [link::Fault::CloudCrash, link::Fault::ActorRestart, link::Fault::NoCredit] {
            let found = explore(&link::Link { fault, without: Some(rule) }, STATES_MAX).err();
            assert!(
                found.is_none(),
                "{rule:?} is needed after all: {}",
                found.map(|f| f.to_string()).unwrap_or_default()
            );
        }
    }
}

#[test]
fn rounds_and_owners_commit_once_and_decide_once() {
    let explored =
        explore(&rounds::Rounds { without: None }, STATES_MAX).unwrap_or_else(|found| panic!("{found}"));
    eprintln!("{} states, {} of them ends", explored.states, explored.ends);
    assert!(explored.ends > 0);
}

#[test]
fn each_rule_of_the_rounds_is_needed() {
    for &rule in rounds::Rule::ALL {
        match explore(&rounds::Rounds { without: Some(rule) }, STATES_MAX) {
            Err(found) => eprintln!("without {rule:?}, {found}"),
            Ok(explored) => panic!("without {rule:?} nothing goes wrong in {} states", explored.states),
        }
    }
}
