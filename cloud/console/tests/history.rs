//! History over the console's port: asked, streamed, bounded, ended; refused with stable reasons.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prost_types::Timestamp;
use remuda_api::telemetry::v1 as api;
use remuda_api::telemetry::v1::query_history_request::Mode;
use remuda_api::telemetry::v1::query_history_response::Part;
use remuda_api::telemetry::v1::query_positions_response::Part as PositionPart;
use remuda_api::telemetry::v1::telemetry_service_client::TelemetryServiceClient;
use remuda_console::{Access, Console, ConsoleSettings, Token};
use remuda_contracts::history::{HistoryError, HistoryMode};
use remuda_model::{OrganizationId, signal};
use support::FakeFleet;
use support::history::{FakeHistory, MOMENT};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

const TOKEN: &str = "a-token-for-tests-0123456789";
const BEGIN_S: i64 = 1_700_000_000;

type Interceptor = fn(Request<()>) -> Result<Request<()>, Status>;
type Client = TelemetryServiceClient<InterceptedService<Channel, Interceptor>>;

fn bearer(mut request: Request<()>) -> Result<Request<()>, Status> {
    let token: MetadataValue<Ascii> = format!("Bearer {TOKEN}").parse().unwrap();
    request.metadata_mut().insert("authorization", token);
    Ok(request)
}

async fn console(book: &Arc<FakeHistory>, vehicles: usize) -> (Console, Client) {
    let settings = ConsoleSettings {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        token: Token::new(TOKEN).unwrap(),
        organization: OrganizationId::default(),
        access: Access::default(),
    };
    let mut sources = support::sources(&Arc::new(FakeFleet::new(vehicles)));
    sources.history = book.clone();
    let console = Console::bind(settings, sources).await.unwrap();
    let address = format!("http://{}", console.local_addr());
    let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
    (console, TelemetryServiceClient::with_interceptor(channel, bearer as Interceptor))
}

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds: BEGIN_S + seconds, nanos: 0 })
}

fn question(vehicles: &[&str], signals: &[&str], seconds: i64) -> api::QueryHistoryRequest {
    api::QueryHistoryRequest {
        parent: "organizations/default".into(),
        vehicles: vehicles.iter().map(|v| format!("organizations/default/vehicles/{v}")).collect(),
        signals: signals.iter().map(ToString::to_string).collect(),
        start_time: at(0),
        end_time: at(seconds),
        ..api::QueryHistoryRequest::default()
    }
}

async fn all(client: &mut Client, request: api::QueryHistoryRequest) -> Result<Vec<Part>, Status> {
    let mut stream = client.query_history(request).await?.into_inner();
    let mut parts = Vec::new();
    while let Some(message) = stream.message().await? {
        parts.push(message.part.unwrap());
    }
    Ok(parts)
}

fn samples(parts: &[Part]) -> Vec<&api::SampleColumns> {
    let mut found = Vec::new();
    for part in parts {
        if let Part::Samples(samples) = part {
            found.extend(&samples.columns);
        }
    }
    found
}

fn reason_of(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().map(|info| info.reason).unwrap_or_default())
}

#[tokio::test]
async fn samples_are_streamed_in_columns_and_units() {
    let book = Arc::new(FakeHistory::default());
    let (_console, mut client) = console(&book, 3).await;
    let asked = question(&["V1", "V2"], &["Vehicle.Speed", "Vehicle.LowVoltageSystemState"], 50_000);
    let parts = all(&mut client, asked).await.unwrap();
    let Part::Begin(begin) = &parts[0] else { panic!("{:?}", parts[0]) };
    assert_eq!((begin.signals[0].unit.as_str(), begin.signals[0].step), ("km/h", 0.01));
    assert_eq!(begin.signals[1].names[4], "ON");
    let as_of = begin.as_of.unwrap();
    assert_eq!((begin.vehicles, as_of.manifest_position), (2, MOMENT.position as i64));
    assert_eq!(as_of.complete_since, Some(Timestamp { seconds: 1_600_000_000, nanos: 7 }));
    assert!(matches!(parts.last(), Some(Part::End(end)) if end.next_page_token.is_empty() && !end.limited));
    let columns = samples(&parts);
    assert!(parts.len() > 5, "it comes in parts of bounded size, not in {}", parts.len());
    for vehicle in ["V1", "V2"] {
        let name = format!("organizations/default/vehicles/{vehicle}");
        let (mut second, mut speeds) = (0_i64, 0_i64);
        for part in columns.iter().filter(|part| part.vehicle == name) {
            assert_eq!(part.time_ns_delta[0], (BEGIN_S + second) * 1_000_000_000);
            assert!(part.time_ns_delta[1..].iter().all(|delta| *delta == 1_000_000_000));
            assert!(part.signals[0].present.is_empty());
            for value in &part.signals[0].value {
                assert_eq!(*value, speeds as f64);
                speeds += 1;
            }
            second += part.time_ns_delta.len() as i64;
            let states = &part.signals[1];
            let bits: u32 = states.present.iter().map(|byte| byte.count_ones()).sum();
            assert_eq!((states.signal, bits as usize), (1, states.value.len()));
        }
        assert_eq!((second, speeds), (50_000, 50_000));
    }
}

#[tokio::test]
async fn buckets_plots_and_pages() {
    let book = Arc::new(FakeHistory::default());
    let (_console, mut client) = console(&book, 3).await;
    let mut asked = question(&["V1"], &["Vehicle.Speed"], 10);
    asked.mode = Some(Mode::Buckets(api::Buckets { bucket_ms: 60_000 }));
    let parts = all(&mut client, asked.clone()).await.unwrap();
    let column = &samples(&parts)[0].signals[0];
    assert_eq!((column.min[4], column.max[4], column.mean[4], column.value[4]), (0.04, 0.06, 0.05, 0.05));
    assert_eq!(column.count, [3; 10]);
    assert_eq!(book.asked.lock().clone().unwrap().mode, HistoryMode::Buckets(60_000_000_000));
    asked.mode = Some(Mode::Plot(api::Plot { points: 7 }));
    all(&mut client, asked.clone()).await.unwrap();
    assert_eq!(book.asked.lock().clone().unwrap().mode, HistoryMode::Plot(7));
    (asked.mode, asked.limit) = (None, 4);
    let parts = all(&mut client, asked.clone()).await.unwrap();
    let Some(Part::End(end)) = parts.last() else { panic!("no end") };
    assert!(end.limited && !end.next_page_token.is_empty());
    asked.page_token.clone_from(&end.next_page_token);
    all(&mut client, asked.clone()).await.unwrap();
    let after = book.asked.lock().clone().unwrap().after.unwrap();
    assert_eq!((after.vehicle.as_str(), after.time_ns), ("V1", (BEGIN_S + 3) * 1_000_000_000));
    asked.signals = vec!["Vehicle.TraveledDistance".into()];
    let refused = all(&mut client, asked).await.unwrap_err();
    assert!(refused.message().contains("another question"), "{}", refused.message());
}

#[tokio::test]
async fn a_filter_names_vehicles() {
    let book = Arc::new(FakeHistory::default());
    let (_console, mut client) = console(&book, 5).await;
    let mut asked = question(&[], &["Vehicle.Speed"], 10);
    for (filter, vehicles) in [("vehicle = *", 5), ("vehicle = V000002", 1), ("vehicle = X*", 0)] {
        asked.filter = filter.into();
        all(&mut client, asked.clone()).await.unwrap();
        assert_eq!(book.asked.lock().clone().unwrap().vehicles.len(), vehicles, "{filter}");
    }
}

#[tokio::test]
async fn refusals_have_stable_reasons() {
    let book = Arc::new(FakeHistory::default());
    let (_console, mut client) = console(&book, 3).await;
    let good = || question(&["V1"], &["Vehicle.Speed"], 10);
    type Spoil = Box<dyn Fn(&mut api::QueryHistoryRequest)>;
    let bad: [(&str, Spoil); 14] = [
        ("vehicles", Box::new(|q| q.vehicles.clear())),
        ("vehicles", Box::new(|q| q.filter = "vehicle = *".into())),
        ("vehicles", Box::new(|q| q.vehicles = vec!["V1".into()])),
        ("vehicles", Box::new(|q| q.vehicles = vec![q.vehicles[0].clone(); 1_001])),
        ("signals", Box::new(|q| q.signals.clear())),
        ("signals", Box::new(|q| q.signals = vec!["Vehicle.Sped".into()])),
        ("signals", Box::new(|q| q.signals = vec!["Vehicle.Speed".into(); 2])),
        ("start_time", Box::new(|q| q.start_time = None)),
        ("end_time", Box::new(|q| q.end_time = q.start_time)),
        ("limit", Box::new(|q| q.limit = -1)),
        ("buckets.bucket_ms", Box::new(|q| q.mode = Some(Mode::Buckets(api::Buckets { bucket_ms: 0 })))),
        ("plot.points", Box::new(|q| q.mode = Some(Mode::Plot(api::Plot { points: 1 })))),
        ("page_token", Box::new(|q| q.page_token = "x".into())),
        (
            "filter",
            Box::new(|q| {
                q.vehicles.clear();
                q.filter = "speed > fast".into();
            }),
        ),
    ];
    for (field, change) in bad {
        let mut asked = good();
        change(&mut asked);
        let refused = all(&mut client, asked).await.unwrap_err();
        assert_eq!(reason_of(&refused), (Code::InvalidArgument, "FIELD_INVALID".into()), "{field}");
        let violations = refused.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, field, "{}", refused.message());
    }
    let mut foreign = good();
    foreign.vehicles = vec!["organizations/other/vehicles/V1".into()];
    let refused = all(&mut client, foreign).await.unwrap_err();
    assert_eq!(reason_of(&refused), (Code::PermissionDenied, "ORGANIZATION_FOREIGN".into()));
    for (error, reason) in [
        (HistoryError::Busy(16), (Code::ResourceExhausted, "QUERIES_EXHAUSTED".to_owned())),
        (HistoryError::TooLongForPlot(9), (Code::InvalidArgument, "PLOT_TOO_LONG".into())),
        (HistoryError::Unavailable, (Code::Unavailable, "HISTORY_UNAVAILABLE".into())),
    ] {
        *book.refuses.lock() = Some(error);
        assert_eq!(reason_of(&all(&mut client, good()).await.unwrap_err()), reason);
    }
}

/// Waits until no answer is under way.
async fn settled(book: &FakeHistory) {
    let ended = async {
        while book.running.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended).await.expect("the answer ends");
}

#[tokio::test]
async fn an_answer_ends_with_its_reader_its_deadline_and_its_node() {
    let book = Arc::new(FakeHistory::default());
    let (console, mut client) = console(&book, 3).await;
    book.hangs.store(true, Ordering::SeqCst);
    let asked = || question(&["V1"], &["Vehicle.Speed"], 10);
    let mut stream = client.query_history(asked()).await.unwrap().into_inner();
    assert!(matches!(stream.message().await.unwrap().unwrap().part, Some(Part::Begin(_))));
    assert_eq!(book.running.load(Ordering::SeqCst), 1);
    drop(stream);
    settled(&book).await;

    let mut hasty = Request::new(asked());
    hasty.set_timeout(Duration::from_millis(200));
    let mut stream = client.query_history(hasty).await.unwrap().into_inner();
    stream.message().await.unwrap();
    let late = stream.message().await.unwrap_err();
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&late.code()), "{late:?}");
    settled(&book).await;

    let mut stream = client.query_history(asked()).await.unwrap().into_inner();
    stream.message().await.unwrap();
    let stopping = tokio::spawn(console.stop());
    assert_eq!(reason_of(&stream.message().await.unwrap_err()), (Code::Unavailable, "NODE_STOPPING".into()));
    stopping.await.unwrap().unwrap();
    settled(&book).await;
}

#[tokio::test]
async fn positions_come_as_tracks() {
    let book = Arc::new(FakeHistory::default());
    let (_console, mut client) = console(&book, 3).await;
    let request = api::QueryPositionsRequest {
        parent: "organizations/default".into(),
        vehicles: vec!["organizations/default/vehicles/V1".into()],
        start_time: at(0),
        end_time: at(100),
        interval_ms: 10_000,
        limit: 4,
        ..api::QueryPositionsRequest::default()
    };
    let mut stream = client.query_positions(request).await.unwrap().into_inner();
    let mut parts = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        parts.push(message.part.unwrap());
    }
    let [PositionPart::Begin(_), PositionPart::Track(track), PositionPart::End(end)] = parts.as_slice()
    else {
        panic!("{parts:?}")
    };
    assert_eq!(track.latitude_e7, [0, 1_000, 2_000, 3_000]);
    assert_eq!(track.time_ns_delta[1..], [10_000_000_000; 3]);
    assert!(end.limited && end.rows == 4);
    assert_eq!(book.asked.lock().clone().unwrap().signals[0], signal::LATITUDE);
}

#[tokio::test]
async fn journeys_come_in_pages() {
    let book = Arc::new(FakeHistory::default());
    let (_console, mut client) = console(&book, 3).await;
    let mut request = api::ListJourneysRequest {
        parent: "organizations/default".into(),
        filter: "vehicle = *".into(),
        start_time: at(0),
        end_time: at(100),
        page_size: 2,
        track_points: 5,
        ..api::ListJourneysRequest::default()
    };
    let page = client.list_journeys(request.clone()).await.unwrap().into_inner();
    assert_eq!(page.journeys.len(), 2);
    let journey = &page.journeys[0];
    assert_eq!((journey.distance_m, journey.start.unwrap().latitude), (1_234.5, 60.171));
    assert_eq!(journey.track.clone().unwrap().latitude_e7.len(), 5);
    request.page_token = page.next_page_token;
    client.list_journeys(request.clone()).await.unwrap();
    let (vehicle, start_ns) = book.asked_journeys.lock().clone().unwrap().after.unwrap();
    assert_eq!((vehicle.as_str(), start_ns), ("V000001", BEGIN_S * 1_000_000_000));
    request.track_points = 1_001;
    let refused = client.list_journeys(request).await.unwrap_err();
    assert!(refused.message().contains("QueryPositions"), "{}", refused.message());
}

#[tokio::test]
async fn erasures_are_previewed_asked_for_and_listed() {
    let book = Arc::new(FakeHistory::default());
    let (_console, mut client) = console(&book, 3).await;
    let request = |reason: &str| api::EraseHistoryRequest {
        parent: "organizations/default".into(),
        vehicle: "organizations/default/vehicles/V1".into(),
        start_time: at(5),
        classes: vec!["position".into()],
        reason: reason.into(),
        ..api::EraseHistoryRequest::default()
    };
    let preview = api::EraseHistoryRequest { validate_only: true, ..request("asked") };
    let answer = client.erase_history(preview).await.unwrap().into_inner();
    let found = answer.preview.unwrap();
    assert_eq!((found.files, found.rows, found.blanked_rows, answer.erasure), (2, 7, 1, None));
    assert!(book.erasures.asked.lock().is_empty());
    for reason in ["first", "second", "third"] {
        let erasure = client.erase_history(request(reason)).await.unwrap().into_inner().erasure.unwrap();
        assert_eq!((erasure.reason.as_str(), erasure.start_time), (reason, at(5)));
    }
    let asked = book.erasures.asked.lock().clone();
    assert_eq!(asked[0].vehicle.map(|v| v.to_string()).as_deref(), Some("V1"));
    assert!(!asked[0].by.is_empty() && asked[0].classes.len() == 1);
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let parent = "organizations/default".to_owned();
        let list = api::ListErasuresRequest { parent, page_size: 2, page_token: token };
        let page = client.list_erasures(list).await.unwrap().into_inner();
        names.extend(page.erasures.into_iter().map(|erasure| (erasure.name.clone(), erasure.state())));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let name = |n: u32| format!("organizations/default/erasures/{n:04x}");
    let hidden = api::ErasureState::Hidden;
    assert_eq!(names, [(name(2), hidden), (name(1), hidden), (name(0), api::ErasureState::Rewritten)]);
    let got = client.get_erasure(api::GetErasureRequest { name: name(1) }).await.unwrap().into_inner();
    assert_eq!((got.reason.as_str(), got.rows), ("second", 3));
    let none = client.get_erasure(api::GetErasureRequest { name: name(9) }).await.unwrap_err();
    assert_eq!(reason_of(&none), (Code::NotFound, "ERASURE_NOT_FOUND".into()));
    for (wrong, reason) in [
        (request(""), "FIELD_INVALID"),
        (request("none"), "ERASURE_INVALID"),
        (api::EraseHistoryRequest { all_vehicles: true, ..request("a") }, "FIELD_INVALID"),
        (api::EraseHistoryRequest { vehicle: String::new(), ..request("a") }, "FIELD_INVALID"),
        (api::EraseHistoryRequest { classes: vec!["smell".into()], ..request("a") }, "FIELD_INVALID"),
    ] {
        let refused = client.erase_history(wrong).await.unwrap_err();
        assert_eq!(reason_of(&refused), (Code::InvalidArgument, reason.into()), "{refused}");
    }
}
