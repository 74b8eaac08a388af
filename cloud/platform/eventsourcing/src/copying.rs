//! A copy of a journal that is being written, as of one moment, without holding up its writer.
//!
//! sled has no snapshots: a scan sees some writes that came while it ran, and not others. So a tap notes every batch that
//! is committed from before the scan to after it; the scan with these changes on top, in their order, is the journal as
//! it stood when the tap was closed. Values are whole, so a change that the scan had seen already does no harm.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use remuda_model::ShardId;

use crate::engine::Engine;
use crate::journal::{Event, JournalError, ManifestEntry, ManifestPosition, NewEvent, Owner};
use crate::store::Store;
use crate::writes::{Ownership, decode};
use crate::{keys, limits};

/// Takes a copy, in this order: every entry, ascending by key; then every change, in the order of the commits.
pub trait CopySink: Send {
    /// A key and its value, as the scan found them.
    ///
    /// # Errors
    /// Ends the copy.
    fn entry(&mut self, key: &[u8], value: &[u8]) -> io::Result<()>;

    /// A key that was written while the scan ran; without a value it was removed.
    ///
    /// # Errors
    /// Ends the copy.
    fn change(&mut self, key: &[u8], value: Option<&[u8]>) -> io::Result<()>;
}

/// What a copy held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Entries of the scan.
    pub entries: u64,
    /// Changes on top.
    pub changes: u64,
}

/// A journal of which copies can be taken: every [`Engine`].
pub trait CopySource: Send + Sync {
    /// What [`copy_together`] works on.
    #[doc(hidden)]
    fn copied_from(&self) -> (&dyn Store, &Tap);

    /// Copies all of it as of one moment within the call; blocks as long as that takes, the journal's writers do not wait.
    /// `spool` is a file that does not exist; it holds the changes meanwhile, and is removed.
    ///
    /// # Errors
    /// When the journal or `sink` fails, the spool cannot be written, or another copy is being taken.
    fn copy(&self, spool: &Path, sink: &mut dyn CopySink) -> Result<Copied, JournalError>
    where
        Self: Sized,
    {
        let (_, mut copied) = copy_together(&mut [Copying { source: self, spool, sink }])?;
        Ok(copied.pop().unwrap_or_default())
    }
}

impl<S: Store> CopySource for Engine<S> {
    fn copied_from(&self) -> (&dyn Store, &Tap) {
        (&*self.store, &self.tap)
    }
}

/// One of several journals that are copied together.
pub struct Copying<'a> {
    /// The journal.
    pub source: &'a dyn CopySource,
    /// A file that does not exist.
    pub spool: &'a Path,
    /// Where the copy goes.
    pub sink: &'a mut dyn CopySink,
}

fn io(operation: &'static str) -> impl FnOnce(io::Error) -> JournalError {
    move |source| JournalError::Io { operation, source: Box::new(source) }
}

/// Copies several journals as of the same moment, the one a kill of their process could have left: so whatever holds
/// between them after a crash holds between the copies. Answers that moment, or one just before it.
///
/// # Errors
/// As [`CopySource::copy`].
pub fn copy_together(journals: &mut [Copying<'_>]) -> Result<(SystemTime, Vec<Copied>), JournalError> {
    let mut open = Vec::with_capacity(journals.len());
    for Copying { source, spool, .. } in journals.iter() {
        open.push(source.copied_from().1.open(spool)?);
    }
    let mut copied = Vec::with_capacity(journals.len());
    for Copying { source, sink, .. } in journals.iter_mut() {
        copied.push(Copied { entries: scan(source.copied_from().0, *sink)?, changes: 0 });
    }
    let moment = SystemTime::now();
    for ((Copying { sink, .. }, mut changes), copied) in
        journals.iter_mut().zip(close_together(open)?).zip(&mut copied)
    {
        while let Some((key, value)) = changes.next().map_err(io("reading a copy's spool"))? {
            sink.change(&key, value.as_deref()).map_err(io("copying it"))?;
            copied.changes += 1;
        }
    }
    Ok((moment, copied))
}

fn scan(store: &dyn Store, sink: &mut dyn CopySink) -> Result<u64, JournalError> {
    let (mut entries, mut from) = (0, Vec::new());
    loop {
        let page = store.scan(&[], &from, limits::COPY_PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(entries) };
        from.clone_from(last);
        from.push(0);
        for (key, value) in &page {
            sink.entry(key, value).map_err(io("copying it"))?;
        }
        entries += page.len() as u64;
    }
}

/// Between the engine and its store: notes what is committed while a copy is taken.
#[derive(Default)]
pub struct Tap(Mutex<Option<Spool>>);

struct Spool {
    file: BufWriter<File>,
    /// Why this copy cannot hold any more; the commits go on.
    failed: Option<String>,
}

impl Tap {
    fn lock(&self) -> MutexGuard<'_, Option<Spool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits a batch, and notes it. The lock is held over both, so whoever closes the tap has every batch that the
    /// scan may have seen.
    pub(crate) fn commit(
        &self,
        store: &dyn Store,
        batch: &BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    ) -> Result<(), JournalError> {
        let mut spool = self.lock();
        let committed = store.commit(batch);
        if let Some(spool) = spool.as_mut().filter(|spool| spool.failed.is_none()) {
            let noted = match &committed {
                Ok(()) => batch
                    .iter()
                    .try_for_each(|(key, value)| write_change(&mut spool.file, key, value.as_deref())),
                Err(error) => Err(io::Error::other(error.to_string())),
            };
            spool.failed = noted.err().map(|error| error.to_string());
        }
        committed
    }

    fn open(&self, path: &Path) -> Result<Open<'_>, JournalError> {
        let mut spool = self.lock();
        if spool.is_some() {
            return Err(JournalError::InUse("this place (a copy of it is being taken already)".into()));
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(io("making a copy's spool"))?;
        *spool = Some(Spool { file: BufWriter::with_capacity(1 << 16, file), failed: None });
        Ok(Open { tap: self, path: path.to_path_buf(), closed: false })
    }
}

/// A tap that is open; dropped, it is closed and what it noted is gone.
struct Open<'a> {
    tap: &'a Tap,
    path: PathBuf,
    closed: bool,
}

/// Closes taps at one moment; answers what each noted.
fn close_together(mut open: Vec<Open<'_>>) -> Result<Vec<Changes>, JournalError> {
    let spools: Vec<Option<Spool>> = {
        // All at once, each after the commit under way, of which the scan may have seen a part. Writers wait for at most
        // one commit of another journal.
        let mut locked: Vec<_> = open.iter().map(|open| open.tap.lock()).collect();
        locked.iter_mut().map(|spool| spool.take()).collect()
    };
    open.iter_mut().for_each(|open| open.closed = true);
    let changes = open.iter().zip(spools).map(|(open, spool)| {
        let Some(Spool { mut file, failed }) = spool else {
            return Err(JournalError::Corrupt("a copy lost its spool".into()));
        };
        if let Some(why) = failed {
            return Err(JournalError::Io { operation: "noting changes for a copy", source: why.into() });
        }
        file.flush().map_err(io("writing a copy's spool"))?;
        let file = File::open(&open.path).map_err(io("reading a copy's spool"))?;
        Ok(Changes(BufReader::with_capacity(1 << 16, file)))
    });
    changes.collect()
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.closed {
            *self.tap.lock() = None;
        }
        // It is open where it is still read.
        let _ = fs::remove_file(&self.path);
    }
}

/// A value's length where there is none.
const REMOVED: u32 = u32::MAX;

fn write_change(out: &mut impl Write, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
    out.write_all(&length(key)?.to_le_bytes())?;
    out.write_all(&value.map_or(Ok(REMOVED), length)?.to_le_bytes())?;
    out.write_all(key)?;
    out.write_all(value.unwrap_or_default())
}

struct Changes(BufReader<File>);

type Change = (Vec<u8>, Option<Vec<u8>>);

impl Changes {
    fn next(&mut self) -> io::Result<Option<Change>> {
        let mut head = [0; 8];
        match self.0.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let mut bytes = |length: u32| {
            let mut bytes = vec![0; length as usize];
            self.0.read_exact(&mut bytes).map(|()| bytes)
        };
        let key = bytes(number(0))?;
        Ok(Some((key, if number(4) == REMOVED { None } else { Some(bytes(number(4))?) })))
    }
}

/// What a journal holds that whoever copies it needs to know, gathered key by key, in the order of a [`CopySink`].
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// The manifest, its entries without their rows.
    pub manifest: BTreeMap<ManifestPosition, ManifestEntry>,
    /// Owners of shards.
    pub owners: BTreeMap<ShardId, Owner>,
    last_events: BTreeMap<ShardId, Vec<u8>>,
}

impl Contents {
    /// Takes a key with its value, or that it was removed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn see(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), JournalError> {
        let kind = key.get(..1).unwrap_or_default();
        match (kind, value) {
            (b"e", Some(value)) => {
                if let Some(shard) = keys::shard_of(key) {
                    let last = self.last_events.entry(shard).or_default();
                    last.clear();
                    last.extend_from_slice(value);
                }
            }
            (keys::MANIFEST, value) => {
                let position = keys::number_at_end(key).unwrap_or_default();
                match value {
                    Some(value) => {
                        let entry: ManifestEntry = decode(value)?;
                        self.manifest.insert(position, ManifestEntry { rows: Vec::new(), ..entry });
                    }
                    None => _ = self.manifest.remove(&position),
                }
            }
            (keys::OWNERS, Some(value)) => {
                if let Some(shard) = keys::shard_of(key) {
                    let Ownership { epoch, .. } = decode(value)?;
                    self.owners.insert(shard, Owner { shard, epoch });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The highest epoch of any shard.
    pub fn highest_epoch(&self) -> u64 {
        self.owners.values().map(|owner| owner.epoch.0).max().unwrap_or_default()
    }

    /// When the newest event was decided, ms since 1970 UTC.
    ///
    /// # Errors
    /// When an event cannot be read.
    pub fn last_event_ms(&self) -> Result<Option<i64>, JournalError> {
        let times = self.last_events.values().map(|bytes| decode(bytes).map(|event: NewEvent| event.time_ms));
        Ok(times.collect::<Result<Vec<_>, _>>()?.into_iter().max())
    }

    /// When the newest row of the manifest's files was received, ms since 1970 UTC.
    pub fn last_row_ms(&self) -> Option<i64> {
        self.manifest.values().map(|entry| entry.receive_time_ms.1).max()
    }
}

/// An event out of a key and its value in a copy; `None` for any other key.
///
/// # Errors
/// When it cannot be read.
pub fn event_of(key: &[u8], value: &[u8]) -> Result<Option<Event>, JournalError> {
    match (key.first(), keys::shard_of(key), keys::number_at_end(key)) {
        (Some(b'e'), Some(shard), Some(position)) => {
            Ok(Some(Event { shard, position, event: decode(value)? }))
        }
        _ => Ok(None),
    }
}
