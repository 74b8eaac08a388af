//! How quickly history is found and read, with DuckDB on the same files beside.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::figures::number;
use super::scene::Scene;
use super::{Figure, Figures, example};
use crate::run::{Outcome, output, root, run};
use crate::tools;

/// Vehicles and hours of the data: 4.3 million rows of 18 signals, 78 million samples.
const SIZE: (&str, &str) = ("200", "6");
/// The same for a billion samples, 58 million rows.
const BILLION: (&str, &str) = ("1000", "16");
/// Questions of one vehicle, one hour and one signal.
const QUERIES: &str = "400";
/// Vehicles and seconds of the drive that is compacted: 1.2 million rows.
const DRIVE: (&str, &str) = ("1000", "1200");

/// The data's folder, its files written by the lake itself.
fn data(scene: &Scene) -> Result<PathBuf, String> {
    let (vehicles, hours) = if scene.billion { BILLION } else { SIZE };
    let folder = scene.folder.join("history");
    eprintln!("writing {vehicles} vehicles x {hours} hours of history to {}", folder.display());
    run(Command::new(example("history_figures")).arg("make").arg(&folder).args([vehicles, hours]))?;
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

/// One vehicle, one hour, one signal out of all; then all vehicles of all hours, down-sampled; then a vehicle erased.
pub fn history(scene: &Scene, figures: &mut Figures) -> Outcome {
    let folder: &Path = &data(scene)?;
    let tool = example("history_figures");
    let ours = json(Command::new(&tool).arg("measure").arg(folder).arg(QUERIES))?;
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
    let erased = json(Command::new(&tool).arg("erase").arg(folder))?;
    eprintln!(
        "a vehicle erased: {} of {} files had rows of it; {} rows went; {:.0} MB were written anew",
        erased["touched_files"],
        erased["files"],
        erased["erased_rows"],
        number(&erased, "rewritten_mb")?,
    );
    for (name, key) in [
        ("erase_vehicle_seconds_tombstone", "tombstone_seconds"),
        ("erase_vehicle_seconds_rewritten", "rewritten_seconds"),
    ] {
        let value = number(&erased, key)?;
        figures.insert(name, Figure { value, unit: "s", baseline: None });
    }
    std::fs::remove_dir_all(folder).map_err(|e| format!("cannot remove {}: {e}", folder.display()))
}

/// Fresh files of simulated driving, compacted: how fast, and how small they get beside pco.
pub fn compaction(scene: &Scene, figures: &mut Figures) -> Outcome {
    let (drive, lake) = (scene.folder.join("drive"), scene.folder.join("compacted"));
    let (vehicles, seconds) = DRIVE;
    run(Command::new(example("record_drive")).arg(&drive).args([vehicles, seconds]))?;
    let ours = json(Command::new(example("compaction_figures")).arg(&drive).arg(&lake))?;
    let script = root().join("tests/e2e/readers/lake_columns.py");
    let columns = json(Command::new(tools::python()?).arg(script).arg(&lake))?;
    let about = format!(
        "pco, level 8, of the same columns; fresh {:.1}; 18 signals of simulated driving, {} rows",
        number(&ours, "lake_bytes_per_row_fresh")?,
        ours["rows"],
    );
    let pco = Some((number(&columns, "pco")?, about));
    let value = number(&ours, "lake_bytes_per_row_compacted")?;
    figures.insert("lake_bytes_per_row_compacted", Figure { value, unit: "bytes", baseline: pco });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = number(&ours, "compaction_core_share")?;
    let alone = 50_000.0 / share;
    let about = format!(
        "one core alone, from the seconds it was busy; {cores} cores, shared with all else; {:.0} MB of memory at most",
        number(&ours, "peak_mb")?
    );
    let value = number(&ours, "compaction_rows_per_second")?;
    let baseline = Some((alone, about));
    figures.insert("compaction_rows_per_second", Figure { value, unit: "rows/s", baseline });
    let figure = Figure { value: share, unit: "of a core at 50,000 rows/s", baseline: None };
    figures.insert("compaction_core_share", figure);
    std::fs::remove_dir_all(&lake).map_err(|e| format!("cannot remove {}: {e}", lake.display()))
}
