//! The file that grows.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::chain::{Hash, ZERO};
use crate::entry::{Entry, Outcome, What};
use crate::limits;
use crate::read::{self, Broken};

/// Why the log cannot be written or opened.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The disk says no.
    #[error("the audit log in {path} cannot be {operation}", path = path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The chain does not hold: somebody or something changed what was written.
    #[error(
        "the audit log is damaged: {0}; keep the files, move them aside and find out who could write there"
    )]
    Broken(#[from] Broken),
    /// A write failed before; nothing can be audited until a restart.
    #[error("the audit log failed earlier; nothing that must be audited is carried out until a restart")]
    Failed,
}

/// A line as it stands in a file: the entry's text, so that its hash is of what is read, and the hash.
#[derive(Serialize, Deserialize)]
pub(crate) struct Line {
    pub entry: Box<serde_json::value::RawValue>,
    pub hash: Hash,
}

struct Tail {
    file: File,
    path: PathBuf,
    bytes: u64,
    number: u64,
    hash: Hash,
    failed: bool,
}

/// The log of one node. Writes are blocking: call it where blocking is permitted.
pub struct AuditLog {
    folder: PathBuf,
    tail: Mutex<Tail>,
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Name of the file whose first entry has this number.
pub(crate) fn file_name(first: u64) -> String {
    format!("audit-{first:016}.jsonl")
}

impl AuditLog {
    /// Opens the log of a folder, checks the newest file's chain, and cuts off a last line that a crash left half written.
    ///
    /// # Errors
    /// When the disk says no, or the chain does not hold.
    pub fn open(folder: &Path) -> Result<Self, AuditError> {
        let io = |operation| move |source| AuditError::Io { path: folder.to_owned(), operation, source };
        if !folder.is_dir() {
            std::fs::create_dir_all(folder).map_err(io("made"))?;
            if let Some(parent) = folder.parent() {
                sync_folder(parent).map_err(io("made"))?;
            }
        }
        let files = read::files(folder).map_err(io("listed"))?;
        let Some((first, path)) = files.last() else {
            let (path, file) = create(folder, 1).map_err(io("begun"))?;
            let tail = Tail { file, path, bytes: 0, number: 0, hash: ZERO, failed: false };
            return Ok(Self { folder: folder.to_owned(), tail: Mutex::new(tail) });
        };
        let before = match files.len() {
            1 => ZERO,
            many => read::walk(&files[many - 2].1, files[many - 2].0, None)?.hash,
        };
        let walked = read::walk(path, *first, Some(before))?;
        let file = OpenOptions::new().append(true).open(path).map_err(io("opened"))?;
        let length = file.metadata().map_err(io("opened"))?.len();
        if walked.bytes < length {
            tracing::warn!(
                bytes = length - walked.bytes,
                "the audit log's last line was half written; it is cut off"
            );
            file.set_len(walked.bytes).and_then(|()| file.sync_all()).map_err(io("mended"))?;
        }
        let (bytes, number, hash) = (walked.bytes, first - 1 + walked.entries, walked.hash);
        let tail = Tail { file, path: path.clone(), bytes, number, hash, failed: false };
        Ok(Self { folder: folder.to_owned(), tail: Mutex::new(tail) })
    }

    /// Writes that a call begins, durably. Answers the entry's number.
    ///
    /// # Errors
    /// When it is not durable: the call must not be carried out.
    pub fn begin(&self, what: What, now_ms: i64) -> Result<u64, AuditError> {
        self.append(what, Outcome::Begun, now_ms, true)
    }

    /// Writes how a call ended. Not synced: the next call's beginning, or the system, does that.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(&self, begun: u64, what: What, status: &str, now_ms: i64) -> Result<u64, AuditError> {
        // What it was stands at its beginning.
        let what = What { detail: String::new(), reason: String::new(), ..what };
        self.append(what, Outcome::Ended { begun, status: status.to_owned() }, now_ms, false)
    }

    /// Writes that somebody was not let through.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn denied(&self, what: What, permission: &str, now_ms: i64) -> Result<u64, AuditError> {
        self.append(what, Outcome::Denied { permission: permission.to_owned() }, now_ms, false)
    }

    fn append(&self, what: What, outcome: Outcome, now_ms: i64, sync: bool) -> Result<u64, AuditError> {
        let mut tail = self.tail.lock();
        if tail.failed {
            return Err(AuditError::Failed);
        }
        let number = tail.number + 1;
        let written = self.write(&mut tail, Entry { number, time_ms: now_ms, what, outcome }, sync);
        // After a failed write nobody knows what stands on the disk.
        tail.failed = written.is_err();
        written.map(|()| number)
    }

    fn write(&self, tail: &mut Tail, mut entry: Entry, sync: bool) -> Result<(), AuditError> {
        let path = tail.path.clone();
        let io = |operation| move |source| AuditError::Io { path, operation, source };
        cut(&mut entry.what.detail, limits::DETAIL_BYTES_MAX);
        for text in [&mut entry.what.who, &mut entry.what.reason, &mut entry.what.resource] {
            cut(text, 1_024);
        }
        if tail.bytes >= limits::FILE_BYTES_MAX {
            tail.file.sync_all().map_err(io("written"))?;
            let (path, file) = create(&self.folder, entry.number).map_err(|source| AuditError::Io {
                path: self.folder.clone(),
                operation: "continued in a new file",
                source,
            })?;
            (tail.path, tail.file, tail.bytes) = (path, file, 0);
            return self.write(tail, entry, sync);
        }
        let invalid = |e: serde_json::Error| io::Error::new(io::ErrorKind::InvalidData, e);
        let text = serde_json::to_string(&entry).map_err(invalid).map_err(io("written"))?;
        let hash = tail.hash.next(text.as_bytes());
        let line = format!("{{\"entry\":{text},\"hash\":\"{hash}\"}}\n");
        let written = tail
            .file
            .write_all(line.as_bytes())
            .and_then(|()| if sync { tail.file.sync_data() } else { Ok(()) });
        written.map_err(|source| AuditError::Io { path: tail.path.clone(), operation: "written", source })?;
        tail.bytes += line.len() as u64;
        (tail.number, tail.hash) = (entry.number, hash);
        Ok(())
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Number and hash of the newest entry.
    pub fn head(&self) -> (u64, Hash) {
        let tail = self.tail.lock();
        (tail.number, tail.hash)
    }
}

fn create(folder: &Path, first: u64) -> io::Result<(PathBuf, File)> {
    let path = folder.join(file_name(first));
    let mut options = OpenOptions::new();
    options.append(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path)?;
    file.sync_all()?;
    sync_folder(folder)?;
    Ok((path, file))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Cuts a text at a character's boundary.
fn cut(text: &mut String, max: usize) {
    if text.len() > max {
        let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
}
