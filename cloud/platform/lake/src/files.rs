//! Files on the store: written durably, read back with their checksum, swept.

use std::collections::HashSet;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use futures_util::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use remuda_eventsourcing::{Journal, ManifestEntry, Owner};
use serde::{Deserialize, Serialize};

use crate::error::LakeError;
use crate::{file, limits};

/// What a file's footer says of itself: the manifest entry but for the checksum, and who wrote it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Footer {
    /// The writing process.
    pub writer: String,
    /// Owners of its rows when it was written.
    pub owners: Vec<Owner>,
    /// The entry; checksum and length are 0.
    pub entry: ManifestEntry,
}

/// The lake's folder.
#[derive(Clone)]
pub(crate) struct Files {
    root: PathBuf,
    store: Arc<LocalFileSystem>,
}

impl Files {
    pub fn open(root: &FsPath) -> Result<Self, LakeError> {
        let unusable = |reason: String| LakeError::Folder { folder: root.display().to_string(), reason };
        std::fs::create_dir_all(root).map_err(|e| unusable(e.to_string()))?;
        let store = LocalFileSystem::new_with_prefix(root).map_err(|e| unusable(e.to_string()))?;
        // Without it, "durable before the ack" is false on a local disk.
        let store = Arc::new(store.with_fsync(true));
        Ok(Self { root: root.to_path_buf(), store })
    }

    /// Writes a new file, synced; never over another.
    pub async fn create(&self, path: &str, bytes: Vec<u8>) -> Result<(), LakeError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        self.store.put_opts(&Path::from(path), bytes.into(), options).await?;
        Ok(())
    }

    /// Reads a committed file and compares it with its manifest entry.
    pub async fn read(&self, entry: &ManifestEntry) -> Result<Bytes, LakeError> {
        let damaged = |what: String| LakeError::Damaged { path: entry.path.clone(), what };
        let got = match self.store.get(&Path::from(entry.path.as_str())).await {
            Ok(got) => got.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Err(damaged("missing".into())),
            Err(e) => return Err(e.into()),
        };
        if got.len() as u64 != entry.bytes || crc32c::crc32c(&got) != entry.checksum {
            return Err(damaged("not what was committed (its checksum differs)".into()));
        }
        Ok(got)
    }

    /// Writes the page that explains the lake to whoever finds it.
    pub fn explain(&self) -> Result<(), LakeError> {
        let page = self.root.join("README.md");
        if page.exists() {
            return Ok(());
        }
        std::fs::write(&page, include_str!("lake-readme.md"))
            .map_err(|e| LakeError::Folder { folder: page.display().to_string(), reason: e.to_string() })
    }

    /// Moves a file that will never be committed to the trash.
    pub async fn discard(&self, path: &str, now_ms: i64) -> Result<(), LakeError> {
        let day = date(now_ms);
        let to = format!("trash/date={day}/{}", path.replace('/', "_"));
        self.store.rename(&Path::from(path), &Path::from(to)).await?;
        Ok(())
    }

    async fn listed(&self, below: &str) -> Result<Vec<ObjectMeta>, LakeError> {
        Ok(self.store.list(Some(&Path::from(below))).try_collect().await?)
    }

    /// Moves orphans to the trash: files not in the manifest whose every (shard, epoch) is superseded. Empties the
    /// trash of what is older than its days. Answers how many files were moved.
    pub async fn sweep(&self, journal: &dyn Journal, now_ms: i64) -> Result<usize, LakeError> {
        let listed = self.listed("fresh").await?;
        // Epochs before the manifest: a file whose epochs are superseded by then can enter the manifest no more.
        let epochs = journal.epochs().await?;
        let committed = self.committed(journal).await?;
        let mut swept = 0;
        for meta in listed {
            let path = meta.location.to_string();
            if committed.contains(&path) || !self.is_garbage(&meta, &epochs, now_ms).await? {
                continue;
            }
            tracing::info!(%path, "an orphan file goes to the trash");
            self.discard(&path, now_ms).await?;
            swept += 1;
        }
        self.empty_trash(now_ms).await?;
        Ok(swept)
    }

    async fn committed(&self, journal: &dyn Journal) -> Result<HashSet<String>, LakeError> {
        let mut paths = HashSet::new();
        let mut after = 0;
        loop {
            let page = journal.manifest(after, limits::MANIFEST_PAGE).await?;
            let Some(last) = page.last() else { return Ok(paths) };
            after = last.position;
            paths.extend(page.into_iter().map(|record| record.entry.path));
        }
    }

    async fn is_garbage(&self, meta: &ObjectMeta, epochs: &[Owner], now_ms: i64) -> Result<bool, LakeError> {
        let bytes = match self.store.get(&meta.location).await {
            Ok(got) => got.bytes().await?,
            // Gone since the listing: its own writer gave it up.
            Err(object_store::Error::NotFound { .. }) => return Ok(false),
            Err(e) => return Err(e.into()),
        };
        let footer = file::entry_json(bytes).ok().and_then(|json| serde_json::from_str::<Footer>(&json).ok());
        let Some(footer) = footer else {
            return Ok(now_ms / 1000 - meta.last_modified.timestamp() > limits::UNREADABLE_AGE_S);
        };
        let current = |owner: &Owner| epochs.iter().find(|e| e.shard == owner.shard).map(|e| e.epoch);
        Ok(footer.owners.iter().all(|owner| current(owner).is_some_and(|epoch| epoch > owner.epoch)))
    }

    async fn empty_trash(&self, now_ms: i64) -> Result<(), LakeError> {
        let oldest = date(now_ms - limits::TRASH_DAYS * 86_400_000);
        for meta in self.listed("trash").await? {
            let path = meta.location.to_string();
            let day = path.strip_prefix("trash/date=").and_then(|rest| rest.get(..10));
            if day.is_some_and(|day| day < oldest.as_str()) {
                self.store.delete(&meta.location).await?;
            }
        }
        Ok(())
    }
}

/// The path of a new file.
pub(crate) fn fresh_path(receive_ms: i64, writer: &str, epoch: u64, counter: u64) -> String {
    let hour = DateTime::from_timestamp_millis(receive_ms).unwrap_or_default().format("%H").to_string();
    format!("fresh/date={}/hour={hour}/{writer}-{epoch}-{counter}.parquet", date(receive_ms))
}

fn date(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().format("%Y-%m-%d").to_string()
}
