//! The lake from outside: compacted by a running node and by hand, read by the tools that data people use, verified.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use remuda_e2e::cloud::CloudPlace;
use remuda_e2e::{Cloud, Process, binary, wait_until, workspace_root};
use remuda_lake::RowBody;
use remuda_ledger::Ledger;
use remuda_model::signal;
use serde_json::{Value, json};

fn start_vehicles(folder: &Path, door: &str) -> Process {
    let data = folder.join("vehicles").to_string_lossy().into_owned();
    let args = ["fleet", "--vehicles", "20", "--rate", "5", "--seed", "11", "--door", door, "--data", &data];
    Process::start("remuda-sim", &args, &[], &folder.join("logs"))
}

fn lake(data: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(binary("remuda"));
    command.args(["lake", "--data"]).arg(data).args(args);
    command.output().expect("remuda runs")
}

fn lake_json(data: &Path, args: &[&str]) -> Value {
    let output = lake(data, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn count(folder: &Path, data: &Path) -> Ledger {
    remuda_ledger::count_blocking(data, &[folder.join("vehicles")]).expect("the disks can be read")
}

/// Rows of each kind, and of each signal how many values and their sum, as our own reader finds them.
fn ours(data: &Path) -> Value {
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    let mut signals: BTreeMap<String, (u64, i64)> = BTreeMap::new();
    let mut rows = 0;
    remuda_ledger::for_each_row(data, |row| {
        rows += 1;
        *kinds.entry(row.body.kind().to_string()).or_default() += 1;
        if let RowBody::Samples(values) = &row.body {
            for (id, raw) in values {
                let (count, sum) = signals.entry(signal::by_id(*id).expect("known").path.into()).or_default();
                *count += 1;
                *sum += raw;
            }
        }
    })
    .expect("the lake can be read");
    json!({ "rows": rows, "kinds": kinds, "signals": signals })
}

fn metric(cloud: &Cloud, name: &str) -> f64 {
    cloud.metric(name, "")
}

/// A lake that a cloud compacted while it ran, and while it was killed.
fn a_lake(folder: &Path) -> PathBuf {
    let mut place = CloudPlace::new(folder)
        .with("LAKE__ROUND_INTERVAL_MS", "100")
        .with("LAKE__CHECKPOINT_INTERVAL_MS", "500")
        .with("LAKE__COMPACT_INTERVAL_S", "1")
        .with("VEHICLES__IDLE_S", "1");
    let mut cloud = place.start("");
    let mut vehicles = start_vehicles(folder, &cloud.door);
    let moved = |cloud: &Cloud, rows: f64| {
        wait_until("rows are compacted", || metric(cloud, "remuda_lake_rows_compacted_total") >= rows);
    };
    moved(&cloud, 300.0);
    cloud.process.kill();
    let mut cloud = place.start("");
    moved(&cloud, 300.0);
    assert!(vehicles.stop(), "{}", vehicles.log_end());
    assert!(cloud.process.stop(), "{}", cloud.process.log_end());
    place.data()
}

#[test]
fn history_is_read_by_everybodys_tools_with_the_ledgers_counts_and_sums() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = a_lake(folder.path());
    let before = count(folder.path(), &data);
    assert!(before.balances(), "{before:#?}");
    let ours_before = ours(&data);
    let done = lake_json(&data, &["compact", "--full", "--json"]);
    assert_eq!((&done["waiting_files"], &done["interrupted"]), (&json!(0), &json!(false)), "{done}");
    let after = count(folder.path(), &data);
    assert!(after.balances(), "{after:#?}");
    let figures = |l: &Ledger| (l.frames_made, l.frames_stored, l.rows_stored, l.samples_stored, l.gaps);
    assert_eq!(figures(&before), figures(&after), "the ledger counts the same before and after");
    assert_eq!(ours(&data), ours_before);

    let stats = lake_json(&data, &["stats", "--json"]);
    assert_eq!(stats["fresh"]["files"], 0, "{stats}");
    let files = lake_json(&data, &["files", "--json"]);
    let listed: u64 =
        files["files"].as_array().expect("a list").iter().map(|f| f["rows"].as_u64().unwrap_or(0)).sum();
    assert_eq!(json!(listed), ours_before["rows"]);

    let python = workspace_root().join("target/venv/bin/python");
    if !python.is_file() {
        eprintln!("skipped: no Python environment with readers; `cargo xtask install` makes it");
        return;
    }
    let read = Command::new(&python)
        .arg(workspace_root().join("tests/e2e/readers/history.py"))
        .arg(data.join("lake"))
        .output()
        .expect("python runs");
    let said = String::from_utf8_lossy(&read.stdout).into_owned();
    assert!(read.status.success(), "the readers differ: {said}{}", String::from_utf8_lossy(&read.stderr));
    let said: Value = serde_json::from_str(&said).expect("one JSON object");
    for (reader, answer) in said["readers"].as_object().expect("readers") {
        for what in ["rows", "kinds", "signals"] {
            assert_eq!(answer[what], ours_before[what], "{what} by {reader}");
        }
        assert_eq!(answer["vehicles"], 20, "by {reader}");
    }
    let speed = &said["units"]["Vehicle.Speed"];
    let known = signal::by_id(signal::SPEED).expect("known");
    let expected =
        json!({ "unit": known.unit, "scale": known.scale.to_string(), "signal_id": known.id.0.to_string() });
    assert_eq!(speed, &expected, "the unit stands in the column's own metadata");
    eprintln!(
        "{} rows read alike by {:?}",
        ours_before["rows"],
        said["readers"].as_object().map(|r| r.len())
    );
}

#[test]
fn verify_says_what_is_wrong_and_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = a_lake(folder.path());
    lake_json(&data, &["compact", "--json"]);
    let found = lake_json(&data, &["verify", "--deep", "--json"]);
    assert_eq!(found["faults"], json!([]), "{found}");
    let files = lake_json(&data, &["files", "--json"]);
    let path = files["files"][0]["path"].as_str().expect("a path").to_owned();
    let file = data.join("lake").join(&path);
    let whole = std::fs::read(&file).expect("read");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let stray = file.with_file_name("mine.parquet");
    for kind in ["changed", "truncated", "missing", "stray"] {
        match kind {
            "changed" => std::fs::write(&file, &flipped).expect("written"),
            "truncated" => std::fs::write(&file, &whole[..whole.len() - 20]).expect("written"),
            "missing" => std::fs::remove_file(&file).expect("removed"),
            _ => assert!(std::fs::copy(&file, &stray).expect("copied") > 0),
        }
        let output = lake(&data, &["verify", "--json"]);
        assert_eq!(output.status.code(), Some(1), "{kind}");
        let found: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        assert_eq!(found["faults"][0]["kind"], kind, "{found}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("what to do: "), "{said}");
        std::fs::write(&file, &whole).expect("written");
    }
}
