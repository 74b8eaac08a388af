//! `buf curl` against the console: reflection, one call and one stream, over plain text and over TLS.
//!
//! Needs the `buf` that `npm ci` puts into `protocol/api/buf`, as `cargo xtask test` does; without it the test says so and passes,
//! unless `REMUDA_BUF_TEST` is `required`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use remuda_console::{Access, Console, ConsoleSettings, Token};
use remuda_model::OrganizationId;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::PATIENCE;
use crate::support::{FakeFleet, sources};
use crate::tls;

const TOKEN: &str = "a-token-for-tests-0123456789";

fn buf() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let buf = here.join("../../protocol/api/buf/node_modules/.bin/buf");
    if buf.exists() {
        return Some(buf);
    }
    assert_ne!(
        std::env::var("REMUDA_BUF_TEST").as_deref(),
        Ok("required"),
        "there is no {}; run npm ci in protocol/api/buf",
        buf.display()
    );
    eprintln!("skipped: there is no {} (npm ci in protocol/api/buf makes it)", buf.display());
    None
}

fn settings() -> ConsoleSettings {
    ConsoleSettings {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        token: Token::new(TOKEN).unwrap(),
        organization: OrganizationId::default(),
        access: Access::default(),
    }
}

/// `buf curl` that knows nothing but what reflection says.
fn curl(buf: &Path, options: &[&str], token: &str, address: &str, method: &str, request: &str) -> Command {
    let mut curl = Command::new(buf);
    // Who may not ask for the schema is told that there is none.
    let (reflects, calls) =
        (format!("authorization: Bearer {TOKEN}"), format!("authorization: Bearer {token}"));
    curl.args(["curl", "--protocol", "grpc", "--reflect", "--reflect-header", &reflects, "--header", &calls]);
    curl.args(options).args(["--data", request]).arg(format!("{address}/{method}"));
    curl.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    curl
}

const LIST: (&str, &str) = (
    "remuda.vehicles.v1.VehicleService/ListVehicles",
    r#"{"parent": "organizations/default", "page_size": 2}"#,
);
const WATCH: (&str, &str) = (
    "remuda.vehicles.v1.VehicleService/WatchVehicles",
    r#"{"parent": "organizations/default", "interval_ms": 100}"#,
);

async fn reads_the_fleet(buf: &Path, options: &[&str], address: &str) {
    let (method, request) = LIST;
    let output = curl(buf, options, TOKEN, address, method, request).output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("it ends in time").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let page: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(page["vehicles"].as_array().unwrap().len(), 2);
    assert!(page["nextPageToken"].is_string() && page["totalSize"] == 3, "{page}");

    let (method, request) = WATCH;
    let mut watch = curl(buf, options, TOKEN, address, method, request).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut text = String::new();
    // The messages of a stream come one after the other; the first whole one is enough.
    let first = async {
        loop {
            text += &lines.next_line().await.unwrap().expect("the stream goes on");
            if let Ok(message) = serde_json::from_str::<Value>(&text) {
                return message;
            }
        }
    };
    let first = tokio::time::timeout(PATIENCE, first).await.expect("a message in time");
    assert_eq!(first["vehicles"].as_array().unwrap().len(), 3, "{first}");
    watch.kill().await.unwrap();

    let (method, request) = LIST;
    let stranger = curl(buf, options, "nobody", address, method, request).output();
    let stranger = tokio::time::timeout(PATIENCE, stranger).await.expect("it ends in time").unwrap();
    let errors = String::from_utf8_lossy(&stranger.stderr).into_owned();
    assert!(!stranger.status.success() && errors.to_lowercase().contains("unauthenticated"), "{errors}");
}

#[tokio::test]
async fn buf_reads_the_fleet_through_reflection() {
    let Some(buf) = buf() else { return };
    let fleet = Arc::new(FakeFleet::new(3));
    let console = Console::bind(settings(), sources(&fleet)).await.unwrap();
    let address = format!("http://{}", console.local_addr());
    reads_the_fleet(&buf, &["--http2-prior-knowledge"], &address).await;
    console.stop().await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let (console, root) = tls::serve(folder.path(), settings(), sources(&fleet)).await;
    let address = format!("https://localhost:{}", console.local_addr().port());
    reads_the_fleet(&buf, &["--cacert", root.to_str().unwrap()], &address).await;
    console.stop().await.unwrap();
}
