//! A file that appears whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::CtlError;

/// Where an export goes: a file under a temporary name, or standard output.
#[derive(Debug)]
pub(crate) struct Destination {
    /// The temporary file, and what it is to be called.
    file: Option<(Temporary, PathBuf)>,
}

/// Removed when dropped.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What an export is written to; it counts the bytes.
pub(crate) struct Output {
    to: Box<dyn Write + Send>,
    bytes: u64,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// An output that writers take while somebody else still looks at it.
#[derive(Clone)]
pub(crate) struct Shared(std::sync::Arc<std::sync::Mutex<Output>>);

impl Shared {
    pub fn bytes(&self) -> u64 {
        self.locked().bytes
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Output> {
        // One thread writes; a panic in it ends the program.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.locked().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.locked().flush()
    }
}

impl Destination {
    /// Opens it: the file stands beside its later self, so that renaming it is one step.
    ///
    /// # Errors
    /// When it cannot be made there.
    pub fn open(path: &Path) -> Result<(Self, Shared), CtlError> {
        let shared = |to| Shared(std::sync::Arc::new(std::sync::Mutex::new(Output { to, bytes: 0 })));
        if path.as_os_str() == "-" {
            return Ok((Self { file: None }, shared(Box::new(io::stdout()))));
        }
        let failed = |source| CtlError::Unwritable { file: path.display().to_string(), source };
        let Some(name) = path.file_name().filter(|_| !path.is_dir()) else {
            return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
        };
        let temporary =
            path.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
        let create = || OpenOptions::new().write(true).create_new(true).open(&temporary);
        let file = match create() {
            // Of a killed process that had our number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&temporary).and_then(|()| create()).map_err(failed)?
            }
            other => other.map_err(failed)?,
        };
        let out = shared(Box::new(BufWriter::with_capacity(BUFFER_BYTES, file)));
        Ok((Self { file: Some((Temporary(temporary), path.to_owned())) }, out))
    }

    /// Makes it durable and gives it its name.
    ///
    /// # Errors
    /// When the disk does not take it; then nothing is left of it.
    pub fn keep(self) -> Result<(), CtlError> {
        let Some((temporary, path)) = self.file else { return Ok(()) };
        let failed = |source| CtlError::Unwritable { file: path.display().to_string(), source };
        // Any handle of a file syncs what all have written.
        File::open(&temporary.0).and_then(|file| file.sync_all()).map_err(failed)?;
        fs::rename(&temporary.0, &path).map_err(failed)?;
        std::mem::forget(temporary);
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

/// Bytes given to the system at once.
const BUFFER_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        fs::write(&path, "before").unwrap();
        let (destination, mut out) = Destination::open(&path).unwrap();
        out.write_all(b"half").unwrap();
        out.flush().unwrap();
        assert_eq!(names(folder.path()).len(), 2);
        drop((destination, out));
        assert_eq!(
            (names(folder.path()), fs::read_to_string(&path).unwrap()),
            (vec!["a.csv".into()], "before".into())
        );
        let (destination, mut out) = Destination::open(&path).unwrap();
        out.write_all(b"whole").unwrap();
        out.flush().unwrap();
        assert_eq!(out.bytes(), 5);
        destination.keep().unwrap();
        assert_eq!(
            (names(folder.path()), fs::read_to_string(&path).unwrap()),
            (vec!["a.csv".into()], "whole".into())
        );
    }

    #[test]
    fn a_place_that_is_none_is_said_at_once() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("no/such/a.csv")] {
            assert!(
                matches!(Destination::open(&path), Err(CtlError::Unwritable { .. })),
                "{}",
                path.display()
            );
        }
    }
}
