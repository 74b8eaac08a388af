//! A journal in sealed pieces that are the same again where nothing changed, and back.
//!
//! ```text
//! piece, opened = count times: key length u32 LE | value length u32 LE (2^32 - 1: removed) | key | value
//! ```

use std::collections::HashMap;
use std::io::{self, Read, Write};

use remuda_eventsourcing::CopySink;
use remuda_eventsourcing::copying::Contents;

use crate::error::BackupError;
use crate::hashing::Hashing;
use crate::index::{Index, JournalCopy, Object};
use crate::limits;
use crate::pace::Pace;
use crate::repository::{Repository, content_name};
use crate::seal::{Identities, Recipients};

const REMOVED: u32 = u32::MAX;

/// Puts sealed objects into the repository, each content once.
pub(crate) struct Sealer<'a> {
    pub repository: &'a mut Repository,
    pub recipients: &'a Recipients,
    pub known: &'a HashMap<String, Object>,
    pub pace: &'a mut Pace,
    /// Bytes written.
    pub written: u64,
}

impl Sealer<'_> {
    /// Stores `content`, unless it is there.
    pub fn store(&mut self, kind: &str, content: &[u8]) -> Result<Object, BackupError> {
        self.pace.spend(content.len() as u64)?;
        let name = content_name(kind, &self.recipients.tag(), content);
        if let Some(object) = self.repository.existing(self.known, &name, None, self.pace)? {
            return Ok(object);
        }
        let (draft, file) = self.repository.draft()?;
        let failed = |what| BackupError::file(&draft, what);
        let mut sealed = self.recipients.seal(Hashing::new(file)).map_err(failed("written"))?;
        sealed.write_all(content).map_err(failed("written"))?;
        let hashing = sealed.finish().map_err(failed("written"))?;
        let bytes = hashing.bytes;
        let (sha256, file) = hashing.finish();
        file.sync_all().map_err(failed("synced"))?;
        let object = Object { name, sha256, bytes };
        self.repository.place(&draft, &object)?;
        self.written += bytes;
        Ok(object)
    }
}

/// Takes a journal's copy and makes pieces of it.
#[derive(Default)]
pub(crate) struct Pieces {
    piece: Vec<u8>,
    in_changes: bool,
    entries: Vec<Object>,
    changes: Vec<Object>,
    pub contents: Contents,
}

/// [`Pieces`] with where they go.
pub(crate) struct PiecesSink<'a, 'b> {
    pub pieces: &'a mut Pieces,
    pub sealer: &'a std::sync::Mutex<Sealer<'b>>,
    /// Why it failed, since a sink can only say that it did.
    pub failed: Option<BackupError>,
}

impl PiecesSink<'_, '_> {
    fn take(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), BackupError> {
        self.pieces.contents.see(key, value)?;
        let length = |bytes: &[u8]| bytes.len() as u32;
        let piece = &mut self.pieces.piece;
        piece.extend_from_slice(&length(key).to_le_bytes());
        piece.extend_from_slice(&value.map_or(REMOVED, length).to_le_bytes());
        piece.extend_from_slice(key);
        piece.extend_from_slice(value.unwrap_or_default());
        // At a key's own hash, so that the ends stay where they are when something is added elsewhere.
        let ends =
            crc32c::crc32c(key).is_multiple_of(limits::CHUNK_KEYS) && piece.len() >= limits::CHUNK_BYTES_MIN;
        if ends || piece.len() >= limits::CHUNK_BYTES_MAX {
            self.end_piece()?;
        }
        Ok(())
    }

    /// Stores what is left of the list under way.
    pub fn end_piece(&mut self) -> Result<(), BackupError> {
        let piece = std::mem::take(&mut self.pieces.piece);
        if piece.is_empty() {
            return Ok(());
        }
        let mut sealer = self.sealer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let object = sealer.store("chunks", &piece)?;
        let list = if self.pieces.in_changes { &mut self.pieces.changes } else { &mut self.pieces.entries };
        list.push(object);
        Ok(())
    }

    fn said(&mut self, result: Result<(), BackupError>) -> io::Result<()> {
        result.map_err(|error| {
            let text = error.to_string();
            self.failed = Some(error);
            io::Error::other(text)
        })
    }
}

impl CopySink for PiecesSink<'_, '_> {
    fn entry(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let taken = self.take(key, Some(value));
        self.said(taken)
    }

    fn change(&mut self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        if !self.pieces.in_changes {
            let ended = self.end_piece();
            self.said(ended)?;
            self.pieces.in_changes = true;
        }
        let taken = self.take(key, value);
        self.said(taken)
    }
}

impl Pieces {
    /// What the index says of it.
    pub fn copy(
        self,
        name: &str,
        counts: remuda_eventsourcing::Copied,
    ) -> Result<(JournalCopy, Contents), BackupError> {
        let copy = JournalCopy {
            name: name.to_owned(),
            entries: self.entries,
            changes: self.changes,
            entry_count: counts.entries,
            change_count: counts.changes,
            highest_epoch: self.contents.highest_epoch(),
            last_event_ms: self.contents.last_event_ms()?,
        };
        Ok((copy, self.contents))
    }
}

/// Opens a journal's pieces and hands out every key, entries first.
pub(crate) fn read(
    repository: &Repository,
    index: &Index,
    copy: &JournalCopy,
    identities: &Identities,
    pace: &mut Pace,
    each: &mut dyn FnMut(Vec<u8>, Option<Vec<u8>>) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    for (objects, count) in [(&copy.entries, copy.entry_count), (&copy.changes, copy.change_count)] {
        let mut read = 0;
        for object in objects {
            let piece = open_object(repository, index, object, identities, pace)?;
            let mut rest = &piece[..];
            while !rest.is_empty() {
                let (key, value, after) = split(rest)
                    .ok_or_else(|| BackupError::damaged(&object.name, "a piece of the journal is cut"))?;
                each(key.to_vec(), value.map(<[u8]>::to_vec))?;
                rest = after;
                read += 1;
            }
        }
        if read != count {
            let what = format!("the journal {} has {read} keys, {count} were copied", copy.name);
            return Err(BackupError::damaged(&index.id, what));
        }
    }
    Ok(())
}

type Split<'a> = (&'a [u8], Option<&'a [u8]>, &'a [u8]);

fn split(rest: &[u8]) -> Option<Split<'_>> {
    let (key_length, rest) = rest.split_first_chunk::<4>()?;
    let (value_length, rest) = rest.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key_length) as usize)?;
    match u32::from_le_bytes(*value_length) {
        REMOVED => Some((key, None, rest)),
        length => {
            let (value, rest) = rest.split_at_checked(length as usize)?;
            Some((key, Some(value), rest))
        }
    }
}

/// A sealed object, opened; its hash is compared too.
pub(crate) fn open_object(
    repository: &Repository,
    index: &Index,
    object: &Object,
    identities: &Identities,
    pace: &mut Pace,
) -> Result<Vec<u8>, BackupError> {
    let path = repository.object(&object.name);
    let stored = std::fs::read(&path).map_err(BackupError::file(&path, "read"))?;
    pace.spend(stored.len() as u64)?;
    if crate::hashing::sha256(&[&stored]) != object.sha256 {
        return Err(BackupError::damaged(&object.name, "its bytes are not those that were written"));
    }
    let mut opened = Vec::with_capacity(stored.len());
    let mut reader = identities.open(&object.name, &index.recipients, &stored[..])?;
    reader.read_to_end(&mut opened).map_err(|e| BackupError::damaged(&object.name, e.to_string()))?;
    Ok(opened)
}
