//! History from outside: `remudactl history` of a real cloud whose vehicles were real agents. What it shows and exports is
//! what the ledger counts on the disks, whoever reads it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use remuda_e2e::cloud::CloudPlace;
use remuda_e2e::{Cloud, Process, binary, wait_until, workspace_root};
use remuda_lake::RowBody;
use remuda_model::signal::{self, SignalId};
use serde_json::{Value, json};

const VEHICLES: usize = 6;
const SIGNALS: [SignalId; 2] = [signal::SPEED, signal::ODOMETER];

fn ctl(cloud: &Cloud, args: &[&str]) -> Output {
    Command::new(binary("remudactl"))
        .args(args)
        .env("REMUDA_SERVER", format!("http://{}", cloud.console))
        .env("REMUDA_TOKEN", &cloud.token)
        .output()
        .expect("remudactl runs")
}

fn text(cloud: &Cloud, args: &[&str]) -> String {
    let output = ctl(cloud, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(cloud: &Cloud, args: &[&str]) -> Value {
    serde_json::from_str(&text(cloud, args)).expect("JSON")
}

/// All that there is: vehicles' clocks need not be ours.
const RANGE: [&str; 5] = ["--all", "--from", "-2d", "--to", "2100-01-01"];

/// A cloud that is compacting, with rows in `history/` and in `fresh/`, and vehicles that have ended.
fn scene(folder: &Path) -> (CloudPlace, Cloud) {
    let mut place = CloudPlace::new(folder)
        .with("LAKE__ROUND_INTERVAL_MS", "200")
        .with("LAKE__CHECKPOINT_INTERVAL_MS", "500")
        .with("LAKE__COMPACT_INTERVAL_S", "1");
    let mut cloud = place.start("");
    let data = folder.join("vehicles").to_string_lossy().into_owned();
    let count = VEHICLES.to_string();
    let args = [
        "fleet",
        "--vehicles",
        &count,
        "--rate",
        "10",
        "--seed",
        "5",
        "--door",
        &cloud.door,
        "--data",
        &data,
    ];
    let mut vehicles = Process::start("remuda-sim", &args, &[], &folder.join("logs"));
    wait_until("rows are compacted", || cloud.metric("remuda_lake_rows_compacted_total", "") >= 200.0);
    let before = cloud.metric("remuda_vehicles_frames_durable_total", "");
    wait_until("more have come", || {
        cloud.metric("remuda_vehicles_frames_durable_total", "") >= before + 3.0 * VEHICLES as f64
    });
    assert!(vehicles.stop(), "{}", vehicles.log_end());
    // What was on its way is written when it ends; from then on nothing changes.
    assert!(cloud.process.stop(), "{}", cloud.process.log_end());
    let cloud = place.start("");
    (place, cloud)
}

/// What lies on the disks: of signals how many values and their sum, of vehicles how many positions.
fn on_disk(data: &Path) -> (BTreeMap<String, (u64, f64)>, BTreeMap<String, u64>) {
    let mut signals: BTreeMap<String, (u64, f64)> = BTreeMap::new();
    let mut positions: BTreeMap<String, u64> = BTreeMap::new();
    remuda_ledger::for_each_row(data, |row| {
        let RowBody::Samples(values) = &row.body else { return };
        let of = |wanted: SignalId| values.iter().find(|(id, _)| *id == wanted);
        for known in SIGNALS.iter().filter_map(|id| signal::by_id(*id)) {
            if let Some((_, raw)) = of(known.id) {
                let (count, sum) = signals.entry(known.path.to_owned()).or_default();
                *count += 1;
                *sum += known.to_physical(*raw);
            }
        }
        if of(signal::LATITUDE).is_some() && of(signal::LONGITUDE).is_some() {
            *positions.entry(row.vehicle.to_string()).or_default() += 1;
        }
    })
    .expect("the lake can be read");
    (signals, positions)
}

const EXPORTS: [(&str, &str, bool); 8] = [
    ("samples.csv", "csv", true),
    ("wide.csv", "csv-wide", true),
    ("samples.parquet", "parquet", true),
    ("all.mcap", "mcap", true),
    ("tracks.geojson", "geojson", false),
    ("points.geojson", "geojson-points", false),
    ("tracks.gpx", "gpx", false),
    ("tracks.kml", "kml", false),
];

fn export_all(cloud: &Cloud, to: &Path) {
    for (name, format, with_signals) in EXPORTS {
        let file = to.join(name).to_string_lossy().into_owned();
        let mut args = vec!["history", "export", "--format", format, "--out", &file, "-o", "json"];
        args.extend(RANGE);
        if with_signals {
            args.extend(["--signal", "speed", "--signal", "Vehicle.TraveledDistance"]);
        }
        let said = json(cloud, &args);
        assert!(said["records"].as_u64().is_some_and(|n| n > 0), "{format}: {said}");
        assert_eq!(
            said["bytes"].as_u64(),
            std::fs::metadata(to.join(name)).ok().map(|m| m.len()),
            "{format}"
        );
    }
    let left = std::fs::read_dir(to).expect("a folder").count();
    assert_eq!(left, EXPORTS.len(), "no temporary file is left");
}

/// Counts by bucket, from JSON.
fn counted(cloud: &Cloud) -> BTreeMap<String, u64> {
    let mut args = vec!["history", "query", "-s", "speed,Vehicle.TraveledDistance", "--bucket", "10s"];
    args.extend(["--agg", "count", "-o", "json"]);
    args.extend(RANGE);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for row in json(cloud, &args)["rows"].as_array().expect("rows") {
        for (signal, count) in row["values"].as_object().expect("values") {
            *counts.entry(signal.clone()).or_default() += count.as_f64().unwrap_or(0.0) as u64;
        }
    }
    counts
}

#[test]
fn what_is_shown_and_exported_is_what_the_ledger_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let (place, mut cloud) = scene(folder.path());
    let exports = folder.path().join("exports");
    std::fs::create_dir_all(&exports).expect("a folder");
    export_all(&cloud, &exports);
    let counted = counted(&cloud);
    asked_by_hand(&cloud);
    assert!(cloud.process.stop(), "{}", cloud.process.log_end());

    let data: PathBuf = place.data();
    let ledger = remuda_ledger::count_blocking(&data, &[folder.path().join("vehicles")])
        .expect("the disks can be read");
    assert!(ledger.balances(), "{ledger:#?}");
    let (signals, positions) = on_disk(&data);
    assert_eq!((signals.len(), positions.len()), (SIGNALS.len(), VEHICLES), "{signals:?} {positions:?}");
    let counts: BTreeMap<String, u64> =
        signals.iter().map(|(path, (count, _))| (path.clone(), *count)).collect();
    assert_eq!(counted, counts, "by buckets");

    let python = workspace_root().join("target/venv/bin/python");
    if !python.is_file() {
        eprintln!("skipped: no Python environment with readers; `cargo xtask install` makes it");
        return;
    }
    let read = Command::new(&python)
        .arg(workspace_root().join("tests/e2e/readers/exports.py"))
        .arg(&exports)
        .output()
        .expect("python runs");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let said: Value = serde_json::from_slice(&read.stdout).expect("one JSON object");
    for (format, found) in said["samples"].as_object().expect("samples") {
        for (path, (count, sum)) in &signals {
            assert_eq!(found[path][0], json!(count), "{path} in {format}");
            let off = (found[path][1].as_f64().unwrap_or(f64::NAN) - sum).abs();
            assert!(off <= 1e-6 * sum.abs().max(1.0), "{path} in {format}: {} is not {sum}", found[path][1]);
        }
    }
    for (format, found) in said["positions"].as_object().expect("positions") {
        assert_eq!(found, &json!(positions), "{format}");
    }
    eprintln!("{} rows; each format has {counts:?} and {positions:?}", ledger.rows_stored);
}

/// What a person would type.
fn asked_by_hand(cloud: &Cloud) {
    let first = text(cloud, &["vehicles", "list", "-o", "name", "--limit", "1"]);
    let vehicle = first.trim().rsplit('/').next().expect("a name").to_owned();
    let range = &RANGE[1..];
    let with = |head: &[&str]| -> String {
        let mut args = vec!["history"];
        args.extend(head);
        args.extend(range);
        text(cloud, &args)
    };
    let table = with(&["query", &vehicle, "-s", "speed", "--limit", "5"]);
    assert_eq!(table.lines().count(), 6, "{table}");
    assert!(table.contains("Vehicle.Speed [km/h]") && table.contains(&vehicle), "{table}");
    let few = with(&["query", &vehicle, "-s", "speed", "--points", "20", "-o", "ndjson"]);
    assert!((2..=20).contains(&few.lines().count()), "{few}");
    let plot = text(
        cloud,
        &["history", "query", &vehicle, "-s", "speed", "--plot", "--from", "-10m", "--to", "now"],
    );
    assert!(plot.contains(&format!("━ {vehicle} Vehicle.Speed [km/h]")), "{plot}");
    let drawn = plot.chars().filter(|c| ('\u{2801}'..='\u{28ff}').contains(c)).count();
    assert!(drawn > 0, "{plot}");
    let journeys: Value = serde_json::from_str(&with(&["journeys", &vehicle, "-o", "json"])).expect("JSON");
    assert!(journeys["journeys"].is_array(), "{journeys}");
    let wrong = ctl(cloud, &["history", "query", &vehicle, "--signal", "Vehicle.Sped"]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(wrong.status.code(), Some(2), "{said}");
    assert!(said.contains("did you mean Vehicle.Speed?"), "{said}");
}
