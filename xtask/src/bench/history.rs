//! How quickly history is found and read, with DuckDB on the same files beside.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::figures::number;
use super::scene::Scene;
use super::{Figure, Figures};
use crate::run::{Outcome, cargo, output, root, run, target};
use crate::tools;

/// Vehicles and hours of the data: 56 million rows of 18 signals, a billion samples. Made once, and kept.
const SIZE: (&str, &str) = ("1000", "16");
/// Questions of one vehicle, one hour and one signal.
const QUERIES: &str = "400";

fn example() -> PathBuf {
    target().join("release/examples/history_figures")
}

/// The data's folder, its files written by the lake itself.
fn data() -> Result<PathBuf, String> {
    let (vehicles, hours) = SIZE;
    let folder = target().join(format!("bench-history-{vehicles}-{hours}"));
    if !folder.join("manifest.json").is_file() {
        if folder.exists() {
            std::fs::remove_dir_all(&folder)
                .map_err(|e| format!("cannot remove {}: {e}", folder.display()))?;
        }
        eprintln!("writing {vehicles} vehicles x {hours} hours of history to {}", folder.display());
        run(Command::new(example()).arg("make").arg(&folder).args([vehicles, hours]))?;
    }
    Ok(folder)
}

fn json(command: &mut Command) -> Result<Value, String> {
    let text = output(command)?;
    serde_json::from_str(&text).map_err(|e| format!("no JSON was printed: {e}: {text}"))
}

fn same(ours: &Value, theirs: &Value, key: &str) -> Outcome {
    if ours[key] == theirs[key] {
        Ok(())
    } else {
        Err(format!("DuckDB finds another {key}: {} and {}", ours[key], theirs[key]))
    }
}

/// One vehicle, one hour, one signal out of all; then all vehicles of all hours, down-sampled.
pub fn history(_: &Scene, figures: &mut Figures) -> Outcome {
    run(cargo().args([
        "build",
        "--release",
        "--quiet",
        "-p",
        "remuda-lake",
        "--example",
        "history_figures",
    ]))?;
    let folder: &Path = &data()?;
    let ours = json(Command::new(example()).arg("measure").arg(folder).arg(QUERIES))?;
    let script = root().join("tests/e2e/readers/history_figures.py");
    let theirs = json(Command::new(tools::python()?).arg(script).arg(folder))?;
    same(&ours, &theirs, "scan_sum")?;
    same(&ours, &theirs, "scan_buckets")?;
    let samples = number(&ours, "samples")? / 1e6;
    let about = format!(
        "DuckDB on the same files, 2 threads; {samples:.0} million samples; median {:.1} against {:.1}",
        number(&ours, "history_p50_ms")?,
        number(&theirs, "history_p50_ms")?,
    );
    figures.insert(
        "history_p95_ms",
        Figure {
            value: number(&ours, "history_p95_ms")?,
            unit: "ms",
            baseline: Some((number(&theirs, "history_p95_ms")?, about)),
        },
    );
    let about = format!(
        "DuckDB on the same files, 2 threads; {} vehicles, {} hours, 4 signals, a minute a bucket",
        ours["vehicles"], ours["hours"]
    );
    figures.insert(
        "history_scan_rows_per_second",
        Figure {
            value: number(&ours, "history_scan_rows_per_second")?,
            unit: "rows/s",
            baseline: Some((number(&theirs, "history_scan_rows_per_second")?, about)),
        },
    );
    Ok(())
}
