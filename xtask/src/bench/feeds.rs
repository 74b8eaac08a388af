//! How fast what is durable reaches a customer's NATS JetStream, with a bare publisher beside it.

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::figures::number;
use super::scene::Scene;
use super::{Figure, Figures};
use crate::run::{Outcome, output};

/// Rows that are brought over.
const ROWS: &str = "500000";
/// How long the server may take to be there.
const PATIENCE: Duration = Duration::from_secs(30);

/// One feed to one server that writes to the disk; then one publisher that only publishes.
pub fn feeds(scene: &Scene, figures: &mut Figures) -> Outcome {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).map_err(|e| e.to_string())?.port();
    let store = scene.folder.join("jetstream");
    let program = ["/usr/sbin/nats-server", "/usr/bin/nats-server", "/usr/local/bin/nats-server"];
    let program = program.into_iter().find(|path| std::path::Path::new(path).is_file());
    let program = program.ok_or("nats-server is missing; install it with: cargo xtask install")?;
    let mut command = Command::new(program);
    command.args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"]).arg(&store);
    let _server = scene.start("nats", &mut command)?;
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if begun.elapsed() > PATIENCE {
            return Err("nats-server does not listen".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut measured = Command::new(super::example("feed_figures"));
    let text = output(measured.arg(format!("nats://127.0.0.1:{port}")).arg(ROWS))?;
    let report: Value =
        serde_json::from_str(&text).map_err(|e| format!("no JSON was printed: {e}: {text}"))?;
    let about = format!(
        "a bare publisher of as many messages of {} bytes, which waits for the server's word as the feed does",
        report["bytes_per_event"]
    );
    figures.insert(
        "firehose_events_per_second",
        Figure {
            value: number(&report, "firehose_events_per_second")?,
            unit: "events/s",
            baseline: Some((number(&report, "bare_per_second")?, about)),
        },
    );
    Ok(())
}
