//! Files on the store: written durably, read back with their checksum, swept.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use futures_util::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use parking_lot::Mutex;
use remuda_eventsourcing::{Journal, ManifestEntry, Owner, ReplacedFile, folders};
use serde::{Deserialize, Serialize};

use crate::error::LakeError;
use crate::history::{FRESH, REPLACED, STAGED};
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
    store: Arc<dyn ObjectStore>,
    /// Folders whose names are known to be durable; none for a store that has no folders.
    durable: Option<Arc<Mutex<HashSet<String>>>>,
}

/// Folders that are remembered as durable: an hour each, and a few beside them.
const DURABLE_MAX: usize = 1_000;

impl Files {
    pub fn open(root: &FsPath) -> Result<Self, LakeError> {
        let unusable = |reason: String| LakeError::Folder { folder: root.display().to_string(), reason };
        folders::make_durable(root).map_err(|e| unusable(e.to_string()))?;
        let store = LocalFileSystem::new_with_prefix(root).map_err(|e| unusable(e.to_string()))?;
        // Without it, "durable before the ack" is false on a local disk.
        let files = Self::on_store(root, Arc::new(store.with_fsync(true)));
        Ok(Self { durable: Some(Arc::default()), ..files })
    }

    pub fn on_store(root: &FsPath, store: Arc<dyn ObjectStore>) -> Self {
        Self { root: root.to_path_buf(), store, durable: None }
    }

    /// Makes the folder of a file, and every name on the way to it, durable. The store syncs only folders that it makes
    /// itself: one that is there may be of a process, or of a try, whose sync failed.
    async fn settle(&self, path: &str) -> Result<(), LakeError> {
        let (Some(durable), Some((folder, _))) = (&self.durable, path.rsplit_once('/')) else {
            return Ok(());
        };
        if durable.lock().contains(folder) {
            return Ok(());
        }
        let (root, below) = (self.root.clone(), folder.to_owned());
        let settled = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(root.join(&below))?;
            let mut on_the_way = root;
            folders::sync(&on_the_way)?;
            for name in below.split('/') {
                on_the_way.push(name);
                folders::sync(&on_the_way)?;
            }
            Ok::<_, std::io::Error>(())
        });
        let unusable = |reason: String| LakeError::Folder { folder: folder.to_owned(), reason };
        settled.await.map_err(|e| unusable(e.to_string()))?.map_err(|e| unusable(e.to_string()))?;
        let mut durable = durable.lock();
        if durable.len() >= DURABLE_MAX {
            durable.clear();
        }
        durable.insert(folder.to_owned());
        Ok(())
    }

    /// After a failure nothing is known to be durable that is not synced again.
    fn doubt<T, E>(&self, done: Result<T, E>) -> Result<T, E> {
        if let (Err(_), Some(durable)) = (&done, &self.durable) {
            durable.lock().clear();
        }
        done
    }

    /// Writes a new file, synced; never over another. One that is there and the same is ours: its answer was lost.
    pub async fn create(&self, path: &str, bytes: Vec<u8>) -> Result<(), LakeError> {
        self.settle(path).await?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let (path, bytes) = (Path::from(path), Bytes::from(bytes));
        match self.doubt(self.store.put_opts(&path, bytes.clone().into(), options).await) {
            Ok(_) => Ok(()),
            Err(e @ object_store::Error::AlreadyExists { .. }) => {
                let there = self.store.get(&path).await?.bytes().await?;
                if there == bytes { Ok(()) } else { Err(e.into()) }
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Reads a committed file and compares it with its manifest entry.
    pub async fn read(&self, entry: &ManifestEntry) -> Result<Bytes, LakeError> {
        let missing = || LakeError::Damaged { path: entry.path.clone(), what: "missing".into() };
        self.read_if_there(entry).await?.ok_or_else(missing)
    }

    /// The same; `None` when it is nowhere.
    pub async fn read_if_there(&self, entry: &ManifestEntry) -> Result<Option<Bytes>, LakeError> {
        let Some(got) = self.fetch(&entry.path).await? else { return Ok(None) };
        if got.len() as u64 != entry.bytes || crc32c::crc32c(&got) != entry.checksum {
            let what = "not what was committed (its checksum differs)".into();
            return Err(LakeError::Damaged { path: entry.path.clone(), what });
        }
        Ok(Some(got))
    }

    /// A committed file's bytes, wherever a compaction is just moving it; `None` when it is nowhere.
    pub async fn fetch(&self, path: &str) -> Result<Option<Bytes>, LakeError> {
        // Twice: it may be moved between a look here and a look there.
        for _ in 0..2 {
            for place in ["", REPLACED, STAGED] {
                match self.store.get(&Path::from(format!("{place}{path}"))).await {
                    Ok(got) => return Ok(Some(got.bytes().await?)),
                    Err(object_store::Error::NotFound { .. }) => {}
                    Err(e) => return Err(e.into()),
                }
            }
        }
        Ok(None)
    }

    /// Some ranges of a committed file, wherever a compaction is just moving it; `None` when it is nowhere.
    pub async fn fetch_ranges(
        &self,
        path: &str,
        ranges: &[Range<u64>],
    ) -> Result<Option<Vec<Bytes>>, LakeError> {
        for _ in 0..2 {
            for place in ["", REPLACED, STAGED] {
                match self.store.get_ranges(&Path::from(format!("{place}{path}")), ranges).await {
                    Ok(got) => return Ok(Some(got)),
                    Err(object_store::Error::NotFound { .. }) => {}
                    Err(e) => return Err(e.into()),
                }
            }
        }
        Ok(None)
    }

    /// Moves a file; false when it is not there.
    pub async fn relocate(&self, from: &str, to: &str) -> Result<bool, LakeError> {
        self.settle(to).await?;
        match self.doubt(self.store.rename(&Path::from(from), &Path::from(to)).await) {
            Ok(()) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Removes a file; one that is not there is removed already.
    pub async fn delete(&self, path: &str) -> Result<(), LakeError> {
        match self.store.delete(&Path::from(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Writes the page that explains the lake to whoever finds it.
    pub async fn explain(&self) -> Result<(), LakeError> {
        let unusable = |e: object_store::Error| LakeError::Folder {
            folder: self.root.display().to_string(),
            reason: error_chain(&e),
        };
        let (page, text) = (Path::from("README.md"), include_str!("lake-readme.md").as_bytes());
        let there = match self.store.get(&page).await {
            Ok(got) => Some(got.bytes().await.map_err(unusable)?),
            Err(object_store::Error::NotFound { .. }) => None,
            Err(e) => return Err(unusable(e)),
        };
        if there.is_none_or(|there| there != text) {
            self.store.put(&page, Bytes::from_static(text).into()).await.map_err(unusable)?;
        }
        Ok(())
    }

    /// Moves a file that will never be committed to the trash.
    pub async fn discard(&self, path: &str, now_ms: i64) -> Result<(), LakeError> {
        let day = date(now_ms);
        // One that is not there any more has been discarded, or replaced, already.
        self.relocate(path, &format!("trash/date={day}/{}", path.replace('/', "_"))).await?;
        Ok(())
    }

    /// Every file below a folder.
    pub async fn listed(&self, below: &str) -> Result<Vec<ObjectMeta>, LakeError> {
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

    /// Files of the manifest, and those that left it for others but can still be read.
    pub async fn committed(&self, journal: &dyn Journal) -> Result<HashSet<String>, LakeError> {
        let mut paths = HashSet::new();
        let mut after = 0;
        loop {
            let page = journal.manifest(after, limits::MANIFEST_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.position;
            paths.extend(page.into_iter().map(|record| record.entry.path));
        }
        // After the manifest: what leaves it in between is in this list.
        paths.extend(replaced(journal).await?.into_iter().map(|file| file.path));
        Ok(paths)
    }

    /// Whether a file that is not committed never will be.
    pub async fn is_garbage(
        &self,
        meta: &ObjectMeta,
        epochs: &[Owner],
        now_ms: i64,
    ) -> Result<bool, LakeError> {
        if sweeps_too_early() {
            return Ok(true);
        }
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

/// True when the fail point takes away the rule that a file of a current owner may still be committed.
fn sweeps_too_early() -> bool {
    fail::fail_point!("sweep-too-early", |_| true);
    false
}

/// A store's error with its causes, one line.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// The whole list of replaced files.
pub(crate) async fn replaced(journal: &dyn Journal) -> Result<Vec<ReplacedFile>, LakeError> {
    let mut files: Vec<ReplacedFile> = Vec::new();
    loop {
        let after = files.last().map(|file| file.path.as_str());
        let page = journal.replaced(after, limits::MANIFEST_PAGE).await?;
        if page.is_empty() {
            return Ok(files);
        }
        files.extend(page);
    }
}

/// The path of a new file.
pub(crate) fn fresh_path(receive_ms: i64, writer: &str, epoch: u64, counter: u64) -> String {
    let hour = DateTime::from_timestamp_millis(receive_ms).unwrap_or_default().format("%H").to_string();
    format!("{FRESH}date={}/hour={hour}/{writer}-{epoch}-{counter}.parquet", date(receive_ms))
}

fn date(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().format("%Y-%m-%d").to_string()
}
