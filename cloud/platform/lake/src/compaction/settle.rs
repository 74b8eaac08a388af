//! Finishing what an earlier run left, deleting what nobody reads any more, and dropping what is too old.

use std::collections::HashSet;

use super::Run;
use crate::describe::rows_of;
use crate::error::LakeError;
use crate::files::replaced;
use crate::history::{HISTORY, Hour, REPLACED, STAGED, epoch_in_name};
use crate::limits;

impl Run<'_> {
    /// Moves that are still to be made, files that no run can commit any more, files after their grace period.
    pub(super) async fn settle(&mut self) -> Result<(), LakeError> {
        self.settle_staged().await?;
        self.settle_replaced().await
    }

    async fn settle_staged(&mut self) -> Result<(), LakeError> {
        let staged = self.lake.files.listed(STAGED.trim_end_matches('/')).await?;
        if staged.is_empty() {
            return Ok(());
        }
        // Our epoch was raised before: what an earlier run staged is in the manifest by now, or never will be.
        let committed: HashSet<String> = self
            .lake
            .records(0, |record| record.entry.path.starts_with(HISTORY).then_some(record.entry.path))
            .await?
            .into_iter()
            .collect();
        for meta in staged {
            let from = meta.location.to_string();
            let Some(path) = from.strip_prefix(STAGED) else { continue };
            if committed.contains(path) {
                self.lake.files.relocate(&from, path).await?;
                self.done.finished_steps += 1;
            } else if epoch_in_name(path).is_none_or(|epoch| epoch < self.epoch.0) {
                tracing::info!(path, "a file that a compaction left goes to the trash");
                self.lake.files.discard(&from, self.now_ms()).await?;
                self.done.finished_steps += 1;
            }
        }
        Ok(())
    }

    async fn settle_replaced(&mut self) -> Result<(), LakeError> {
        let mut gone = Vec::new();
        for file in replaced(&*self.lake.journal).await? {
            if self.lake.files.relocate(&file.path, &format!("{REPLACED}{}", file.path)).await? {
                self.done.finished_steps += 1;
            }
            if file.since_ms.saturating_add(self.settings.grace_ms) <= self.now_ms() {
                self.lake.files.delete(&format!("{REPLACED}{}", file.path)).await?;
                gone.push(file.path);
            }
        }
        fail::fail_point!("compact-before-forgetting", |_| std::process::abort());
        for paths in gone.chunks(limits::REPLACED_FILES_MAX) {
            self.lake.journal.forget_replaced(paths).await?;
            self.done.deleted_files += paths.len() as u64;
        }
        Ok(())
    }

    /// Takes hours beyond the retention out of the lake; their files are deleted after the grace period.
    pub(super) async fn expire(&mut self) -> Result<(), LakeError> {
        let Some(days) = self.settings.history_days else { return Ok(()) };
        let oldest = self.now_ms().saturating_sub(i64::from(days) * 86_400_000);
        let expired: Vec<(String, u64)> = self
            .lake
            .records(0, |record| {
                let hour = Hour::of_path(&record.entry.path)?;
                let rows = rows_of(&record.entry);
                (hour.end_ms() <= oldest).then_some((record.entry.path, rows))
            })
            .await?;
        for files in expired.chunks(limits::REPLACED_FILES_MAX) {
            if !self.go_on() {
                return Ok(());
            }
            let paths = files.iter().map(|(path, _)| path.clone()).collect();
            self.replace(paths, Vec::new()).await?;
            if self.done.interrupted {
                return Ok(());
            }
            self.done.expired_files += files.len() as u64;
            self.done.expired_rows += files.iter().map(|(_, rows)| rows).sum::<u64>();
        }
        Ok(())
    }
}
