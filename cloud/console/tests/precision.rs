//! Who need not know exact positions sees the middle of a cell, in every answer that says where vehicles are.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};
use remuda_access::{Account, Accounts, Permission, Rate, RateLimiter, Role, Secret};
use remuda_api::alerts::v1 as alerts;
use remuda_api::alerts::v1::alert_service_client::AlertServiceClient;
use remuda_api::telemetry::v1 as history;
use remuda_api::telemetry::v1::telemetry_service_client::TelemetryServiceClient;
use remuda_api::vehicles::v1 as vehicles;
use remuda_api::vehicles::v1::vehicle_service_client::VehicleServiceClient;
use remuda_api::{DESCRIPTORS, METHODS};
use remuda_console::{Access, Console, ConsoleSettings, ConsoleSources, Token};
use remuda_contracts::alerts::AlertSeverity;
use remuda_model::OrganizationId;
use support::FakeFleet;
use support::alerts::FakeAlerts;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

const PARENT: &str = "organizations/default";

/// Methods whose answers hold coordinates of vehicles: `seen` asks each of them.
const TESTED: [&str; 7] = [
    "/remuda.telemetry.v1.TelemetryService/ListJourneys",
    "/remuda.telemetry.v1.TelemetryService/QueryHistory",
    "/remuda.telemetry.v1.TelemetryService/QueryPositions",
    "/remuda.vehicles.v1.VehicleService/GetVehicle",
    "/remuda.vehicles.v1.VehicleService/ListVehicles",
    "/remuda.vehicles.v1.VehicleService/WatchVehicle",
    "/remuda.vehicles.v1.VehicleService/WatchVehicles",
];

#[derive(Clone)]
struct Bearer(MetadataValue<Ascii>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

fn token_of(role: Role) -> String {
    format!("{role}-token-0123456789")
}

async fn console() -> Console {
    console_with(Arc::new(FakeAlerts::default())).await
}

async fn console_with(alerts: Arc<FakeAlerts>) -> Console {
    let account = |role: &Role| Account {
        name: role.to_string(),
        secret: Secret::of(&token_of(*role)),
        grants: vec![role.to_string().parse().unwrap()],
    };
    let accounts = Accounts::new(Role::ALL.iter().map(account).collect()).unwrap();
    let rate = Rate { per_second: 1e5, burst: 1e5 };
    let settings = ConsoleSettings {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        token: Token::new("a-token-for-tests-0123456789").unwrap(),
        organization: OrganizationId::default(),
        access: Access { accounts: Arc::new(accounts), oidc: None, rate: Arc::new(RateLimiter::new(rate)) },
    };
    let sources = ConsoleSources { alerts, ..support::sources(&Arc::new(FakeFleet::new(3))) };
    Console::bind(settings, sources).await.unwrap()
}

/// Every coordinate that a role is told by one method, 1e-7 degrees.
async fn seen(console: &Console, role: Role, method: &str) -> Vec<i64> {
    let channel = Channel::from_shared(format!("http://{}", console.local_addr())).unwrap();
    let bearer = Bearer(format!("Bearer {}", token_of(role)).parse().unwrap());
    let service = InterceptedService::new(channel.connect().await.unwrap(), bearer);
    let (mut fleet, mut book) =
        (VehicleServiceClient::new(service.clone()), TelemetryServiceClient::new(service));
    let name = format!("{PARENT}/vehicles/V000001");
    let time = |seconds: i64| Some(prost_types::Timestamp { seconds: 1_700_000_000 + seconds, nanos: 0 });
    let e7 = |degrees: f64| (degrees * 1e7).round() as i64;
    let mut found = Vec::new();
    let of_vehicle = |vehicle: &vehicles::Vehicle, found: &mut Vec<i64>| {
        found.extend(vehicle.position.iter().flat_map(|at| [e7(at.latitude), e7(at.longitude)]));
        for signal in vehicle.twin.iter().flat_map(|twin| &twin.signals) {
            let is_coordinate = signal.path.ends_with("Latitude") || signal.path.ends_with("Longitude");
            if let (true, Some(vehicles::signal_value::Value::Number(degrees))) =
                (is_coordinate, &signal.value)
            {
                found.push(e7(*degrees));
            }
        }
    };
    let of_track = |track: &history::Track, found: &mut Vec<i64>| {
        found.extend(track.latitude_e7.iter().chain(&track.longitude_e7).map(|e7| i64::from(*e7)));
    };
    match method.rsplit('/').next().unwrap() {
        "GetVehicle" => {
            let vehicle = fleet.get_vehicle(vehicles::GetVehicleRequest { name }).await.unwrap();
            of_vehicle(vehicle.get_ref(), &mut found);
        }
        "ListVehicles" => {
            let list = vehicles::ListVehiclesRequest { parent: PARENT.into(), ..Default::default() };
            let page = fleet.list_vehicles(list).await.unwrap().into_inner();
            page.vehicles.iter().for_each(|vehicle| of_vehicle(vehicle, &mut found));
        }
        "WatchVehicle" => {
            let watch = vehicles::WatchVehicleRequest { name, ..Default::default() };
            let mut stream = fleet.watch_vehicle(watch).await.unwrap().into_inner();
            of_vehicle(&stream.message().await.unwrap().unwrap(), &mut found);
        }
        "WatchVehicles" => {
            for encoding in [vehicles::VehicleEncoding::Messages, vehicles::VehicleEncoding::Columns] {
                let parent = PARENT.to_owned();
                let watch = vehicles::WatchVehiclesRequest {
                    parent,
                    encoding: encoding.into(),
                    ..Default::default()
                };
                let mut stream = fleet.watch_vehicles(watch).await.unwrap().into_inner();
                let answer = stream.message().await.unwrap().unwrap();
                answer.vehicles.iter().for_each(|vehicle| of_vehicle(vehicle, &mut found));
                let columns = answer.columns.iter();
                found.extend(
                    columns
                        .flat_map(|c| c.latitude_e7.iter().chain(&c.longitude_e7))
                        .map(|e7| i64::from(*e7)),
                );
            }
        }
        "QueryHistory" => {
            for mode in [None, Some(history::Buckets { bucket_ms: 1_000 })] {
                let query = history::QueryHistoryRequest {
                    parent: PARENT.into(),
                    vehicles: vec![name.clone()],
                    signals: ["Latitude", "Longitude"]
                        .map(|end| format!("Vehicle.CurrentLocation.{end}"))
                        .into(),
                    start_time: time(0),
                    end_time: time(9),
                    mode: mode.map(history::query_history_request::Mode::Buckets),
                    ..Default::default()
                };
                let mut stream = book.query_history(query).await.unwrap().into_inner();
                while let Some(message) = stream.message().await.unwrap() {
                    if let Some(history::query_history_response::Part::Samples(samples)) = message.part {
                        let signals = samples.columns.iter().flat_map(|columns| &columns.signals);
                        let values =
                            signals.flat_map(|s| s.value.iter().chain(&s.min).chain(&s.max).chain(&s.mean));
                        found.extend(values.map(|degrees| e7(*degrees)));
                    }
                }
            }
        }
        "QueryPositions" => {
            let query = history::QueryPositionsRequest {
                parent: PARENT.into(),
                vehicles: vec![name],
                start_time: time(0),
                end_time: time(9),
                ..Default::default()
            };
            let mut stream = book.query_positions(query).await.unwrap().into_inner();
            while let Some(message) = stream.message().await.unwrap() {
                if let Some(history::query_positions_response::Part::Track(track)) = message.part {
                    of_track(&track, &mut found);
                }
            }
        }
        "ListJourneys" => {
            let list = history::ListJourneysRequest {
                parent: PARENT.into(),
                vehicles: vec![name],
                start_time: time(0),
                end_time: time(9),
                track_points: 5,
                ..Default::default()
            };
            for journey in book.list_journeys(list).await.unwrap().into_inner().journeys {
                let places = [journey.start, journey.end].into_iter().flatten();
                found.extend(places.flat_map(|place| [e7(place.latitude), e7(place.longitude)]));
                journey.track.iter().for_each(|track| of_track(track, &mut found));
            }
        }
        other => panic!("nobody asks {other}"),
    }
    found
}

#[tokio::test]
async fn positions_are_exact_for_those_who_may_know_them_alone() {
    let console = console().await;
    for method in TESTED {
        for role in Role::ALL {
            let found = seen(&console, role, method).await;
            assert!(!found.is_empty(), "{method} as {role}");
            // The middle of a cell of 0.01 degrees.
            let is_coarse = found.iter().all(|e7| e7.rem_euclid(100_000) == 50_000);
            let may = role.permits(Permission::HistoryExact);
            assert_eq!(is_coarse, !may, "{method} as {role}: {found:?}");
        }
    }
    console.stop().await.unwrap();
}

/// A distance from a geofence's edge, with the edge, is a place.
#[tokio::test]
async fn how_far_from_a_geofence_a_vehicle_was_is_told_to_those_who_may_know_where() {
    let desk = Arc::new(FakeAlerts::default());
    desk.raise("V000001", "keep-in-yard-1", AlertSeverity::Warning, 1_000);
    desk.of_geofence("keep-in-yard-1", "yard");
    desk.raise("V000001", "low-charge-1", AlertSeverity::Warning, 2_000);
    let console = console_with(desk).await;
    for role in Role::ALL {
        let channel = Channel::from_shared(format!("http://{}", console.local_addr())).unwrap();
        let bearer = Bearer(format!("Bearer {}", token_of(role)).parse().unwrap());
        let mut client =
            AlertServiceClient::new(InterceptedService::new(channel.connect().await.unwrap(), bearer));
        let list = alerts::ListAlertsRequest { parent: PARENT.into(), ..Default::default() };
        let listed = client.list_alerts(list).await.unwrap().into_inner().alerts;
        let watch = alerts::WatchAlertsRequest { parent: PARENT.into(), ..Default::default() };
        let mut stream = client.watch_alerts(watch).await.unwrap().into_inner();
        let watched = stream.message().await.unwrap().unwrap().alerts;
        let name = |id: &str| format!("{PARENT}/vehicles/V000001/alerts/{id}");
        let get = |id| alerts::GetAlertRequest { name: name(id) };
        let got = [
            client.get_alert(get("keep-in-yard-1")).await.unwrap().into_inner(),
            client.get_alert(get("low-charge-1")).await.unwrap().into_inner(),
        ];
        let told = if role.permits(Permission::HistoryExact) { 14.0 } else { 0.0 };
        for alerts in [&listed, &watched, &got.to_vec()] {
            let value = |id: &str| alerts.iter().find(|alert| alert.name == name(id)).unwrap().value;
            assert_eq!((value("keep-in-yard-1"), value("low-charge-1")), (told, 14.0), "as {role}");
        }
    }
    console.stop().await.unwrap();
}

/// Whether a message, or one below it, has a coordinate of a vehicle.
fn has_place(message: &MessageDescriptor, seen: &mut BTreeSet<String>) -> bool {
    seen.insert(message.full_name().to_owned())
        && message.fields().any(|field| match field.kind() {
            // Samples may be of coordinates.
            Kind::Message(below) if below.name() == "SampleColumns" => true,
            Kind::Message(below) => has_place(&below, seen),
            _ => field.name().starts_with("latitude"),
        })
}

/// Another answer with coordinates is another line above.
#[test]
fn every_answer_with_coordinates_of_vehicles_is_tested() {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let mut with_places = BTreeSet::new();
    for service in pool.services().filter(|s| {
        // Places that people ask to be driven to, or had be fetched from, are theirs and not a vehicle's.
        ["remuda.vehicles.v1", "remuda.telemetry.v1"].contains(&s.parent_file().package_name())
    }) {
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            let listed = METHODS.iter().find(|known| known.path == path).unwrap();
            let seers = Permission::named(listed.permission).unwrap().roles();
            let blind = seers.iter().any(|role| !role.permits(Permission::HistoryExact));
            if blind && has_place(&method.output(), &mut BTreeSet::new()) {
                with_places.insert(path);
            }
        }
    }
    assert_eq!(with_places, TESTED.iter().map(|path| (*path).to_owned()).collect());
}
