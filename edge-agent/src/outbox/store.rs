//! The log: appended to by many, committed by one thread, so that one fdatasync serves everybody who waits.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use remuda_model::{Seq, VehicleId};
use tokio::sync::watch;

use super::error::OutboxError;
use super::files::{self, OpenFiles};
use super::index::{Index, Place, Rebuild, SEGMENT_ID_LIMIT};
use super::record::{self, Kind};

/// Number of a group commit; what was appended under it is durable once the committed number reaches it.
pub type Group = u64;

/// How a log is used.
#[derive(Debug, Clone, Copy)]
pub struct Profile {
    /// Size at which a new segment is begun, bytes.
    pub segment_bytes: usize,
    /// How long an append that is not urgent may wait for others, ms.
    pub group_ms: u64,
    /// Streams without frames whose records of made and shed are kept, per vehicle.
    pub evidence_max: usize,
}

impl Profile {
    /// A directory per vehicle. The agent closes its batches once a second, so there is nobody to wait for.
    pub fn vehicle() -> Self {
        Self { segment_bytes: 1024 * 1024, group_ms: 0, evidence_max: 512 }
    }

    /// One log for a simulator's vehicles.
    pub fn fleet() -> Self {
        Self { segment_bytes: 32 * 1024 * 1024, group_ms: 50, evidence_max: 4_096 }
    }
}

/// Unwritten bytes at which appenders wait for the disk.
const PENDING_BYTES_MAX: usize = 8 * 1024 * 1024;

pub(super) struct Inner {
    pub(super) index: Index,
    pub(super) head: u32,
    head_file: Arc<File>,
    /// Where `pending` will stand in the head.
    pending_at: usize,
    pending: Vec<u8>,
    pending_since: Option<Instant>,
    at_once: bool,
    /// The thread was told that there is work.
    woken: bool,
    /// The group that appends now belong to.
    group: Group,
    /// Streams whose number the head knows.
    declared: Vec<bool>,
    files: OpenFiles,
    failed: Option<OutboxError>,
    closing: bool,
    // Held for as long as the log is open, which handles of vehicles may outlive.
    lock: Option<File>,
}

pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) profile: Profile,
    inner: Mutex<Inner>,
    wake: Condvar,
    committed: watch::Sender<Group>,
}

/// A log on disk. Closed (flushed, its thread ended) by [`Store::close`] or when dropped.
pub struct Store {
    pub(super) shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens a log, or makes a new one. What it finds is made durable first, so that it may be sent.
    pub fn open(dir: &Path, profile: Profile) -> Result<Self, OutboxError> {
        files::make_dir(dir)?;
        let lock_path = dir.join("lock");
        let lock = File::create(&lock_path).map_err(OutboxError::file("create", &lock_path))?;
        lock.try_lock().map_err(|_| OutboxError::InUse(dir.to_path_buf()))?;
        let ids = files::list(dir)?;
        let index = rebuild(dir, &ids)?;
        if let Some(last) = ids.last() {
            let path = files::path_of(dir, *last);
            File::open(&path).and_then(|f| f.sync_all()).map_err(OutboxError::file("sync", path))?;
        }
        let head = ids.last().map_or(1, |id| id + 1);
        let mut inner = Inner {
            index,
            head,
            head_file: files::create(dir, head)?,
            pending_at: 0,
            pending: Vec::new(),
            pending_since: None,
            at_once: false,
            woken: false,
            group: 1,
            declared: Vec::new(),
            files: OpenFiles::default(),
            failed: None,
            closing: false,
            lock: Some(lock),
        };
        let (committed, _) = watch::channel(0);
        inner.begin_head(&profile)?;
        files::sync_dir(dir)?;
        let shared = Arc::new(Shared {
            dir: dir.to_path_buf(),
            profile,
            inner: Mutex::new(inner),
            wake: Condvar::new(),
            committed,
        });
        let committer = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("outbox".to_owned())
            .spawn(move || committer.run())
            .map_err(OutboxError::file("start a thread for", dir))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// The vehicles it knows.
    pub fn vehicles(&self) -> Vec<VehicleId> {
        self.shared.lock().index.by_vehicle.keys().copied().collect()
    }

    /// Writes everything out and ends the thread.
    pub fn close(mut self) -> Result<(), OutboxError> {
        self.end();
        self.shared.lock().failed.clone().map_or(Ok(()), Err)
    }

    fn end(&mut self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has poisoned nothing that is not told by `failed` or by groups that never come.
            let _ = thread.join();
        }
        self.shared.lock().lock = None;
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads every segment, oldest first.
pub(super) fn rebuild(dir: &Path, ids: &[u32]) -> Result<Index, OutboxError> {
    let mut rebuild = Rebuild::default();
    for id in ids {
        let path = files::path_of(dir, *id);
        let bytes = fs::read(&path).map_err(OutboxError::file("read", &path))?;
        if !record::is_segment(&bytes) && !bytes.is_empty() {
            tracing::warn!(path = %path.display(), "a segment's header is damaged; its records are searched for");
        }
        rebuild.segment(*id, &bytes);
    }
    Ok(rebuild.finish())
}

impl Inner {
    /// Writes a new head's first bytes: all that is known of streams, so that older segments can go.
    fn begin_head(&mut self, profile: &Profile) -> Result<(), OutboxError> {
        let mut bytes = record::segment_header(self.head);
        self.declared = vec![false; self.index.streams.len()];
        for vehicle in self.index.by_vehicle.values() {
            let idle = |n: &&u32| self.index.streams[**n as usize].places.is_empty();
            let mut spare = vehicle.streams.iter().filter(idle).count().saturating_sub(profile.evidence_max);
            let mut newest = None;
            for number in &vehicle.streams {
                let stream = &mut self.index.streams[*number as usize];
                if stream.places.is_empty() && spare > 0 {
                    spare -= 1;
                    continue;
                }
                newest = Some(*number);
                self.declared[*number as usize] = true;
                record::put(&mut bytes, Kind::Stream, *number, 0, &record::sealed(&stream.key));
                record::put(&mut bytes, Kind::Mark, *number, 0, &record::sealed(&stream.mark()));
                stream.stale_mark = false;
                for shed in &stream.sheds {
                    record::put(&mut bytes, Kind::Shed, *number, 0, &record::sealed(shed));
                }
            }
            if let (Some(number), Some(state)) = (newest, &vehicle.state) {
                record::put(&mut bytes, Kind::State, number, 0, &record::sealed_bytes(state.clone()));
            }
        }
        let file = Arc::clone(&self.head_file);
        let written = file.write_all_at(&bytes, 0).and_then(|()| file.sync_all());
        written.map_err(OutboxError::file("write", format!("{:08}", self.head)))?;
        self.pending_at = bytes.len();
        self.index.live.insert(self.head, 0);
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), OutboxError> {
        match &self.failed {
            Some(error) => Err(OutboxError::Poisoned(error.to_string())),
            None if self.lock.is_none() => Err(OutboxError::Closed),
            None => Ok(()),
        }
    }

    /// Appends a record to what the next commit writes; answers its place.
    pub(super) fn put(
        &mut self,
        kind: Kind,
        number: u32,
        seq: Seq,
        payload: &[u8],
    ) -> Result<Place, OutboxError> {
        if self.pending.is_empty() {
            self.pending_since = Some(Instant::now());
        }
        self.declared.resize(self.index.streams.len(), false);
        if !std::mem::replace(&mut self.declared[number as usize], true) {
            let key = record::sealed(&self.index.streams[number as usize].key);
            record::put(&mut self.pending, Kind::Stream, number, 0, &key);
        }
        let offset = self.pending_at + self.pending.len();
        let place = Place::new(self.head, offset, payload.len()).ok_or(OutboxError::UsedUp)?;
        record::put(&mut self.pending, kind, number, seq, payload);
        Ok(place)
    }

    pub(super) fn is_large(&self) -> bool {
        self.pending.len() >= PENDING_BYTES_MAX
    }

    pub(super) fn open_file(&mut self, dir: &Path, id: u32) -> Result<Arc<File>, OutboxError> {
        if id == self.head { Ok(Arc::clone(&self.head_file)) } else { self.files.get(dir, id) }
    }

    pub(super) fn forget_file(&mut self, id: u32) {
        self.files.remove(id);
        self.index.live.remove(&id);
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while it was held is a fault of ours; the bytes on disk are judged by their checksums anyway.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Group> {
        self.committed.subscribe()
    }

    /// Locks once there is room for more.
    pub(super) fn lock_for_append(&self) -> Result<MutexGuard<'_, Inner>, OutboxError> {
        let mut inner = self.lock();
        while inner.is_large() && inner.failed.is_none() {
            self.wake.notify_all();
            let wait = self.wake.wait_timeout(inner, Duration::from_millis(50));
            inner = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.check()?;
        Ok(inner)
    }

    /// Answers the group of what was just appended.
    pub(super) fn appended(&self, mut inner: MutexGuard<'_, Inner>, at_once: bool) -> Group {
        let hurry = (at_once || self.profile.group_ms == 0) && !inner.at_once;
        inner.at_once |= hurry;
        let wake = hurry || !std::mem::replace(&mut inner.woken, true);
        let group = inner.group;
        drop(inner);
        if wake {
            self.wake.notify_all();
        }
        group
    }

    fn run(&self) {
        loop {
            let Some(inner) = self.next_work() else { break };
            let closing = inner.closing;
            if let Err(error) = self.work(inner, closing) {
                tracing::error!(%error, "the outbox cannot write");
                self.lock().failed = Some(error);
                break;
            }
            if closing {
                break;
            }
        }
        // Whoever waits for a group must learn that none comes any more.
        let group = *self.committed.borrow();
        self.committed.send_replace(group);
        self.wake.notify_all();
    }

    /// Waits until a group is complete.
    fn next_work(&self) -> Option<MutexGuard<'_, Inner>> {
        let interval = Duration::from_millis(self.profile.group_ms);
        let mut inner = self.lock();
        loop {
            let waited = inner.pending_since.map(|since| since.elapsed());
            let due = waited.is_some_and(|waited| inner.at_once || waited >= interval || inner.is_large());
            if due || inner.closing {
                return Some(inner);
            }
            let wait = waited.map_or(Duration::from_secs(3_600), |waited| interval.saturating_sub(waited));
            inner = self.wake.wait_timeout(inner, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn work(&self, mut inner: MutexGuard<'_, Inner>, closing: bool) -> Result<(), OutboxError> {
        if closing {
            inner.put_stale_marks()?;
        }
        let bytes = std::mem::take(&mut inner.pending);
        let (at, group, file) = (inner.pending_at, inner.group, Arc::clone(&inner.head_file));
        inner.pending_at += bytes.len();
        inner.group += 1;
        inner.pending_since = None;
        inner.at_once = false;
        inner.woken = false;
        drop(inner);
        write(&file, &bytes, at)?;
        self.committed.send_replace(group);
        self.wake.notify_all();
        let mut inner = self.lock();
        if inner.pending_at + inner.pending.len() >= self.profile.segment_bytes {
            self.flush(&mut inner)?;
            self.rotate(&mut inner)?;
        }
        self.reclaim(&mut inner)
    }

    /// Writes what is pending while the log is locked.
    pub(super) fn flush(&self, inner: &mut Inner) -> Result<(), OutboxError> {
        let bytes = std::mem::take(&mut inner.pending);
        write(&inner.head_file, &bytes, inner.pending_at)?;
        inner.pending_at += bytes.len();
        self.committed.send_replace(inner.group);
        inner.group += 1;
        inner.pending_since = None;
        inner.at_once = false;
        inner.woken = false;
        Ok(())
    }

    fn rotate(&self, inner: &mut Inner) -> Result<(), OutboxError> {
        if inner.head + 1 >= SEGMENT_ID_LIMIT {
            return Err(OutboxError::UsedUp);
        }
        let old = (inner.head, Arc::clone(&inner.head_file));
        let file = files::create(&self.dir, inner.head + 1)?;
        inner.files.insert(old.0, old.1);
        inner.head += 1;
        inner.head_file = file;
        inner.begin_head(&self.profile)?;
        files::sync_dir(&self.dir)
    }
}

fn write(file: &File, bytes: &[u8], at: usize) -> Result<(), OutboxError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let written = file.write_all_at(bytes, at as u64).and_then(|()| file.sync_data());
    written.map_err(OutboxError::file("write", "its newest segment"))
}
