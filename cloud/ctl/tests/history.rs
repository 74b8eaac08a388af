//! `remudactl history` against a server of the same contract.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prost_types::Timestamp;
use remuda_api::telemetry::v1::query_history_request::Mode;
use remuda_api::telemetry::v1::query_history_response::Part;
use remuda_api::telemetry::v1::query_positions_response::Part as PositionPart;
use remuda_api::telemetry::v1::telemetry_service_server::{TelemetryService, TelemetryServiceServer};
use remuda_api::telemetry::v1::{
    AsOf, EraseHistoryRequest, EraseHistoryResponse, Erasure, ErasurePreview, ErasureState,
    GetErasureRequest, HistoryBegin, HistoryEnd, HistoryKind, HistorySamples, HistorySignal, Journey,
    JourneyPlace, ListErasuresRequest, ListErasuresResponse, ListJourneysRequest, ListJourneysResponse,
    QueryHistoryRequest, QueryHistoryResponse, QueryPositionsRequest, QueryPositionsResponse, SampleColumns,
    SignalColumn, Track,
};
use serde_json::Value;
use tokio::process::Command;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

const PATIENCE: Duration = Duration::from_secs(60);
const BEGIN_S: i64 = 1_700_000_000;
const SECOND_NS: i64 = 1_000_000_000;

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Answers by the name of the first vehicle: `endless`, `half`, or samples.
struct Fake {
    endless: Endless,
}

/// What became of an endless answer.
#[derive(Clone, Default)]
struct Endless {
    /// It was asked for.
    begun: Arc<AtomicBool>,
    /// It was given up.
    dropped: Arc<AtomicBool>,
}

struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn name(vehicle: &str) -> String {
    format!("organizations/default/vehicles/{vehicle}")
}

fn begin(signals: &[String]) -> HistoryBegin {
    let signal = |path: &String| {
        let moving = path.ends_with("IsMoving");
        HistorySignal {
            path: path.clone(),
            id: 1,
            unit: if moving { String::new() } else { "km/h".into() },
            step: 0.01,
            kind: if moving { HistoryKind::Boolean } else { HistoryKind::Number }.into(),
            names: Vec::new(),
        }
    };
    HistoryBegin { signals: signals.iter().map(signal).collect(), vehicles: 1, as_of: Some(as_of()) }
}

fn as_of() -> AsOf {
    AsOf {
        manifest_position: 7,
        read_time: Some(Timestamp { seconds: BEGIN_S + 60, nanos: 0 }),
        fresh_files: 1,
        history_files: 2,
        complete_since: Some(Timestamp { seconds: BEGIN_S - 5, nanos: 0 }),
    }
}

/// Three instants, a second apart; the second signal is there at the first and the last.
fn samples(vehicle: &str, signals: usize, buckets: bool) -> Part {
    let mut columns =
        vec![SignalColumn { signal: 0, value: vec![10.0, 20.004, 30.0], ..SignalColumn::default() }];
    if signals > 1 {
        columns.push(SignalColumn {
            signal: 1,
            present: vec![0b101],
            value: vec![1.0, 0.0],
            ..SignalColumn::default()
        });
    }
    if buckets {
        for column in &mut columns {
            column.min = column.value.clone();
            column.max = column.value.iter().map(|v| v + 2.0).collect();
            column.mean = column.value.iter().map(|v| v + 1.0).collect();
            column.count = vec![4; column.value.len()];
        }
    }
    let time_ns_delta = vec![BEGIN_S * SECOND_NS, SECOND_NS, SECOND_NS];
    let columns = vec![SampleColumns { vehicle: name(vehicle), time_ns_delta, signals: columns }];
    Part::Samples(HistorySamples { columns })
}

fn end(rows: i64, limited: bool) -> HistoryEnd {
    HistoryEnd { rows, values: rows, limited, as_of: Some(as_of()), ..HistoryEnd::default() }
}

#[tonic::async_trait]
impl TelemetryService for Fake {
    type QueryHistoryStream = Responses<QueryHistoryResponse>;

    async fn query_history(
        &self,
        request: Request<QueryHistoryRequest>,
    ) -> Result<Response<Self::QueryHistoryStream>, Status> {
        assert!(request.metadata().get("grpc-timeout").is_none(), "a long answer may take its time");
        let request = request.into_inner();
        if let Some(path) = request.signals.iter().find(|path| path.ends_with("Sped")) {
            return Err(Status::invalid_argument(format!("signals: there is no signal `{path}`")));
        }
        let vehicle = request.vehicles.first().and_then(|v| v.rsplit('/').next()).unwrap_or("V1").to_owned();
        let buckets = matches!(request.mode, Some(Mode::Buckets(_)));
        let response = |part| Ok(QueryHistoryResponse { part: Some(part) });
        let mut parts = vec![response(Part::Begin(begin(&request.signals)))];
        parts.push(response(samples(&vehicle, request.signals.len(), buckets)));
        let limited = request.limit > 0 && request.limit <= 3;
        match vehicle.as_str() {
            "endless" => {
                self.endless.begun.store(true, Ordering::SeqCst);
                let guard = OnDrop(self.endless.dropped.clone());
                let endless = tokio_stream::pending().map(move |()| {
                    let _ = &guard;
                    Err(Status::internal("pending ends never"))
                });
                return Ok(Response::new(Box::pin(tokio_stream::iter(parts).chain(endless))));
            }
            "half" => {}
            "nothing" => {
                parts.truncate(1);
                parts.push(response(Part::End(end(0, false))));
            }
            _ => parts.push(response(Part::End(end(3, limited)))),
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(parts))))
    }

    type QueryPositionsStream = Responses<QueryPositionsResponse>;

    async fn query_positions(
        &self,
        request: Request<QueryPositionsRequest>,
    ) -> Result<Response<Self::QueryPositionsStream>, Status> {
        let request = request.into_inner();
        let track = Track {
            vehicle: request.vehicles.first().cloned().unwrap_or_default(),
            time_ns_delta: vec![request.start_time.map_or(0, |t| t.seconds) * SECOND_NS, SECOND_NS],
            latitude_e7: vec![601_700_000, 601_700_100],
            longitude_e7: vec![249_400_000, 249_400_100],
            speed_kmh: vec![36.5, f32::NAN],
            ..Track::default()
        };
        let response = |part| Ok(QueryPositionsResponse { part: Some(part) });
        let parts = [
            response(PositionPart::Begin(begin(&[]))),
            response(PositionPart::Track(track)),
            response(PositionPart::End(end(2, false))),
        ];
        Ok(Response::new(Box::pin(tokio_stream::iter(parts))))
    }

    async fn list_journeys(
        &self,
        request: Request<ListJourneysRequest>,
    ) -> Result<Response<ListJourneysResponse>, Status> {
        let page: i64 = request.get_ref().page_token.parse().unwrap_or(0);
        let time = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let journey = Journey {
            vehicle: name("V1"),
            start_time: time(BEGIN_S + page * 10_000),
            end_time: time(BEGIN_S + page * 10_000 + 3_725),
            under_way: page == 1,
            distance_m: 12_345.67,
            moving_ms: 3_600_000,
            max_speed_kmh: 88.8,
            start: Some(JourneyPlace { latitude: 60.17, longitude: 24.94 }),
            end: None,
            track: None,
        };
        let next_page_token = if page == 0 { "1".into() } else { String::new() };
        Ok(Response::new(ListJourneysResponse {
            journeys: vec![journey],
            next_page_token,
            as_of: Some(as_of()),
        }))
    }

    async fn erase_history(
        &self,
        request: Request<EraseHistoryRequest>,
    ) -> Result<Response<EraseHistoryResponse>, Status> {
        let request = request.into_inner();
        if request.validate_only {
            let preview = ErasurePreview { files: 2, rows: 7, blanked_rows: 0, files_not_looked_at: 1 };
            return Ok(Response::new(EraseHistoryResponse { erasure: None, preview: Some(preview) }));
        }
        let erasure = Erasure {
            name: "organizations/default/erasures/00ff".into(),
            vehicle: request.vehicle,
            start_time: request.start_time,
            end_time: Some(Timestamp { seconds: BEGIN_S, nanos: 0 }),
            classes: request.classes,
            reason: request.reason,
            requested_by: "ada".into(),
            state: ErasureState::Hidden.into(),
            ..Erasure::default()
        };
        Ok(Response::new(EraseHistoryResponse { erasure: Some(erasure), preview: None }))
    }

    async fn list_erasures(
        &self,
        request: Request<ListErasuresRequest>,
    ) -> Result<Response<ListErasuresResponse>, Status> {
        let second = request.into_inner().page_token == "2";
        let erasure = |n: i64| Erasure {
            name: format!("organizations/default/erasures/{n:04x}"),
            rows: n,
            state: ErasureState::Finished.into(),
            ..Erasure::default()
        };
        let erasures = if second { vec![erasure(1)] } else { vec![erasure(3), erasure(2)] };
        let next_page_token = if second { String::new() } else { "2".into() };
        Ok(Response::new(ListErasuresResponse { erasures, next_page_token }))
    }

    async fn get_erasure(&self, _: Request<GetErasureRequest>) -> Result<Response<Erasure>, Status> {
        Err(Status::unimplemented("nobody asks"))
    }
}

async fn start() -> (SocketAddr, Endless) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let endless = Endless::default();
    let server =
        Server::builder().add_service(TelemetryServiceServer::new(Fake { endless: endless.clone() }));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (addr, endless)
}

fn history(addr: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remudactl"));
    command.env_clear().env("REMUDA_SERVER", format!("http://{addr}/#token=t-0123456789abcdef"));
    command.arg("history").args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn run(addr: SocketAddr, arguments: &[&str]) -> (i32, String, String) {
    let output =
        tokio::time::timeout(PATIENCE, history(addr, arguments).output()).await.expect("it ends").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

async fn fine(addr: SocketAddr, arguments: &[&str]) -> String {
    let (code, out, errors) = run(addr, arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {errors}");
    out
}

const QUERY: &[&str] = &["query", "V1", "-s", "speed,Vehicle.IsMoving"];

#[tokio::test]
async fn samples_are_shown_in_every_form() {
    let (addr, _) = start().await;
    let with = |more: &[&'static str]| [QUERY, more].concat();
    let table = fine(addr, QUERY).await;
    let expected = "\
VEHICLE  TIME                      Vehicle.Speed [km/h]  Vehicle.IsMoving
V1       2023-11-14T22:13:20.000Z                    10              true
V1       2023-11-14T22:13:21.000Z                    20                 -
V1       2023-11-14T22:13:22.000Z                    30             false
";
    assert_eq!(table, expected);
    let (_, _, said) = run(addr, QUERY).await;
    assert!(said.contains("retention has removed some of this before 2023-11-14T22:13:15"), "{said}");
    let json: Value = serde_json::from_str(&fine(addr, &with(&["-o", "json"])).await).unwrap();
    assert_eq!(json["rows"][1]["values"], serde_json::json!({ "Vehicle.Speed": 20.0 }));
    assert_eq!((&json["asOf"]["manifestPosition"], &json["end"]["rows"]), (&7.into(), &3.into()));
    assert_eq!(json["signals"][1]["kind"], "boolean");
    let lines = fine(addr, &with(&["-o", "ndjson"])).await;
    let last: Value = serde_json::from_str(lines.lines().nth(2).unwrap()).unwrap();
    assert_eq!(last["values"]["Vehicle.IsMoving"], false);
    let csv = fine(addr, &with(&["-o", "csv"])).await;
    assert!(
        csv.starts_with(
            "vehicle,time,Vehicle.Speed [km/h],Vehicle.IsMoving\r\nV1,2023-11-14T22:13:20.000Z,10,true\r\n"
        ),
        "{csv}"
    );
    let yaml = fine(addr, &with(&["-o", "yaml"])).await;
    assert!(yaml.contains("rows:\n  -\n    time: \"2023-11-14T22:13:20.000Z\""), "{yaml}");
    let buckets = fine(addr, &with(&["-o", "csv", "--bucket", "10s", "--agg", "mean,count"])).await;
    assert!(
        buckets.starts_with("vehicle,time,mean(Vehicle.Speed) [km/h],count(Vehicle.Speed),"),
        "{buckets}"
    );
    assert!(buckets.contains("Z,11,4,2,4\r\n"), "{buckets}");
}

#[tokio::test]
async fn a_plot_is_drawn_without_colours_where_there_is_no_terminal() {
    let (addr, _) = start().await;
    let range = ["--plot", "--from", "2023-11-14T22:13:20Z", "--to", "2023-11-14T22:13:23Z"];
    let plot = fine(addr, &[QUERY, &range].concat()).await;
    assert!(
        plot.contains("━ V1 Vehicle.Speed [km/h]\n") && plot.contains("━ V1 Vehicle.IsMoving\n"),
        "{plot}"
    );
    assert!(!plot.contains('\x1b') && plot.lines().all(|line| line.chars().count() <= 100), "{plot}");
    assert_eq!(plot.matches("2023-11-14 22:13 UTC").count(), 2, "{plot}");
    let (code, out, errors) = run(addr, &["query", "nothing", "-s", "speed", "--plot"]).await;
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(errors.starts_with("no samples from "), "{errors}");
}

#[tokio::test]
async fn mistakes_are_said_in_a_sentence_that_helps() {
    let (addr, _) = start().await;
    for (arguments, code, sentence) in [
        (&["query", "V1"][..], 2, "--signal Vehicle.Speed"),
        (&["query", "-s", "speed"], 2, "which vehicles?"),
        (
            &["query", "V1", "-s", "Vehicle.Sped"],
            2,
            "there is no signal `Vehicle.Sped`; did you mean Vehicle.Speed?",
        ),
        (&["query", "V1", "-s", "islocked"], 2, "say more of the path"),
        (&["query", "V1", "-s", "speed", "--from", "yesterday"], 2, "yesterday is no time; say now, -1h"),
        (&["query", "V1", "-s", "speed", "--from", "now", "--to", "-1h"], 2, "--from must be before --to"),
        (&["query", "V1", "-s", "speed", "--bucket", "10"], 2, "10 is no span of time"),
        (&["query", "V1", "-s", "speed", "--agg", "mean"], 2, "--bucket"),
        (&["query", "V1", "-s", "speed", "-o", "name"], 2, "samples have no names"),
        (&["query", "half", "-s", "speed", "-o", "csv"], 1, "ended before it was complete"),
        (&["query", "endless", "-s", "speed", "-o", "csv", "--timeout", "1"], 1, "did not answer in time"),
        (&["export", "V1", "--out", "a.txt"], 2, "which format?"),
        (&["export", "V1", "--out", "a.csv"], 2, "which signals?"),
        (&["export", "V1", "--out", "a.gpx", "-s", "speed"], 2, "this format holds positions"),
        (&["export", "V1", "--out", "no/such/folder/a.gpx"], 2, "cannot be written"),
    ] {
        let (got, _, errors) = run(addr, arguments).await;
        assert_eq!(got, code, "{arguments:?}: {errors}");
        assert!(errors.contains(sentence), "{arguments:?}: {errors}");
    }
    let (code, _, errors) = run(addr, &["query", "V1", "-s", "speed", "--limit", "3"]).await;
    assert_eq!(code, 0);
    assert!(errors.contains("--limit 0 shows all"), "{errors}");
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < end, "gave up waiting until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn every_format_is_written_whole() {
    let (addr, _) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    for name in ["a.csv", "a.parquet", "a.mcap", "a.geojson", "a.gpx", "a.kml"] {
        let file = path(name);
        let mut arguments = vec!["export", "V1", "--out", &file, "-o", "json"];
        if ["a.csv", "a.parquet", "a.mcap"].contains(&name) {
            arguments.extend(["-s", "speed"]);
        }
        let said: Value = serde_json::from_str(&fine(addr, &arguments).await).unwrap();
        let records = match name {
            "a.csv" | "a.parquet" => 3,
            "a.mcap" => 5,
            _ => 2,
        };
        assert_eq!(said["records"], records, "{name}: {said}");
        assert_eq!(said["bytes"], std::fs::metadata(&file).unwrap().len(), "{name}");
    }
    assert_eq!(files(folder.path()).len(), 6, "nothing else is left");
    let journeys = path("journeys.geojson");
    fine(addr, &["export", "V1", "--journeys", "--out", &journeys]).await;
    let json: Value = serde_json::from_str(&std::fs::read_to_string(&journeys).unwrap()).unwrap();
    assert_eq!(json["features"].as_array().unwrap().len(), 2);
    let first = &json["features"][0];
    assert_eq!(
        (&first["geometry"]["type"], &first["properties"]["distance_m"]),
        (&"LineString".into(), &12_345.7.into())
    );
    assert_eq!(first["properties"]["begin"], "2023-11-14T22:13:20.000Z");
    let out = fine(addr, &["export", "V1", "--format", "gpx", "--out", "-"]).await;
    assert!(out.starts_with("<?xml") && out.ends_with("</gpx>\n"), "{out}");
}

#[tokio::test]
async fn an_interrupted_export_leaves_nothing_and_ends_the_servers_work() {
    let (addr, endless) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.csv");
    std::fs::write(&file, "before").unwrap();
    let out = file.to_string_lossy().into_owned();
    let mut child = history(addr, &["export", "endless", "-s", "speed", "--out", &out]).spawn().unwrap();
    // It listens for the signal before it asks the server.
    until("it asks", || endless.begun.load(Ordering::SeqCst)).await;
    assert_eq!(files(folder.path()).len(), 2, "a temporary file beside the one that is to be replaced");
    assert!(!endless.dropped.load(Ordering::SeqCst));
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await.expect("it ends on Ctrl-C").unwrap();
    assert_eq!(ended.code(), Some(1));
    assert_eq!(files(folder.path()), ["a.csv"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "before");
    until("the server ends its work", || endless.dropped.load(Ordering::SeqCst)).await;
    // Nor does one that the server broke off.
    let (code, _, errors) = run(addr, &["export", "half", "-s", "speed", "--out", &out]).await;
    assert_eq!((code, files(folder.path()).len()), (1, 1), "{errors}");
}

#[tokio::test]
async fn journeys_are_listed_over_all_pages() {
    let (addr, _) = start().await;
    let table = fine(addr, &["journeys", "V1"]).await;
    let row = table.lines().nth(1).unwrap();
    for part in
        ["V1", "2023-11-14T22:13:20Z", "1:02:05", "1:00:00", "12.35 km", "89 km/h", "60.17000 24.94000"]
    {
        assert!(row.contains(part), "{part} in {row}");
    }
    assert!(table.lines().nth(2).unwrap().contains("under way"), "{table}");
    let one = fine(addr, &["journeys", "V1", "--limit", "1", "-o", "ndjson"]).await;
    assert_eq!(one.lines().count(), 1);
    let csv = fine(addr, &["journeys", "--all", "-o", "csv"]).await;
    assert!(
        csv.contains(
            "V1,2023-11-14T22:13:20.000Z,2023-11-14T23:15:25.000Z,false,12345.7,3600000,88.8,60.17,24.94,,"
        ),
        "{csv}"
    );
}

#[tokio::test]
async fn history_is_erased_after_a_look_at_what_would_go() {
    let (addr, _) = start().await;
    let erase = ["erase", "V1", "--from", "-2d", "--class", "position", "--reason", "request 12"];
    let (code, _, said) = run(addr, &erase).await;
    assert!(code != 0 && said.contains("--dry-run"), "{said}");
    let (code, out, said) = run(addr, &[&erase[..], &["--dry-run"]].concat()).await;
    assert_eq!((code, out.as_str()), (0, "7 rows would go, 0 would lose values, in 2 files\n"));
    assert!(said.contains("1 files were not looked at"), "{said}");
    let out = fine(addr, &[&erase[..], &["--yes", "-o", "json"]].concat()).await;
    let json: Value = serde_json::from_str(&out).unwrap();
    let erased = &json["erasures"][0];
    assert_eq!((&erased["vehicle"], &erased["state"]), (&"V1".into(), &"hidden".into()));
    assert_eq!((&erased["classes"][0], &erased["reason"]), (&"position".into(), &"request 12".into()));
    let table = fine(addr, &["erasures"]).await;
    let rows: Vec<&str> = table.lines().skip(1).map(|line| &line[..4]).collect();
    assert_eq!(rows, ["0003", "0002", "0001"], "{table}");
    assert_eq!(fine(addr, &["erasures", "--limit", "2", "-o", "ndjson"]).await.lines().count(), 2);
}
