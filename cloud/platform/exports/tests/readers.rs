//! What is written, read by other people's libraries and checked against the formats' own schemas (`tests/readers.py`).

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

use remuda_exports::{
    GeoJsonLines, GeoJsonPoints, Gpx, Kml, LongCsv, LongParquet, Mcap, Position, Sample, Series, Signal,
    Track, Tracks, Value, WideCsv,
};
use serde_json::json;

const BEGIN_NS: i64 = 1_700_000_000_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;
const SPEED: usize = 0;

/// Ids that need escaping in one format or another.
const VEHICLES: [&str; 3] = ["V1", "V \"2\" <&>, /é%\u{1}", "FIJI"];

fn position(vehicle: usize, n: i64) -> Position {
    // Two gaps, of ten minutes.
    let seconds = n + n / 100 * 600;
    let step = n as f64 * 1e-3;
    // The last one drives over the antimeridian.
    let longitude = if vehicle == 2 { 179.85 + step } else { 24.9 + step };
    Position {
        time_ns: BEGIN_NS + seconds * SECOND_NS + n * 1_000_000,
        latitude: if vehicle == 2 { -17.0 } else { 60.17 } - step / 2.0,
        longitude: if longitude > 180.0 { longitude - 360.0 } else { longitude },
        altitude_m: (vehicle != 1 || n % 2 == 0).then_some(12.5 + step),
        speed_kmh: (n % 10 != 0).then_some(if n == 11 { f64::NAN } else { 36.0 }),
        heading_deg: Some(359.99),
        accuracy_m: (vehicle == 0).then_some(2.0),
    }
}

fn positions(vehicle: usize) -> Vec<Position> {
    (0..250).map(|n| position(vehicle, n)).collect()
}

fn signals() -> Vec<Signal> {
    let signal = |path: &str, unit: &str, decimals| Signal { path: path.into(), unit: unit.into(), decimals };
    vec![
        signal("Vehicle.Speed", "km/h", Some(2)),
        signal("Vehicle.IsMoving", "", None),
        signal("Vehicle.LowVoltageSystemState", "", None),
    ]
}

fn value(signal: usize, n: i64) -> Option<Value> {
    match signal {
        _ if n % 50 == 49 => None,
        SPEED if n == 7 => Some(Value::Number(f64::INFINITY)),
        SPEED => Some(Value::Number(n as f64 * 0.01)),
        1 => Some(Value::Boolean(n % 2 == 0)),
        _ => Some(Value::Text(if n % 2 == 0 { "ON" } else { "OFF, \"<late>\"\r\n" }.into())),
    }
}

fn samples(signal: usize) -> Vec<Sample> {
    (0..SAMPLES).map(|n| Sample { time_ns: BEGIN_NS + n * SECOND_NS, value: value(signal, n) }).collect()
}

/// More than one chunk of MCAP and one row group of Parquet.
const SAMPLES: i64 = 8_000;

fn file(folder: &Path, name: &str) -> BufWriter<File> {
    BufWriter::new(File::create(folder.join(name)).expect("a file"))
}

fn write_tracks(mut to: Box<dyn Tracks>) {
    for (n, vehicle) in VEHICLES.iter().enumerate() {
        let properties =
            vec![("distance_m".to_owned(), json!(1234.5)), ("under_way".to_owned(), json!(false))];
        let name = format!("way of {vehicle}");
        to.begin(&Track { vehicle: (*vehicle).to_owned(), name, properties }).expect("begun");
        for piece in positions(n).chunks(33) {
            to.positions(piece).expect("written");
        }
    }
    let summary = to.finish().expect("finished");
    assert_eq!((summary.records, summary.tracks, summary.segments), (750, 3, 9));
}

fn write_series(mut to: Box<dyn Series>) {
    for vehicle in VEHICLES {
        for (n, signal) in signals().iter().enumerate() {
            for piece in samples(n).chunks(1_000) {
                to.samples(vehicle, signal, piece).expect("written");
            }
        }
    }
    to.finish().expect("finished");
}

fn write_all(folder: &Path) {
    write_tracks(Box::new(GeoJsonPoints::new(file(folder, "points.geojson")).expect("begun")));
    write_tracks(Box::new(GeoJsonLines::new(file(folder, "lines.geojson")).expect("begun")));
    write_tracks(Box::new(Gpx::new(file(folder, "tracks.gpx"), "ways <&>").expect("begun")));
    write_tracks(Box::new(Kml::new(file(folder, "tracks.kml"), "ways <&>").expect("begun")));
    write_tracks(Box::new(Mcap::new(file(folder, "tracks.mcap")).expect("begun")));
    write_series(Box::new(LongCsv::new(file(folder, "long.csv")).expect("begun")));
    write_series(Box::new(LongParquet::new(file(folder, "long.parquet")).expect("begun")));
    write_series(Box::new(Mcap::new(file(folder, "series.mcap")).expect("begun")));
    let mut wide = WideCsv::new(file(folder, "wide.csv"), &signals()).expect("begun");
    for vehicle in VEHICLES {
        for n in 0..SAMPLES {
            let values: Vec<Option<Value>> = (0..3).map(|signal| value(signal, n)).collect();
            wide.row(vehicle, BEGIN_NS + n * SECOND_NS, &values).expect("written");
        }
    }
    wide.finish().expect("finished");
}

/// What was given, for the readers to compare with.
fn expected() -> serde_json::Value {
    let finite = |v: Option<f64>| v.filter(|v| v.is_finite());
    let tracks: Vec<serde_json::Value> = VEHICLES
        .iter()
        .enumerate()
        .map(|(n, vehicle)| {
            let positions: Vec<serde_json::Value> = positions(n)
                .iter()
                .map(|p| json!([p.time_ns, p.longitude, p.latitude, p.altitude_m, finite(p.speed_kmh)]))
                .collect();
            json!({ "vehicle": vehicle, "positions": positions })
        })
        .collect();
    let value_of = |signal: usize, n: i64| match value(signal, n) {
        Some(Value::Number(number)) => json!(number),
        Some(Value::Boolean(yes)) => json!(yes),
        Some(Value::Text(text)) => json!(text.as_ref()),
        None => json!(null),
    };
    let series: Vec<serde_json::Value> = signals()
        .iter()
        .enumerate()
        .map(|(n, signal)| {
            let values: Vec<serde_json::Value> = (0..SAMPLES).map(|i| value_of(n, i)).collect();
            json!({ "signal": signal.path, "unit": signal.unit, "values": values })
        })
        .collect();
    json!({ "begin_ns": BEGIN_NS, "vehicles": VEHICLES, "tracks": tracks, "series": series })
}

#[test]
fn other_peoples_libraries_read_what_was_given() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python: PathBuf = root.join("../../../target/venv/bin/python");
    if !python.is_file() {
        eprintln!("skipped: no Python environment with readers; `cargo xtask install` makes it");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    write_all(folder.path());
    std::fs::write(folder.path().join("expected.json"), expected().to_string()).expect("written");
    let read = Command::new(&python)
        .arg(root.join("tests/readers.py"))
        .arg(folder.path())
        .output()
        .expect("python runs");
    let said = String::from_utf8_lossy(&read.stdout).into_owned();
    assert!(read.status.success(), "{said}{}", String::from_utf8_lossy(&read.stderr));
    eprintln!("{}", said.trim());
}
