//! The binary against a server of the same contract.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

mod contexts;
#[path = "../../../platform/access/tests/support/issuer.rs"]
mod issuer;
mod login;
mod tls;

use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use prost_types::Timestamp;
use remuda_api::vehicles::v1::vehicle_service_server::{VehicleService, VehicleServiceServer};
use remuda_api::vehicles::v1::{
    Alert, DataBudget, Delivery, FleetStatus, Gap, GetFleetStatusRequest, GetVehicleRequest,
    ListVehiclesRequest, ListVehiclesResponse, Position, Presence, Report, SignalValue, Twin, Vehicle,
    WatchVehicleRequest, WatchVehiclesRequest, WatchVehiclesResponse, signal_value,
};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

const TOKEN: &str = "a-token-for-tests-0123456789";
const PATIENCE: Duration = Duration::from_secs(20);
const VEHICLES: usize = 1_200;

/// Answers what the tests need; counts nothing, keeps nothing.
#[derive(Default)]
struct Fake {
    /// Whose tokens are good beside [`TOKEN`].
    oidc: Option<Arc<remuda_access::Oidc>>,
    /// Who shows a client certificate needs no token.
    certificates: bool,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

async fn check<T: Sync>(fake: &Fake, request: &Request<T>) -> Result<(), Status> {
    if fake.certificates && request.peer_certs().is_some() {
        return Ok(());
    }
    let authorization = request.metadata().get("authorization").and_then(|v| v.to_str().ok());
    let token = authorization.and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default();
    if token == TOKEN {
        return Ok(());
    }
    if let Some(oidc) = &fake.oidc
        && oidc.verify(token).await.is_ok()
    {
        return Ok(());
    }
    Err(Status::unauthenticated("a valid token is wanted"))
}

fn vehicle(n: usize) -> Vehicle {
    Vehicle {
        name: format!("organizations/default/vehicles/V{n:04}"),
        etag: "\"7\"".into(),
        presence: if n.is_multiple_of(2) { Presence::Online } else { Presence::Offline }.into(),
        last_seen_time: Some(Timestamp { seconds: 1_700_000_000, nanos: 0 }),
        position: Some(Position { latitude: 60.1, longitude: 24.9, heading_deg: 90.0, speed_kmh: 49.6 }),
        charge_percent: Some(17.0),
        open_alerts: 1,
        twin: None,
    }
}

fn with_twin(n: usize) -> Vehicle {
    let read = Timestamp { seconds: 1_700_000_100, nanos: 0 };
    let speed = SignalValue {
        signal_id: 1,
        path: "Vehicle.Speed".into(),
        value: Some(signal_value::Value::Number(49.625)),
        unit: "km/h".into(),
        decimals: 2,
        sample_time: Some(Timestamp { seconds: 1_700_000_095, nanos: 500_000_000 }),
    };
    let alert = Alert { rule: "low-charge".into(), raise_time: Some(read), value: 17.0 };
    let gap = Gap {
        lane: "samples".into(),
        incarnation: "0000000000000007".into(),
        from_seq: 5,
        to_seq: 9,
        reason: "shed".into(),
        record_time: Some(Timestamp { seconds: 1_700_000_000, nanos: 0 }),
    };
    let delivery = Delivery {
        frames_durable: 12,
        frames_in_gaps: 5,
        gaps: vec![gap],
        clone_time: Some(Timestamp { seconds: 1_700_000_050, nanos: 0 }),
        ..Delivery::default()
    };
    let report = Report {
        report_time: Some(Timestamp { seconds: 1_700_000_090, nanos: 0 }),
        agent_version: "0.1.0".into(),
        desired_policy: "vans".into(),
        desired_revision: 4,
        reported_revision: 3,
        refused_revision: 4,
        refused_reason: "no room".into(),
        clock: "server".into(),
        link: "metered".into(),
        collection: "stretched".into(),
        budget: Some(DataBudget { month: "2026-11".into(), spent_bytes: 170_200_000, bytes: 200_000_000 }),
        frames_held: 86_400,
        frames_shed: 5,
        ..Report::default()
    };
    let twin = Twin {
        signals: vec![speed],
        alerts: vec![alert],
        delivery: Some(delivery),
        read_time: Some(read),
        report: Some(report),
    };
    Vehicle { twin: Some(twin), ..vehicle(n) }
}

#[tonic::async_trait]
impl VehicleService for Fake {
    async fn get_vehicle(&self, request: Request<GetVehicleRequest>) -> Result<Response<Vehicle>, Status> {
        check(self, &request).await?;
        match request.get_ref().name.strip_prefix("organizations/default/vehicles/V") {
            Some("0003") => Ok(Response::new(with_twin(3))),
            Some("slow") => std::future::pending().await,
            _ => Err(Status::not_found("there is no such vehicle")),
        }
    }

    async fn list_vehicles(
        &self,
        request: Request<ListVehiclesRequest>,
    ) -> Result<Response<ListVehiclesResponse>, Status> {
        check(self, &request).await?;
        let request = request.into_inner();
        if request.filter.contains("wrong") {
            return Err(Status::invalid_argument("filter: at byte 0: there is no field `wrong`"));
        }
        let from: usize = request.page_token.parse().unwrap_or(0);
        let to = VEHICLES.min(from + request.page_size as usize);
        Ok(Response::new(ListVehiclesResponse {
            vehicles: (from..to).map(vehicle).collect(),
            next_page_token: if to < VEHICLES { to.to_string() } else { String::new() },
            total_size: VEHICLES as i32,
        }))
    }

    async fn get_fleet_status(
        &self,
        request: Request<GetFleetStatusRequest>,
    ) -> Result<Response<FleetStatus>, Status> {
        check(self, &request).await?;
        Ok(Response::new(FleetStatus::default()))
    }

    type WatchVehiclesStream = Responses<WatchVehiclesResponse>;

    async fn watch_vehicles(
        &self,
        request: Request<WatchVehiclesRequest>,
    ) -> Result<Response<Self::WatchVehiclesStream>, Status> {
        check(self, &request).await?;
        let response = |n| {
            Ok(WatchVehiclesResponse {
                vehicles: vec![vehicle(n)],
                resume_token: "1.1".into(),
                ..WatchVehiclesResponse::default()
            })
        };
        let stream = tokio_stream::iter([response(1), response(2)]).chain(tokio_stream::pending());
        Ok(Response::new(Box::pin(stream)))
    }

    type WatchVehicleStream = Responses<Vehicle>;

    async fn watch_vehicle(
        &self,
        request: Request<WatchVehicleRequest>,
    ) -> Result<Response<Self::WatchVehicleStream>, Status> {
        check(self, &request).await?;
        Ok(Response::new(Box::pin(tokio_stream::iter([Ok(with_twin(3))]))))
    }
}

async fn start() -> SocketAddr {
    serve(Server::builder(), Fake::default()).await
}

async fn serve(mut server: Server, fake: Fake) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = server.add_service(VehicleServiceServer::new(fake));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    addr
}

fn remudactl(addr: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remudactl"));
    command.env_clear().env("REMUDA_SERVER", format!("http://{addr}/#token={TOKEN}")).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn run(addr: SocketAddr, arguments: &[&str]) -> (i32, String, String) {
    ended(remudactl(addr, arguments)).await
}

/// Exit code, what it wrote, and what it said.
async fn ended(mut command: Command) -> (i32, String, String) {
    let output: Output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn lists_all_pages_in_every_form() {
    let addr = start().await;
    let (code, table, errors) = run(addr, &["vehicles", "list"]).await;
    assert_eq!((code, errors.as_str()), (0, ""));
    assert_eq!(table.lines().count(), VEHICLES + 1);
    assert!(table.starts_with("VEHICLE  PRESENCE"), "{table}");
    assert!(!table.contains('\x1b'), "colours where there is no terminal");
    let row = table.lines().nth(4).unwrap();
    for part in ["V0003", "offline", "50 km/h", "17 %"] {
        assert!(row.contains(part), "{part} in {row}");
    }
    let (_, names, _) = run(addr, &["vehicles", "list", "-o", "name", "--limit", "700"]).await;
    assert_eq!(names.lines().count(), 700);
    assert!(names.ends_with("organizations/default/vehicles/V0699\n"));
    let (_, json, _) = run(addr, &["vehicles", "list", "-o", "json", "--page-size", "1000"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["vehicles"].as_array().unwrap().len(), VEHICLES);
    assert_eq!(json["vehicles"][0]["presence"], "ONLINE");
    assert_eq!(json["vehicles"][0]["lastSeenTime"], "2023-11-14T22:13:20.000Z");
    let (_, wide, _) = run(addr, &["vehicles", "list", "-o", "wide", "--limit", "1"]).await;
    assert!(wide.contains("60.100000") && wide.contains("LATITUDE"), "{wide}");
}

#[tokio::test]
async fn shows_a_twin_with_ages_by_the_servers_clock() {
    let addr = start().await;
    let (code, text, _) = run(addr, &["vehicles", "get", "V0003"]).await;
    assert_eq!(code, 0);
    let signal = text.lines().find(|l| l.starts_with("Vehicle.Speed")).unwrap();
    let parts: Vec<&str> = signal.split_whitespace().collect();
    assert_eq!(parts, ["Vehicle.Speed", "49.62", "km/h", "4.5s"]);
    for part in [
        "alert low-charge",
        "frames: 12 stored",
        "gap: samples 5 to 9 of 0000000000000007, shed, 100s ago",
        "two agents answered for this vehicle 50s ago",
        "policy: follows revision 3; vans, revision 4 is desired; collects stretched, as of 10s ago",
        "refused revision 4: no room",
        "budget: 170.2 of 200 MB spent in 2026-11",
        "agent 0.1.0, clock server, link metered, backlog 86400 frames",
        "5 frames shed",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let (_, json, _) =
        run(addr, &["vehicles", "get", "organizations/default/vehicles/V0003", "-o", "json"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["twin"]["signals"][0]["number"], 49.625);
    assert_eq!(json["twin"]["delivery"]["framesDurable"], 12);
    assert_eq!(json["twin"]["delivery"]["gaps"][0]["toSeq"], 9);
    assert_eq!(json["twin"]["report"]["budget"]["spentBytes"], 170_200_000);
}

#[tokio::test]
async fn errors_are_one_sentence_and_a_code() {
    let addr = start().await;
    for (arguments, code, sentence) in [
        (&["vehicles", "get", "V9"][..], 1, "there is no such vehicle"),
        (&["vehicles", "list", "--filter", "wrong = 1"], 2, "there is no field `wrong`"),
        (&["vehicles", "list", "--token", "other"], 1, "a valid token is wanted"),
        (&["vehicles", "list", "--server", "ftp://x", "--token", "t"], 2, "is not a server address"),
        (&["vehicles", "list", "--server", "http://127.0.0.1:1"], 2, "a token is wanted: log in"),
        (&["vehicles", "list", "--server", "http://127.0.0.1:1", "--token", "t"], 1, "cannot connect to"),
        (&["vehicles", "get", "Vslow", "--timeout", "1"], 1, "did not answer in time"),
        (&["vehicles", "list", "--page-size", "0"], 2, "--page-size"),
        (&["vehicles", "fly"], 2, "unrecognized subcommand"),
        (&["policies", "set", "a", "--file", "/nowhere"], 2, "cannot be read"),
        (&["policies", "set", "a", "--file", "Cargo.toml"], 2, "the policy is not valid"),
        (&["policies", "assign", "a"], 2, "--prefix"),
    ] {
        let (got, out, errors) = run(addr, arguments).await;
        assert_eq!((got, out.as_str()), (code, ""), "{arguments:?}: {errors}");
        assert!(errors.contains(sentence), "{arguments:?}: {errors}");
        if code == 1 {
            assert_eq!(errors.lines().count(), 1, "{errors}");
        }
    }
}

#[tokio::test]
async fn a_watch_goes_on_until_it_is_interrupted() {
    let addr = start().await;
    let mut child = remudactl(addr, &["vehicles", "watch", "-o", "json"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for name in ["V0001", "V0002"] {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("a line in time").unwrap();
        let vehicle: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert!(vehicle["name"].as_str().unwrap().ends_with(name));
    }
    let pid = child.id().unwrap().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().await.unwrap();
    assert!(sent.success());
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.expect("it ends on Ctrl-C").unwrap();
    assert_eq!(status.code(), Some(0));

    let (code, text, _) = run(addr, &["vehicles", "watch", "--updates", "1"]).await;
    assert_eq!((code, text.lines().count()), (0, 2));
    let (code, text, _) = run(addr, &["vehicles", "watch", "V0003"]).await;
    assert!(code == 0 && text.contains("Vehicle.Speed"), "{text}");
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_error() {
    let addr = start().await;
    let mut child = remudactl(addr, &["vehicles", "list", "--page-size", "1"]).spawn().unwrap();
    // `head` reads some and closes; a page per vehicle is more than a pipe holds.
    let mut out = child.stdout.take().unwrap();
    let mut some = [0; 64];
    tokio::time::timeout(PATIENCE, out.read_exact(&mut some)).await.expect("output in time").unwrap();
    drop(out);
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}
