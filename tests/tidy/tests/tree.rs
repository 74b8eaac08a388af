//! Checks on files: length, purity, words, documents.

use std::path::Path;

use remuda_tidy::{files, members, read};

/// Lines a source file may have. The median is far below; past this a file does two jobs.
const LINES_MAX: usize = 900;

fn sources() -> Vec<std::path::PathBuf> {
    // What tools write is as long as it is.
    let made = ["cloud/console/web/dist", "cloud/console/web/src/gen"];
    let written = |p: &std::path::PathBuf| !made.iter().any(|folder| p.starts_with(folder));
    let is_source = |p: &std::path::PathBuf| {
        p.extension().is_some_and(|e| ["rs", "ts", "py", "css", "sh"].iter().any(|known| e == *known))
    };
    files().into_iter().filter(written).filter(is_source).collect()
}

#[test]
fn no_source_file_is_too_long() {
    let long: Vec<String> = sources()
        .iter()
        .map(|p| (p, read(p).lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(p, lines)| format!("{} has {lines} lines, at most {LINES_MAX}", p.display()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// Folders and files that must be pure (I10), and what must not be named in them.
const PURE: &[&str] =
    &["protocol/model/src", "protocol/wire/src", "protocol/mqtt/src", "edge-agent/core/src", "sim/world/src"];
const IMPURE_WORDS: &[&str] = &[
    "tokio::",
    "ractor::",
    "std::fs",
    "std::net",
    "Instant::now",
    "SystemTime::now",
    "thread_rng",
    "rand::rng",
    "from_os_rng",
];
/// Files of an aggregate: pure wherever they stand in a domain's folder.
const AGGREGATE_FILES: &[&str] =
    &["command.rs", "event.rs", "state.rs", "decide.rs", "evolve.rs", "error.rs", "twin.rs", "reception.rs"];

#[test]
fn pure_code_names_no_runtime_clock_or_randomness() {
    let domains = [
        "cloud/vehicles/src",
        "cloud/operations/src",
        "cloud/billing/src",
        "cloud/notifications/src",
        "cloud/analytics/src",
        "cloud/trips/src",
        "cloud/users/src",
        "cloud/platform/saga/src",
    ];
    let mut wrong = Vec::new();
    let mut checked = 0;
    for path in sources() {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let in_rules = path.components().any(|c| c.as_os_str() == "rules" || c.as_os_str() == "reception");
        let aggregate =
            domains.iter().any(|d| path.starts_with(d)) && (AGGREGATE_FILES.contains(&name) || in_rules);
        if !aggregate && !PURE.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        checked += 1;
        let text = read(&path);
        // Tests of pure code may use what they like.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in IMPURE_WORDS.iter().filter(|word| code.contains(**word)) {
            wrong.push(format!("{} names {word} (I10)", path.display()));
        }
    }
    assert!(checked > 10, "only {checked} pure files were found: has a folder moved?");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_crate_stands_in_architecture() {
    let page = read(Path::new("ARCHITECTURE.md"));
    for member in members() {
        assert!(
            page.contains(&format!("`{}`", member.folder)),
            "ARCHITECTURE.md does not mention `{}` in its code map",
            member.folder
        );
    }
}

#[test]
fn readme_starts_with_the_two_commands_and_ci_runs_the_second() {
    let readme = read(Path::new("README.md"));
    let commands: Vec<&str> =
        readme.lines().filter(|l| l.trim_start().starts_with("cargo ")).take(2).collect();
    assert_eq!(commands.len(), 2, "README.md must show its two commands");
    assert!(commands[0].contains("cargo run --release -- demo"), "{}", commands[0]);
    assert!(commands[1].contains("cargo xtask test"), "{}", commands[1]);
    assert!(read(Path::new(".ci/run")).contains("cargo xtask test"));
}

#[test]
fn decisions_are_numbered_once() {
    let mut numbers: Vec<String> = files()
        .iter()
        .filter(|p| p.starts_with("docs/adr"))
        .filter_map(|p| p.file_name()?.to_str()?.get(..4).map(str::to_owned))
        .collect();
    numbers.sort();
    assert!(!numbers.is_empty());
    let expected: Vec<String> = (1..=numbers.len()).map(|n| format!("{n:04}")).collect();
    assert_eq!(numbers, expected, "docs/adr must be numbered 0001, 0002, ... without a gap");
}

#[test]
fn nothing_speaks_of_a_machine() {
    // Assembled, so that this file does not contain them.
    let words: Vec<String> =
        [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["registry.np", "mjs"], ["crates.i", "o/api"]]
            .iter()
            .map(|halves| halves.concat())
            .collect();
    let mut wrong = Vec::new();
    for path in files().iter().filter(|p| !p.starts_with("cloud/console/web/dist")) {
        let text = read(path);
        for word in words.iter().filter(|word| text.contains(word.as_str())) {
            wrong.push(format!("{} contains {word}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_test_is_ignored_and_nothing_is_left_to_do() {
    let words: Vec<String> = [["#[ign", "ore"], ["tod", "o!("], ["unimplem", "ented!("], ["FIX", "ME"]]
        .iter()
        .map(|h| h.concat())
        .collect();
    let mut wrong = Vec::new();
    for path in sources() {
        let text = read(&path);
        for word in words.iter().filter(|word| text.contains(word.as_str())) {
            wrong.push(format!("{} contains {word}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
