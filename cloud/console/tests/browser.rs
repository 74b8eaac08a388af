//! The web app in a headless browser: the script that also runs against the demo, here with an outage on top.
//!
//! Needs Node, the app's packages (`npm ci` in `web/`) and Chromium. Without them it says so and passes, unless
//! `REMUDA_BROWSER_TEST=required`.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use remuda_console::{Access, Console, ConsoleSettings, Token};
use remuda_model::OrganizationId;
use support::FakeFleet;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

const VEHICLES: usize = 1_000;
/// A cold browser that draws in software, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

async fn start(addr: SocketAddr, fleet: &Arc<FakeFleet>) -> Console {
    let token = Token::new("a-token-for-browsers-0123456789").unwrap();
    let settings =
        ConsoleSettings { addr, token, organization: OrganizationId::default(), access: Access::default() };
    Console::bind(settings, support::sources(fleet)).await.unwrap()
}

/// What is missing, as a sentence.
fn missing(web: &Path) -> Option<String> {
    if !web.join("node_modules/playwright-core").is_dir() {
        return Some(format!("the app's packages are not installed: run `npm ci` in {}", web.display()));
    }
    let on_path = |program: &str| {
        std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|p| p.join(program).is_file()))
    };
    if !on_path("node") {
        return Some("there is no node on the path".into());
    }
    (!on_path("chromium")).then(|| "there is no chromium on the path".into())
}

#[tokio::test]
async fn an_operator_sees_the_fleet_and_a_vehicle_and_survives_an_outage() {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    if let Some(reason) = missing(&web) {
        let required = std::env::var("REMUDA_BROWSER_TEST").is_ok_and(|v| v == "required");
        assert!(!required, "{reason}");
        eprintln!("skipped: {reason}");
        return;
    }
    let fleet = Arc::new(FakeFleet::new(VEHICLES));
    let driving = tokio::spawn(Arc::clone(&fleet).drive(Duration::from_millis(500)));
    let console = start(SocketAddr::from(([127, 0, 0, 1], 0)), &fleet).await;
    let (addr, url) = (console.local_addr(), console.url());

    let mut script = Command::new("node");
    script.current_dir(&web).args(["scripts/smoke.mjs", "--outage", "--url", &url]);
    script.args(["--vehicles", &VEHICLES.to_string(), "--online", "800"]);
    if let Some(folder) = std::env::var_os("REMUDA_SCREENSHOTS") {
        script.arg("--screenshots").arg(folder);
    }
    script.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut script = script.spawn().unwrap();
    let mut lines = BufReader::new(script.stderr.take().unwrap()).lines();
    let said = async {
        let mut said = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("waiting for an outage") {
                return Ok(());
            }
            said.push(line);
        }
        Err(said.join("\n"))
    };
    tokio::time::timeout(PATIENCE, said).await.expect("the script gets to the outage").unwrap();

    console.stop().await.unwrap();
    // The page must have noticed: it knocks again and again at a port where nobody is.
    let gone = tokio::net::TcpListener::bind(addr).await.unwrap();
    tokio::time::timeout(PATIENCE, gone.accept()).await.expect("the page knocks again").unwrap();
    drop(gone);
    let console = start(addr, &fleet).await;
    let output = tokio::time::timeout(PATIENCE, async {
        let mut said = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            said.push(line);
        }
        (script.wait_with_output().await.unwrap(), said.join("\n"))
    });
    let (output, said) = output.await.expect("the script ends");
    assert!(output.status.success(), "{said}");
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(figures["vehicles"], VEHICLES);
    assert!(figures["signals"].as_u64().unwrap() > 10, "{figures}");
    driving.abort();
    console.stop().await.unwrap();
}
