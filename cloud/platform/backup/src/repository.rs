//! The folder that backups lie in: objects that are written once, and snapshots that refer to them.
//!
//! ```text
//! remuda-backups.json            what this folder is
//! lock                           one writer at a time
//! objects/lake/...               files of the lake, by their path there
//! objects/chunks/ab/...          sealed pieces of journals, by content
//! objects/files/ab/...           sealed folders of small files, by content
//! snapshots/ID/index             a whole snapshot
//! placed                         what was put to its place since the last snapshot, with its hash: a line each
//! snapshots/.ID.partial/         one that is not whole, of no worth to anybody
//! restores/...                   that somebody restored from here, and from which epoch on
//! drafts/                        objects that are being written
//! ```
//!
//! An object is written as a draft, synced, and renamed to its place; the folders are synced before the index that refers
//! to it, and the index before its folder is renamed. So whatever has its final name is whole.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use remuda_eventsourcing::folders;
use serde::{Deserialize, Serialize};

use crate::error::BackupError;
use crate::hashing::{Hashing, sha256};
use crate::index::{FORMAT, Index, Object, SnapshotKind};
use crate::lake_part::Checked;
use crate::limits;
use crate::pace::Pace;

const DESCRIPTION: &str = "remuda-backups.json";
const PLACED: &str = "placed";

#[derive(Serialize, Deserialize)]
struct Description {
    what: String,
    format: u32,
}

/// A folder of backups, locked.
pub struct Repository {
    root: PathBuf,
    /// Held until it is dropped.
    _lock: File,
    /// Folders with new names in them, to be synced before an index is written.
    unsynced: BTreeSet<PathBuf>,
    /// Objects by name that a backup which was not finished has left.
    placed: HashMap<String, Object>,
    /// Objects by name of every snapshot, once they are asked for.
    all: OnceCell<HashMap<String, Object>>,
}

/// Who may be at work beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Others that read.
    Read,
    /// Nobody.
    Write,
}

/// Takes `file://` off, if it is there.
pub fn place(text: &str) -> PathBuf {
    PathBuf::from(text.strip_prefix("file://").unwrap_or(text))
}

impl Repository {
    /// Opens a folder of backups; makes one of a folder that is not there, or empty.
    ///
    /// # Errors
    /// When it holds something else, or somebody is at work in it.
    pub fn create(root: &Path) -> Result<Self, BackupError> {
        folders::make_durable(root).map_err(BackupError::file(root, "made"))?;
        let description = root.join(DESCRIPTION);
        if !description.exists() {
            let mut there = fs::read_dir(root).map_err(BackupError::file(root, "read"))?;
            // A crash may have left no more than these.
            if there.any(|e| e.is_ok_and(|e| e.file_name() != "lock" && e.file_name() != "lost+found")) {
                return Err(BackupError::Occupied(root.to_path_buf()));
            }
            let what = "backups of a Remuda node; see docs/backup.md".to_owned();
            let text = serde_json::to_vec(&Description { what, format: FORMAT }).unwrap_or_default();
            replace(&description, &text).map_err(BackupError::file(&description, "written"))?;
        }
        let mut repository = Self::open(root, Access::Write)?;
        for folder in ["objects", "snapshots", "restores", "drafts"] {
            let folder = root.join(folder);
            folders::make_durable(&folder).map_err(BackupError::file(&folder, "made"))?;
        }
        repository.clear_leftovers()?;
        repository.placed = read_placed(&root.join(PLACED))?;
        Ok(repository)
    }

    /// Opens a folder of backups.
    ///
    /// # Errors
    /// When it is none, or somebody is at work in it.
    pub fn open(root: &Path, access: Access) -> Result<Self, BackupError> {
        let path = root.join(DESCRIPTION);
        let text = fs::read(&path).map_err(|_| BackupError::NotARepository(root.to_path_buf()))?;
        let Description { format, .. } =
            serde_json::from_slice(&text).map_err(|_| BackupError::NotARepository(root.to_path_buf()))?;
        if format > FORMAT {
            return Err(BackupError::Format { path, format, known: FORMAT });
        }
        let lock = Self::lock(root, access)?;
        Ok(Self {
            root: root.to_path_buf(),
            _lock: lock,
            unsynced: BTreeSet::new(),
            placed: HashMap::new(),
            all: OnceCell::new(),
        })
    }

    fn lock(root: &Path, access: Access) -> Result<File, BackupError> {
        let path = root.join("lock");
        let open = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
        // A folder that can only be read can be restored from: nobody writes to it either.
        let file = match (open, access) {
            (Err(_), Access::Read) => {
                return File::open(root).map_err(BackupError::file(root, "read"));
            }
            (open, _) => open.map_err(BackupError::file(&path, "opened"))?,
        };
        let locked = match access {
            Access::Read => file.try_lock_shared(),
            Access::Write => file.try_lock(),
        };
        match locked {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(BackupError::Busy(root.to_path_buf())),
            Err(TryLockError::Error(source)) => Err(BackupError::File { path, what: "locked", source }),
        }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Removes what a run that was killed left: nothing whole refers to it.
    fn clear_leftovers(&self) -> Result<(), BackupError> {
        for entry in self.entries("drafts")? {
            fs::remove_file(&entry).map_err(BackupError::file(&entry, "removed"))?;
        }
        for entry in self.entries("snapshots")? {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') {
                fs::remove_dir_all(&entry).map_err(BackupError::file(&entry, "removed"))?;
            }
        }
        Ok(())
    }

    fn entries(&self, folder: &str) -> Result<Vec<PathBuf>, BackupError> {
        let folder = self.root.join(folder);
        let listed = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.map_err(BackupError::file(&folder, "read"))?,
        };
        let paths = listed.map(|entry| entry.map(|entry| entry.path()));
        let mut paths = paths.collect::<io::Result<Vec<_>>>().map_err(BackupError::file(&folder, "read"))?;
        paths.sort();
        Ok(paths)
    }

    /// Names of the snapshots that are whole, oldest first.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn snapshots(&self) -> Result<Vec<String>, BackupError> {
        let entries = self.entries("snapshots")?;
        let names = entries.iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
        Ok(names.filter(|name| !name.starts_with('.')).collect())
    }

    /// A snapshot's index.
    ///
    /// # Errors
    /// When there is none, or it is damaged.
    pub fn index(&self, id: &str) -> Result<Index, BackupError> {
        let folder = self.root.join("snapshots").join(id);
        if id.is_empty() || id.starts_with('.') || id.contains('/') || !folder.is_dir() {
            return Err(BackupError::NoSnapshot(id.to_owned()));
        }
        let path = folder.join("index");
        let bytes = match fs::metadata(&path).map(|meta| meta.len()) {
            Ok(bytes) if bytes > limits::INDEX_BYTES_MAX => {
                return Err(BackupError::TooLarge { what: id.into(), bytes, max: limits::INDEX_BYTES_MAX });
            }
            _ => fs::read(&path),
        };
        match bytes {
            Ok(bytes) => Index::decode(id, &bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(BackupError::damaged(&format!("snapshots/{id}/index"), "its index is missing"))
            }
            Err(source) => Err(BackupError::File { path, what: "read", source }),
        }
    }

    /// Where an object lies.
    pub fn object(&self, name: &str) -> PathBuf {
        self.root.join("objects").join(name)
    }

    /// Objects of the newest snapshots by name, so that they need not be read again to know their hash.
    pub(crate) fn known(&self) -> Result<HashMap<String, Object>, BackupError> {
        let mut known = HashMap::new();
        let newest = self.snapshots()?.into_iter().rev();
        // One that is damaged knows nothing; `verify` tells of it. One of the identity alone knows no journal and no lake.
        let whole =
            newest.filter_map(|id| self.index(&id).ok()).filter(|index| index.kind == SnapshotKind::Full);
        for index in whole.take(limits::KNOWN_SNAPSHOTS) {
            for (object, _) in index.objects() {
                known.entry(object.name.clone()).or_insert_with(|| object.clone());
            }
        }
        Ok(known)
    }

    /// An object that is there already, whole: as an index of the newest snapshots has it, or read and the same as what was
    /// written down of it, by another snapshot or by a backup that was not finished. `plain` are the bytes and the CRC-32C
    /// of one that is stored as it is. One that nobody can vouch for is not there: it is written again.
    pub(crate) fn existing(
        &self,
        known: &HashMap<String, Object>,
        name: &str,
        plain: Option<(u64, u32)>,
        pace: &mut Pace,
    ) -> Result<Option<Object>, BackupError> {
        let path = self.object(name);
        let bytes = match fs::metadata(&path) {
            Ok(meta) => meta.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(BackupError::File { path, what: "read", source }),
        };
        if let Some(object) = known.get(name) {
            // Another length is damage; it is written again.
            return Ok((object.bytes == bytes).then(|| object.clone()));
        }
        let told = match self.placed.get(name) {
            Some(object) => Some(object),
            // Written again it would be another object to a snapshot that refers to it.
            None => self.all()?.get(name),
        };
        if told.is_some_and(|object| object.bytes != bytes) || (told.is_none() && plain.is_none()) {
            return Ok(None);
        }
        let file = File::open(&path).map_err(BackupError::file(&path, "read"))?;
        let mut hashing = Hashing::new(Checked::new(file));
        drain(&mut hashing, &path, pace)?;
        let (sha256, checked) = hashing.finish();
        let same = match (told, plain) {
            (_, Some(plain)) => checked.sums() == plain,
            (Some(object), None) => object.sha256 == sha256,
            (None, None) => false,
        };
        Ok(same.then(|| Object { name: name.to_owned(), sha256, bytes }))
    }

    /// Objects of every snapshot by name. One whose index is damaged knows nothing; `verify` tells of it.
    fn all(&self) -> Result<&HashMap<String, Object>, BackupError> {
        if let Some(all) = self.all.get() {
            return Ok(all);
        }
        let mut all = HashMap::new();
        for index in self.snapshots()?.into_iter().filter_map(|id| self.index(&id).ok()) {
            all.extend(index.objects().map(|(object, _)| (object.name.clone(), object.clone())));
        }
        Ok(self.all.get_or_init(|| all))
    }

    /// When the newest whole snapshot was begun, ms since 1970 UTC.
    ///
    /// # Errors
    /// When the snapshots cannot be listed.
    pub fn newest_full_ms(&self) -> Result<Option<i64>, BackupError> {
        let newest = self.snapshots()?.into_iter().rev();
        let mut whole = newest.filter_map(|id| self.index(&id).ok());
        Ok(whole.find(|index| index.kind == SnapshotKind::Full).map(|index| index.begun_ms))
    }

    /// Where an object may be begun.
    pub(crate) fn draft_path(&self) -> PathBuf {
        self.root.join("drafts").join(format!("{:016x}", rand::random::<u64>()))
    }

    /// Begins an object.
    pub(crate) fn draft(&self) -> Result<(PathBuf, File), BackupError> {
        let path = self.draft_path();
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(BackupError::file(&path, "made"))?;
        Ok((path, file))
    }

    /// Puts a draft that was synced, or a link, to its place.
    pub(crate) fn place(&mut self, draft: &Path, object: &Object) -> Result<(), BackupError> {
        fail::fail_point!("backup-before-place", |_| std::process::abort());
        let path = self.object(&object.name);
        let folder = path.parent().unwrap_or(&self.root).to_path_buf();
        if !folder.is_dir() {
            folders::make_durable(&folder).map_err(BackupError::file(&folder, "made"))?;
        }
        fs::rename(draft, &path).map_err(BackupError::file(&path, "written"))?;
        self.unsynced.insert(folder);
        self.note_placed(object)
    }

    /// Not synced: an object whose line is lost is written again.
    fn note_placed(&self, object: &Object) -> Result<(), BackupError> {
        let path = self.root.join(PLACED);
        let mut line = serde_json::to_vec(object).unwrap_or_default();
        line.push(b'\n');
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| file.write_all(&line));
        written.map_err(BackupError::file(&path, "written"))
    }

    /// The folder that will be a snapshot's.
    pub(crate) fn partial(&self, id: &str) -> Result<(), BackupError> {
        let folder = self.root.join("snapshots").join(format!(".{id}.partial"));
        fs::create_dir(&folder).map_err(BackupError::file(&folder, "made"))
    }

    /// Makes a snapshot whole.
    pub(crate) fn seal_snapshot(&mut self, index: &Index) -> Result<(), BackupError> {
        for folder in std::mem::take(&mut self.unsynced) {
            sync(&folder).map_err(BackupError::file(&folder, "synced"))?;
        }
        let snapshots = self.root.join("snapshots");
        let partial = snapshots.join(format!(".{}.partial", index.id));
        fail::fail_point!("backup-before-index", |_| std::process::abort());
        let path = partial.join("index");
        replace(&path, &index.encode()?).map_err(BackupError::file(&path, "written"))?;
        fail::fail_point!("backup-before-rename", |_| std::process::abort());
        let whole = snapshots.join(&index.id);
        fs::rename(&partial, &whole).map_err(BackupError::file(&whole, "written"))?;
        sync(&snapshots).map_err(BackupError::file(&snapshots, "synced"))?;
        // Its index knows them now.
        self.placed.clear();
        let placed = self.root.join(PLACED);
        match fs::remove_file(&placed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(BackupError::file(&placed, "removed")(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes a snapshot; its objects stay.
    pub(crate) fn remove_snapshot(&self, id: &str) -> Result<(), BackupError> {
        let snapshots = self.root.join("snapshots");
        let (whole, gone) = (snapshots.join(id), snapshots.join(format!(".{id}.removed")));
        // First its name: half a snapshot must not look like one.
        fs::rename(&whole, &gone).map_err(BackupError::file(&whole, "removed"))?;
        sync(&snapshots).map_err(BackupError::file(&snapshots, "synced"))?;
        fs::remove_dir_all(&gone).map_err(BackupError::file(&gone, "removed"))
    }

    /// Every object that is there: name, bytes.
    pub(crate) fn stored(&self) -> Result<Vec<(String, u64)>, BackupError> {
        let root = self.root.join("objects");
        let mut found = Vec::new();
        walk(&root, &root, &mut found).map_err(BackupError::file(&root, "read"))?;
        Ok(found)
    }

    /// Notes that somebody restored from here with epochs from `epoch` on; answers false where nothing can be written.
    pub(crate) fn note_restore(&self, snapshot: &str, epoch: u64, at_ms: i64) -> bool {
        let note = RestoreNote { snapshot: snapshot.to_owned(), epoch, at_ms };
        let name = format!("{at_ms}-{:08x}.json", rand::random::<u32>());
        let text = serde_json::to_vec(&note).unwrap_or_default();
        let folder = self.root.join("restores");
        let written = folders::make_durable(&folder).and_then(|()| replace(&folder.join(name), &text));
        written.is_ok()
    }

    /// The highest epoch that a restore from here began with.
    pub(crate) fn restored_epoch(&self) -> Result<u64, BackupError> {
        let mut highest = 0;
        for path in self.entries("restores")? {
            // A draft that a crash left is no note.
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = fs::read(&path).map_err(BackupError::file(&path, "read"))?;
                let note: RestoreNote = serde_json::from_slice(&text)
                    .map_err(|e| BackupError::damaged(&path.display().to_string(), e.to_string()))?;
                highest = highest.max(note.epoch);
            }
        }
        Ok(highest)
    }
}

/// What was put to its place and is in no snapshot yet. A line that a crash cut says nothing.
fn read_placed(path: &Path) -> Result<HashMap<String, Object>, BackupError> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        read => read.map_err(BackupError::file(path, "read"))?,
    };
    let objects = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    Ok(objects.map(|object: Object| (object.name.clone(), object)).collect())
}

/// That somebody restored.
#[derive(Debug, Serialize, Deserialize)]
struct RestoreNote {
    snapshot: String,
    epoch: u64,
    at_ms: i64,
}

/// The name of a sealed object: of its content and of who can read it.
pub(crate) fn content_name(kind: &str, recipients: &str, content: &[u8]) -> String {
    let hash = sha256(&[recipients.as_bytes(), b"\n", content]);
    format!("{kind}/{}/{}.age", &hash[..2], &hash[2..])
}

/// Reads to the end, at the pace.
pub(crate) fn drain(input: &mut impl Read, path: &Path, pace: &mut Pace) -> Result<(), BackupError> {
    let mut buffer = vec![0; limits::PIECE_BYTES];
    loop {
        let read = input.read(&mut buffer).map_err(BackupError::file(path, "read"))?;
        if read == 0 {
            return Ok(());
        }
        pace.spend(read as u64)?;
    }
}

/// Writes a small file that is there whole or not at all.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync(path.parent().unwrap_or(Path::new(".")))
}

pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Files below a folder, with their paths below `root`, in order.
pub(crate) fn walk(root: &Path, folder: &Path, found: &mut Vec<(String, u64)>) -> io::Result<()> {
    let mut entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        listed => listed?.collect::<io::Result<Vec<_>>>()?,
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, meta) = (entry.path(), entry.metadata()?);
        if meta.is_dir() {
            walk(root, &path, found)?;
        } else if meta.is_file() {
            let below = path.strip_prefix(root).unwrap_or(&path);
            found.push((below.to_string_lossy().into_owned(), meta.len()));
        }
    }
    Ok(())
}
