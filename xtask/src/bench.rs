//! The figures of `docs/benchmarks.md`, each beside a baseline from the same run, since these machines are noisy.

mod backup;
mod bookings;
mod business;
mod console;
mod feeds;
mod figures;
mod history;
mod scene;
mod vehicles;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::run::{Outcome, cargo, root, run, target};

/// One figure with its baseline.
#[derive(Debug, Clone)]
pub struct Figure {
    value: f64,
    unit: &'static str,
    baseline: Option<(f64, String)>,
}

/// Figures by name.
type Figures = BTreeMap<&'static str, Figure>;

/// A group of figures that one run gives.
struct Group {
    names: &'static [&'static str],
    measure: fn(&scene::Scene, &mut Figures) -> Outcome,
}

/// Programs that measure.
const EXAMPLES: &[&str] = &[
    "backup_figures",
    "bookings",
    "compaction_figures",
    "console_figures",
    "fake_fleet",
    "feed_figures",
    "history_figures",
    "journal_figures",
    "record_drive",
];

const GROUPS: &[Group] = &[
    Group {
        names: &[
            "ingest_durable_frames_per_second",
            "ingest_share_of_bare_broker",
            "lake_bytes_per_row_fresh",
            "lake_rows_per_file",
        ],
        measure: figures::ingest,
    },
    Group { names: &["ingest_durable_frames_per_second_tls"], measure: figures::ingest_tls },
    Group { names: &["memory_per_connected_vehicle_kb"], measure: figures::memory },
    Group { names: &["memory_per_connected_vehicle_tls_kb"], measure: figures::memory_tls },
    Group { names: &["wire_bytes_per_sample_real_drive"], measure: figures::wire },
    Group { names: &["wire_bytes_per_sample_simulated"], measure: figures::driving },
    Group {
        names: &["events_ack_p50_ms", "events_ack_p99_ms", "samples_ack_p50_ms", "samples_ack_p99_ms"],
        measure: vehicles::acks,
    },
    Group { names: &["reconnect_15k_seconds"], measure: vehicles::reconnect },
    Group { names: &["reconnect_15k_tls_seconds"], measure: vehicles::reconnect_tls },
    Group { names: &["backlog_drain_hours_per_minute"], measure: vehicles::drain },
    Group { names: &["overload_goodput_ratio"], measure: vehicles::overload },
    Group { names: &["flash_bytes_per_frame"], measure: vehicles::flash },
    Group { names: &["backup_mb_per_second", "backup_ingest_slowdown_percent"], measure: backup::backup },
    Group { names: business::JOURNAL, measure: business::journal },
    Group { names: bookings::BOOKINGS, measure: bookings::bookings },
    Group { names: &["firehose_events_per_second"], measure: feeds::feeds },
    Group { names: console::UNARY, measure: console::unary },
    Group { names: console::LOADED, measure: console::loaded },
    Group { names: console::WATCH, measure: console::watch },
    Group {
        names: &[
            "history_p95_ms",
            "history_scan_rows_per_second",
            "erase_vehicle_seconds_tombstone",
            "erase_vehicle_seconds_rewritten",
        ],
        measure: history::history,
    },
    Group {
        names: &["lake_bytes_per_row_compacted", "compaction_rows_per_second", "compaction_core_share"],
        measure: history::compaction,
    },
];

/// Measures the groups that have a figure whose name contains one of `names` (all, when there are none), and prints.
pub fn bench(names: &[String], json: bool, seconds: u64, billion: bool) -> Outcome {
    let wanted = |group: &&Group| {
        names.is_empty()
            || names.iter().any(|name| group.names.iter().any(|figure| figure.contains(name.as_str())))
    };
    let chosen: Vec<&Group> = GROUPS.iter().filter(wanted).collect();
    if chosen.is_empty() {
        let known: Vec<&str> = GROUPS.iter().flat_map(|g| g.names.iter().copied()).collect();
        return Err(format!("no figure is called like that; there are: {}", known.join(", ")));
    }
    eprintln!("building with optimisation");
    // In one go with the whole workspace: a package's example alone asks for other features of what it depends on, which
    // would then be built again for each.
    let examples = EXAMPLES.iter().flat_map(|example| ["--example", example]);
    run(cargo().args(["build", "--release", "--quiet", "--workspace", "--bins"]).args(examples))?;
    let mut baseline = cargo();
    baseline.args(["build", "--release", "--quiet"]).current_dir(root().join("tests/baseline"));
    run(baseline.env("CARGO_TARGET_DIR", target().join("baseline")))?;
    let scene = scene::Scene::new(seconds, billion)?;
    let mut figures = Figures::new();
    // What was measured is shown, whatever became of the rest.
    let mut failed = Vec::new();
    for group in chosen {
        eprintln!("measuring {}", group.names.join(", "));
        if let Err(error) = (group.measure)(&scene, &mut figures) {
            eprintln!("not measured: {error}");
            failed.push(error);
        }
    }
    if json {
        println!("{}", to_json(&figures));
    } else {
        for (name, figure) in &figures {
            let beside = figure
                .baseline
                .as_ref()
                .map(|(v, what)| format!("   beside {v:.1} ({what})"))
                .unwrap_or_default();
            println!("{name:44} {:>12.2} {}{beside}", figure.value, figure.unit);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}

/// Where one of [`EXAMPLES`] is.
fn example(name: &str) -> PathBuf {
    target().join("release/examples").join(name)
}

fn to_json(figures: &Figures) -> serde_json::Value {
    let entry = |figure: &Figure| {
        let (baseline, name) = figure.baseline.clone().map_or((None, None), |(v, n)| (Some(v), Some(n)));
        serde_json::json!({
            "value": figure.value, "unit": figure.unit, "baseline": baseline, "baseline_name": name
        })
    };
    figures.iter().map(|(name, figure)| ((*name).to_owned(), entry(figure))).collect()
}
