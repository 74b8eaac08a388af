//! Other implementations against the console: Python's gRPC, `buf curl`, and TLS as clients of all kinds speak it.
//!
//! The first needs a Python with `grpcio`, `grpcio-reflection` and `grpcio-health-checking`: the one in `target/venv`, which
//! `cargo xtask install` makes, or `REMUDA_TEST_PYTHON`. Without it the test says so and passes.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

mod buf;
#[path = "../support/mod.rs"]
mod support;
mod tls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use remuda_audit::AuditLog;
use remuda_console::{Access, Console, ConsoleSettings, Token};
use remuda_model::OrganizationId;
use support::FakeFleet;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
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
    let moving = tokio::spawn(Arc::clone(&fleet).drive(Duration::from_millis(200)));
    let token = Token::random().unwrap();
    let audit = tempfile::tempdir().unwrap();
    let bind = async |addr| {
        let settings = ConsoleSettings {
            addr,
            token: token.clone(),
            organization: OrganizationId::default(),
            access: Access::default(),
        };
        let mut sources = support::sources(&fleet);
        sources.audit = Arc::new(AuditLog::open(audit.path()).unwrap());
        Console::bind(settings, sources).await.unwrap()
    };
    let mut console = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await;
    let addr = console.local_addr();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/independent.py");
    let mut run = Command::new(&python);
    run.arg(script).arg(addr.to_string()).arg(token.reveal()).arg(VEHICLES.to_string());
    run.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut run = run.spawn().unwrap();
    let (mut answers, mut lines) =
        (run.stdin.take().unwrap(), BufReader::new(run.stdout.take().unwrap()).lines());
    let mut last = String::new();
    let talk = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            match line.as_str() {
                "do restart" => {
                    console.stop().await.unwrap();
                    console = bind(addr).await;
                }
                "do slow" => fleet.answer_twins_after(Some(PATIENCE)),
                "do quick" => fleet.answer_twins_after(None),
                _ => {
                    last = line;
                    continue;
                }
            }
            answers.write_all(b"done\n").await.unwrap();
        }
        console.stop().await.unwrap();
        run.wait().await.unwrap()
    };
    let status = tokio::time::timeout(PATIENCE, talk).await.expect("it ends in time");
    assert!(status.success(), "see the script's words above; it last said {last:?}");
    assert!(last.contains("2500 vehicles"), "{last}");
    moving.abort();
}
