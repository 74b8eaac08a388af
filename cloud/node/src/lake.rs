//! `remuda lake`: its files and its quarantine, for a stopped node.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use remuda_eventsourcing::{Journal, JournalMetrics, SledJournal};
use remuda_lake::Lake;
use remuda_vehicles::reprocess::{self, Found, Report};
use serde_json::json;

use crate::cli::runtime;
use crate::config::Config;
use crate::lake_erase::{EraseArgs, ErasuresArgs};
use crate::wiring::chain;
use crate::{lake_erase, lake_files};

/// What can be done with a lake.
#[derive(Subcommand)]
pub enum LakeAction {
    /// Lists every committed file: path, rows, bytes, organisation, times. What another program may read.
    Files {
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Says what the lake holds.
    Stats {
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Compares every file with the manifest and says what to do about what is wrong; exit code 1 when something is.
    Verify {
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
        /// Decodes and counts the rows too.
        #[arg(long)]
        deep: bool,
    },
    /// Moves committed rows to history/, merges small files, drops hours beyond the retention.
    Compact {
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
        /// Merges the small files of an hour however few they are.
        #[arg(long)]
        full: bool,
    },
    /// Brings in files that the journal does not know, after it was restored or lost: only rows that the lake has not yet.
    Adopt {
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Asks for rows to be forgotten: no reader shows them from then on, and their files are rewritten.
    Erase(EraseArgs),
    /// Lists erasures with their proofs.
    Erasures(ErasuresArgs),
    /// Lists frames that could not be read, and whether this release could read them.
    Quarantine {
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Reads frames in quarantine again and stores what this release can use; run it as often as you like.
    Reprocess {
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
}

/// Runs it on the journal and the lake of the configuration.
pub fn run(config: &Config, action: &LakeAction) -> Result<(), String> {
    // A running node is asked: a person's request does not wait for its stop.
    match action {
        LakeAction::Erase(args) if lake_erase::ask_node(config, args)? => return Ok(()),
        LakeAction::Erasures(args) if lake_erase::ask_node_for_proofs(config, args)? => return Ok(()),
        _ => {}
    }
    runtime()?.block_on(async {
        let folder = config.data_dir.join("journal");
        if !folder.exists() {
            return Err(format!(
                "{} holds no journal; name a node's data folder with --data",
                folder.display()
            ));
        }
        let journal = SledJournal::open(&folder, JournalMetrics::default()).map_err(|e| chain(&e))?;
        let journal: Arc<dyn Journal> = Arc::new(journal);
        let opened = config.lake.open(&config.data_dir, Arc::clone(&journal)).await;
        let lake = opened.map_err(|e| chain(&e))?;
        match action {
            LakeAction::Files { json } => lake_files::files(&lake, *json).await,
            LakeAction::Stats { json } => lake_files::stats(&lake, *json).await,
            LakeAction::Verify { json, deep } => lake_files::verify(&lake, *json, *deep).await,
            LakeAction::Compact { json, full } => lake_files::compact(&lake, config, *json, *full).await,
            LakeAction::Adopt { json } => lake_files::adopt(&lake, *json).await,
            LakeAction::Erase(args) => lake_erase::erase(&lake, config, args).await,
            LakeAction::Erasures(args) => lake_erase::erasures(&lake, args).await,
            LakeAction::Quarantine { json } => quarantine(&*journal, &lake, *json).await,
            LakeAction::Reprocess { json } => reprocess(&*journal, &lake, *json).await,
        }
    })
}

async fn quarantine(journal: &dyn Journal, lake: &Lake, json: bool) -> Result<(), String> {
    let mut frames = Vec::new();
    // Without their bytes, of which there may be many.
    let look = |found: Found| {
        let readable = found.is_readable();
        let Found { vehicle, lane, incarnation, seq, reason, received_ms, raw, .. } = found;
        frames.push((vehicle, lane, incarnation, seq, reason, received_ms, raw.len(), readable));
        true
    };
    reprocess::each_quarantined(journal, lake, look).await.map_err(|e| chain(&e))?;
    frames.sort_unstable_by_key(|frame| (frame.0, frame.1, frame.2, frame.3));
    let readable = frames.iter().filter(|frame| frame.7).count();
    let mut text = String::new();
    if json {
        let frames: Vec<_> = frames
            .iter()
            .map(|(vehicle, lane, incarnation, seq, reason, received_ms, bytes, readable)| {
                json!({
                    "vehicle": vehicle.as_str(),
                    "lane": lane.as_str(),
                    "incarnation": incarnation.to_string(),
                    "seq": seq,
                    "reason": reason,
                    "received_ms": received_ms,
                    "bytes": bytes,
                    "readable": readable,
                })
            })
            .collect();
        text = format!("{}\n", json!({ "frames": frames, "readable": readable }));
    } else {
        for (vehicle, lane, incarnation, seq, reason, _, bytes, readable) in &frames {
            let now = if *readable { ", readable now" } else { "" };
            text +=
                &format!("{vehicle} {} {incarnation} {seq}: {reason}, {bytes} bytes{now}\n", lane.as_str());
        }
        eprintln!("{} frames in quarantine, {readable} of them readable by this release", frames.len());
    }
    // A closed pipe is the reader's choice.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

async fn reprocess(journal: &dyn Journal, lake: &Lake, json: bool) -> Result<(), String> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let Report { reprocessed, unreadable } =
        reprocess::reprocess(journal, lake, now_ms).await.map_err(|e| chain(&e))?;
    if json {
        println!("{}", json!({ "frames_reprocessed": reprocessed, "frames_unreadable": unreadable }));
    } else {
        println!("{reprocessed} frames were read and stored; {unreadable} stay in quarantine");
    }
    Ok(())
}
