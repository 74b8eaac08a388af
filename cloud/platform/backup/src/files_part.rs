//! A folder of files as sealed objects, and back: the small ones in one archive, of a large one each piece in one of its own,
//! so that of a file that grows only the last piece is stored again.
//!
//! ```text
//! opened = "RMFILES1" | count times: path length u32 LE | mode u32 LE | bytes u64 LE | path | bytes
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path};

use crate::error::BackupError;
use crate::hashing::sha256;
use crate::index::{FilesCopy, Index, Object};
use crate::journal_part::{Sealer, open_object};
use crate::limits;
use crate::pace::Pace;
use crate::parts::FilesPart;
use crate::repository::{Repository, sync, walk};
use crate::seal::Identities;

const MAGIC: &[u8] = b"RMFILES1";

/// A file out of an archive.
pub(crate) struct Archived {
    pub path: String,
    pub mode: u32,
    pub bytes: Vec<u8>,
}

/// Files that are on their way to their name, or of this process alone.
fn is_passing(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    (name.starts_with('.') && name.ends_with(".new")) || name.ends_with(".lock")
}

/// Stores a folder; `None` where it is not there.
pub(crate) fn take(part: &FilesPart, sealer: &mut Sealer<'_>) -> Result<Option<FilesCopy>, BackupError> {
    let failed = |what| BackupError::file(&part.folder, what);
    let mut listed = Vec::new();
    walk(&part.folder, &part.folder, &mut listed).map_err(failed("read"))?;
    listed.retain(|(path, _)| !is_passing(path));
    let bytes = listed.iter().map(|(_, bytes)| bytes).sum();
    if bytes > limits::FILES_BYTES_MAX {
        return Err(BackupError::TooLarge { what: part.name.into(), bytes, max: limits::FILES_BYTES_MAX });
    }
    let mut archive = MAGIC.to_vec();
    let (mut count, mut authority, mut pieces) = (0, None, Vec::new());
    for (path, bytes) in listed {
        let full = part.folder.join(&path);
        let file = match File::open(&full) {
            // Removed since it was listed: it was not there at the end.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.map_err(BackupError::file(&full, "read"))?,
        };
        let mode = file.metadata().map(|meta| meta.mode() & 0o777).unwrap_or(0o600);
        if bytes > limits::SMALL_FILE_BYTES {
            pieces.extend(take_pieces((&path, mode), (&full, file), sealer)?);
        } else {
            // What was appended since it was listed comes with it.
            let contents = read_up_to(&file, u64::MAX).map_err(BackupError::file(&full, "read"))?;
            if path == "ca.pem" {
                authority = Some(sha256(&[&contents]));
            }
            put(&mut archive, &path, mode, &contents);
        }
        count += 1;
    }
    if count == 0 {
        return Ok(None);
    }
    let object = sealer.store("files", &archive)?;
    Ok(Some(FilesCopy { name: part.name.to_owned(), object, pieces, count, authority }))
}

/// Stores files that are in memory; `None` where there are none.
pub(crate) fn store(
    name: &str,
    files: &[Archived],
    sealer: &mut Sealer<'_>,
) -> Result<Option<FilesCopy>, BackupError> {
    if files.is_empty() {
        return Ok(None);
    }
    let mut archive = MAGIC.to_vec();
    files.iter().for_each(|file| put(&mut archive, &file.path, file.mode, &file.bytes));
    let object = sealer.store("files", &archive)?;
    let (name, count) = (name.to_owned(), files.len() as u64);
    Ok(Some(FilesCopy { name, object, pieces: Vec::new(), count, authority: None }))
}

fn take_pieces(
    (path, mode): (&str, u32),
    (full, file): (&Path, File),
    sealer: &mut Sealer<'_>,
) -> Result<Vec<Object>, BackupError> {
    let mut pieces = Vec::new();
    loop {
        let bytes = limits::FILE_PIECE_BYTES;
        let contents = read_up_to(&file, bytes as u64).map_err(BackupError::file(full, "read"))?;
        if !contents.is_empty() || pieces.is_empty() {
            let mut archive = MAGIC.to_vec();
            put(&mut archive, path, mode, &contents);
            pieces.push(sealer.store("files", &archive)?);
        }
        if contents.len() < bytes {
            return Ok(pieces);
        }
    }
}

fn read_up_to(file: &File, bytes: u64) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    file.take(bytes).read_to_end(&mut contents)?;
    Ok(contents)
}

fn put(archive: &mut Vec<u8>, path: &str, mode: u32, contents: &[u8]) {
    archive.extend_from_slice(&(path.len() as u32).to_le_bytes());
    archive.extend_from_slice(&mode.to_le_bytes());
    archive.extend_from_slice(&(contents.len() as u64).to_le_bytes());
    archive.extend_from_slice(path.as_bytes());
    archive.extend_from_slice(contents);
}

/// All files of a copy.
pub(crate) fn open(
    repository: &Repository,
    index: &Index,
    copy: &FilesCopy,
    identities: &Identities,
    pace: &mut Pace,
) -> Result<Vec<Archived>, BackupError> {
    let archive = open_object(repository, index, &copy.object, identities, pace)?;
    let mut files = read(&copy.object.name, &archive)?;
    for object in &copy.pieces {
        let archive = open_object(repository, index, object, identities, pace)?;
        for piece in read(&object.name, &archive)? {
            match files.last_mut().filter(|file| file.path == piece.path) {
                Some(file) => file.bytes.extend_from_slice(&piece.bytes),
                None => files.push(piece),
            }
        }
    }
    let count = files.len() as u64;
    if count == copy.count {
        return Ok(files);
    }
    let what = format!("it has {count} files, {} were stored", copy.count);
    Err(BackupError::damaged(&copy.object.name, what))
}

/// The files of an archive.
fn read(object: &str, archive: &[u8]) -> Result<Vec<Archived>, BackupError> {
    let cut = || BackupError::damaged(object, "an archive of files is cut");
    let mut rest = archive.strip_prefix(MAGIC).ok_or_else(cut)?;
    let mut files = Vec::new();
    while !rest.is_empty() {
        let (file, after) = split(rest).ok_or_else(cut)?;
        let safe = Path::new(&file.path).components().all(|part| matches!(part, Component::Normal(_)));
        if !safe || file.path.is_empty() {
            return Err(BackupError::damaged(object, format!("a file has the path {:?}", file.path)));
        }
        files.push(file);
        rest = after;
    }
    Ok(files)
}

fn split(rest: &[u8]) -> Option<(Archived, &[u8])> {
    let (path_length, rest) = rest.split_first_chunk::<4>()?;
    let (mode, rest) = rest.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let (path, rest) = rest.split_at_checked(u32::from_le_bytes(*path_length) as usize)?;
    let (bytes, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let path = std::str::from_utf8(path).ok()?.to_owned();
    Some((Archived { path, mode: u32::from_le_bytes(*mode) & 0o777, bytes: bytes.to_vec() }, rest))
}

/// Writes the files into a new folder that others cannot look into, durably.
pub(crate) fn restore(folder: &Path, files: &[Archived]) -> Result<(), BackupError> {
    let make = |folder: &Path| {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(BackupError::file(folder, "made"))
    };
    make(folder)?;
    let mut touched = vec![folder.to_path_buf()];
    for file in files {
        let path = folder.join(&file.path);
        if let Some(parent) = path.parent().filter(|parent| *parent != folder) {
            make(parent)?;
            let between = parent.ancestors().take_while(|above| *above != folder);
            touched.extend(between.map(Path::to_path_buf));
        }
        let failed = |what| BackupError::file(&path, what);
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed("made"))?;
        out.write_all(&file.bytes).map_err(failed("written"))?;
        // Apart from the mask of whoever restores.
        out.set_permissions(fs::Permissions::from_mode(file.mode)).map_err(failed("written"))?;
        File::sync_all(&out).map_err(failed("synced"))?;
    }
    touched.sort();
    touched.dedup();
    for folder in touched.iter().rev() {
        sync(folder).map_err(BackupError::file(folder, "synced"))?;
    }
    Ok(())
}
