//! The embedded engine, on sled 0.34.7.
//!
//! sled's `flush` is not durable: it calls `sync_file_range`, not `fsync`, and loses everything in a power cut. So
//! sled's own flusher is off, and every group is: one atomic batch, `flush`, then `sync_all` on sled's `db` file through
//! a handle of our own, before anybody is answered (docs/adr/0005).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use crate::engine::Engine;
use crate::folders;
use crate::journal::JournalError;
use crate::limits;
use crate::metrics::JournalMetrics;
use crate::store::{Entry, Store};

/// A journal in a folder of its own.
pub type SledJournal = Engine<SledStore>;

impl SledJournal {
    /// Opens, or makes, the journal in `folder`.
    ///
    /// # Errors
    /// `InUse` when another process has it, `Corrupt` with how to restore it, `Io` otherwise.
    pub fn open(folder: &Path, metrics: JournalMetrics) -> Result<Self, JournalError> {
        Self::start(SledStore::open(folder)?, metrics)
    }
}

/// sled with its missing sync.
pub struct SledStore {
    db: sled::Db,
    /// sled's own log file; `flush` writes it, we sync it.
    file: File,
    /// A batch is only applied; whoever derives the data calls [`Store::sync`] now and then.
    derived: bool,
}

fn io<E: std::error::Error + Send + Sync + 'static>(
    operation: &'static str,
) -> impl FnOnce(E) -> JournalError {
    move |source| JournalError::Io { operation, source: Box::new(source) }
}

impl SledStore {
    /// Opens, or makes, a store; every batch is durable.
    ///
    /// # Errors
    /// `InUse` when another process has it, `Corrupt` with how to restore it, `Io` otherwise.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        Self::open_with(folder, limits::CACHE_BYTES)
    }

    /// Opens, or makes, a store for data that can be derived again: a batch is atomic, also with respect to a crash, but
    /// durable only by the next [`Store::sync`].
    ///
    /// # Errors
    /// `InUse` when another process has it, `Corrupt` when it is damaged, `Io` otherwise.
    pub fn open_derived(folder: &Path) -> Result<Self, JournalError> {
        Ok(Self { derived: true, ..Self::open_with(folder, limits::DERIVED_CACHE_BYTES)? })
    }

    fn open_with(folder: &Path, cache_bytes: u64) -> Result<Self, JournalError> {
        let created = !folder.join("db").exists();
        if created {
            create(folder, cache_bytes)?;
        }
        let mut tries = if created { limits::LOCK_TRIES } else { 1 };
        let db = loop {
            let opened = match open_sled(folder, cache_bytes) {
                Err(sled::Error::Corruption { .. }) => {
                    // A crash while sled writes a snapshot leaves it half written; it is only a cache of the log.
                    remove_half_snapshots(folder)?;
                    open_sled(folder, cache_bytes)
                }
                other => other,
            };
            tries -= 1;
            match opened.map_err(|e| explain(e, folder)) {
                // sled gives the lock of the store that was just made back a moment after it was dropped.
                Err(JournalError::InUse(_)) if tries > 0 => std::thread::sleep(limits::LOCK_PAUSE),
                other => break other?,
            }
        };
        // sled has written a snapshot under a new name, taken the old one away, and blanked segments that only the old one
        // points into: the names first, or a power cut brings back a snapshot of what is no longer there.
        folders::sync(folder).map_err(io("syncing its snapshot"))?;
        let file = File::open(folder.join("db")).map_err(io("opening its log"))?;
        file.sync_all().map_err(io("syncing its log"))?;
        Ok(Self { db, file, derived: false })
    }
}

fn open_sled(folder: &Path, cache_bytes: u64) -> sled::Result<sled::Db> {
    sled::Config::new().path(folder).cache_capacity(cache_bytes).flush_every_ms(None).open()
}

/// Makes an empty journal beside its place and renames it there, so that a power cut leaves a whole one or none.
fn create(folder: &Path, cache_bytes: u64) -> Result<(), JournalError> {
    let parent = folders::parent_of(folder);
    let nursery = folder.with_extension("new");
    folders::make_durable(parent).map_err(io("making its folder"))?;
    if nursery.exists() {
        fs::remove_dir_all(&nursery).map_err(io("removing a half-made journal"))?;
    }
    {
        let db = open_sled(&nursery, cache_bytes).map_err(|e| explain(e, &nursery))?;
        db.flush().map_err(|e| explain(e, &nursery))?;
    }
    for entry in fs::read_dir(&nursery).map_err(io("listing its files"))? {
        let path = entry.map_err(io("listing its files"))?.path();
        File::open(path).and_then(|f| f.sync_all()).map_err(io("syncing its files"))?;
    }
    // The names in it as well: renaming it would not make them durable.
    folders::sync(&nursery).map_err(io("syncing its files"))?;
    if folder.exists() {
        // An empty folder that somebody made for us; one with other files in it is not ours to remove.
        fs::remove_dir(folder).map_err(io("taking its place (the folder must be empty or a journal)"))?;
    }
    fs::rename(&nursery, folder).map_err(io("moving it to its place"))?;
    folders::sync(parent).map_err(io("syncing its parent folder"))
}

fn remove_half_snapshots(folder: &Path) -> Result<(), JournalError> {
    for entry in fs::read_dir(folder).map_err(io("listing its files"))? {
        let path = entry.map_err(io("listing its files"))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path).map_err(io("removing a half-written snapshot"))?;
        }
    }
    Ok(())
}

fn explain(error: sled::Error, folder: &Path) -> JournalError {
    let place = folder.display().to_string();
    match error {
        sled::Error::Io(e) if e.kind() == std::io::ErrorKind::WouldBlock => JournalError::InUse(place),
        // sled wraps the lock's error in one of its own words.
        sled::Error::Io(e) if e.to_string().contains("could not acquire lock") => JournalError::InUse(place),
        sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) => JournalError::Corrupt(format!(
            "{error} (in {place}); move the folder away and restore it with: remuda journal import FILE"
        )),
        other => JournalError::Io { operation: "opening its store", source: Box::new(other) },
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, JournalError> {
        let value = self.db.get(key).map_err(io("reading"))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Entry>, JournalError> {
        let mut found = Vec::new();
        for entry in self.db.range(from.to_vec()..).take(limit) {
            let (key, value) = entry.map_err(io("reading"))?;
            if !key.starts_with(prefix) {
                break;
            }
            found.push((key.to_vec(), value.to_vec()));
        }
        Ok(found)
    }

    fn commit(&self, batch: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Result<(), JournalError> {
        let mut sled_batch = sled::Batch::default();
        for (key, value) in batch {
            match value {
                Some(value) => sled_batch.insert(key.as_slice(), value.as_slice()),
                None => sled_batch.remove(key.as_slice()),
            }
        }
        self.db.apply_batch(sled_batch).map_err(io("applying a batch"))?;
        if self.derived { Ok(()) } else { self.sync() }
    }

    fn sync(&self) -> Result<(), JournalError> {
        self.db.flush().map_err(io("flushing"))?;
        self.file.sync_all().map_err(io("syncing"))
    }
}
