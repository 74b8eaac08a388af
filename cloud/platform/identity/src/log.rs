//! The register's file: one line per write, each whole or not there, shared between processes by a lock.
//!
//! A line is `{CRC-32C of the rest, 8 hex digits} {JSON array of decisions}\n`. What is in one line became true at once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::decision::Decision;
use crate::files;

/// Why the register cannot be read or written: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The system says no.
    #[error("the register {file} cannot be used: {source}")]
    File {
        /// Which.
        file: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A line in the middle is not what was written.
    #[error(
        "the register {file} is damaged at byte {at}; restore it from a backup, or cut it there and revoke again what was revoked since"
    )]
    Damaged {
        /// Which.
        file: PathBuf,
        /// Where.
        at: u64,
    },
    /// A sync failed before: nobody knows what the disk holds.
    #[error("the register {0} could not be synced; restart the node when its disk is well")]
    Poisoned(PathBuf),
}

/// The file, and how much of it was read.
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    /// Everything before it was read.
    read_to: u64,
    poisoned: bool,
}

impl Log {
    /// Opens the file, and makes it when there is none.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        let path = folder.join("register.jsonl");
        let opened = || {
            files::make_folder(folder)?;
            let new = !path.exists();
            let file =
                OpenOptions::new().read(true).append(true).create(true).mode(files::SECRET).open(&path)?;
            if new {
                file.sync_all()?;
                files::sync_folder(folder)?;
            }
            Ok(file)
        };
        let file = opened().map_err(|source| LogError::File { file: path.clone(), source })?;
        Ok(Self { path, file, read_to: 0, poisoned: false })
    }

    /// Whether somebody has written since. Cheap.
    pub fn has_news(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|meta| meta.len() != self.read_to)
    }

    /// What was written since, by whatever process.
    pub fn news(&mut self) -> Result<Vec<Decision>, LogError> {
        if !self.has_news() {
            return Ok(Vec::new());
        }
        // Shared: a line that is being written is waited for.
        self.file.lock_shared().map_err(|e| self.fault(e))?;
        let news = self.read_on();
        self.unlock();
        news
    }

    /// Reads what others wrote, lets `decide` see it and answer what is to be written, and writes and syncs that as one
    /// line; all under a lock that excludes every other process. Nothing is written for an empty answer.
    pub fn append<T, E: From<LogError>>(
        &mut self,
        decide: impl FnOnce(Vec<Decision>) -> Result<(Vec<Decision>, T), E>,
    ) -> Result<(Vec<Decision>, T), E> {
        if self.poisoned {
            return Err(LogError::Poisoned(self.path.clone()).into());
        }
        self.file.lock().map_err(|e| self.fault(e))?;
        let result = self.append_locked(decide);
        self.unlock();
        result
    }

    fn append_locked<T, E: From<LogError>>(
        &mut self,
        decide: impl FnOnce(Vec<Decision>) -> Result<(Vec<Decision>, T), E>,
    ) -> Result<(Vec<Decision>, T), E> {
        let news = self.read_on()?;
        // What is left now is a line that a crash cut short. It never became true.
        let length = self.file.metadata().map_err(|e| self.fault(e))?.len();
        if length != self.read_to {
            self.file.set_len(self.read_to).map_err(|e| self.fault(e))?;
        }
        let (decisions, answer) = decide(news)?;
        if !decisions.is_empty() {
            self.write(&line_of(&decisions).map_err(|e| self.fault(e.into()))?)?;
        }
        Ok((decisions, answer))
    }

    fn write(&mut self, line: &[u8]) -> Result<(), LogError> {
        let written = self.file.write_all(line).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.read_to += line.len() as u64;
                Ok(())
            }
            Err(source) => {
                // It is not true, so it must not come back. Where even that fails, nothing more is written.
                let undone = self.file.set_len(self.read_to).and_then(|()| self.file.sync_data());
                self.poisoned = undone.is_err();
                Err(self.fault(source))
            }
        }
    }

    /// Whole lines after `read_to`. A last line that is cut short, or whose sum does not hold, is left.
    fn read_on(&mut self) -> Result<Vec<Decision>, LogError> {
        let mut bytes = Vec::new();
        let length = self.file.metadata().map_err(|e| self.fault(e))?.len();
        if length < self.read_to {
            return Err(LogError::Damaged { file: self.path.clone(), at: length });
        }
        self.file.seek(SeekFrom::Start(self.read_to)).map_err(|e| self.fault(e))?;
        self.file.read_to_end(&mut bytes).map_err(|e| self.fault(e))?;
        let mut decisions = Vec::new();
        let mut rest = &bytes[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end + 1);
            match decisions_of(&line[..end]) {
                Some(read) => decisions.extend(read),
                // The pages of one write may reach a disk in any order.
                None if after.is_empty() => break,
                None => return Err(LogError::Damaged { file: self.path.clone(), at: self.read_to }),
            }
            self.read_to += line.len() as u64;
            rest = after;
        }
        Ok(decisions)
    }

    fn unlock(&self) {
        // It ends with the file at the latest.
        let _ = self.file.unlock();
    }

    fn fault(&self, source: io::Error) -> LogError {
        LogError::File { file: self.path.clone(), source }
    }
}

fn line_of(decisions: &[Decision]) -> serde_json::Result<Vec<u8>> {
    let text = serde_json::to_string(decisions)?;
    Ok(format!("{:08x} {text}\n", crc32c::crc32c(text.as_bytes())).into_bytes())
}

fn decisions_of(line: &[u8]) -> Option<Vec<Decision>> {
    let (sum, text) = line.split_at_checked(9)?;
    let sum = std::str::from_utf8(sum).ok()?.strip_suffix(' ')?;
    let sum = u32::from_str_radix(sum, 16).ok()?;
    (crc32c::crc32c(text) == sum).then(|| serde_json::from_slice(text).ok()).flatten()
}
