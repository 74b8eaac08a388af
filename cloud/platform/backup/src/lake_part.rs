//! The lake's files: each once, as a link where that goes, else as a copy; sealed where that is asked for.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use remuda_eventsourcing::ManifestEntry;

use crate::error::BackupError;
use crate::hashing::Hashing;
use crate::index::{LakeFileCopy, Object};
use crate::journal_part::Sealer;
use crate::limits;
use crate::pace::Pace;
use crate::repository::drain;

/// Where a committed file may be while a compaction moves it (`remuda-lake`, `Files::fetch`).
const PLACES: [&str; 3] = ["", "replaced/", "staged/"];

/// What became of a file.
pub(crate) enum Copied {
    /// It was there already.
    Known(Object),
    /// It is there now.
    New(Object),
    /// It is gone: compacted away since the manifest was read, and past its grace.
    Gone,
}

/// Copies of the lake's files.
pub(crate) struct LakeFiles<'a> {
    pub root: &'a Path,
    /// Encrypted as well, so never linked.
    pub sealed: bool,
    /// Whether a link will do.
    pub links: bool,
    /// Files of this run, by path.
    pub done: HashMap<String, LakeFileCopy>,
    pub linked: u64,
    pub copied: u64,
}

impl LakeFiles<'_> {
    fn name(&self, path: &str, tag: &str) -> String {
        if self.sealed { format!("lake/{path}.{tag}.age") } else { format!("lake/{path}") }
    }

    /// Takes one file of the manifest; false when it is gone.
    pub fn take(&mut self, entry: &ManifestEntry, sealer: &mut Sealer<'_>) -> Result<bool, BackupError> {
        if self.done.contains_key(&entry.path) {
            return Ok(true);
        }
        let object = match self.store(entry, sealer)? {
            Copied::Gone => return Ok(false),
            Copied::Known(object) => object,
            Copied::New(object) => {
                fail::fail_point!("backup-after-lake-file", |_| std::process::abort());
                sealer.written += object.bytes;
                object
            }
        };
        let ManifestEntry { path, checksum, bytes, .. } = entry;
        let copy = LakeFileCopy { path: path.clone(), crc32c: *checksum, bytes: *bytes, object };
        self.done.insert(path.clone(), copy);
        Ok(true)
    }

    fn store(&mut self, entry: &ManifestEntry, sealer: &mut Sealer<'_>) -> Result<Copied, BackupError> {
        let name = self.name(&entry.path, &sealer.recipients.tag());
        let plain = (!self.sealed).then_some((entry.bytes, entry.checksum));
        let there = sealer.repository.existing(sealer.known, &name, plain, sealer.pace)?;
        if let Some(object) = there.filter(|object| self.sealed || object.bytes == entry.bytes) {
            return Ok(Copied::Known(object));
        }
        let Some((source, file)) = self.open(&entry.path)? else { return Ok(Copied::Gone) };
        let mut draft = sealer.repository.draft_path();
        // A second name for the same bytes; not where the repository is on another disk, as it should be.
        let stored = if self.links && fs::hard_link(&source, &draft).is_ok() {
            self.linked += 1;
            let mut hashing = Hashing::new(Checked::new(file));
            drain(&mut hashing, &source, sealer.pace)?;
            let (sha256, checked) = hashing.finish();
            checked.compare(entry)?;
            Object { name: name.clone(), sha256, bytes: entry.bytes }
        } else {
            self.copied += 1;
            let out;
            (draft, out) = sealer.repository.draft()?;
            self.copy(entry, (&source, file), (&draft, out), &name, sealer)?
        };
        sealer.repository.place(&draft, &stored)?;
        Ok(Copied::New(stored))
    }

    /// The file, wherever it is just now.
    fn open(&self, path: &str) -> Result<Option<(PathBuf, File)>, BackupError> {
        // Twice: it may be moved between a look here and a look there.
        for _ in 0..2 {
            for place in PLACES {
                let full = self.root.join(format!("{place}{path}"));
                match File::open(&full) {
                    Ok(file) => return Ok(Some((full, file))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(source) => return Err(BackupError::File { path: full, what: "read", source }),
                }
            }
        }
        Ok(None)
    }

    fn copy(
        &self,
        entry: &ManifestEntry,
        (source, file): (&Path, File),
        (draft, out): (&Path, File),
        name: &str,
        sealer: &mut Sealer<'_>,
    ) -> Result<Object, BackupError> {
        let failed = |what| BackupError::file(draft, what);
        let mut checked = Checked::new(file);
        let hashing = if self.sealed {
            let mut sealed = sealer.recipients.seal(Hashing::new(out)).map_err(failed("written"))?;
            pump(&mut checked, source, &mut sealed, draft, sealer.pace)?;
            sealed.finish().map_err(failed("written"))?
        } else {
            let mut hashing = Hashing::new(out);
            pump(&mut checked, source, &mut hashing, draft, sealer.pace)?;
            hashing
        };
        checked.compare(entry)?;
        let bytes = hashing.bytes;
        let (sha256, out) = hashing.finish();
        out.sync_all().map_err(failed("synced"))?;
        Ok(Object { name: name.to_owned(), sha256, bytes })
    }
}

/// Reads to the end, and writes it, at the pace.
pub(crate) fn pump(
    input: &mut impl Read,
    source: &Path,
    out: &mut impl Write,
    to: &Path,
    pace: &mut Pace,
) -> Result<(), BackupError> {
    let mut buffer = vec![0; limits::PIECE_BYTES];
    loop {
        let read = input.read(&mut buffer).map_err(BackupError::file(source, "read"))?;
        if read == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..read]).map_err(BackupError::file(to, "written"))?;
        pace.spend(read as u64)?;
    }
}

/// Reads a file and compares it with its manifest entry at the end.
pub(crate) struct Checked<R> {
    inner: R,
    crc32c: u32,
    bytes: u64,
}

impl<R> Checked<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, crc32c: 0, bytes: 0 }
    }

    fn compare(&self, entry: &ManifestEntry) -> Result<(), BackupError> {
        if (self.bytes, self.crc32c) == (entry.bytes, entry.checksum) {
            return Ok(());
        }
        let what = if self.bytes < entry.bytes { "is cut short" } else { "is not what was committed" };
        Err(BackupError::LakeFile { path: entry.path.clone(), what })
    }

    /// Bytes and CRC-32C so far.
    pub fn sums(&self) -> (u64, u32) {
        (self.bytes, self.crc32c)
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}
