//! What others made, against REST: schemathesis with the OpenAPI document, the published schemas of the exports, and the
//! examples that are handed to customers.
//!
//! Needs the Python of `target/venv`, which `cargo xtask install` makes, or `REMUDA_TEST_PYTHON`. Without it the tests say so and
//! pass.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use remuda_access::{Rate, RateLimiter};
use remuda_audit::AuditLog;
use remuda_console::{Access, Console, ConsoleSettings, Token};
use remuda_model::OrganizationId;
use support::FakeFleet;
use tokio::process::Command;

const TOKEN: &str = "a-token-for-tests-0123456789";
const PATIENCE: Duration = Duration::from_secs(600);

/// `target/venv` beside the binaries, wherever cargo's output is, if it has these modules.
async fn python(modules: &str) -> Option<PathBuf> {
    let given = std::env::var_os("REMUDA_TEST_PYTHON").map(PathBuf::from);
    let here = std::env::current_exe().unwrap();
    let beside =
        || here.ancestors().map(|folder| folder.join("venv/bin/python")).find(|python| python.is_file());
    let python = given.or_else(beside);
    let Some(python) = python else {
        eprintln!("skipped: there is no target/venv (cargo xtask install makes it)");
        return None;
    };
    let imports = format!("import {modules}");
    let has = Command::new(&python).args(["-c", &imports]).stderr(Stdio::null()).status().await.unwrap();
    if !has.success() {
        eprintln!("skipped: {} lacks one of {modules}", python.display());
    }
    has.success().then_some(python)
}

/// A console over 1,500 vehicles, and the folder of its audit log.
async fn console() -> (Console, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let rate = Rate { per_second: 1e5, burst: 1e5 };
    let settings = ConsoleSettings {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        token: Token::new(TOKEN).unwrap(),
        organization: OrganizationId::default(),
        access: Access { rate: Arc::new(RateLimiter::new(rate)), ..Access::default() },
    };
    let mut sources = support::sources(&Arc::new(FakeFleet::new(1_500)));
    sources.audit = Arc::new(AuditLog::open(folder.path()).unwrap());
    (Console::bind(settings, sources).await.unwrap(), folder)
}

async fn run(command: &mut Command) -> String {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends in time").unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn schemathesis_finds_nothing_that_the_document_does_not_say() {
    let Some(python) = python("schemathesis").await else { return };
    let (console, _folder) = console().await;
    let place = tempfile::tempdir().unwrap();
    let config = format!("[auth.openapi.bearer]\nbearer = \"{TOKEN}\"\n");
    std::fs::write(place.path().join("schemathesis.toml"), config).unwrap();
    let full = std::env::var("REMUDA_TEST_TIER").is_ok_and(|tier| tier == "full");
    let mut st = Command::new(python);
    st.current_dir(place.path()).args(["-m", "schemathesis.cli", "run"]);
    st.arg(format!("http://{}/openapi.json", console.local_addr()));
    st.args(["--phases", "coverage,fuzzing", "--seed", "1", "--request-timeout", "20"]);
    st.args(["--max-examples", if full { "100" } else { "4" }]);
    // Which strings a filter or a time may be, the document can say in words only.
    st.args(["--exclude-checks", "positive_data_acceptance"]);
    // Streams without an end; and what a console without the ride business answers with 501.
    st.args(["--exclude-path-regex", ":watch$|:follow$"]);
    let there = ["Vehicle", "Command", "Telemetry", "Policy", "Identity", "Audit"];
    for service in there {
        st.args(["--include-tag", &format!("{service}Service")]);
    }
    let report = run(&mut st).await;
    let tested =
        report.split("Tested: ").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse::<u32>().ok());
    assert!(tested.is_some_and(|tested| tested > 20), "{report}");
    console.stop().await.unwrap();
}

#[tokio::test]
async fn exports_pass_the_schemas_that_others_published() {
    let Some(python) = python("jsonschema, gbfs_validator").await else { return };
    let (console, _folder) = console().await;
    let mut script = Command::new(python);
    script.arg(here().join("tests/exports.py")).arg(format!("http://{}", console.local_addr())).arg(TOKEN);
    assert_eq!(run(&mut script).await.trim(), "1500 vehicles of GBFS, 4 pages of rFMS");
    console.stop().await.unwrap();
}

#[tokio::test]
async fn the_examples_report_the_same_fleet() {
    let (console, _folder) = console().await;
    // Beside the tests: target/debug/examples.
    let tests = std::env::current_exe().unwrap();
    let rust = tests.ancestors().nth(2).unwrap().join("examples/fleet_report");
    let mut example = Command::new(rust);
    let told = run(example.arg(format!("http://{}", console.local_addr())).arg(TOKEN)).await;
    assert!(told.starts_with("1500 vehicles, "), "{told}");
    assert!(told.lines().count() > 100, "a fifth of the fleet has little charge: {told}");

    let Some(python) = python("grpc, grpc_reflection").await else { return };
    let script = here().join("../../examples/python/fleet_report.py");
    let mut example = Command::new(&python);
    let same = run(example.arg(&script).arg(console.local_addr().to_string()).arg(TOKEN)).await;
    assert_eq!(same, told);
    let mut stranger = Command::new(python);
    let refused =
        stranger.arg(script).arg(console.local_addr().to_string()).arg("nobody").output().await.unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).starts_with("UNAUTHENTICATED: "), "{refused:?}");
    console.stop().await.unwrap();
}
