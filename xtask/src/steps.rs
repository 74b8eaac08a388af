//! The steps of `cargo xtask test`, in the order in which they find the cheapest faults first.

use std::time::Instant;

use crate::run::{Outcome, cargo, command, output, root, run, target};
use crate::{suites, tools};

/// Binaries with crash points: what the kill tests run.
const FAILPOINTS: &[&str] = &["--features", "remuda-node/failpoints"];

struct Step {
    name: &'static str,
    check: fn(bool) -> Outcome,
}

const STEPS: &[Step] = &[
    Step { name: "format", check: |_| fmt(true) },
    Step { name: "install", check: |_| tools::install_all() },
    Step { name: "protos", check: |_| protos() },
    Step { name: "clippy", check: |_| clippy() },
    Step { name: "licences", check: |_| licences() },
    Step { name: "rustdoc", check: |_| rustdoc() },
    Step { name: "container-features", check: |_| container_features() },
    Step { name: "web", check: |_| web() },
    Step { name: "tests", check: tests },
];

/// Runs the steps, or those whose name contains one of `only`.
pub fn test(full: bool, only: &[String]) -> Outcome {
    let chosen: Vec<&Step> = STEPS
        .iter()
        .filter(|step| only.is_empty() || only.iter().any(|word| step.name.contains(word.as_str())))
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = STEPS.iter().map(|s| s.name).collect();
        return Err(format!("no step is called like that; there are: {}", names.join(", ")));
    }
    let begun = Instant::now();
    for (n, step) in chosen.iter().enumerate() {
        eprintln!("── [{}/{}] {}", n + 1, chosen.len(), step.name);
        let step_begun = Instant::now();
        (step.check)(full).map_err(|e| format!("step \"{}\": {e}", step.name))?;
        eprintln!("── {} took {:.0} s", step.name, step_begun.elapsed().as_secs_f64());
    }
    eprintln!("── all {} steps passed in {:.0} s", chosen.len(), begun.elapsed().as_secs_f64());
    Ok(())
}

/// Formats, or checks the format.
pub fn fmt(check: bool) -> Outcome {
    let mut cargo = cargo();
    cargo.args(["fmt", "--all"]);
    if check {
        cargo.arg("--check");
    }
    run(&mut cargo)
}

fn clippy() -> Outcome {
    let mut clippy = cargo();
    clippy.args(["clippy", "--quiet", "--workspace", "--all-targets"]).args(FAILPOINTS);
    run(clippy.args(["--", "-D", "warnings"]))
}

fn licences() -> Outcome {
    let deny = tools::cargo_deny()?;
    run(command(deny).args([
        "--log-level",
        "error",
        "check",
        "--hide-inclusion-graph",
        "licenses",
        "bans",
        "sources",
    ]))
}

fn rustdoc() -> Outcome {
    run(cargo().args(["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// The container image has no demo in it; that build must not rot.
fn container_features() -> Outcome {
    run(cargo().args(["check", "--quiet", "--package", "remuda-node", "--no-default-features"]))
}

fn tests(full: bool) -> Outcome {
    let mut bins = cargo();
    run(bins.args(["build", "--quiet", "--workspace", "--bins", "--examples"]).args(FAILPOINTS))?;
    // rumqttd, for the tests of external brokers.
    let mut baseline = cargo();
    baseline.args(["build", "--quiet"]).current_dir(root().join("tests/baseline"));
    run(baseline.env("CARGO_TARGET_DIR", target().join("baseline")))?;
    let mut suites = cargo();
    // The steps before have installed what the tests ask for, so that a skip would hide a fault.
    let environment = [
        ("REMUDA_TEST_TIER", if full { "full" } else { "ci" }),
        ("REMUDA_BROWSER_TEST", "required"),
        ("REMUDA_BASELINE_TEST", "required"),
        ("REMUDA_BUF_TEST", "required"),
    ];
    suites::run_all(suites.args(["test", "--workspace"]).args(FAILPOINTS), &environment, full)?;
    run(cargo().args(["test", "--quiet", "--workspace", "--doc"]).args(FAILPOINTS))
}

/// The protos keep their style, and break nothing that clients may rely on.
fn protos() -> Outcome {
    let buf = tools::buf()?;
    for check in ["lint", "breaking"] {
        run(command("npm").args(["run", "--silent", check]).current_dir(&buf))?;
    }
    Ok(())
}

/// The committed web build is the one its sources give; its tests in a browser run with the others.
fn web() -> Outcome {
    let web = root().join("cloud/console/web");
    run(command("npm").args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(&web))?;
    run(command("npm").args(["run", "--silent", "check"]).current_dir(&web))?;
    run(command("npm").args(["run", "--silent", "build"]).current_dir(&web))?;
    let changed = output(command("git").args(["status", "--porcelain", "--", "cloud/console/web/dist"]))?;
    if !changed.is_empty() {
        return Err(format!(
            "the committed web build is stale; commit what `npm run build` made:\n{changed}"
        ));
    }
    Ok(())
}
