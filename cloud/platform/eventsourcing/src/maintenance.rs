//! Export, import and verification of a stopped node's journal.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::Path;

use remuda_model::ShardId;
use serde::{Deserialize, Serialize};

use crate::journal::{Caused, FeedPosition, JournalError, ManifestEntry, NewEvent, ReplacedFile, StreamId};
use crate::sled_engine::SledStore;
use crate::store::{Entry, Store};
use crate::writes::{Ownership, decode};
use crate::{keys, limits};

/// One line of an export: a key and its value, hexadecimal, so that any text tool carries it.
#[derive(Serialize, Deserialize)]
struct Line {
    k: String,
    v: String,
}

/// What a verification found.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Events.
    pub events: u64,
    /// Shards that have events.
    pub shards: u64,
    /// Streams.
    pub streams: u64,
    /// Manifest entries.
    pub files: u64,
    /// What is wrong, in words; empty when it holds.
    pub faults: Vec<String>,
}

/// Keys read at a time.
const PAGE: usize = 4096;

fn io(operation: &'static str, e: std::io::Error) -> JournalError {
    JournalError::Io { operation, source: Box::new(e) }
}

fn each_page(
    store: &dyn Store,
    prefix: &[u8],
    mut page: impl FnMut(Vec<Entry>) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let mut from = prefix.to_vec();
    loop {
        let entries = store.scan(prefix, &from, PAGE)?;
        let Some((last, _)) = entries.last() else { return Ok(()) };
        from.clone_from(last);
        from.push(0);
        page(entries)?;
    }
}

/// Writes every key as a JSON line; answers how many. `progress` is told the count so far.
///
/// # Errors
/// When the journal is in use or damaged, or `out` cannot be written.
pub fn export(
    folder: &Path,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, JournalError> {
    let store = open_existing(folder)?;
    let mut count = 0;
    each_page(&store, &[], |entries| {
        for (key, value) in entries {
            let line = Line { k: to_hex(&key), v: to_hex(&value) };
            serde_json::to_writer(&mut *out, &line).map_err(|e| io("writing the export", e.into()))?;
            out.write_all(b"\n").map_err(|e| io("writing the export", e))?;
            count += 1;
        }
        progress(count);
        Ok(())
    })?;
    out.flush().map_err(|e| io("writing the export", e))?;
    Ok(count)
}

/// Makes a new journal out of an export; answers how many keys it has.
///
/// # Errors
/// When `folder` has a journal already, a line cannot be read, or the disk fails.
pub fn import(
    input: &mut dyn BufRead,
    folder: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, JournalError> {
    if folder.join("db").exists() {
        return Err(JournalError::InUse(format!(
            "{} (it holds a journal; name an empty folder)",
            folder.display()
        )));
    }
    let store = SledStore::open(folder)?;
    let mut batch = BTreeMap::new();
    let mut count = 0;
    for line in input.lines() {
        let line = line.map_err(|e| io("reading the export", e))?;
        let bad = || JournalError::Corrupt(format!("line {} of the export cannot be read", count + 1));
        let Line { k, v } = serde_json::from_str(&line).map_err(|_| bad())?;
        batch.insert(from_hex(&k).ok_or_else(bad)?, Some(from_hex(&v).ok_or_else(bad)?));
        count += 1;
        if batch.len() >= limits::GROUP_WRITES_MAX {
            store.commit(&batch)?;
            batch.clear();
            progress(count);
        }
    }
    store.commit(&batch)?;
    Ok(count)
}

/// Reads everything and checks that feeds have no gaps, versions follow, indexes agree and paths are unique.
///
/// # Errors
/// When the journal is in use or cannot be read at all; what merely does not agree is in the report.
pub fn verify(folder: &Path) -> Result<Report, JournalError> {
    verify_store(&open_existing(folder)?)
}

fn open_existing(folder: &Path) -> Result<SledStore, JournalError> {
    if !folder.join("db").exists() {
        return Err(JournalError::Corrupt(format!("there is no journal in {}", folder.display())));
    }
    SledStore::open(folder)
}

pub(crate) fn verify_store(store: &dyn Store) -> Result<Report, JournalError> {
    let mut report = Report::default();
    let mut heads: BTreeMap<u16, u64> = BTreeMap::new();
    let mut versions: BTreeMap<StreamId, u64> = BTreeMap::new();
    each_page(store, b"e", |entries| {
        for (key, bytes) in entries {
            let event: NewEvent = decode(&bytes)?;
            let shard = keys::shard_of(&key).map_or(0, |s| s.number());
            let position = keys::number_at_end(&key).unwrap_or_default();
            let head = heads.entry(shard).or_default();
            if position != *head + 1 {
                report.faults.push(format!("shard {shard}: position {position} follows {head}"));
            }
            *head = position;
            let place = store.get(&keys::version(&event.stream, event.version))?;
            if place.is_none() {
                report.faults.push(format!("shard {shard}: event {position} is not in its stream's index"));
            }
            let last = versions.entry(event.stream.clone()).or_default();
            if event.version != *last + 1 {
                let id = &event.stream.aggregate_id;
                report.faults.push(format!("stream {id}: version {} follows {last}", event.version));
            }
            *last = event.version;
            report.events += 1;
        }
        Ok(())
    })?;
    for (stream, version) in &versions {
        let known: Option<u64> = store.get(&keys::last_version(stream))?.map(|b| decode(&b)).transpose()?;
        if known != Some(*version) {
            report.faults.push(format!(
                "stream {}: its last version is {version}, noted {known:?}",
                stream.aggregate_id
            ));
        }
    }
    each_page(store, keys::OWNERS, |entries| {
        for (key, bytes) in entries {
            let own: Ownership = decode(&bytes)?;
            let shard = keys::shard_of(&key).map_or(0, |s| s.number());
            if heads.get(&shard).copied().unwrap_or(0) != own.head {
                report.faults.push(format!("shard {shard}: its head is noted as {}", own.head));
            }
        }
        Ok(())
    })?;
    verify_causes(store, &mut report)?;
    verify_manifest(store, &mut report)?;
    verify_trails(store, &mut report)?;
    report.shards = heads.len() as u64;
    report.streams = versions.len() as u64;
    Ok(report)
}

fn verify_causes(store: &dyn Store, report: &mut Report) -> Result<(), JournalError> {
    each_page(store, keys::CAUSES, |entries| {
        for (key, bytes) in entries {
            let caused: Caused = decode(&bytes)?;
            let event = keys::of_cause(&key).map(|(mut place, cause)| {
                place.extend_from_slice(&caused.first.to_be_bytes());
                (place, cause)
            });
            let Some((place, cause)) = event else {
                report.faults.push(format!("a cause's key cannot be read: {}", to_hex(&key)));
                continue;
            };
            let place: Option<(ShardId, FeedPosition)> =
                store.get(&place)?.map(|bytes| decode(&bytes)).transpose()?;
            let bytes =
                place.map(|(shard, position)| store.get(&keys::event(shard, position))).transpose()?;
            let event: Option<NewEvent> = bytes.flatten().map(|bytes| decode(&bytes)).transpose()?;
            if event.is_none_or(|event| event.causation_id != cause) {
                report.faults.push(format!("cause {cause}: version {} has another", caused.first));
            }
        }
        Ok(())
    })
}

fn verify_manifest(store: &dyn Store, report: &mut Report) -> Result<(), JournalError> {
    each_page(store, keys::MANIFEST, |entries| {
        for (key, bytes) in entries {
            let entry: ManifestEntry = decode(&bytes)?;
            let position = keys::number_at_end(&key).unwrap_or_default();
            let noted: Option<u64> = store.get(&keys::path(&entry.path))?.map(|b| decode(&b)).transpose()?;
            if noted != Some(position) {
                report
                    .faults
                    .push(format!("file {}: at {position}, its path is noted at {noted:?}", entry.path));
            }
            report.files += 1;
        }
        Ok(())
    })?;
    each_page(store, keys::REPLACED, |entries| {
        for (_, bytes) in entries {
            let ReplacedFile { path, .. } = decode(&bytes)?;
            let noted: Option<u64> = store.get(&keys::path(&path))?.map(|b| decode(&b)).transpose()?;
            let still_there = noted.map(|at| store.get(&keys::manifest(at))).transpose()?.flatten();
            if noted.is_none() || still_there.is_some() {
                report.faults.push(format!("file {path}: replaced, its path is noted at {noted:?}"));
            }
        }
        Ok(())
    })
}

/// Audit trails have no holes: a line that was taken out is told.
fn verify_trails(store: &dyn Store, report: &mut Report) -> Result<(), JournalError> {
    let mut ends: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    each_page(store, keys::NOTES, |entries| {
        for (key, _) in entries {
            let trail = key.get(1..key.len().saturating_sub(9)).unwrap_or_default();
            let position = keys::number_at_end(&key).unwrap_or_default();
            let end = ends.entry(trail.to_vec()).or_default();
            if position != *end + 1 {
                let trail = String::from_utf8_lossy(trail);
                report.faults.push(format!("trail {trail}: position {position} follows {end}"));
            }
            *end = position;
        }
        Ok(())
    })?;
    for (trail, end) in ends {
        let trail = String::from_utf8_lossy(&trail);
        let noted: Option<u64> = store.get(&keys::notes_head(&trail))?.map(|b| decode(&b)).transpose()?;
        if noted != Some(end) {
            report.faults.push(format!("trail {trail}: it ends at {end}, noted {noted:?}"));
        }
    }
    Ok(())
}

fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
