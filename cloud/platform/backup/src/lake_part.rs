//! The lake's files: each once, as a link where that goes, else as a copy; sealed where that is asked for. Of a lake in a
//! bucket their names and sums alone, unless copies are asked for.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use remuda_eventsourcing::ManifestEntry;
use remuda_lake::Bucket;

use crate::bucket::LakeBucket;
use crate::error::BackupError;
use crate::files_part::{self, Archived};
use crate::hashing::Hashing;
use crate::index::{FilesCopy, LakeFileCopy, LakeReference, Object, erasures_of};
use crate::journal_part::Sealer;
use crate::limits;
use crate::pace::Pace;
use crate::parts::{LakePart, LakePlace};
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
    pub place: &'a LakePlace,
    /// Encrypted as well, so never linked.
    pub sealed: bool,
    /// Whether a link will do, or, of a file in a bucket, its name.
    pub links: bool,
    /// Files of this run, by path.
    pub done: HashMap<String, LakeFileCopy>,
    /// Files of this run that stay in their bucket, by path.
    pub in_place: HashMap<String, LakeReference>,
    pub linked: u64,
    pub copied: u64,
}

impl LakeFiles<'_> {
    fn name(&self, path: &str, tag: &str) -> String {
        if self.sealed { format!("lake/{path}.{tag}.age") } else { format!("lake/{path}") }
    }

    /// Takes the files of a manifest; answers one that is gone, if any is.
    pub fn take_all(
        &mut self,
        manifest: &[ManifestEntry],
        sealer: &mut Sealer<'_>,
    ) -> Result<Option<String>, BackupError> {
        if let (LakePlace::Bucket(bucket), true) = (self.place, self.links) {
            sealer.pace.phase("lake", 0);
            return self.refer(bucket, manifest, sealer.pace);
        }
        let left = manifest.iter().filter(|entry| !self.done.contains_key(&entry.path));
        sealer.pace.phase("lake", left.map(|entry| entry.bytes).sum());
        let mut gone = None;
        for entry in manifest {
            if !self.take(entry, sealer)? {
                gone = Some(entry.path.clone());
            }
        }
        Ok(gone)
    }

    /// Finds the files of a manifest in the bucket's list.
    fn refer(
        &mut self,
        bucket: &LakeBucket,
        manifest: &[ManifestEntry],
        pace: &mut Pace,
    ) -> Result<Option<String>, BackupError> {
        let left = manifest.iter().filter(|entry| !self.in_place.contains_key(&entry.path));
        let mut wanted: HashMap<&str, &ManifestEntry> =
            left.map(|entry| (entry.path.as_str(), entry)).collect();
        if wanted.is_empty() {
            return Ok(None);
        }
        let in_place = &mut self.in_place;
        bucket.each_file(pace, &mut |file| {
            let Some(entry) = wanted.remove(file.path.as_str()) else { return Ok(()) };
            let ManifestEntry { path, checksum, bytes, .. } = entry;
            if file.bytes != *bytes {
                let what = if file.bytes < *bytes { "is cut short" } else { "is not what was committed" };
                return Err(BackupError::LakeFile { path: path.clone(), what });
            }
            // Where it is moved to it may get another.
            let etag = file.etag.filter(|_| file.at_home);
            let reference = LakeReference { path: path.clone(), crc32c: *checksum, bytes: *bytes, etag };
            in_place.insert(path.clone(), reference);
            Ok(())
        })?;
        Ok(wanted.into_keys().min().map(str::to_owned))
    }

    /// Takes one file of the manifest; false when it is gone.
    fn take(&mut self, entry: &ManifestEntry, sealer: &mut Sealer<'_>) -> Result<bool, BackupError> {
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
        let stored = match self.place {
            LakePlace::Folder(root) => self.store_of_folder(root, entry, &name, sealer)?,
            LakePlace::Bucket(bucket) => self.store_of_bucket(bucket, entry, &name, sealer)?,
        };
        let Some((draft, object)) = stored else { return Ok(Copied::Gone) };
        sealer.repository.place(&draft, &object)?;
        Ok(Copied::New(object))
    }

    fn store_of_folder(
        &mut self,
        root: &Path,
        entry: &ManifestEntry,
        name: &str,
        sealer: &mut Sealer<'_>,
    ) -> Result<Option<(PathBuf, Object)>, BackupError> {
        let Some((source, file)) = open(root, &entry.path)? else { return Ok(None) };
        let draft = sealer.repository.draft_path();
        // A second name for the same bytes; not where the repository is on another disk, as it should be.
        if self.links && fs::hard_link(&source, &draft).is_ok() {
            self.linked += 1;
            let mut hashing = Hashing::new(Checked::new(file));
            drain(&mut hashing, &source, sealer.pace)?;
            let (sha256, checked) = hashing.finish();
            checked.compare(entry)?;
            return Ok(Some((draft, Object { name: name.to_owned(), sha256, bytes: entry.bytes })));
        }
        self.copied += 1;
        let (draft, out) = sealer.repository.draft()?;
        let object = self.copy(entry, (&source, file), (&draft, out), name, sealer)?;
        Ok(Some((draft, object)))
    }

    fn store_of_bucket(
        &mut self,
        bucket: &LakeBucket,
        entry: &ManifestEntry,
        name: &str,
        sealer: &mut Sealer<'_>,
    ) -> Result<Option<(PathBuf, Object)>, BackupError> {
        let Some(mut reading) = bucket.read(&entry.path, sealer.pace)? else { return Ok(None) };
        self.copied += 1;
        let source = PathBuf::from(format!("{}/{}", bucket.address(), entry.path));
        let (draft, out) = sealer.repository.draft()?;
        let copied = self.copy(entry, (&source, &mut reading), (&draft, out), name, sealer);
        // Reading can only say that it failed; it knows why.
        match reading.failed.take() {
            Some(error) => Err(error),
            None => Ok(Some((draft, copied?))),
        }
    }

    fn copy(
        &self,
        entry: &ManifestEntry,
        (source, input): (&Path, impl Read),
        (draft, out): (&Path, File),
        name: &str,
        sealer: &mut Sealer<'_>,
    ) -> Result<Object, BackupError> {
        let failed = |what| BackupError::file(draft, what);
        let mut checked = Checked::new(input);
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

/// A file of a lake in a folder, wherever it is just now.
fn open(root: &Path, path: &str) -> Result<Option<(PathBuf, File)>, BackupError> {
    // Twice: it may be moved between a look here and a look there.
    for _ in 0..2 {
        for place in PLACES {
            let full = root.join(format!("{place}{path}"));
            match File::open(&full) {
                Ok(file) => return Ok(Some((full, file))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(BackupError::File { path: full, what: "read", source }),
            }
        }
    }
    Ok(None)
}

/// Stores the erasures that lie beside a lake in a bucket; of a lake in a folder they are a part of their own.
pub(crate) fn take_erasures(
    lake: &LakePart,
    sealer: &mut Sealer<'_>,
) -> Result<Option<FilesCopy>, BackupError> {
    let LakePlace::Bucket(bucket) = &lake.place else { return Ok(None) };
    let name = erasures_of(lake.name);
    let (mut names, mut bytes) = (Vec::new(), 0);
    bucket.each_erasure(sealer.pace, &mut |file| {
        bytes += file.bytes;
        names.push(file.path);
        Ok(())
    })?;
    if bytes > limits::FILES_BYTES_MAX {
        return Err(BackupError::TooLarge { what: name, bytes, max: limits::FILES_BYTES_MAX });
    }
    names.sort_unstable();
    let mut files = Vec::with_capacity(names.len());
    for path in names {
        // Nobody removes one.
        let Some(mut reading) = bucket.read(&Bucket::erasure_path(&path), sealer.pace)? else { continue };
        let mut bytes = Vec::new();
        let read = reading.read_to_end(&mut bytes);
        if let Some(error) = reading.failed.take() {
            return Err(error);
        }
        read.map_err(BackupError::file(Path::new(&path), "read"))?;
        files.push(Archived { path, mode: 0o600, bytes });
    }
    files_part::store(&name, &files, sealer)
}

/// Writes erasures beside a lake in a bucket, where they are not there already.
pub(crate) fn restore_erasures(
    bucket: &LakeBucket,
    files: Vec<Archived>,
    pace: &mut Pace,
) -> Result<(), BackupError> {
    let mut there = HashSet::new();
    bucket.each_erasure(pace, &mut |file| {
        there.insert(file.path);
        Ok(())
    })?;
    for Archived { path, bytes, .. } in files {
        if !there.contains(&path) {
            bucket.create(&Bucket::erasure_path(&path), bytes, pace)?;
        }
    }
    Ok(())
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
