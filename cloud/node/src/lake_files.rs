//! `remuda lake files|stats|verify|compact`: the lake's files, of a stopped node.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use remuda_lake::{Compacted, CompactionSettings, Lake, LakeFile, LakeStats, Part, compaction};
use serde::Serialize;
use serde_json::json;

use crate::cli::wait_for_stop;
use crate::config::Config;
use crate::wiring::chain;

pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// How the configuration wants the lake compacted.
pub(crate) fn compaction_settings(config: &Config) -> CompactionSettings {
    CompactionSettings {
        rows_bytes_max: config.lake.compact_bytes_max,
        retention: config.lake.retention(),
        erase_within_ms: i64::from(config.lake.erase_within_h) * 3_600_000,
        ..CompactionSettings::default()
    }
}

fn print(text: &str) {
    // A closed pipe is the reader's choice.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn print_json(value: &impl Serialize) -> Result<(), String> {
    print(&format!("{}\n", serde_json::to_string(value).map_err(|e| e.to_string())?));
    Ok(())
}

/// Lists every committed file.
pub(crate) async fn files(lake: &Lake, json: bool) -> Result<(), String> {
    let files = lake.list().await.map_err(|e| chain(&e))?;
    if json {
        return print_json(&json!({ "root": lake.root(), "files": files }));
    }
    let mut text = String::new();
    for LakeFile { path, organization, rows, bytes, sampled, .. } in &files {
        let times = sampled.as_ref().map_or_else(|| "-".to_owned(), |(from, to)| format!("{from} {to}"));
        let organization = organization.as_deref().unwrap_or("-");
        text += &format!("{path}\t{rows}\t{bytes}\t{organization}\t{times}\n");
    }
    print(&text);
    eprintln!(
        "{} files in {} (path, rows, bytes, organisation, sample times)",
        files.len(),
        lake.root().display()
    );
    Ok(())
}

/// Says what the lake holds.
pub(crate) async fn stats(lake: &Lake, json: bool) -> Result<(), String> {
    let stats = lake.stats().await.map_err(|e| chain(&e))?;
    if json {
        return print_json(&stats);
    }
    let LakeStats { fresh, history, hours, organizations, sampled, replaced_files } = stats;
    let line = |name: &str, part: &Part| {
        let Part { files, rows, bytes } = part;
        format!(
            "{name:8} {files:>8} files {rows:>12} rows {bytes:>14} bytes {:>7.1} bytes a row\n",
            part.bytes_per_row()
        )
    };
    let mut text = line("fresh", &fresh) + &line("history", &history);
    text += &format!("{hours} hours of {organizations} organisations in history\n");
    if let Some((from, to)) = sampled {
        text += &format!("sampled from {from} to {to}\n");
    }
    text += &format!("{replaced_files} replaced files are kept for readers that began before\n");
    print(&text);
    Ok(())
}

/// Compares every file with the manifest; an error when something is wrong.
pub(crate) async fn verify(lake: &Lake, json: bool, deep: bool) -> Result<(), String> {
    let mut progress = |done: u64, of: u64| {
        if done.is_multiple_of(64) || done == of {
            eprint!("\r{done} of {of} files");
        }
    };
    let found = lake.verify(deep, &mut progress).await.map_err(|e| chain(&e))?;
    eprintln!();
    if json {
        print_json(&found)?;
    } else {
        print(&format!("{} files, {} rows, {} bytes\n", found.files, found.rows, found.bytes));
    }
    if found.faults.is_empty() {
        return Ok(());
    }
    for fault in &found.faults {
        eprintln!("{}: {}\n  what to do: {}", fault.path, fault.detail, fault.advice);
    }
    Err(format!("{} faults in the lake {}", found.faults.len(), lake.root().display()))
}

/// Brings in files that the journal does not know; an error when something is left.
pub(crate) async fn adopt(lake: &Lake, json: bool) -> Result<(), String> {
    let mut progress = |done: u64, of: u64| {
        if done.is_multiple_of(64) || done == of {
            eprint!("\r{done} of {of} files");
        }
    };
    let done = lake.adopt(now_ms(), &mut progress).await.map_err(|e| chain(&e))?;
    eprintln!();
    if json {
        print_json(&done)?;
    } else {
        print(&format!(
            "{} stray files: {} rows adopted, {} were there, {} are erased; {} erasures came back, {} missing files made up\n",
            done.stray_files, done.rows, done.known_rows, done.erased_rows, done.erasures, done.made_up_files
        ));
    }
    for left in &done.left {
        eprintln!("{}: {}\n  what to do: {}", left.path, left.detail, left.advice);
    }
    for lost in &done.lost {
        eprintln!(
            "{} {}: frames {} to {} are in no file",
            lost.vehicle, lost.incarnation, lost.from, lost.to
        );
    }
    match (done.left.len(), done.lost.len()) {
        (0, 0) => Ok(()),
        (left, lost) => Err(format!("{left} files are left or missing, {lost} ranges of frames are lost")),
    }
}

/// Compacts until it is done or told to stop.
pub(crate) async fn compact(lake: &Lake, config: &Config, json: bool, full: bool) -> Result<(), String> {
    let mut settings = compaction_settings(config);
    if full {
        settings.small_files_max = 1;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let waiting = tokio::spawn(async move {
        wait_for_stop().await;
        told.store(true, Ordering::Release);
    });
    let go_on = compaction::until(&stop);
    let watch = |done: &Compacted| {
        eprint!(
            "\r{} rows of {} files moved, {} files merged",
            done.rows, done.fresh_files, done.merged_files
        );
        go_on(done)
    };
    let done = lake.compact(&settings, now_ms(), &watch).await;
    waiting.abort();
    eprintln!();
    let done = done.map_err(|e| chain(&e))?;
    if json {
        print_json(&done)?;
    } else {
        print(&format!(
            "{} rows of {} files moved to history ({} files wait for a checkpoint), {} small files merged, {} files beyond \
             the retention, {} files without values that are over age, {} rows erased and {} blanked, {} erasures not \
             finished, {} replaced files deleted\n",
            done.rows,
            done.fresh_files,
            done.waiting_files,
            done.merged_files,
            done.expired_files,
            done.aged_files,
            done.erased_rows,
            done.blanked_rows,
            done.open_erasures,
            done.deleted_files
        ));
    }
    if done.interrupted {
        return Err("stopped before it was done; what is moved is moved, and the next run goes on".into());
    }
    Ok(())
}
