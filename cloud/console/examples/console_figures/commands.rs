//! Commands to vehicles, from asked to done.

use std::time::Duration;

use remuda_api::commands::v1::command_service_client::CommandServiceClient;
use remuda_api::commands::v1::{Action, CreateCommandRequest, State, WatchCommandRequest, action};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::numbers::Times;
use crate::{Console, Failure, channel};

/// Those that have enrolled: the load's vehicles have not, know nobody's key, and obey nobody.
const OBEYING: &str = "presence = ONLINE AND NOT vehicle = \"LOAD*\"";
/// Operators, each with one command under way.
const OPERATORS: usize = 4;
/// Between two commands of one operator: what a person would still call quick.
const PAUSE: Duration = Duration::from_millis(100);

/// Honks, one vehicle after the other.
pub async fn measure(console: &Console, time: Duration) -> Result<Value, Failure> {
    let vehicles = console.some(OBEYING).await?;
    let names: Vec<String> = vehicles.into_iter().map(|vehicle| vehicle.name).collect();
    let channel = channel(&console.url).await?;
    let end = Instant::now() + time;
    let mut operators = JoinSet::new();
    for operator in 0..OPERATORS {
        let mut client = CommandServiceClient::with_interceptor(channel.clone(), console.bearer()?);
        let names = names.clone();
        operators.spawn(async move {
            let (mut times, mut number) = (Vec::new(), operator);
            while Instant::now() < end {
                let request = CreateCommandRequest {
                    parent: names[number % names.len()].clone(),
                    action: Some(Action { action: Some(action::Action::Honk(true)) }),
                    reason: "a measurement".into(),
                    ..Default::default()
                };
                let asked = Instant::now();
                let command = client.create_command(request).await?.into_inner();
                let watch = WatchCommandRequest { name: command.name.clone() };
                let mut states = client.watch_command(watch).await?.into_inner();
                let mut last = command;
                while let Some(state) = states.message().await? {
                    last = state;
                }
                if last.state() != State::Done {
                    return Err(format!("{} ended as {:?}: {}", last.name, last.state(), last.detail).into());
                }
                times.push(asked.elapsed());
                number += OPERATORS;
                tokio::time::sleep(PAUSE).await;
            }
            Ok::<_, Failure>(times)
        });
    }
    let mut all = Vec::new();
    while let Some(times) = operators.join_next().await {
        all.extend(times??);
    }
    let times = Times::new(all);
    Ok(json!({
        "count": times.count(), "p50_ms": times.at(0.5), "p95_ms": times.at(0.95), "p99_ms": times.at(0.99)
    }))
}
