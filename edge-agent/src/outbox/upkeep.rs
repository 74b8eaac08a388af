//! Space: segments whose records are all trimmed go; few live ones are copied forward first.

use std::fs;
use std::os::unix::fs::FileExt;

use super::error::OutboxError;
use super::files;
use super::index::Place;
use super::record::{self, Kind};
use super::store::{Inner, Shared};

/// Sealed segments that are left alone however empty they are: copying is not free.
const SPARSE_SEGMENTS: usize = 3;

impl Inner {
    /// Trims are told to the disk only when something depends on it.
    pub(super) fn put_stale_marks(&mut self) -> Result<(), OutboxError> {
        for number in 0..self.index.streams.len() {
            let stream = &mut self.index.streams[number];
            if std::mem::take(&mut stream.stale_mark) {
                let mark = record::sealed(&stream.mark());
                self.put(Kind::Mark, number as u32, 0, &mark)?;
            }
        }
        Ok(())
    }

    /// Segments without use, and those with so little that it is worth copying.
    fn reclaimable(&self, segment_bytes: usize) -> (Vec<u32>, Vec<u32>) {
        let sealed = self.index.live.iter().filter(|(id, _)| **id != self.head);
        let (empty, used): (Vec<_>, Vec<_>) =
            sealed.map(|(id, live)| (*id, *live)).partition(|(_, live)| *live == 0);
        let sparse = |(_, live): &(u32, u64)| live.saturating_mul(4) < segment_bytes as u64;
        let mut copied: Vec<u32> = used.into_iter().filter(sparse).map(|(id, _)| id).collect();
        // The newest few have the best chance to become empty by themselves.
        copied.truncate(copied.len().saturating_sub(SPARSE_SEGMENTS));
        (empty.into_iter().map(|(id, _)| id).collect(), copied)
    }
}

impl Shared {
    pub(super) fn reclaim(&self, inner: &mut Inner) -> Result<(), OutboxError> {
        let (mut gone, mut copied) = inner.reclaimable(self.profile.segment_bytes);
        copied.truncate(1);
        if gone.is_empty() && copied.is_empty() {
            return Ok(());
        }
        // What made these records dispensable must be durable before they go.
        inner.put_stale_marks()?;
        let moves = match copied.first() {
            Some(id) => self.copy_forward(inner, *id)?,
            None => Vec::new(),
        };
        self.flush(inner)?;
        for (number, seq, place) in moves {
            let index = &mut inner.index;
            let stream = &mut index.streams[number as usize];
            let at = usize::try_from(seq - stream.floor).ok();
            if let Some(old) = at.and_then(|at| stream.places.get_mut(at)) {
                *old = place;
                *index.live.entry(place.segment()).or_default() += place.bytes();
            }
        }
        gone.append(&mut copied);
        for id in gone {
            let path = files::path_of(&self.dir, id);
            fs::remove_file(&path).map_err(OutboxError::file("remove", path))?;
            inner.forget_file(id);
        }
        files::sync_dir(&self.dir)
    }

    /// Appends the live frames of a segment once more; the log is locked, so nothing is trimmed meanwhile.
    fn copy_forward(&self, inner: &mut Inner, id: u32) -> Result<Vec<(u32, u64, Place)>, OutboxError> {
        let file = inner.open_file(&self.dir, id)?;
        let mut live = Vec::new();
        for (number, stream) in inner.index.streams.iter().enumerate() {
            for (n, place) in stream.places.iter().enumerate() {
                if *place != Place::DAMAGED && place.segment() == id {
                    live.push((number as u32, stream.floor + n as u64, *place));
                }
            }
        }
        let mut moves = Vec::with_capacity(live.len());
        for (number, seq, place) in live {
            let mut payload = vec![0; place.length()];
            let at = place.offset() + record::RECORD_HEADER as u64;
            file.read_exact_at(&mut payload, at)
                .map_err(OutboxError::file("read", files::path_of(&self.dir, id)))?;
            // A damaged one is copied as it is: its place in the sequence counts, and it is told when it is read.
            moves.push((number, seq, inner.put(Kind::Frame, number, seq, &payload)?));
        }
        Ok(moves)
    }
}
