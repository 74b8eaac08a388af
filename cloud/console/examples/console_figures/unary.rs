//! Unary calls, so many at once, as fast as they are answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use remuda_api::vehicles::v1::GetVehicleRequest;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::Status;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::numbers::Times;
use crate::{Console, Failure, channel};

/// Calls under way at any time, and the connections that they share.
const AT_ONCE: usize = 100;
const CONNECTIONS: usize = 4;

/// tonic with the least there is to serve; until standard input ends.
pub async fn serve() -> Result<(), Failure> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("http://{}", listener.local_addr()?);
    let (_, health) = tonic_health::server::health_reporter();
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    let ended = async {
        let mut rest = Vec::new();
        let _ = tokio::io::stdin().read_to_end(&mut rest).await;
    };
    tonic::transport::Server::builder()
        .add_service(health)
        .serve_with_incoming_shutdown(incoming, ended)
        .await?;
    Ok(())
}

/// The bare server.
pub async fn bare(url: &str, time: Duration) -> Result<Value, Failure> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(HealthClient::new(channel(url).await?));
    }
    let ask = move |number: usize| {
        let mut client = clients[number % CONNECTIONS].clone();
        async move { client.check(HealthCheckRequest::default()).await.map(drop) }
    };
    flat_out(time, ask).await
}

/// One vehicle with its twin a call.
pub async fn vehicles(console: &Console, time: Duration) -> Result<Value, Failure> {
    let names: Vec<String> = console.some("").await?.into_iter().map(|vehicle| vehicle.name).collect();
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(console.vehicles().await?);
    }
    let ask = move |number: usize| {
        let mut client = clients[number % CONNECTIONS].clone();
        let name = names[number % names.len()].clone();
        async move { client.get_vehicle(GetVehicleRequest { name }).await.map(drop) }
    };
    flat_out(time, ask).await
}

async fn flat_out<F>(
    time: Duration,
    ask: impl Fn(usize) -> F + Send + Sync + 'static,
) -> Result<Value, Failure>
where
    F: Future<Output = Result<(), Status>> + Send,
{
    let (ask, begun) = (Arc::new(ask), Instant::now());
    let mut askers = JoinSet::new();
    for first in 0..AT_ONCE {
        let ask = Arc::clone(&ask);
        askers.spawn(async move {
            let mut times = Vec::new();
            let mut number = first;
            while begun.elapsed() < time {
                let asked = Instant::now();
                ask(number).await?;
                times.push(asked.elapsed());
                number += AT_ONCE;
            }
            Ok::<_, Status>(times)
        });
    }
    let mut all = Vec::new();
    while let Some(times) = askers.join_next().await {
        all.extend(times??);
    }
    let (elapsed, times) = (begun.elapsed().as_secs_f64(), Times::new(all));
    Ok(json!({
        "per_second": times.count() as f64 / elapsed, "p50_ms": times.at(0.5), "p95_ms": times.at(0.95)
    }))
}
