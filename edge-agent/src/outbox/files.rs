//! Segment files: named, created, listed, synced.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::OutboxError;

const SUFFIX: &str = "seg";
/// Segments kept open for reading; further ones are opened when they are read.
const OPEN_MAX: usize = 8;

pub(crate) fn path_of(dir: &Path, id: u32) -> PathBuf {
    dir.join(format!("{id:08}.{SUFFIX}"))
}

/// Segment ids in a directory, ascending.
pub(crate) fn list(dir: &Path) -> Result<Vec<u32>, OutboxError> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(dir).map_err(OutboxError::file("list", dir))? {
        let path = entry.map_err(OutboxError::file("list", dir))?.path();
        let is_segment = path.extension().is_some_and(|e| e == SUFFIX);
        let id = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse().ok());
        if let (true, Some(id)) = (is_segment, id) {
            ids.push(id);
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

/// A file's name is durable only after its directory was synced.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), OutboxError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(OutboxError::file("sync", dir))
}

/// Makes a log's directory, with those it stands in; their names are durable when it returns. One that is there may
/// have been made by a process that was killed before it synced.
pub(crate) fn make_dir(dir: &Path) -> Result<(), OutboxError> {
    let is_bare = |p: &Path| p.as_os_str().is_empty();
    let parent = |p: &Path| p.parent().filter(|p| !is_bare(p)).unwrap_or(Path::new(".")).to_path_buf();
    let missing: Vec<&Path> = dir.ancestors().take_while(|p| !is_bare(p) && !p.exists()).collect();
    for dir in missing.into_iter().rev() {
        match fs::create_dir(dir) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(OutboxError::file("create", dir)(e));
            }
            _ => sync_dir(&parent(dir))?,
        }
    }
    sync_dir(&parent(dir))
}

pub(crate) fn create(dir: &Path, id: u32) -> Result<Arc<File>, OutboxError> {
    let path = path_of(dir, id);
    let opened = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
    Ok(Arc::new(opened.map_err(OutboxError::file("create", path))?))
}

/// A few open files.
#[derive(Debug, Default)]
pub(crate) struct OpenFiles(BTreeMap<u32, Arc<File>>);

impl OpenFiles {
    pub(crate) fn get(&mut self, dir: &Path, id: u32) -> Result<Arc<File>, OutboxError> {
        if let Some(file) = self.0.get(&id) {
            return Ok(Arc::clone(file));
        }
        let path = path_of(dir, id);
        let file = Arc::new(File::open(&path).map_err(OutboxError::file("open", path))?);
        self.insert(id, Arc::clone(&file));
        Ok(file)
    }

    pub(crate) fn insert(&mut self, id: u32, file: Arc<File>) {
        if self.0.len() >= OPEN_MAX {
            self.0.pop_first();
        }
        self.0.insert(id, file);
    }

    pub(crate) fn remove(&mut self, id: u32) {
        self.0.remove(&id);
    }
}
