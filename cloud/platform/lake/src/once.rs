//! One file outside the rounds, of a stopped node: rows of frames that are durable already.

use std::sync::Arc;
use std::time::Duration;

use remuda_eventsourcing::{CommitOutcome, ManifestPosition, NewEvent, Owner};
use remuda_model::ShardId;

use crate::aside::aside;
use crate::describe::Description;
use crate::error::LakeError;
use crate::file;
use crate::files::{Footer, fresh_path};
use crate::lake::Lake;
use crate::limits;
use crate::row::Row;
use crate::writer::now_ms;

/// How the names of such files end.
const ENDING: &str = ".reprocessed.parquet";
/// What the names of files say that an adoption committed.
const ADOPTED: &str = ".adopted.";
/// Times that a lost answer is asked for again.
const TRIES: u32 = 10;

/// What the rows of such a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of frames that are durable already.
    Reprocessed,
    /// Adopted, of frames that are durable already.
    Adopted,
    /// Adopted, of frames that this file makes durable, as a round would.
    AdoptedRound,
}

impl Kind {
    fn name(self, path: &str) -> String {
        let ending = match self {
            Self::Reprocessed => ENDING,
            Self::Adopted => ".adopted.reprocessed.parquet",
            Self::AdoptedRound => ".adopted.parquet",
        };
        path.replace(".parquet", ending)
    }
}

/// Does a file hold only rows of frames that were durable before it? Such a file moves no watermark, and nothing replays
/// it: an incarnation that was closed meanwhile would come back with a number that is too low.
pub(crate) fn is_reprocessed(path: &str) -> bool {
    path.ends_with(ENDING)
}

/// Did an adoption commit this file? Compaction takes it away, and its name with it.
pub(crate) fn is_adopted(path: &str) -> bool {
    path.contains(ADOPTED)
}

impl Lake {
    /// Commits rows of frames that were in quarantine, with the decisions that say so: all or nothing. `owners` were
    /// just acquired. Without rows the decisions alone are committed.
    ///
    /// # Errors
    /// When the store or the journal failed, or refused; then nothing is committed, or, after a lost answer, all of it.
    pub async fn commit_reprocessed(
        &self,
        owners: &[Owner],
        rows: Vec<Row>,
        decisions: &[(ShardId, NewEvent)],
    ) -> Result<ManifestPosition, LakeError> {
        let (position, _) = self.commit_rows(owners, rows, decisions, Kind::Reprocessed).await?;
        Ok(position)
    }

    /// The same for rows of any kind; answers the file's path too.
    pub(crate) async fn commit_rows(
        &self,
        owners: &[Owner],
        mut rows: Vec<Row>,
        decisions: &[(ShardId, NewEvent)],
        kind: Kind,
    ) -> Result<(ManifestPosition, Option<String>), LakeError> {
        let mut entries = Vec::new();
        if !rows.is_empty() {
            rows.sort_by_key(|row| {
                (row.organization, row.vehicle, row.incarnation, row.seq, row.row_in_frame)
            });
            let writer = format!("{:016x}", rand::random::<u64>());
            let epoch = owners.iter().map(|owner| owner.epoch.0).max().unwrap_or_default();
            let mut entry = Description::of(&rows).entry(String::new());
            let path = fresh_path(entry.receive_time_ms.1, &writer, epoch, 1);
            entry.path = kind.name(&path);
            let footer = Footer { writer, owners: owners.to_vec(), entry: entry.clone() };
            let footer = serde_json::to_string(&footer).map_err(|e| LakeError::Encode(e.to_string()))?;
            let rows = Arc::new(rows);
            let bytes = aside(move || file::encode(&rows, footer)).await;
            let bytes = bytes.ok_or_else(|| LakeError::Encode("its thread panicked".into()))??;
            entry.bytes = bytes.len() as u64;
            entry.checksum = crc32c::crc32c(&bytes);
            self.files.create(&entry.path, bytes).await?;
            fail::fail_point!("reprocess-after-file", |_| std::process::abort());
            entries.push(entry);
        }
        for _ in 0..TRIES {
            match self.journal.commit_file(owners, &entries, decisions).await {
                CommitOutcome::Committed { position, .. } => {
                    return Ok((position, entries.into_iter().next().map(|entry| entry.path)));
                }
                CommitOutcome::Refused { .. } => {
                    for entry in &entries {
                        self.files.discard(&entry.path, now_ms()).await?;
                    }
                    return Err(LakeError::Refused);
                }
                CommitOutcome::Unknown => {
                    tokio::time::sleep(Duration::from_millis(limits::RETRY_MS_MIN)).await
                }
            }
        }
        Err(LakeError::Stuck)
    }
}
