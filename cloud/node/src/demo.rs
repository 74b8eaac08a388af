//! `remuda demo`: hands the demo a way to start a node.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use remuda_demo::{DemoArgs, NodeFigures, NodeRequest, RunningNode};
use remuda_identity::{NewVehicle, Who};
use remuda_model::{OrganizationId, VehicleId};
use remuda_observability::{LogFormat, init_logs, process};

use crate::cli::{runtime, wait_for_stop};
use crate::config::Config;
use crate::wiring::{self, Drawing, Node};

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
    config.enrolment.listen.set_port(0);
    config.door.connections_max = request.vehicles + 64;
    if let Some(console) = request.console {
        config.console.listen = console;
    } else {
        config.console.listen.set_port(0);
    }
    config.check().map_err(|e| e.to_string())?;
    let node = wiring::start(config, Drawing::Roads(request.roads, request.network))
        .await
        .map_err(|e| e.to_string())?;
    let figures = node.figures();
    Ok(RunningNode {
        door: node.door.clone(),
        enrolment: node.enrolment.clone(),
        tokens: Box::new(make_tokens(&node)),
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

/// Vehicles of one decision of the register.
const BATCH: usize = 5_000;
/// The demo enrols its vehicles at once.
const TOKEN_VALID_MS: i64 = 3_600_000;

/// Registers vehicles that are new, and gives every one a token.
fn make_tokens(node: &Node) -> impl Fn(&[VehicleId]) -> Result<HashMap<VehicleId, String>, String> + 'static {
    let (register, authority) = node.identities();
    let organization = OrganizationId::default();
    move |vehicles| {
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
        let who = Who { by: "demo".to_owned(), at_ms };
        let fingerprint = authority.fingerprint();
        let (known, new): (Vec<VehicleId>, Vec<_>) =
            vehicles.iter().partition(|vehicle| register.contains(vehicle));
        let mut tokens = Vec::new();
        for batch in new.chunks(BATCH) {
            let batch: Vec<_> =
                batch.iter().map(|vehicle| NewVehicle { vehicle: *vehicle, display_name: None }).collect();
            let made = register.create(organization, &batch, TOKEN_VALID_MS, fingerprint, &who);
            tokens.extend(made.map_err(|e| e.to_string())?);
        }
        for vehicle in known {
            let made = register.new_token(organization, vehicle, TOKEN_VALID_MS, fingerprint, &who);
            tokens.push(made.map_err(|e| e.to_string())?);
        }
        Ok(tokens.into_iter().map(|new| (new.token.vehicle(), new.token.reveal())).collect())
    }
}
