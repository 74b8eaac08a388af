//! The console over its port, with a client of the generated stubs and with plain HTTP.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

#[path = "grpc/geofences.rs"]
mod geofences;
mod support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use remuda_access::{Account, Accounts, Secret};
use remuda_api::system::v1::system_service_client::SystemServiceClient;
use remuda_api::system::v1::{GetSystemRequest, Health};
use remuda_api::vehicles::v1::vehicle_service_client::VehicleServiceClient;
use remuda_api::vehicles::v1::{
    GetVehicleRequest, ListVehiclesRequest, Presence, Vehicle, VehicleEncoding, WatchVehicleRequest,
    WatchVehiclesRequest, WatchVehiclesResponse,
};
use remuda_console::{Access, Console, ConsoleSettings, ConsoleSources, Token, limits};
use remuda_contracts::fleet;
use remuda_contracts::system::{DiskSpace, ProcessFigures};
use remuda_model::OrganizationId;
use support::FakeFleet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt;

const TOKEN: &str = "a-token-for-tests-0123456789";
const PARENT: &str = "organizations/default";
/// Longer than anything here takes; only a fault reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone)]
struct Bearer(MetadataValue<Ascii>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

type Client = VehicleServiceClient<InterceptedService<Channel, Bearer>>;

async fn start(fleet: &Arc<FakeFleet>) -> Console {
    start_with(fleet, |_| ()).await
}

async fn start_with(fleet: &Arc<FakeFleet>, change: impl FnOnce(&mut ConsoleSources)) -> Console {
    let settings = ConsoleSettings {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        token: Token::new(TOKEN).unwrap(),
        organization: OrganizationId::default(),
        access: Access::default(),
    };
    let mut sources = support::sources(fleet);
    change(&mut sources);
    Console::bind(settings, sources).await.unwrap()
}

async fn channel(console: &Console) -> Channel {
    Channel::from_shared(format!("http://{}", console.local_addr())).unwrap().connect().await.unwrap()
}

async fn client(console: &Console) -> Client {
    client_with(console, TOKEN).await
}

async fn client_with(console: &Console, token: &str) -> Client {
    let bearer = Bearer(format!("Bearer {token}").parse().unwrap());
    VehicleServiceClient::with_interceptor(channel(console).await, bearer)
}

fn list(filter: &str, page_size: i32, page_token: &str) -> ListVehiclesRequest {
    ListVehiclesRequest {
        parent: PARENT.into(),
        page_size,
        page_token: page_token.into(),
        filter: filter.into(),
        ..ListVehiclesRequest::default()
    }
}

fn watch(encoding: VehicleEncoding, filter: &str, resume_token: &str) -> WatchVehiclesRequest {
    WatchVehiclesRequest {
        parent: PARENT.into(),
        filter: filter.into(),
        resume_token: resume_token.into(),
        encoding: encoding.into(),
        interval_ms: 100,
    }
}

async fn next<T>(stream: &mut Streaming<T>) -> T {
    let message = tokio::time::timeout(PATIENCE, stream.message()).await.expect("a response in time");
    message.unwrap().expect("the stream goes on")
}

/// One response after the other until one fits.
async fn next_that(
    stream: &mut Streaming<WatchVehiclesResponse>,
    fits: impl Fn(&WatchVehiclesResponse) -> bool,
) -> WatchVehiclesResponse {
    loop {
        let response = next(stream).await;
        if fits(&response) {
            return response;
        }
    }
}

fn reason_of(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

async fn http(console: &Console, request: &str) -> String {
    let mut socket = TcpStream::connect(console.local_addr()).await.unwrap();
    let request = format!("{request}\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer))
        .await
        .expect("an answer in time")
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn pages_hold_every_vehicle_once_in_order() {
    let fleet = Arc::new(FakeFleet::new(2_345));
    let console = start(&fleet).await;
    let mut client = client(&console).await;
    let mut names = Vec::new();
    let mut token = String::new();
    loop {
        let page = client.list_vehicles(list("", 1_000, &token)).await.unwrap().into_inner();
        assert_eq!(page.total_size, 2_345);
        names.extend(page.vehicles.into_iter().map(|v| v.name));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(names.len(), 2_345);
    assert!(names.is_sorted_by(|a, b| a < b));
    assert_eq!(names[0], "organizations/default/vehicles/V000000");

    let first = client.list_vehicles(list("", 0, "")).await.unwrap().into_inner();
    assert_eq!(first.vehicles.len(), limits::PAGE_DEFAULT);
    let most = client.list_vehicles(list("", 50_000, "")).await.unwrap().into_inner();
    assert_eq!(most.vehicles.len(), limits::PAGE_MAX);
    console.stop().await.unwrap();
}

#[tokio::test]
async fn vehicles_are_listed_in_the_order_that_is_asked_for() {
    let fleet = Arc::new(FakeFleet::new(40));
    for (number, charge) in [(7, Some(3.0)), (8, Some(3.0)), (9, Some(2.5)), (10, None)] {
        fleet.change(&format!("V{number:06}"), |summary| summary.charge_percent = charge);
    }
    let console = start(&fleet).await;
    let mut client = client(&console).await;
    let ordered = |order_by: &str, page_token: &str| ListVehiclesRequest {
        order_by: order_by.into(),
        ..list("", 7, page_token)
    };
    let by = "charge_percent, vehicle desc";
    let (mut listed, mut token) = (Vec::new(), String::new());
    loop {
        let page = client.list_vehicles(ordered(by, &token)).await.unwrap().into_inner();
        listed.extend(page.vehicles);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        let other = client.list_vehicles(ordered("open_alerts", &token)).await.unwrap_err();
        assert_eq!((other.code(), reason_of(&other).as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
    }
    let ids: Vec<&str> = listed.iter().map(|vehicle| vehicle.name.rsplit('/').next().unwrap()).collect();
    assert_eq!((ids.len(), &ids[..3], ids[39]), (40, &["V000009", "V000008", "V000007"][..], "V000010"));
    let charges: Vec<f32> = listed.iter().filter_map(|vehicle| vehicle.charge_percent).collect();
    assert!(charges.is_sorted() && charges.len() == 39, "{charges:?}");
    for wrong in ["wheels", "charge_percent down", "vehicle, charge_percent"] {
        let refused = client.list_vehicles(ordered(wrong, "")).await.unwrap_err();
        assert!(
            refused.code() == Code::InvalidArgument && refused.message().contains("order_by"),
            "{refused}"
        );
    }
    // A token that was made up is none.
    let plain = client.list_vehicles(list("", 7, "")).await.unwrap().into_inner().next_page_token;
    assert!(client.list_vehicles(ordered(by, &plain)).await.is_err());
    console.stop().await.unwrap();
}

#[tokio::test]
async fn filters_choose_and_their_errors_say_where() {
    let fleet = Arc::new(FakeFleet::new(500));
    let console = start(&fleet).await;
    let mut client = client(&console).await;
    let filter = "presence = OFFLINE AND vehicle = \"V0001*\"";
    let page = client.list_vehicles(list(filter, 1_000, "")).await.unwrap().into_inner();
    assert!(!page.vehicles.is_empty() && page.vehicles.len() < 100);
    for vehicle in &page.vehicles {
        assert_eq!(vehicle.presence(), Presence::Offline);
        assert!(vehicle.name.starts_with("organizations/default/vehicles/V0001"), "{}", vehicle.name);
    }

    let wrong = client.list_vehicles(list("presence = AWAY", 0, "")).await.unwrap_err();
    assert_eq!((wrong.code(), reason_of(&wrong).as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
    assert!(wrong.message().contains("byte 11"), "{}", wrong.message());
    let fields = wrong.get_details_bad_request().unwrap().field_violations;
    assert_eq!(fields[0].field, "filter");

    let token = client.list_vehicles(list("", 1, "")).await.unwrap().into_inner().next_page_token;
    let foreign = client.list_vehicles(list(filter, 1, &token)).await.unwrap_err();
    assert_eq!(foreign.code(), Code::InvalidArgument);
    assert!(foreign.message().contains("another filter"), "{}", foreign.message());
    assert_eq!(client.list_vehicles(list("", -1, "")).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_vehicle_comes_with_its_twin() {
    let fleet = Arc::new(FakeFleet::new(10));
    let console = start(&fleet).await;
    let mut client = client(&console).await;
    let get = |name: &str| GetVehicleRequest { name: name.into() };
    let vehicle =
        client.get_vehicle(get("organizations/default/vehicles/V000003")).await.unwrap().into_inner();
    assert_eq!(vehicle.etag, "\"1\"");
    let twin = vehicle.twin.unwrap();
    assert!(twin.signals.len() > 10 && twin.signals.is_sorted_by_key(|s| s.signal_id));
    let speed = twin.signals.iter().find(|s| s.path == "Vehicle.Speed").unwrap();
    assert_eq!(speed.unit, "km/h");
    assert!(speed.sample_time.is_some() && twin.read_time.is_some());

    for (name, code, reason) in [
        ("organizations/default/vehicles/V999999", Code::NotFound, "VEHICLE_NOT_FOUND"),
        ("organizations/other/vehicles/V000003", Code::PermissionDenied, "ORGANIZATION_FOREIGN"),
        ("V000003", Code::InvalidArgument, "FIELD_INVALID"),
        ("organizations/default/vehicles/no_underscores", Code::InvalidArgument, "FIELD_INVALID"),
    ] {
        let status = client.get_vehicle(get(name)).await.unwrap_err();
        assert_eq!((status.code(), reason_of(&status).as_str()), (code, reason), "{name}");
    }
}

fn wanting<T>(fields: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-goog-fieldmask", fields.parse().unwrap());
    request
}

#[tokio::test]
async fn who_names_fields_is_sent_those_alone() {
    let console = start(&Arc::new(FakeFleet::new(3))).await;
    let mut client = client(&console).await;
    let whole = client.list_vehicles(list("", 2, "")).await.unwrap().into_inner();
    let wanted = wanting("vehicles.name,vehicles.presence,next_page_token", list("", 2, ""));
    let part = client.list_vehicles(wanted).await.unwrap().into_inner();
    assert_eq!((part.next_page_token, part.total_size), (whole.next_page_token, 0));
    let named = whole.vehicles.iter().map(|vehicle| Vehicle {
        name: vehicle.name.clone(),
        presence: vehicle.presence,
        ..Vehicle::default()
    });
    let named: Vec<Vehicle> = named.collect();
    assert_eq!(part.vehicles, named);

    let asked = wanting("removed,fullState,vehicles.name", watch(VehicleEncoding::Messages, "", ""));
    let mut stream = client.watch_vehicles(asked).await.unwrap().into_inner();
    let first = next(&mut stream).await;
    assert!(first.full_state && first.server_time.is_none() && first.resume_token.is_empty(), "{first:?}");
    assert!(first.vehicles.len() == 3 && first.vehicles.iter().all(|vehicle| vehicle.etag.is_empty()));

    for (fields, problem) in
        [("wheels", "no field `wheels`"), ("vehicles.name.x", "as a whole"), ("", "empty")]
    {
        let refused = client.list_vehicles(wanting(fields, list("", 2, ""))).await.unwrap_err();
        assert_eq!((refused.code(), reason_of(&refused).as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
        assert!(refused.message().contains("x-goog-fieldmask") && refused.message().contains(problem));
    }
    // Who may not call is told that, and not what is wrong with their call.
    let mut stranger = client_with(&console, "wrong").await;
    let refused = stranger.list_vehicles(wanting("wheels", list("", 2, ""))).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    console.stop().await.unwrap();
}

#[tokio::test]
async fn a_watch_begins_with_everything_and_goes_on_with_changes() {
    let fleet = Arc::new(FakeFleet::new(2_500));
    let console = start(&fleet).await;
    let mut client = client(&console).await;
    let mut stream =
        client.watch_vehicles(watch(VehicleEncoding::Messages, "", "")).await.unwrap().into_inner();
    let mut seen = 0;
    let token = loop {
        let part = next(&mut stream).await;
        // The mirror may still be reading when the first state goes out; the rest follows as changes.
        seen += part.vehicles.len();
        assert!(part.vehicles.len() <= limits::WATCH_LINES_MAX);
        if seen == 2_500 && !part.resume_token.is_empty() {
            break part.resume_token;
        }
    };
    fleet.change("V000042", |v| v.open_alerts = 3);
    let change = next_that(&mut stream, |r| !r.vehicles.is_empty()).await;
    assert!(!change.full_state);
    assert_eq!(change.vehicles.len(), 1);
    assert_eq!((change.vehicles[0].open_alerts, change.vehicles[0].name.ends_with("V000042")), (3, true));
    drop(stream);

    // What changes while nobody watches comes on resuming, and nothing else.
    fleet.change("V000043", |v| v.open_alerts = 1);
    let resume = |token: &str| watch(VehicleEncoding::Messages, "", token);
    let mut stream = client.watch_vehicles(resume(&token)).await.unwrap().into_inner();
    let mut names = Vec::new();
    while names.len() < 2 {
        let response = next(&mut stream).await;
        assert!(!response.full_state);
        names.extend(response.vehicles.into_iter().map(|v| v.name));
    }
    assert!(names[0].ends_with("V000042") && names[1].ends_with("V000043"), "{names:?}");

    // A token of another run leads to everything.
    let mut stream = client.watch_vehicles(resume("00000000000000ff.7")).await.unwrap().into_inner();
    let first = next(&mut stream).await;
    assert!(first.full_state && first.vehicles.len() == limits::WATCH_LINES_MAX);
    assert!(first.resume_token.is_empty(), "more parts follow");
}

#[tokio::test]
async fn a_filtered_watch_tells_who_joins_and_who_leaves() {
    let fleet = Arc::new(FakeFleet::new(50));
    let console = start(&fleet).await;
    let mut client = client(&console).await;
    let request = watch(VehicleEncoding::Messages, "open_alerts > 100", "");
    let mut stream = client.watch_vehicles(request).await.unwrap().into_inner();
    let first = next(&mut stream).await;
    assert!(first.full_state && first.vehicles.is_empty() && !first.resume_token.is_empty());

    fleet.change("V000007", |v| v.open_alerts = 101);
    let joined = next_that(&mut stream, |r| !r.vehicles.is_empty()).await;
    assert_eq!(joined.vehicles[0].name, "organizations/default/vehicles/V000007");
    fleet.change("V000008", |v| v.open_alerts = 1);
    fleet.change("V000007", |v| v.open_alerts = 0);
    let left = next_that(&mut stream, |r| !r.removed.is_empty() || !r.vehicles.is_empty()).await;
    assert_eq!(left.removed, ["organizations/default/vehicles/V000007"]);
    assert!(left.vehicles.is_empty());

    // Resumed from before it joined: whether this reader ever knew it cannot be told, so it is named.
    let request = watch(VehicleEncoding::Messages, "open_alerts > 100", &first.resume_token);
    let mut stream = client.watch_vehicles(request).await.unwrap().into_inner();
    let resumed = next(&mut stream).await;
    assert!(resumed.removed.iter().any(|name| name.ends_with("V000007")), "{:?}", resumed.removed);
}

#[tokio::test]
async fn columns_hold_what_messages_hold() {
    let fleet = Arc::new(FakeFleet::new(300));
    let console = start(&fleet).await;
    let mut client = client(&console).await;
    let mut stream =
        client.watch_vehicles(watch(VehicleEncoding::Columns, "", "")).await.unwrap().into_inner();
    let mut ids = Vec::new();
    let mut rows = 0;
    while rows < 300 {
        let columns = next(&mut stream).await.columns.unwrap_or_default();
        rows += columns.row_delta.len();
        ids.extend(columns.introduced);
    }
    assert_eq!((ids.len(), ids[0].as_str()), (300, "V000000"));
    fleet.change("V000123", |v| {
        v.position =
            Some(fleet::Position { latitude_e7: 7, longitude_e7: -9, heading_deg: 12.0, speed_kmh: 3.4 });
    });
    let response =
        next_that(&mut stream, |r| r.columns.as_ref().is_some_and(|c| !c.row_delta.is_empty())).await;
    let columns = response.columns.unwrap();
    assert!(columns.introduced.is_empty());
    assert_eq!(ids[columns.row_delta[0] as usize], "V000123");
    assert_eq!((columns.latitude_e7[0], columns.longitude_e7[0]), (7, -9));
    assert_eq!((columns.heading_deg[0], columns.speed_dkmh[0]), (12, 34));
}

#[tokio::test]
async fn a_slow_reader_is_told_and_gets_the_newest() {
    let fleet = Arc::new(FakeFleet::new(8_000));
    let console = start(&fleet).await;
    let mut client = client(&console).await;
    let request = watch(VehicleEncoding::Messages, "", "");
    let mut stream = client.watch_vehicles(request).await.unwrap().into_inner();
    next(&mut stream).await;
    // Nothing is read while more changes than the connection's windows hold, until the server no longer sends.
    let driving = tokio::spawn(Arc::clone(&fleet).drive(Duration::from_millis(50)));
    let mut poll = tokio::time::interval(Duration::from_millis(400));
    let sent = async || {
        let metrics = http(&console, "GET /metrics HTTP/1.1").await;
        let line = metrics.lines().find(|l| l.starts_with("remuda_console_watch_vehicles_sent_total "));
        line.unwrap().to_owned()
    };
    let mut before = String::new();
    tokio::time::timeout(PATIENCE, async {
        loop {
            poll.tick().await;
            let now = sent().await;
            if now == before {
                return;
            }
            before = now;
        }
    })
    .await
    .expect("a stream that is not read comes to rest");
    driving.abort();
    fleet.change("V000005", |v| v.open_alerts = 77);
    let mut lagged = false;
    loop {
        let response = next(&mut stream).await;
        lagged |= response.lagged;
        if response.vehicles.iter().any(|v| v.name.ends_with("V000005") && v.open_alerts == 77) {
            break;
        }
    }
    assert!(lagged, "the reader was not told that it is slow");
}

#[tokio::test]
async fn changes_that_came_too_fast_are_read_from_the_index() {
    let fleet = Arc::new(FakeFleet::new(200));
    let console = start(&fleet).await;
    let mut client = client(&console).await;
    let mut stream =
        client.watch_vehicles(watch(VehicleEncoding::Messages, "", "")).await.unwrap().into_inner();
    assert_eq!(next(&mut stream).await.vehicles.len(), 200);
    // One thread runs this test: nobody reads between these, and the fleet's channel holds 16.
    for n in 0..200 {
        fleet.change(&format!("V{n:06}"), |v| v.open_alerts = 500);
    }
    let mut told = std::collections::BTreeSet::new();
    while told.len() < 200 {
        let response = next(&mut stream).await;
        told.extend(response.vehicles.into_iter().filter(|v| v.open_alerts == 500).map(|v| v.name));
    }
}

#[tokio::test]
async fn one_twin_is_followed() {
    let fleet = Arc::new(FakeFleet::new(5));
    let console = start(&fleet).await;
    let mut client = client(&console).await;
    let request =
        |name: &str| WatchVehicleRequest { name: format!("{PARENT}/vehicles/{name}"), interval_ms: 100 };
    let mut stream = client.watch_vehicle(request("V000002")).await.unwrap().into_inner();
    assert!(next(&mut stream).await.twin.is_some());
    fleet.change("V000001", |v| v.open_alerts = 9);
    fleet.change("V000002", |v| v.open_alerts = 2);
    let second = next(&mut stream).await;
    assert_eq!((second.open_alerts, second.twin.unwrap().alerts.len()), (2, 2));
    assert_eq!(client.watch_vehicle(request("V000009")).await.unwrap_err().code(), Code::NotFound);
    let hasty = WatchVehicleRequest { interval_ms: 1, ..request("V000002") };
    assert_eq!(client.watch_vehicle(hasty).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn only_the_token_opens_and_only_probes_are_open() {
    let fleet = Arc::new(FakeFleet::new(5));
    let console = start(&fleet).await;
    let mut stranger = client_with(&console, "another-token-0123456789").await;
    let status = stranger.list_vehicles(list("", 0, "")).await.unwrap_err();
    assert_eq!((status.code(), reason_of(&status).as_str()), (Code::Unauthenticated, "TOKEN_INVALID"));
    assert!(!status.message().contains(TOKEN));

    let mut health = tonic_health::pb::health_client::HealthClient::new(channel(&console).await);
    let check = tonic_health::pb::HealthCheckRequest { service: "remuda.vehicles.v1.VehicleService".into() };
    let serving = tonic_health::pb::health_check_response::ServingStatus::Serving;
    // The status is reported by a task that may not have run yet.
    tokio::time::timeout(PATIENCE, async {
        loop {
            let answer = health.check(check.clone()).await;
            if answer.is_ok_and(|a| a.into_inner().status() == serving) {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the service is reported as serving");

    for path in ["/health", "/ready", "/metrics", "/"] {
        assert!(http(&console, &format!("GET {path} HTTP/1.1")).await.starts_with("HTTP/1.1 200"), "{path}");
    }
    for path in ["/map/roads.geojson", "/console.json"] {
        let closed = http(&console, &format!("GET {path} HTTP/1.1")).await;
        assert!(closed.starts_with("HTTP/1.1 401"), "{path}: {closed}");
        let open = format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer {TOKEN}");
        assert!(http(&console, &open).await.starts_with("HTTP/1.1 200"), "{path}");
    }
    let page = http(&console, "GET / HTTP/1.1").await.to_lowercase();
    assert!(page.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{page}");
    assert!(!page.contains("<script>"), "an inline script in {page}");
    assert!(http(&console, "GET /../Cargo.toml HTTP/1.1").await.starts_with("HTTP/1.1 404"));
    assert!(http(&console, "POST / HTTP/1.1\r\nContent-Length: 0").await.starts_with("HTTP/1.1 405"));
}

#[tokio::test]
async fn unknown_methods_are_unimplemented_and_deadlines_are_deadlines() {
    let fleet = Arc::new(FakeFleet::new(5));
    let console = start(&fleet).await;
    for path in ["/remuda.vehicles.v1.VehicleService/Nothing", "/remuda.none.v1.None/Get"] {
        let mut grpc = tonic::client::Grpc::new(channel(&console).await);
        grpc.ready().await.unwrap();
        let mut request = Request::new(GetVehicleRequest::default());
        request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
        let codec = tonic_prost::ProstCodec::<GetVehicleRequest, Vehicle>::default();
        let status = grpc.unary(request, path.parse().unwrap(), codec).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
    // A browser asks over HTTP/1.1 and finds the status in the answer's headers.
    let bearer = format!("Authorization: Bearer {TOKEN}\r\nContent-Type: application/grpc-web+proto");
    let answer =
        http(&console, &format!("POST /remuda.none.v1.None/Get HTTP/1.1\r\n{bearer}\r\nContent-Length: 0"))
            .await;
    assert!(answer.contains("grpc-status: 12") && answer.contains("application/grpc-web+proto"), "{answer}");
    // A twin that takes longer than the caller will wait.
    fleet.answer_twins_after(Some(PATIENCE));
    let mut client = client(&console).await;
    let mut request = Request::new(GetVehicleRequest { name: format!("{PARENT}/vehicles/V000001") });
    // The client has a timer of its own, which must not be the first.
    request.metadata_mut().insert("grpc-timeout", "1S".parse().unwrap());
    let status = client.get_vehicle(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
}

#[tokio::test]
async fn a_stop_ends_streams_and_frees_the_port() {
    let fleet = Arc::new(FakeFleet::new(5));
    let console = start(&fleet).await;
    let addr = console.local_addr();
    let mut client = client(&console).await;
    let mut stream =
        client.watch_vehicles(watch(VehicleEncoding::Columns, "", "")).await.unwrap().into_inner();
    next(&mut stream).await;

    let taken = Console::bind(
        ConsoleSettings {
            addr,
            token: Token::new(TOKEN).unwrap(),
            organization: OrganizationId::default(),
            access: Access::default(),
        },
        support::sources(&fleet),
    )
    .await
    .unwrap_err()
    .to_string();
    assert!(taken.starts_with(&format!("the console cannot listen on {addr}: ")), "{taken}");

    let stopping = tokio::spawn(console.stop());
    let status = loop {
        match tokio::time::timeout(PATIENCE, stream.message()).await.expect("the stream ends in time") {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without a status"),
            Err(status) => break status,
        }
    };
    assert_eq!((status.code(), reason_of(&status).as_str()), (Code::Unavailable, "NODE_STOPPING"));
    tokio::time::timeout(PATIENCE, stopping).await.expect("the stop ends in time").unwrap().unwrap();
    tokio::net::TcpListener::bind(addr).await.expect("the port is free again");
}

#[tokio::test]
async fn one_caller_has_half_of_the_streams_and_another_the_others() {
    let fleet = Arc::new(FakeFleet::new(1));
    let account = Account {
        name: "other".into(),
        secret: Secret::of("another-token-for-tests"),
        grants: vec!["viewer".parse().unwrap()],
    };
    let accounts = Arc::new(Accounts::new(vec![account]).unwrap());
    let settings = ConsoleSettings {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        token: Token::new(TOKEN).unwrap(),
        organization: OrganizationId::default(),
        access: Access { accounts, ..Access::default() },
    };
    let console = Console::bind(settings, support::sources(&fleet)).await.unwrap();
    let request = || watch(VehicleEncoding::Columns, "", "");
    let mut held = Vec::new();
    let mut one = client(&console).await;
    for n in 0..limits::WATCHERS_PER_CALLER_MAX {
        // A connection has some streams only.
        if n % 100 == 0 {
            one = client(&console).await;
        }
        held.push(one.watch_vehicles(request()).await.unwrap());
    }
    let mut one = client(&console).await;
    let refused = one.watch_vehicles(request()).await.unwrap_err();
    let reason = reason_of(&refused);
    assert_eq!((refused.code(), reason.as_str()), (Code::ResourceExhausted, "WATCHERS_EXHAUSTED"));
    let bearer = Bearer("Bearer another-token-for-tests".parse().unwrap());
    let mut other = VehicleServiceClient::with_interceptor(channel(&console).await, bearer);
    other.watch_vehicles(request()).await.unwrap();
    // What is given back is theirs again.
    held.pop();
    let again = async { while one.watch_vehicles(request()).await.is_err() {} };
    tokio::time::timeout(PATIENCE, again).await.expect("there is room again");
}

#[tokio::test]
async fn calls_are_counted_by_method_and_code() {
    let fleet = Arc::new(FakeFleet::new(5));
    let console = start(&fleet).await;
    let mut client = client(&console).await;
    client.list_vehicles(list("", 0, "")).await.unwrap();
    client.list_vehicles(list("x", 0, "")).await.unwrap_err();
    let stream = client.watch_vehicles(watch(VehicleEncoding::Columns, "", "")).await.unwrap();
    let metrics = http(&console, "GET /metrics HTTP/1.1").await;
    for line in [
        "remuda_console_rpc_calls_total{method=\"ListVehicles\",code=\"OK\"} 1",
        "remuda_console_rpc_calls_total{method=\"ListVehicles\",code=\"INVALID_ARGUMENT\"} 1",
        "remuda_console_watch_streams 1",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    drop(stream);
    tokio::time::timeout(PATIENCE, async {
        while !http(&console, "GET /metrics HTTP/1.1").await.contains("remuda_console_watch_streams 0") {}
    })
    .await
    .expect("the stream's end is counted");
}

#[tokio::test]
async fn the_node_says_how_it_is_and_why() {
    let ready: Arc<Mutex<Result<Option<String>, String>>> = Arc::new(Mutex::new(Ok(None)));
    let figures = Arc::new(Mutex::new(ProcessFigures {
        open_files: 10,
        open_files_max: 100,
        disk: Some(DiskSpace { free: 50_000_000_000, total: 100_000_000_000 }),
        ..ProcessFigures::default()
    }));
    let (said, read) = (Arc::clone(&ready), Arc::clone(&figures));
    let console = start_with(&Arc::new(FakeFleet::new(4)), |sources| {
        sources.ready = Arc::new(move || said.lock().unwrap().clone());
        sources.process = Arc::new(move || *read.lock().unwrap());
    })
    .await;
    let bearer = Bearer(format!("Bearer {TOKEN}").parse().unwrap());
    let mut client = SystemServiceClient::with_interceptor(channel(&console).await, bearer);
    let asked = |name: &str| GetSystemRequest { name: name.into() };
    let mut health = async || {
        let system = client.get_system(asked("organizations/default/system")).await.unwrap().into_inner();
        let of = |name: &str| system.components.iter().find(|part| part.component == name).unwrap().clone();
        (system.health(), of("node"), of("disk"), of("vehicles"))
    };
    let (all, node, disk, vehicles) = health().await;
    assert_eq!((all, node.health(), disk.health()), (Health::Ok, Health::Ok, Health::Ok));
    assert!(vehicles.detail.starts_with("4 known"), "{vehicles:?}");
    *ready.lock().unwrap() = Ok(Some("the broker is away".into()));
    let (all, node, ..) = health().await;
    assert_eq!((all, node.detail.as_str()), (Health::Degraded, "the broker is away"));
    *ready.lock().unwrap() = Err("it stops".into());
    assert_eq!(health().await.0, Health::Down);
    *ready.lock().unwrap() = Ok(None);
    figures.lock().unwrap().open_files = 91;
    assert!(health().await.1.detail.contains("ulimit"));
    figures.lock().unwrap().disk = Some(DiskSpace { free: 1_000_000, total: 100_000_000_000 });
    assert_eq!(health().await.2.health(), Health::Degraded);
    for (name, code) in [
        ("organizations/default", Code::InvalidArgument),
        ("organizations/other/system", Code::PermissionDenied),
    ] {
        assert_eq!(client.get_system(asked(name)).await.unwrap_err().code(), code, "{name}");
    }
    console.stop().await.unwrap();
}

#[tokio::test]
async fn policies_are_kept_and_refusals_have_their_codes() {
    use remuda_api::policies::v1::policy_service_client::PolicyServiceClient;
    use remuda_api::policies::v1::{
        AssignPolicyRequest, DeletePolicyRequest, GetPolicyRequest, GetPolicyStatusRequest,
        ListPoliciesRequest, SetPolicyRequest, Target, target,
    };
    let fleet = Arc::new(FakeFleet::new(3));
    let console = start(&fleet).await;
    let bearer = Bearer(format!("Bearer {TOKEN}").parse().unwrap());
    let mut client = PolicyServiceClient::with_interceptor(channel(&console).await, bearer);
    let name = || format!("{PARENT}/policies/vans");
    let set = |document: &str, etag: &str, validate_only| SetPolicyRequest {
        name: name(),
        document: document.into(),
        etag: etag.into(),
        validate_only,
    };
    let tried = client.set_policy(set("{}", "", true)).await.unwrap().into_inner();
    assert_eq!((tried.policy, tried.impact.map(|i| (i.vehicles, i.online))), (None, Some((3, 2))));
    let made = client.set_policy(set("{}", "\"0\"", false)).await.unwrap().into_inner().policy.unwrap();
    assert_eq!((made.name, made.etag.as_str(), made.updated_by.as_str()), (name(), "\"1\"", "console"));
    let target = Target { target: Some(target::Target::Prefix("VAN".into())) };
    let assign = AssignPolicyRequest { name: name(), target: Some(target.clone()), validate_only: false };
    let assigned = client.assign_policy(assign).await.unwrap().into_inner().policy.unwrap();
    assert_eq!(assigned.targets, [target]);
    let listed = client.list_policies(ListPoliciesRequest { parent: PARENT.into() }).await.unwrap();
    assert_eq!(listed.into_inner().policies.len(), 1);
    let status =
        client.get_policy_status(GetPolicyStatusRequest { name: name() }).await.unwrap().into_inner();
    assert_eq!((status.desired, status.applied, status.refusals[0].reason.as_str()), (3, 1, "no room"));
    for (answer, code, reason) in [
        (client.set_policy(set("", "", false)).await.err(), Code::InvalidArgument, "POLICY_DOCUMENT_INVALID"),
        (client.set_policy(set("{}", "\"5\"", false)).await.err(), Code::Aborted, "ETAG_MISMATCH"),
        (client.set_policy(set("{}", "x", false)).await.err(), Code::InvalidArgument, "FIELD_INVALID"),
    ] {
        let status = answer.unwrap();
        assert_eq!((status.code(), reason_of(&status).as_str()), (code, reason));
    }
    let delete = DeletePolicyRequest { name: name(), etag: String::new(), validate_only: false };
    let refused = client.delete_policy(delete).await.unwrap_err();
    assert_eq!((refused.code(), reason_of(&refused).as_str()), (Code::FailedPrecondition, "POLICY_ASSIGNED"));
    let missing =
        client.get_policy(GetPolicyRequest { name: format!("{PARENT}/policies/x") }).await.unwrap_err();
    assert_eq!((missing.code(), reason_of(&missing).as_str()), (Code::NotFound, "POLICY_NOT_FOUND"));
    let foreign = GetPolicyRequest { name: "organizations/other/policies/vans".into() };
    assert_eq!(client.get_policy(foreign).await.unwrap_err().code(), Code::PermissionDenied);
    console.stop().await.unwrap();
}
