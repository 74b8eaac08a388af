//! The main job: `remuda demo`, as a new user runs it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use remuda_e2e::{binary, shared_data};
use serde_json::Value;

fn demo(args: &[&str]) -> Value {
    let output = Command::new(binary("remuda")).arg("demo").args(args).output().expect("remuda runs");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the demo failed ({}):\n{log}", output.status);
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(out.trim_end().lines().count(), 1, "one JSON object and nothing else on standard output:\n{out}");
    serde_json::from_str(&out).expect("JSON")
}

fn number(report: &Value, key: &str) -> f64 {
    report[key].as_f64().unwrap_or_else(|| panic!("the report has no number {key}: {report}"))
}

fn check(report: &Value) {
    for key in [
        "vehicles",
        "seconds",
        "frames_made",
        "frames_acked",
        "frames_stored",
        "frames_quarantined",
        "frames_in_outbox",
        "frames_shed",
        "frames_lost",
        "frames_duplicated",
        "samples_stored",
        "ack_p50_ms",
        "ack_p95_ms",
        "frames_per_second",
        "rss_mb",
        "bytes_per_sample_wire",
    ] {
        number(report, key);
    }
    assert_eq!(number(report, "frames_lost"), 0.0, "{report}");
    assert_eq!(number(report, "frames_duplicated"), 0.0, "{report}");
    assert!(number(report, "frames_made") > 0.0, "{report}");
    let classes = ["frames_stored", "frames_quarantined", "frames_in_outbox", "frames_shed", "frames_lost"];
    let sum: f64 = classes.iter().map(|key| number(report, key)).sum();
    assert_eq!(sum, number(report, "frames_made"), "{report}");
}

#[test]
fn runs_counts_and_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("fleet").to_string_lossy().into_owned();
    let args = ["--vehicles", "20", "--for", "4s", "--json", "--data", &data, "--console", "127.0.0.1:0"];
    let first = demo(&args);
    check(&first);
    assert_eq!(number(&first, "vehicles"), 20.0);
    assert!(number(&first, "samples_stored") > 0.0);
    let second = demo(&args);
    check(&second);
    let more = number(&second, "frames_made") - number(&first, "frames_made");
    assert!(more > 0.0, "the second run counts the first one's frames too: {first} then {second}");
}

/// The three real maps: positions stored in the lake lie on drivable ways, in the permitted direction, within limits.
#[test]
fn vehicles_obey_real_maps() {
    for map in ["osm/helsinki.osm.pbf", "osm/columbus.osm.pbf", "osm/monaco.osm.gz"] {
        let Some(path) = shared_data(map) else { continue };
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("fleet").to_string_lossy().into_owned();
        let map_arg = path.to_string_lossy().into_owned();
        let report = demo(&[
            "--map", &map_arg, "--vehicles", "40", "--for", "12s", "--json", "--data", &data, "--console",
            "127.0.0.1:0",
        ]);
        check(&report);
        let checked = positions_on_the_map(&path, Path::new(&data));
        eprintln!("{map}: {checked} stored positions checked");
        assert!(checked > 500, "only {checked} positions of {map} were stored");
    }
}

/// One stored position.
#[derive(Clone, Copy)]
struct Fix {
    latitude: f64,
    longitude: f64,
    heading: f64,
    speed_kmh: f64,
}

fn positions_on_the_map(map: &Path, data: &Path) -> usize {
    let network = remuda_roads::RoadNetwork::load(map).expect("the map loads");
    let mut fixes: BTreeMap<String, Vec<Fix>> = BTreeMap::new();
    remuda_ledger::for_each_row(&data.join("cloud"), |row| {
        let remuda_ledger::lake_row!(values) = &row.body else { return };
        let value = |signal| values.iter().find(|(id, _)| *id == signal).map(|(_, raw)| physical(signal, *raw));
        use remuda_model::signal;
        let fix = (|| {
            Some(Fix {
                latitude: value(signal::LATITUDE)?,
                longitude: value(signal::LONGITUDE)?,
                heading: value(signal::HEADING)?,
                speed_kmh: value(signal::SPEED)?,
            })
        })();
        if let Some(fix) = fix {
            fixes.entry(row.vehicle.to_string()).or_default().push(fix);
        }
    })
    .expect("the lake can be read");
    let mut checked = 0;
    for (vehicle, fixes) in &fixes {
        for fix in fixes {
            check_fix(&network, vehicle, *fix);
            checked += 1;
        }
    }
    checked
}

fn physical(signal: remuda_model::SignalId, raw: i64) -> f64 {
    remuda_model::signal::by_id(signal).map_or(0.0, |def| def.to_physical(raw))
}
