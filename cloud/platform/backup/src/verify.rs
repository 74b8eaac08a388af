//! Reading backups back: whether everything is there, and is what was written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;

use remuda_eventsourcing::copying::Contents;
use serde::Serialize;

use crate::bucket::LakeBucket;
use crate::error::BackupError;
use crate::files_part;
use crate::hashing::Hashing;
use crate::index::{Index, Object};
use crate::journal_part;
use crate::pace::Pace;
use crate::references::{self, InPlace};
use crate::repository::{Repository, drain};
use crate::seal::Identities;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// A snapshot's index is cut short, changed, or not there.
    Index,
    /// An object that a snapshot refers to is nowhere.
    Missing,
    /// It is shorter than it was written.
    Truncated,
    /// Its bytes are not those that were written.
    Changed,
    /// It cannot be opened, or what is in it does not agree.
    Contents,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// Of which object, or index.
    pub object: String,
    /// In words.
    pub detail: String,
    /// Snapshots that cannot be restored for it.
    pub snapshots: Vec<String>,
    /// What to do.
    pub advice: &'static str,
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Snapshots that were looked at.
    pub snapshots: u64,
    /// Objects that they refer to.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that no snapshot refers to: a backup that was not finished, or prune's next task.
    pub unreferenced: u64,
    /// Whether sealed objects were opened and compared with each other, too.
    pub opened: bool,
    /// Snapshots that name files of the lake in its bucket.
    pub in_place: Vec<InPlace>,
    /// Everything that is wrong; empty when the backups hold.
    pub faults: Vec<Fault>,
}

const LOST_INDEX: &str =
    "remove the snapshot's folder; take a new backup now, and restore another snapshot if you must";
const LOST_OBJECT: &str = "move the damaged object away (if it is there) and take a new backup: what the node still has is \
                           copied again, and snapshots that share it are whole again; look at this disk before you trust it";
const LOST_REFERENCE: &str = "nothing of Remuda deletes or changes a file so soon: ask who writes to the bucket; put the object back \
                              from a version of it, or from a snapshot that was taken with --copy, and run remuda lake verify";
const DISAGREES: &str = "do not restore this snapshot; take a new backup, and keep this one for a look";

/// Reads everything that these snapshots refer to and compares it with their indexes; with keys, sealed objects are opened
/// too, and manifest and lake compared. Files that lie in `bucket` are looked for there.
///
/// # Errors
/// When the repository cannot be read at all, or the pace says stop; what is merely wrong is in the answer.
pub fn verify(
    repository: &Repository,
    snapshots: &[String],
    identities: Option<&Identities>,
    bucket: Option<&LakeBucket>,
    pace: &mut Pace,
) -> Result<Verification, BackupError> {
    let mut found = Verification { opened: identities.is_some(), ..Verification::default() };
    let mut objects: BTreeMap<String, (Object, Vec<String>)> = BTreeMap::new();
    let mut indexes = Vec::new();
    for id in snapshots {
        found.snapshots += 1;
        match repository.index(id) {
            Ok(index) => {
                for (object, _) in index.objects() {
                    let known = objects.entry(object.name.clone());
                    known.or_insert_with(|| (object.clone(), Vec::new())).1.push(id.clone());
                }
                indexes.push(index);
            }
            Err(error @ BackupError::NoSnapshot(_)) => return Err(error),
            Err(error) => found.fault(FaultKind::Index, id, error.to_string(), vec![id.clone()], LOST_INDEX),
        }
    }
    pace.phase("objects", objects.values().map(|(object, _)| object.bytes).sum());
    let mut broken = BTreeSet::new();
    for (object, snapshots) in objects.values() {
        found.objects += 1;
        found.bytes += object.bytes;
        if let Some((kind, detail)) = wrong(repository, object, pace)? {
            broken.extend(snapshots.iter().cloned());
            found.fault(kind, &object.name, detail, snapshots.clone(), LOST_OBJECT);
        }
    }
    if let Some(identities) = identities {
        pace.phase("contents", 0);
        // Of a snapshot that lacks something everything else would seem wrong, too.
        for index in indexes.iter().filter(|index| !broken.contains(&index.id)) {
            match agrees(repository, index, identities, pace) {
                Ok(()) => {}
                Err(error @ (BackupError::Stopped | BackupError::File { .. })) => return Err(error),
                Err(error) => {
                    let (id, detail) = (index.id.clone(), error.to_string());
                    found.fault(FaultKind::Contents, &id.clone(), detail, vec![id], DISAGREES);
                }
            }
        }
    }
    let (in_place, wrong) = references::look_all(&indexes, bucket, pace)?;
    for file in wrong {
        let object = format!("{}/{}", bucket.map(LakeBucket::address).unwrap_or_default(), file.path);
        found.fault(file.kind, &object, file.detail, file.snapshots, LOST_REFERENCE);
    }
    found.in_place = in_place;
    let all = repository.snapshots()?.len() == snapshots.len();
    if all {
        let stored = repository.stored()?;
        found.unreferenced = stored.iter().filter(|(name, _)| !objects.contains_key(name)).count() as u64;
    }
    Ok(found)
}

impl Verification {
    fn fault(
        &mut self,
        kind: FaultKind,
        object: &str,
        detail: String,
        snapshots: Vec<String>,
        advice: &'static str,
    ) {
        self.faults.push(Fault { kind, object: object.to_owned(), detail, snapshots, advice });
    }
}

/// What is wrong with an object as it is stored.
pub(crate) fn wrong(
    repository: &Repository,
    object: &Object,
    pace: &mut Pace,
) -> Result<Option<(FaultKind, String)>, BackupError> {
    let path = repository.object(&object.name);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Some((FaultKind::Missing, "it is not there".into())));
        }
        opened => opened.map_err(BackupError::file(&path, "read"))?,
    };
    let mut hashing = Hashing::new(file);
    drain(&mut hashing, &path, pace)?;
    let bytes = hashing.bytes;
    if bytes < object.bytes {
        let detail = format!("it has {bytes} bytes of {}", object.bytes);
        return Ok(Some((FaultKind::Truncated, detail)));
    }
    let same = hashing.finish().0 == object.sha256;
    Ok((!same).then(|| (FaultKind::Changed, "its hash is not the one that was written down".into())))
}

/// Opens everything sealed and compares the manifest with the lake's list.
pub(crate) fn agrees(
    repository: &Repository,
    index: &Index,
    identities: &Identities,
    pace: &mut Pace,
) -> Result<(), BackupError> {
    for files in &index.files {
        files_part::open(repository, index, files, identities, pace)?;
    }
    for journal in &index.journals {
        let mut contents = Contents::default();
        journal_part::read(repository, index, journal, identities, pace, &mut |key, value| {
            Ok(contents.see(&key, value.as_deref())?)
        })?;
        if let Some(lake) = index.lake.as_ref().filter(|lake| lake.journal == journal.name) {
            same_files(&contents, lake).map_err(BackupError::Inconsistent)?;
        }
    }
    Ok(())
}

/// Whether the manifest names exactly the lake's files, with the same sums.
pub(crate) fn same_files(contents: &Contents, lake: &crate::index::LakeCopy) -> Result<(), String> {
    let mut listed: BTreeMap<&str, (u32, u64)> = BTreeMap::new();
    for (path, crc32c, bytes) in lake.manifest() {
        if listed.insert(path, (crc32c, bytes)).is_some() {
            return Err(format!("the file {path} is in the backup's list twice"));
        }
    }
    for entry in contents.manifest.values() {
        match listed.remove(entry.path.as_str()) {
            None => {
                return Err(format!("the manifest names {}, which the backup lacks, or twice", entry.path));
            }
            Some(sums) if sums != (entry.checksum, entry.bytes) => {
                return Err(format!("the manifest has another checksum for {} than the backup", entry.path));
            }
            Some(_) => {}
        }
    }
    match listed.keys().next() {
        Some(path) => Err(format!("the backup holds {path}, which is in no manifest")),
        None => Ok(()),
    }
}
