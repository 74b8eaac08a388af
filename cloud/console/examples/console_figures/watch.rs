//! Many watchers of a fleet whose vehicles all change once a second.
//!
//! A watcher whose pace is ten times quicker sees each step of the fleet and when it was made. For every answer of the
//! others, the lag is the time from the newest step that it can hold (made before the server's time in it) until it is here.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use remuda_api::vehicles::v1::{VehicleEncoding, WatchVehiclesRequest};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::Request;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::service::Interceptor;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use crate::numbers::Times;
use crate::{Bearer, Console, Failure, PARENT, VEHICLES};

const METHOD: &str = "/remuda.vehicles.v1.VehicleService/WatchVehicles";
/// Streams of one connection, and connections of one address of this machine, which is one caller.
const STREAMS: usize = 100;
const CONNECTIONS: usize = 4;
/// The pace that watchers ask for, and that of the one who sees each step.
const PACE_MS: i32 = 1_000;
const QUICK_MS: i32 = 100;
/// What is answered before this is the full state, and what waits behind it.
const WARM_UP: Duration = Duration::from_secs(8);

pub struct Load {
    pub watchers: usize,
    /// So many vehicles each, a multiple of ten; all when not said.
    pub each: Option<usize>,
    /// The server's process.
    pub pid: u32,
}

/// What is read of an answer: to decode a thousand times the same columns would measure the client.
#[derive(Clone, PartialEq, prost::Message)]
struct Glance {
    #[prost(bool, tag = "6")]
    lagged: bool,
    #[prost(message, optional, tag = "8")]
    server_time: Option<prost_types::Timestamp>,
}

/// What is read of an answer about one vehicle.
#[derive(Clone, PartialEq, prost::Message)]
struct Step {
    #[prost(message, repeated, tag = "1")]
    vehicles: Vec<Seen>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Seen {
    #[prost(message, optional, tag = "4")]
    last_seen_time: Option<prost_types::Timestamp>,
}

/// One answer: when it was here, and the server's time in it.
struct Answer {
    here: i64,
    made: i64,
    lagged: bool,
}

fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as i64)
}

fn ns(time: Option<prost_types::Timestamp>) -> i64 {
    time.map_or(0, |time| time.seconds * 1_000_000_000 + i64::from(time.nanos))
}

/// Resident memory of a process, KiB.
fn resident_kb(pid: u32) -> Result<f64, Failure> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).ok_or("no VmRSS")?)
}

async fn follow<M: prost::Message + Default + 'static>(
    channel: Channel,
    mut bearer: Bearer,
    request: WatchVehiclesRequest,
) -> Result<tonic::Streaming<M>, Failure> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await?;
    let (metadata, extensions, ()) = bearer.call(Request::new(()))?.into_parts();
    let request = Request::from_parts(metadata, extensions, request);
    let codec = ProstCodec::<WatchVehiclesRequest, M>::default();
    Ok(grpc.server_streaming(request, PathAndQuery::from_static(METHOD), codec).await?.into_inner())
}

fn request(filter: String, encoding: VehicleEncoding, interval_ms: i32) -> WatchVehiclesRequest {
    WatchVehiclesRequest {
        parent: PARENT.into(),
        filter,
        encoding: encoding as i32,
        interval_ms,
        ..Default::default()
    }
}

/// Each watcher's filter: nothing, or a row of vehicles, ten by each beginning of an id (fifty ids are more than a filter takes).
fn filters(load: &Load, ids: &[String]) -> Vec<String> {
    let mut tens: Vec<&str> = ids.iter().filter_map(|id| id.get(..id.len() - 1)).collect();
    tens.dedup();
    let of = |watcher: usize| {
        let count = load.each.unwrap_or_default() / 10;
        let mine = (0..count).map(|n| tens[(watcher * count + n) % tens.len()]);
        mine.map(|start| format!("vehicle = \"{start}*\"")).collect::<Vec<_>>().join(" OR ")
    };
    (0..load.watchers).map(of).collect()
}

pub async fn measure(console: &Console, time: Duration, load: Load) -> Result<Value, Failure> {
    let vehicles = console.some("presence = ONLINE").await?;
    let ids: Vec<String> =
        vehicles.iter().filter_map(|v| v.name.rsplit('/').next()).map(str::to_owned).take(VEHICLES).collect();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let quick = request(format!("vehicle = \"{}\"", ids[0]), VehicleEncoding::Messages, QUICK_MS);
    let mut quick = follow::<Step>(crate::channel(&console.url).await?, console.bearer()?, quick).await?;
    let seen = Arc::clone(&steps);
    let stepping = tokio::spawn(async move {
        while let Ok(Some(step)) = quick.message().await {
            seen.lock().extend(step.vehicles.into_iter().map(|vehicle| ns(vehicle.last_seen_time)));
        }
    });
    let before_kb = resident_kb(load.pid)?;
    let begun = tokio::time::Instant::now();
    let end = begun + WARM_UP + time;
    let mut watchers = JoinSet::new();
    let mut caller = None;
    for (number, filter) in filters(&load, &ids).into_iter().enumerate() {
        if number % STREAMS == 0 {
            let account = 1 + u8::try_from(number / STREAMS / CONNECTIONS)?;
            let endpoint = Endpoint::from_shared(console.url.clone())?;
            let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1 + account));
            let bearer = console.account(account)?;
            caller = Some((endpoint.local_address(Some(from)).connect().await?, bearer));
        }
        let (channel, bearer) = caller.clone().ok_or("no connection")?;
        let request = request(filter, VehicleEncoding::Columns, PACE_MS);
        let mut answers = follow::<Glance>(channel, bearer, request).await?;
        watchers.spawn(async move {
            let mut all = Vec::new();
            while let Ok(Ok(Some(answer))) = tokio::time::timeout_at(end, answers.message()).await {
                if begun.elapsed() > WARM_UP {
                    let made = ns(answer.server_time);
                    all.push(Answer { here: now_ns(), made, lagged: answer.lagged });
                }
            }
            all
        });
    }
    tokio::time::sleep_until(end - time / 4).await;
    let per_watcher_kb = (resident_kb(load.pid)? - before_kb) / load.watchers as f64;
    let (mut lags, mut lagged, mut fewest) = (Vec::new(), 0, usize::MAX);
    let mut steps_made = Vec::new();
    while let Some(answers) = watchers.join_next().await {
        let answers = answers?;
        if steps_made.is_empty() {
            steps_made.clone_from(&*steps.lock());
            steps_made.sort_unstable();
        }
        fewest = fewest.min(answers.len());
        for answer in answers {
            lagged += u64::from(answer.lagged);
            let newest = steps_made.partition_point(|step| *step <= answer.made);
            if let Some(step) = newest.checked_sub(1).map(|at| steps_made[at]) {
                lags.push(Duration::from_nanos(u64::try_from(answer.here - step).unwrap_or_default()));
            }
        }
    }
    stepping.abort();
    let lags = Times::new(lags);
    Ok(json!({
        "lag_p50_ms": lags.at(0.5), "lag_p95_ms": lags.at(0.95), "answers": lags.count(), "lagged": lagged,
        "fewest_answers_of_a_watcher": fewest, "memory_per_watcher_kb": per_watcher_kb,
    }))
}
