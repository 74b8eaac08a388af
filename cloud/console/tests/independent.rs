//! Another implementation of gRPC (Python's) against the console.
//!
//! Needs a Python with `grpcio`, `grpcio-reflection` and `grpcio-health-checking`: the one in `target/venv`, which
//! `cargo xtask install` makes, or `REMUDA_TEST_PYTHON`. Without it the test says so and passes.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use remuda_console::{Access, Console, ConsoleSettings, Token};
use remuda_model::OrganizationId;
use support::FakeFleet;
use tokio::process::Command;

const VEHICLES: usize = 2_500;
const PATIENCE: Duration = Duration::from_secs(60);

/// `target/venv` beside the binaries, wherever cargo's output is.
fn python() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("REMUDA_TEST_PYTHON") {
        return Some(given.into());
    }
    let here = std::env::current_exe().unwrap();
    here.ancestors().map(|folder| folder.join("venv/bin/python")).find(|python| python.is_file())
}

#[tokio::test]
async fn python_reads_the_fleet_through_reflection() {
    let Some(python) = python() else {
        eprintln!("skipped: there is no target/venv (cargo xtask install makes it)");
        return;
    };
    let modules = "import grpc, grpc_reflection, grpc_health";
    let has = Command::new(&python).args(["-c", modules]).stderr(Stdio::null()).status().await.unwrap();
    if !has.success() {
        eprintln!(
            "skipped: {} has no grpcio, grpcio-reflection and grpcio-health-checking",
            python.display()
        );
        return;
    }
    let fleet = Arc::new(FakeFleet::new(VEHICLES));
    let token = Token::random().unwrap();
    let settings = ConsoleSettings {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        token: token.clone(),
        organization: OrganizationId::default(),
        access: Access::default(),
    };
    let console = Console::bind(settings, support::sources(&fleet)).await.unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/independent.py");
    let mut run = Command::new(&python);
    run.arg(script).arg(console.local_addr().to_string()).arg(token.reveal()).arg(VEHICLES.to_string());
    run.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, run.output()).await.expect("it ends in time").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("2500 vehicles"), "{errors}");
    console.stop().await.unwrap();
}
