//! `remuda demo`: hands the demo a way to start a node.

use std::process::ExitCode;

use remuda_demo::{DemoArgs, NodeFigures, NodeRequest, RunningNode};
use remuda_observability::{LogFormat, init_logs, process};

use crate::cli::{runtime, wait_for_stop};
use crate::config::{Config, Identity};
use crate::wiring::{self, Drawing};

/// Runs it to its end; exit code 1 when anything was lost or doubled.
pub fn run(args: DemoArgs) -> Result<ExitCode, String> {
    init_logs(LogFormat::Text, &args.log)?;
    runtime()?.block_on(async {
        let balanced = remuda_demo::run(args, |request| Box::pin(start(request)), wait_for_stop()).await?;
        Ok(if balanced { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

async fn start(request: NodeRequest) -> Result<RunningNode, String> {
    let mut config = Config { data_dir: request.data, ..Config::default() };
    config.door.listen.set_port(0);
    config.door.identity = Identity::TrustLoopback;
    config.door.connections_max = request.vehicles + 64;
    if let Some(console) = request.console {
        config.console.listen = console;
    } else {
        config.console.listen.set_port(0);
    }
    config.check().map_err(|e| e.to_string())?;
    let node = wiring::start(config, Drawing::Roads(request.roads)).await.map_err(|e| e.to_string())?;
    let figures = node.figures();
    Ok(RunningNode {
        door: node.door.clone(),
        console_url: node.console_url(),
        figures: Box::new(move || {
            let now = figures();
            NodeFigures {
                online: now.vehicles_online,
                frames_durable: now.frames_durable,
                in_flight_bytes: now.in_flight_bytes,
                ack_p50_ms: now.ack_p50_ms,
                ack_p95_ms: now.ack_p95_ms,
                rss_mb: process::resident_bytes() as f64 / 1e6,
            }
        }),
        stop: Box::pin(async move { node.stop().await.map_err(|e| e.to_string()) }),
    })
}
