//! Finishing what an earlier run left, deleting what nobody reads any more, and dropping what is too old.

use std::collections::{BTreeMap, HashSet};

use super::Run;
use crate::describe::rows_of;
use crate::error::LakeError;
use crate::files::replaced;
use crate::history::{HISTORY, Hour, REPLACED, STAGED, epoch_in_name};
use crate::limits;
use crate::retention::{Dropped, Retention, RetentionRecord};

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
                // Its rows are in its inputs, or were taken out of the files that replaced them.
                tracing::info!(path, "a file that a compaction left is deleted");
                self.lake.files.delete(&from).await?;
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

    /// Takes hours beyond the retention out of the lake, by age and then by bytes; their files are deleted after the grace
    /// period.
    pub(super) async fn expire(&mut self) -> Result<(), LakeError> {
        let retention = &self.settings.retention;
        if self.done.interrupted || (retention.days, retention.bytes_max) == (None, None) {
            return Ok(());
        }
        let mut hours: BTreeMap<i64, Vec<(String, u64, u64)>> = BTreeMap::new();
        let history = self
            .lake
            .records(0, |record| {
                let hour = Hour::of_path(&record.entry.path)?;
                let rows = rows_of(&record.entry);
                Some((hour.end_ms(), (record.entry.path, rows, record.entry.bytes)))
            })
            .await?;
        let mut bytes: u64 = history.iter().map(|(_, (_, _, bytes))| bytes).sum();
        history.into_iter().for_each(|(end_ms, file)| hours.entry(end_ms).or_default().push(file));
        let oldest = retention.oldest_ms(self.now_ms()).unwrap_or(i64::MIN);
        let bytes_max = bytes_max(retention);
        for (end_ms, files) in hours {
            let why = match () {
                () if end_ms <= oldest => "age",
                () if bytes > bytes_max => "bytes",
                () => break,
            };
            let of_hour: u64 = files.iter().map(|(_, _, bytes)| bytes).sum();
            bytes -= of_hour;
            if !self.drop_hour(why, end_ms, files).await? {
                break;
            }
        }
        Ok(())
    }

    /// Whether to go on.
    async fn drop_hour(
        &mut self,
        why: &str,
        end_ms: i64,
        files: Vec<(String, u64, u64)>,
    ) -> Result<bool, LakeError> {
        for files in files.chunks(limits::REPLACED_FILES_MAX) {
            if !self.go_on() {
                return Ok(false);
            }
            let rows = files.iter().map(|(_, rows, _)| rows).sum();
            let record = RetentionRecord {
                at_ms: self.now_ms(),
                why: why.to_owned(),
                class: None,
                until_ms: end_ms,
                files: files.len() as u64,
                rows,
                bytes: files.iter().map(|(_, _, bytes)| bytes).sum(),
                dropped: Dropped::of(files.iter().map(|(path, rows, _)| (path.as_str(), *rows))),
            };
            let paths = files.iter().map(|(path, ..)| path.clone()).collect();
            self.replace(paths, Vec::new(), vec![record.note()?]).await?;
            if self.done.interrupted {
                return Ok(false);
            }
            self.done.expired_files += files.len() as u64;
            self.done.expired_rows += rows;
        }
        Ok(true)
    }
}

/// The bound of bytes; a test may set one that is smaller than any configuration's.
fn bytes_max(retention: &Retention) -> u64 {
    fail::fail_point!("retention-bytes-max", |bound| bound
        .and_then(|bound| bound.parse().ok())
        .unwrap_or(u64::MAX));
    retention.bytes_max.unwrap_or(u64::MAX)
}
