//! Files that were never committed, and rows in them that are to be forgotten: they are in nobody's answer, but they are on
//! the disk.

use bytes::Bytes;

use crate::aside::aside;
use crate::erasure::{Stripped, Tombstones};
use crate::error::LakeError;
use crate::file;
use crate::history::{FRESH, STAGED, epoch_in_name};
use crate::lake::Lake;

/// What an orphan has of what is to be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Covered {
    Nothing,
    /// Something, the earliest of it received then, ms since 1970 UTC.
    Since(i64),
    /// It cannot be read, so it may have anything: a torn file may hold rows that others can still read.
    Unknown,
}

impl Lake {
    /// Deletes never committed files that hold anything of what is to be forgotten: they are no longer of use to anybody.
    /// False when one that may still be committed, or that nobody can judge yet, has rows that were received up to
    /// `received_until_ms`: then it is not gone yet. `epoch` is the compaction's own.
    pub(crate) async fn purge_orphans(
        &self,
        tombstones: &Tombstones,
        received_until_ms: i64,
        epoch: Option<u64>,
        now_ms: i64,
    ) -> Result<bool, LakeError> {
        let fresh = self.files.listed(FRESH.trim_end_matches('/')).await?;
        let staged = self.files.listed(STAGED.trim_end_matches('/')).await?;
        // Epochs before the manifest: a file whose epochs are superseded by then can enter the manifest no more.
        let epochs = self.journal.epochs().await?;
        let committed = self.files.committed(&*self.journal).await?;
        let mut gone = true;
        for meta in fresh {
            let path = meta.location.to_string();
            if committed.contains(&path) {
                continue;
            }
            let Some(bytes) = self.files.fetch(&path).await? else { continue };
            let covered = covered(bytes, tombstones).await;
            if covered == Covered::Nothing {
                continue;
            }
            if self.files.is_garbage(&meta, &epochs, now_ms).await? {
                self.forget(&path).await?;
            } else {
                // What arrived after the request is erased on its way.
                gone &= matches!(covered, Covered::Since(at_ms) if at_ms > received_until_ms);
            }
        }
        for meta in staged {
            let at = meta.location.to_string();
            let path = at.strip_prefix(STAGED).unwrap_or(&at);
            if committed.contains(path) {
                continue;
            }
            // What nobody can commit any more: of an earlier compaction, or of this one, which is through.
            let is_over = epoch.is_some_and(|own| epoch_in_name(path).is_none_or(|epoch| epoch <= own));
            if is_over {
                self.forget(&at).await?;
            } else {
                gone &= epoch.is_none();
            }
        }
        Ok(gone)
    }

    /// Deletes files of the trash that hold anything of what is to be forgotten.
    pub(crate) async fn purge_trash(&self, tombstones: &Tombstones) -> Result<(), LakeError> {
        for meta in self.files.listed("trash").await? {
            let path = meta.location.to_string();
            let Some(bytes) = self.files.fetch(&path).await? else { continue };
            if covered(bytes, tombstones).await != Covered::Nothing {
                self.forget(&path).await?;
            }
        }
        Ok(())
    }

    async fn forget(&self, path: &str) -> Result<(), LakeError> {
        tracing::info!(path, "a file that was never committed is deleted: rows in it are to be forgotten");
        self.files.delete(path).await
    }
}

async fn covered(bytes: Bytes, tombstones: &Tombstones) -> Covered {
    let tombstones = tombstones.clone();
    let covered = aside(move || {
        let Ok(rows) = file::decode(bytes) else { return Covered::Unknown };
        let covered = rows.into_iter().filter_map(|mut row| {
            (tombstones.strip(&mut row) != Stripped::Kept).then_some(row.receive_time_ms)
        });
        covered.min().map_or(Covered::Nothing, Covered::Since)
    });
    covered.await.unwrap_or(Covered::Unknown)
}
