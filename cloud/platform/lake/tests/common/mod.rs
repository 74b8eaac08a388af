//! A lake over a store and a journal in memory that can die at any step, and a naive model of what must be in it.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::*;
use remuda_eventsourcing::*;
use remuda_lake::compaction::Watch;
use remuda_lake::{
    Answer, Compacted, CompactionSettings, Contribution, ErasureRequest, Horizon, Lake, LakeError,
    LakeSettings, RoundListener, Rounds, Row, RowBody, Stripped, Tombstone, Tombstones, file,
};
use remuda_model::{Epoch, Incarnation, OrganizationId, Seq, ShardId, SignalClass, VehicleId, signal};

/// 2023-11-14T22:00:00Z.
pub const BEGIN_MS: i64 = 1_699_999_200_000;
pub const HOUR_MS: i64 = 3_600_000;

/// Counts the steps of everything that goes to the disk; at its end the process is dead.
#[derive(Debug)]
pub struct Fuse {
    left: AtomicI64,
    /// Whether the last step is still done, and only its answer lost.
    done: bool,
    /// So many more times somebody else has replaced files when it is asked for.
    pub restless: AtomicI64,
}

impl Fuse {
    pub fn never() -> Arc<Self> {
        Self::after(i64::MAX, false)
    }

    pub fn after(steps: i64, done: bool) -> Arc<Self> {
        Arc::new(Self { left: AtomicI64::new(steps), done, restless: AtomicI64::new(0) })
    }

    pub fn is_dead(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }

    /// Whether a step is done, and whether its answer arrives.
    fn step(&self) -> (bool, bool) {
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            0 => (self.done, false),
            left => (left > 0, left > 0),
        }
    }
}

fn dead<T>() -> Result<T> {
    Err(Error::Generic { store: "fuse", source: "the process is dead".into() })
}

fn no_answer<T>() -> std::result::Result<T, JournalError> {
    Err(JournalError::Io { operation: "being dead", source: "the process is dead".into() })
}

/// A store whose renames are a copy and a removal, as on an object store: a crash may come in between.
#[derive(Debug, Clone)]
pub struct Store {
    pub files: Arc<InMemory>,
    pub fuse: Arc<Fuse>,
}

impl std::fmt::Display for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("fuse")
    }
}

#[async_trait]
impl ObjectStore for Store {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let (done, answered) = self.fuse.step();
        let put = if done { self.files.put_opts(to, payload, options).await } else { dead() };
        if answered { put } else { dead() }
    }
    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.files.put_multipart_opts(to, options).await
    }
    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        if self.fuse.is_dead() { dead() } else { self.files.get_opts(from, options).await }
    }
    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (done, answered) = self.fuse.step();
        let files = Arc::clone(&self.files);
        let deleted = async move {
            let deleted: Result<Vec<Path>> =
                if done { files.delete_stream(paths).try_collect().await } else { dead() };
            if answered { deleted } else { dead() }
        };
        futures_util::stream::once(deleted)
            .map_ok(|paths| futures_util::stream::iter(paths.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (done, answered) = self.fuse.step();
        let copied = if done { self.files.copy_opts(from, to, options).await } else { dead() };
        if answered { copied } else { dead() }
    }
}

/// A journal of a process that may die.
pub struct Mortal {
    pub inner: Arc<dyn Journal>,
    pub fuse: Arc<Fuse>,
}

impl Mortal {
    async fn write<T>(
        &self,
        write: impl Future<Output = std::result::Result<T, JournalError>>,
    ) -> std::result::Result<T, JournalError> {
        let (done, answered) = self.fuse.step();
        let written = if done { write.await } else { no_answer() };
        if answered { written } else { no_answer() }
    }

    async fn read<T>(
        &self,
        read: impl Future<Output = std::result::Result<T, JournalError>>,
    ) -> std::result::Result<T, JournalError> {
        if self.fuse.is_dead() { no_answer() } else { read.await }
    }
}

type Answered<T> = std::result::Result<T, JournalError>;

#[async_trait]
impl Journal for Mortal {
    async fn acquire(&self, s: &[ShardId]) -> Answered<Vec<(Owner, FeedPosition)>> {
        self.write(self.inner.acquire(s)).await
    }
    async fn append(&self, o: Owner, h: FeedPosition, e: Vec<NewEvent>) -> Answered<Appended> {
        self.write(self.inner.append(o, h, e)).await
    }
    async fn commit_file(
        &self,
        o: &[Owner],
        e: &[ManifestEntry],
        d: &[(ShardId, NewEvent)],
    ) -> CommitOutcome {
        let (done, answered) = self.fuse.step();
        let outcome = if done { self.inner.commit_file(o, e, d).await } else { CommitOutcome::Unknown };
        if answered { outcome } else { CommitOutcome::Unknown }
    }
    async fn read_stream(&self, s: &StreamId, f: u64, l: usize) -> Answered<Vec<Event>> {
        self.read(self.inner.read_stream(s, f, l)).await
    }
    async fn read_feed(&self, s: ShardId, a: FeedPosition, l: usize) -> Answered<Vec<Event>> {
        self.read(self.inner.read_feed(s, a, l)).await
    }
    async fn put_snapshots(&self, o: Owner, s: Vec<(StreamId, Snapshot)>) -> Answered<bool> {
        self.write(self.inner.put_snapshots(o, s)).await
    }
    async fn snapshot(&self, s: &StreamId) -> Answered<Option<Snapshot>> {
        self.read(self.inner.snapshot(s)).await
    }
    async fn snapshots(
        &self,
        t: &str,
        a: Option<&StreamId>,
        l: usize,
    ) -> Answered<Vec<(StreamId, Snapshot)>> {
        self.read(self.inner.snapshots(t, a, l)).await
    }
    async fn put_checkpoints(&self, c: Vec<(Owner, Checkpoint)>) -> Answered<Vec<ShardId>> {
        self.write(self.inner.put_checkpoints(c)).await
    }
    async fn checkpoint(&self, s: ShardId) -> Answered<Option<Checkpoint>> {
        self.read(self.inner.checkpoint(s)).await
    }
    async fn closed(&self, s: ShardId, k: &[u8]) -> Answered<Option<Vec<u8>>> {
        self.read(self.inner.closed(s, k)).await
    }
    async fn manifest(&self, a: ManifestPosition, l: usize) -> Answered<Vec<ManifestRecord>> {
        self.read(self.inner.manifest(a, l)).await
    }
    async fn acquire_replacing(&self) -> Answered<Epoch> {
        self.write(self.inner.acquire_replacing()).await
    }
    async fn replacing(&self) -> Answered<Replacing> {
        let mut replacing = self.read(self.inner.replacing()).await?;
        let left = self.fuse.restless.load(Ordering::SeqCst);
        if left > 0 {
            self.fuse.restless.store(left - 1, Ordering::SeqCst);
            replacing.count += left.unsigned_abs();
        }
        Ok(replacing)
    }
    async fn replace_files(
        &self,
        e: Epoch,
        i: &[String],
        o: &[ManifestEntry],
        n: &[Note],
        now_ms: i64,
    ) -> ReplaceOutcome {
        let (done, answered) = self.fuse.step();
        let outcome =
            if done { self.inner.replace_files(e, i, o, n, now_ms).await } else { ReplaceOutcome::Unknown };
        if answered { outcome } else { ReplaceOutcome::Unknown }
    }
    async fn note(&self, n: &[Note]) -> Answered<()> {
        self.write(self.inner.note(n)).await
    }
    async fn notes(&self, t: &str, a: u64, l: usize) -> Answered<Vec<(NotePosition, Vec<u8>)>> {
        self.read(self.inner.notes(t, a, l)).await
    }
    async fn replaced(&self, a: Option<&str>, l: usize) -> Answered<Vec<ReplacedFile>> {
        self.read(self.inner.replaced(a, l)).await
    }
    async fn forget_replaced(&self, p: &[String]) -> Answered<()> {
        self.write(self.inner.forget_replaced(p)).await
    }
    async fn epochs(&self) -> Answered<Vec<Owner>> {
        self.read(self.inner.epochs()).await
    }
}

/// Says up to where snapshots cover a shard.
#[derive(Default)]
pub struct Floor(AtomicU64);

impl RoundListener for Floor {
    fn answered(&self, _: ShardId, _: ManifestPosition, _: Vec<Answer>) {}
    fn replay_floor(&self, _: ShardId) -> ManifestPosition {
        self.0.load(Ordering::SeqCst)
    }
    fn shard_lost(&self, _: ShardId) {}
}

pub fn vehicle(n: u8) -> VehicleId {
    VehicleId::new(&format!("V{n}")).expect("an id")
}

/// A row of each kind in turn.
pub fn row(n: u8, seq: Seq, row_in_frame: u32, sample_time_ns: Option<i64>, receive_time_ms: i64) -> Row {
    let body = match seq % 7 {
        0 => RowBody::Marker,
        1 => RowBody::Quarantine { reason: "signal".into(), raw: vec![n; 5] },
        2 => RowBody::Gap { to: seq, reason: "shed".into() },
        3 => RowBody::Samples(vec![(signal::CHARGE, -(seq as i64))]),
        5 => RowBody::Samples(vec![(signal::LATITUDE, seq as i64)]),
        _ => RowBody::Samples(vec![
            (signal::SPEED, seq as i64),
            (signal::LONGITUDE, -7),
            (signal::CHARGE, i64::from(n)),
        ]),
    };
    Row {
        organization: OrganizationId::default(),
        vehicle: vehicle(n),
        incarnation: Incarnation(u64::MAX - u64::from(n)),
        seq,
        row_in_frame,
        boot: 3,
        mono_ns: seq * 1_000,
        sample_time_ns,
        receive_time_ms,
        commit: 0,
        body,
    }
}

/// A row's time.
pub fn at(row: &Row) -> i64 {
    let received = row.receive_time_ms * 1_000_000;
    let sampled = row.sample_time_ns.unwrap_or(received);
    if (sampled - received).abs() > 200 * 86_400_000_000_000 { received } else { sampled }
}

/// Takes a class out of a row, naively.
fn without(row: &mut Row, class: SignalClass) {
    match &mut row.body {
        RowBody::Quarantine { raw, .. } => raw.clear(),
        RowBody::Samples(values) => {
            values.retain(|(id, _)| signal::class_of(*id) != class);
            if values.is_empty() {
                row.body = RowBody::Marker;
            }
        }
        _ => {}
    }
}

/// Takes out what retention may have taken.
fn beyond(rows: &mut Vec<Row>, horizon: &Horizon) {
    rows.retain(|row| horizon.rows_ms.is_none_or(|ms| at(row) >= ms * 1_000_000));
    for (class, ms) in &horizon.classes_ms {
        rows.iter_mut().filter(|row| at(row) < ms * 1_000_000).for_each(|row| without(row, *class));
    }
}

/// The same rows, each once.
fn same(mut rows: Vec<Row>, mut model: Vec<Row>) {
    rows.sort_by_key(key);
    model.sort_by_key(key);
    assert_eq!(rows.len(), model.len(), "rows in the lake, and in the model");
    let differ = rows.iter().zip(&model).find(|(row, model)| row != model);
    assert!(differ.is_none(), "the lake has, and the model has: {differ:#?}");
}

/// A row's identity.
pub fn key(row: &Row) -> (VehicleId, Incarnation, Seq, u32) {
    (row.vehicle, row.incarnation, row.seq, row.row_in_frame)
}

/// A lake, the process that writes it, and the model.
pub struct World {
    pub files: Arc<InMemory>,
    pub journal: Arc<dyn Journal>,
    /// The same.
    pub memory: Arc<MemoryJournal>,
    pub now_ms: i64,
    floor: Arc<Floor>,
    running: Option<Rounds>,
    /// Every row that was acknowledged.
    pub model: Vec<Row>,
    /// Of these, the ones that no checkpoint covers.
    pub uncovered: Vec<Row>,
    /// What was asked to be forgotten.
    pub forgotten: Vec<Tombstone>,
    next: [Seq; 8],
    owned: Mutex<Vec<Owner>>,
    /// Rows may be in the lake more than once.
    has_duplicates: bool,
}

impl World {
    pub async fn new() -> Self {
        let memory = Arc::new(MemoryJournal::in_place());
        let mut world = Self {
            files: Arc::new(InMemory::new()),
            journal: Arc::clone(&memory) as Arc<dyn Journal>,
            memory,
            now_ms: BEGIN_MS,
            floor: Arc::default(),
            running: None,
            model: Vec::new(),
            uncovered: Vec::new(),
            forgotten: Vec::new(),
            next: [1; 8],
            owned: Mutex::default(),
            has_duplicates: false,
        };
        world.start().await;
        world
    }

    /// The lake as a process sees it that dies by this fuse.
    pub fn lake(&self, fuse: &Arc<Fuse>) -> Lake {
        let settings = LakeSettings { round_interval_ms: 3_600_000, ..LakeSettings::new("nowhere".into()) };
        let store = Store { files: Arc::clone(&self.files), fuse: Arc::clone(fuse) };
        let journal = Mortal { inner: Arc::clone(&self.journal), fuse: Arc::clone(fuse) };
        Lake::on_store(settings, Arc::new(journal), Arc::new(store))
    }

    /// Takes all shards over, and checks what recovery says.
    async fn start(&mut self) {
        let lake = self.lake(&Fuse::never());
        let mut shards: Vec<ShardId> = (0..8).map(|n| ShardId::of(&vehicle(n))).collect();
        shards.sort_unstable();
        shards.dedup();
        let owned = self.journal.acquire(&shards).await.expect("acquired");
        let owners: Vec<Owner> = owned.into_iter().map(|(owner, _)| owner).collect();
        let recovery = lake.recover(&owners).await.expect("recovered");
        for n in 0..8 {
            let durable = recovery.watermarks.get(&vehicle(n)).map_or(0, |marks| marks[0].1);
            assert_eq!(durable + 1, self.next[usize::from(n)], "the watermark of vehicle {n}");
        }
        let mut replayed: Vec<_> = recovery.replay.values().flatten().map(key).collect();
        let mut uncovered: Vec<_> = self.uncovered.iter().map(key).collect();
        replayed.sort_unstable();
        uncovered.sort_unstable();
        assert!(replayed == uncovered, "what no snapshot covers is replayed, once, and nothing else");
        *self.owned.lock().expect("not poisoned") = owners.clone();
        self.running = Some(lake.start_rounds(&owners, &recovery, self.floor.clone()));
    }

    /// One frame of some rows, committed.
    pub async fn write(&mut self, n: u8, rows: u32, sample_time_ns: Option<i64>) {
        let frame = self.frame(n, rows, sample_time_ns);
        self.next[usize::from(n)] += 1;
        self.model.extend(frame.rows.iter().cloned());
        self.uncovered.extend(frame.rows.iter().cloned());
        let rounds = self.running.as_ref().expect("it runs").handle();
        rounds.contribute(frame).await.expect("open");
        rounds.flush().await.expect("open");
    }

    /// The next frame of a vehicle.
    fn frame(&self, n: u8, rows: u32, sample_time_ns: Option<i64>) -> Contribution {
        let seq = self.next[usize::from(n)];
        let at = |i: u32| sample_time_ns.map(|at| at.saturating_add(i64::from(i) * 1_000_000));
        let rows = (0..rows).map(|i| row(n, seq, i, at(i), self.now_ms)).collect();
        let (shard, vehicle) = (ShardId::of(&vehicle(n)), vehicle(n));
        Contribution { shard, vehicle, ticket: seq, rows, decisions: Vec::new(), bytes: 100 }
    }

    /// The writing process is killed while it writes a frame, and another one starts: the frame is there as a whole, or not
    /// at all and the vehicle has it still.
    pub async fn write_and_die(&mut self, n: u8, rows: u32, sample_time_ns: Option<i64>, fuse: &Arc<Fuse>) {
        // Without a checkpoint.
        drop(self.running.take());
        let shards: Vec<ShardId> =
            self.owned.lock().expect("not poisoned").iter().map(|owner| owner.shard).collect();
        let owned = self.journal.acquire(&shards).await.expect("acquired");
        let owners: Vec<Owner> = owned.into_iter().map(|(owner, _)| owner).collect();
        let recovery = self.lake(&Fuse::never()).recover(&owners).await.expect("recovered");
        let rounds = self.lake(fuse).start_rounds(&owners, &recovery, self.floor.clone());
        let frame = self.frame(n, rows, sample_time_ns);
        let written = frame.rows.clone();
        rounds.handle().contribute(frame).await.expect("open");
        let handle = rounds.handle();
        let mut flushed = std::pin::pin!(handle.flush());
        // Its answer never comes when the process is dead.
        while !fuse.is_dead() {
            let wait = tokio::time::sleep(std::time::Duration::from_millis(1));
            tokio::select! { _ = &mut flushed => break, () = wait => {} }
        }
        drop(rounds);
        let owned = self.journal.acquire(&shards).await.expect("acquired");
        let owners: Vec<Owner> = owned.into_iter().map(|(owner, _)| owner).collect();
        let recovery = self.lake(&Fuse::never()).recover(&owners).await.expect("recovered");
        let durable = recovery.watermarks.get(&vehicle(n)).map_or(0, |marks| marks[0].1);
        if durable == self.next[usize::from(n)] {
            self.next[usize::from(n)] += 1;
            self.model.extend(written.iter().cloned());
            self.uncovered.extend(written);
        }
        self.start().await;
    }

    /// Rows that are there already are committed once more.
    pub async fn duplicate(&mut self, rows: Vec<Row>) {
        let mut shards: Vec<ShardId> = rows.iter().map(|row| ShardId::of(&row.vehicle)).collect();
        shards.sort_unstable();
        shards.dedup();
        let owned = self.journal.acquire(&shards).await.expect("acquired");
        let owners: Vec<_> = owned.into_iter().map(|(owner, _)| owner).collect();
        if !rows.is_empty() {
            self.has_duplicates = true;
            self.lake(&Fuse::never()).commit_reprocessed(&owners, rows, &[]).await.expect("committed");
        }
        // The rounds lost these shards.
        self.restart(false).await;
    }

    /// Ends the writing process with a checkpoint, whose snapshots cover everything or only what earlier ones did, and
    /// starts another.
    pub async fn restart(&mut self, covered: bool) {
        if covered {
            let head = self.running.as_ref().expect("it runs").handle().position();
            self.floor.0.store(head, Ordering::SeqCst);
            self.uncovered.clear();
        }
        self.running.take().expect("it runs").stop().await.expect("stopped");
        self.start().await;
    }

    pub async fn compact(&self, settings: &CompactionSettings) -> Compacted {
        self.lake(&Fuse::never())
            .compact(settings, self.now_ms, &|_| ControlFlow::Continue(()))
            .await
            .expect("compacted")
    }

    /// A compaction by a process that dies; whether it did.
    pub async fn compact_and_die(&self, settings: &CompactionSettings, fuse: &Arc<Fuse>) -> bool {
        let watch: Watch<'_> =
            &|_| if fuse.is_dead() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let ended: std::result::Result<Compacted, LakeError> =
            self.lake(fuse).compact(settings, self.now_ms, watch).await;
        if !fuse.is_dead() {
            ended.expect("it lived, so it compacted");
        }
        fuse.is_dead()
    }

    /// A round asks again for a commit that was made, as often as it likes.
    pub async fn commit_again(&self, entry: &ManifestEntry) {
        let owners = self.owned.lock().expect("not poisoned").clone();
        let outcome = self.journal.commit_file(&owners, std::slice::from_ref(entry), &[]).await;
        assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
    }

    pub async fn manifest(&self) -> Vec<ManifestEntry> {
        let records = self.journal.manifest(0, usize::MAX).await.expect("read");
        records.into_iter().map(|record| record.entry).collect()
    }

    /// What lies below a folder of the store.
    pub async fn listed(&self, folder: &str) -> Vec<String> {
        let listed = self.files.list(Some(&Path::from(folder)));
        let mut paths: Vec<String> =
            listed.map_ok(|meta| meta.location.to_string()).try_collect().await.expect("listed");
        paths.sort_unstable();
        paths
    }

    /// The journal is lost, and a new one begun. Nobody is running.
    pub async fn lose_journal(&mut self) {
        self.running.take().expect("it runs").stop().await.expect("stopped");
        self.memory = Arc::new(MemoryJournal::in_place());
        self.journal = Arc::clone(&self.memory) as Arc<dyn Journal>;
        self.floor.0.store(0, Ordering::SeqCst);
    }

    /// The journal is lost, and a copy of an earlier moment takes its place. Nobody is running.
    pub async fn restore_journal(&mut self, copy: &MemoryJournal) {
        if let Some(running) = self.running.take() {
            running.stop().await.expect("stopped");
        }
        self.memory = Arc::new(copy.copy());
        self.journal = Arc::clone(&self.memory) as Arc<dyn Journal>;
    }

    /// Begins again after [`Self::lose_journal`] and an adoption: what is not forgotten is replayed.
    pub async fn begin_again(&mut self) {
        let lake = self.lake(&Fuse::never());
        self.uncovered.clear();
        let uncovered = &mut self.uncovered;
        lake.for_each_row(|row| uncovered.push(row.clone())).await.expect("read");
        self.start().await;
    }

    /// Asks for an erasure of what was sampled from and until so many hours after the beginning.
    pub async fn erase(
        &mut self,
        of: Option<u8>,
        (from, until): (i64, i64),
        classes: &[SignalClass],
    ) -> Tombstone {
        let ns = |hours: i64| Some((BEGIN_MS + hours * HOUR_MS) * 1_000_000);
        let request = ErasureRequest {
            organization: OrganizationId::default(),
            vehicle: of.map(vehicle),
            from_ns: ns(from),
            until_ns: ns(until),
            classes: classes.iter().copied().collect(),
            requested_by: "ada".into(),
            reason: "a rider asked".into(),
        };
        let tombstone = self.lake(&Fuse::never()).erase(request, self.now_ms).await.expect("asked");
        self.forgotten.push(tombstone.clone());
        tombstone
    }

    /// The rows that readers must find, said as naively as can be: what was written, without what is forgotten and
    /// without what retention says it took.
    pub fn expected(&self, horizon: &Horizon) -> Vec<Row> {
        let mut rows: Vec<Row> = self.model.clone();
        for tombstone in &self.forgotten {
            let (from, until) =
                (tombstone.from_ns.unwrap_or(i64::MIN), tombstone.until_ns.unwrap_or(i64::MAX));
            let until = until.min(tombstone.requested_at_ms * 1_000_000);
            let is_covered = |row: &Row| {
                let named = tombstone.vehicle.is_none_or(|vehicle| vehicle == row.vehicle);
                named && (from..until).contains(&at(row))
            };
            if tombstone.classes.is_empty() {
                rows.retain(|row| !is_covered(row));
            }
            for row in rows.iter_mut().filter(|row| is_covered(row)) {
                tombstone.classes.iter().for_each(|class| without(row, *class));
            }
        }
        beyond(&mut rows, horizon);
        rows
    }

    /// The lake holds the model's rows, each once, as a reader is shown them.
    pub async fn check(&self) {
        let lake = self.lake(&Fuse::never());
        let tombstones = lake.tombstones().await.expect("read");
        let horizon = lake.horizon().await.expect("read");
        let mut rows = Vec::new();
        let shown = |row: &Row| {
            let mut row = row.clone();
            if !matches!(tombstones.strip(&mut row), Stripped::Erased(_)) {
                rows.push(row);
            }
        };
        lake.for_each_row(shown).await.expect("read");
        beyond(&mut rows, &horizon);
        if self.has_duplicates {
            rows.sort_by_key(key);
            rows.dedup_by_key(|row| key(row));
        }
        same(rows, self.expected(&horizon));
    }

    /// Puts a history file with a row that a tombstone covers into the lake.
    pub async fn bring_back(&self, tombstone: &Tombstone) {
        let at_ns = tombstone.from_ns.expect("a range") + 77;
        let row = row(1, 4, 0, Some(at_ns), self.now_ms);
        let bytes = file::encode(std::slice::from_ref(&row), "{}".into()).expect("encoded");
        let entry = ManifestEntry {
            path: "history/organization=default/date=2023-11-14/hour=23/00-1-9.parquet".into(),
            schema: 1,
            checksum: crc32c::crc32c(&bytes),
            bytes: bytes.len() as u64,
            rows: vec![(ShardId::of(&row.vehicle), 1)],
            sample_time_ns: (at_ns, at_ns),
            receive_time_ms: (self.now_ms, self.now_ms),
        };
        self.files.put(&Path::from(entry.path.as_str()), bytes.into()).await.expect("written");
        let outcome = self.journal.commit_file(&[], &[entry], &[]).await;
        assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
    }

    /// A round's file with a covered row that was never committed, by the owners of now; its path.
    pub async fn orphan(&self, n: u8, at_ns: i64) -> String {
        let row = row(n, 4, 0, Some(at_ns), self.now_ms);
        let owners = self.owned.lock().expect("not poisoned").clone();
        let path = format!("fresh/date=2023-11-14/hour=23/00ff-1-{n}.parquet");
        let entry = ManifestEntry {
            path: path.clone(),
            schema: 1,
            checksum: 0,
            bytes: 0,
            rows: vec![(ShardId::of(&row.vehicle), 1)],
            sample_time_ns: (at_ns, at_ns),
            receive_time_ms: (self.now_ms, self.now_ms),
        };
        let footer = serde_json::json!({ "writer": "00ff", "owners": owners, "entry": entry });
        let bytes = file::encode(std::slice::from_ref(&row), footer.to_string()).expect("encoded");
        self.files.put(&Path::from(path.as_str()), bytes.into()).await.expect("written");
        path
    }

    /// Nothing that is forgotten is on the disk, in any file, of any folder.
    pub async fn check_forgotten(&self) {
        let tombstones = Tombstones::of(&self.forgotten);
        for path in self.listed("").await.into_iter().filter(|path| path.ends_with(".parquet")) {
            let bytes = self.files.get(&Path::from(path.as_str())).await.expect("there").bytes().await;
            for mut row in file::decode(bytes.expect("read")).expect("ours") {
                assert_eq!(tombstones.strip(&mut row), Stripped::Kept, "{path} has {row:?}");
            }
        }
    }

    /// Whoever reads `history/` as it lies there finds the manifest's files and no others, sorted and each at its place.
    pub async fn check_outside(&self) {
        let mut committed: Vec<String> = self.manifest().await.into_iter().map(|entry| entry.path).collect();
        committed.retain(|path| path.starts_with("history/"));
        committed.sort_unstable();
        assert_eq!(self.listed("history").await, committed);
        for path in committed {
            let bytes =
                self.files.get(&Path::from(path.as_str())).await.expect("there").bytes().await.expect("read");
            let rows = file::decode(bytes).expect("ours");
            assert!(rows.is_sorted_by_key(|row| (row.vehicle, at(row))), "{path}");
            let hours: std::collections::BTreeSet<i64> =
                rows.iter().map(|row| at(row).div_euclid(3_600_000_000_000)).collect();
            assert_eq!(hours.len(), 1, "{path}: {hours:?}");
        }
    }
}
