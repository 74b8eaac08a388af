//! Bytes a row, fresh and compacted, and rows a second of a compaction, of vehicles that drive.
//!
//! `cargo run --release -p remuda-lake --example compaction_figures DRIVE DIR [SECONDS_A_FILE]`: DRIVE is a recording of
//! `remuda-world`'s example `record_drive`, DIR becomes the lake. Prints one JSON object.

mod common;

use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use common::{BEGIN_MS, Covered, Drive, HOUR_MS, contribution, owners, row, vehicle};
use rand::prelude::*;
use remuda_eventsourcing::{Journal, MemoryJournal};
use remuda_lake::{CompactionSettings, Lake, LakeSettings};

/// Seconds that this process has kept cores busy.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    /// Clock ticks a second, as Linux tells them to programs.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS)
}

/// The most memory that the process has had since it was asked to count anew, MB.
fn peak_mb() -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1e3)
}

async fn write(
    drive: &Path,
    folder: &Path,
    seconds_a_file: usize,
) -> Result<Arc<dyn Journal>, Box<dyn Error>> {
    let drive = Drive::read(drive)?;
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let settings =
        LakeSettings { round_interval_ms: HOUR_MS as u64, ..LakeSettings::new(folder.to_path_buf()) };
    let lake = Lake::open(settings, Arc::clone(&journal)).await?;
    let owners = owners(&*journal).await?;
    let recovery = lake.recover(&owners).await?;
    let rounds = lake.start_rounds(&owners, &recovery, Arc::new(Covered));
    let mut random = StdRng::seed_from_u64(1);
    for file in 0..drive.seconds / seconds_a_file {
        for number in 0..drive.vehicles {
            let id = vehicle(number)?;
            let seconds = file * seconds_a_file..(file + 1) * seconds_a_file;
            let rows = seconds
                .map(|second| row(id, second as u64, drive.values(number, second), &mut random))
                .collect();
            rounds.handle().contribute(contribution(rows, id)).await?;
        }
        rounds.handle().flush().await?;
    }
    rounds.stop().await?;
    Ok(journal)
}

async fn measure(folder: &Path, journal: Arc<dyn Journal>) -> Result<(), Box<dyn Error>> {
    std::fs::write("/proc/self/clear_refs", "5")?;
    let lake = Lake::open(LakeSettings::new(folder.to_path_buf()), journal).await?;
    let fresh = lake.stats().await?.fresh;
    let now_ms = BEGIN_MS + HOUR_MS;
    // What is replaced goes at once, so that history is all there is.
    let settings = CompactionSettings { grace_ms: 0, ..CompactionSettings::default() };
    let (begun, cpu) = (Instant::now(), cpu_seconds()?);
    let done = lake.compact(&settings, now_ms, &|_| ControlFlow::Continue(())).await?;
    let (took, busy) = (begun.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    let begun = Instant::now();
    let full = CompactionSettings { small_files_max: 1, ..settings.clone() };
    let merged = lake.compact(&full, now_ms, &|_| ControlFlow::Continue(())).await?;
    let merge_took = begun.elapsed().as_secs_f64();
    let history = lake.stats().await?.history;
    println!(
        "{}",
        serde_json::json!({
            "rows": done.rows,
            "fresh_files": fresh.files,
            "first_history_files": done.history_files,
            "history_files": history.files,
            "lake_bytes_per_row_fresh": fresh.bytes_per_row(),
            "lake_bytes_per_row_compacted": history.bytes_per_row(),
            "compaction_rows_per_second": done.rows as f64 / took,
            "compaction_core_share": busy / done.rows as f64 * 50_000.0,
            "merge_rows_per_second": merged.merged_rows as f64 / merge_took,
            "peak_mb": peak_mb()?,
        })
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [drive, folder, seconds @ ..] = args.as_slice() else {
        return Err("usage: compaction_figures DRIVE DIR [SECONDS_A_FILE]".into());
    };
    let seconds = seconds.first().map_or(Ok(10), |seconds| seconds.parse())?;
    let (drive, folder) = (Path::new(drive), Path::new(folder));
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async { measure(folder, write(drive, folder, seconds).await?).await })
}
