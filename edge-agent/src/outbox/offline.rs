//! Reading outboxes that nobody has open: for the ledger.

use std::path::{Path, PathBuf};

use remuda_model::Seq;
use remuda_wire::FloorReason;

use super::error::OutboxError;
use super::files;
use super::index::Place;
use super::record::{ShedRange, StreamKey};
use super::store;

/// What a disk says of one vehicle, lane and incarnation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamBooks {
    /// Whose.
    pub key: StreamKey,
    /// Highest seq ever made durable; all from 1 were. Outlives trimming.
    pub made: Seq,
    /// Everything up to here was trimmed or shed.
    pub trimmed_to: Seq,
    /// Why the floor stands above it.
    pub floor_reason: FloorReason,
    /// Frames still held, damaged ones included (they will be told as damaged).
    pub held: Option<(Seq, Seq)>,
    /// Of these, damaged.
    pub damaged: Vec<Seq>,
    /// Frames given up.
    pub shed: Vec<ShedRange>,
}

/// The logs in a directory: itself, or any below it (an agent's directory holds its log in `outbox`).
pub fn logs(dir: &Path) -> Result<Vec<PathBuf>, OutboxError> {
    let mut found = Vec::new();
    collect(dir, &mut found, 0)?;
    found.sort();
    Ok(found)
}

const DEPTH_MAX: usize = 4;

fn collect(dir: &Path, found: &mut Vec<PathBuf>, depth: usize) -> Result<(), OutboxError> {
    if !files::list(dir)?.is_empty() {
        found.push(dir.to_path_buf());
        return Ok(());
    }
    if depth < DEPTH_MAX {
        for entry in std::fs::read_dir(dir).map_err(OutboxError::file("list", dir))? {
            let entry = entry.map_err(OutboxError::file("list", dir))?;
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                collect(&entry.path(), found, depth + 1)?;
            }
        }
    }
    Ok(())
}

/// Every stream of every log in or below a directory.
pub fn open(dir: &Path) -> Result<Vec<StreamBooks>, OutboxError> {
    let mut all = Vec::new();
    for log in logs(dir)? {
        let index = store::rebuild(&log, &files::list(&log)?)?;
        for stream in &index.streams {
            let held = (!stream.places.is_empty()).then_some((stream.floor, stream.made));
            let damaged = stream.places.iter().enumerate().filter(|(_, p)| **p == Place::DAMAGED);
            all.push(StreamBooks {
                key: stream.key,
                made: stream.made,
                trimmed_to: stream.floor - 1,
                floor_reason: stream.reason,
                held,
                damaged: damaged.map(|(n, _)| stream.floor + n as u64).collect(),
                shed: stream.sheds.clone(),
            });
        }
    }
    Ok(all)
}
