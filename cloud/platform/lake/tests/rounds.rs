//! Rounds against a journal that refuses and forgets: every row and decision once, whatever happens.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rand::prelude::*;
use remuda_eventsourcing::*;
use remuda_lake::{Answer, Contribution, Lake, LakeSettings, RoundListener, Row, RowBody, Verdict};
use remuda_model::{Epoch, Incarnation, OrganizationId, Seq, ShardId, VehicleId, signal};

/// A journal whose commits now and then are made and answer that nobody knows, or are not made and answer so.
struct Faulty {
    inner: Arc<dyn Journal>,
    percent: AtomicU32,
    random: Mutex<StdRng>,
}

impl Faulty {
    fn strikes(&self) -> bool {
        let percent = self.percent.load(Ordering::Relaxed);
        self.random.lock().expect("not poisoned").random_range(0..100) < percent
    }
}

#[async_trait]
impl Journal for Faulty {
    async fn acquire(&self, shards: &[ShardId]) -> Result<Vec<(Owner, FeedPosition)>, JournalError> {
        self.inner.acquire(shards).await
    }
    async fn append(&self, o: Owner, h: FeedPosition, e: Vec<NewEvent>) -> Result<Appended, JournalError> {
        self.inner.append(o, h, e).await
    }
    async fn commit_file(
        &self,
        o: &[Owner],
        e: &[ManifestEntry],
        d: &[(ShardId, NewEvent)],
    ) -> CommitOutcome {
        if self.strikes() {
            return CommitOutcome::Unknown;
        }
        let outcome = self.inner.commit_file(o, e, d).await;
        if self.strikes() { CommitOutcome::Unknown } else { outcome }
    }
    async fn read_stream(&self, s: &StreamId, f: u64, l: usize) -> Result<Vec<Event>, JournalError> {
        self.inner.read_stream(s, f, l).await
    }
    async fn read_feed(&self, s: ShardId, a: FeedPosition, l: usize) -> Result<Vec<Event>, JournalError> {
        self.inner.read_feed(s, a, l).await
    }
    async fn put_snapshots(&self, o: Owner, s: Vec<(StreamId, Snapshot)>) -> Result<bool, JournalError> {
        self.inner.put_snapshots(o, s).await
    }
    async fn snapshot(&self, s: &StreamId) -> Result<Option<Snapshot>, JournalError> {
        self.inner.snapshot(s).await
    }
    async fn snapshots(
        &self,
        t: &str,
        a: Option<&StreamId>,
        l: usize,
    ) -> Result<Vec<(StreamId, Snapshot)>, JournalError> {
        self.inner.snapshots(t, a, l).await
    }
    async fn put_checkpoints(&self, c: Vec<(Owner, Checkpoint)>) -> Result<Vec<ShardId>, JournalError> {
        self.inner.put_checkpoints(c).await
    }
    async fn checkpoint(&self, s: ShardId) -> Result<Option<Checkpoint>, JournalError> {
        self.inner.checkpoint(s).await
    }
    async fn closed(&self, s: ShardId, k: &[u8]) -> Result<Option<Vec<u8>>, JournalError> {
        self.inner.closed(s, k).await
    }
    async fn manifest(&self, a: ManifestPosition, l: usize) -> Result<Vec<ManifestRecord>, JournalError> {
        self.inner.manifest(a, l).await
    }
    async fn acquire_replacing(&self) -> Result<Epoch, JournalError> {
        self.inner.acquire_replacing().await
    }
    async fn replacing(&self) -> Result<Replacing, JournalError> {
        self.inner.replacing().await
    }
    async fn replace_files(
        &self,
        e: Epoch,
        i: &[String],
        o: &[ManifestEntry],
        n: &[Note],
        now_ms: i64,
    ) -> ReplaceOutcome {
        self.inner.replace_files(e, i, o, n, now_ms).await
    }
    async fn note(&self, n: &[Note]) -> Result<(), JournalError> {
        self.inner.note(n).await
    }
    async fn notes(&self, t: &str, a: u64, l: usize) -> Result<Vec<(NotePosition, Vec<u8>)>, JournalError> {
        self.inner.notes(t, a, l).await
    }
    async fn replaced(&self, a: Option<&str>, l: usize) -> Result<Vec<ReplacedFile>, JournalError> {
        self.inner.replaced(a, l).await
    }
    async fn forget_replaced(&self, p: &[String]) -> Result<(), JournalError> {
        self.inner.forget_replaced(p).await
    }
    async fn epochs(&self) -> Result<Vec<Owner>, JournalError> {
        self.inner.epochs().await
    }
}

/// Notes every answer.
#[derive(Default)]
struct Notes {
    answers: Mutex<Vec<(u64, Verdict)>>,
    lost: Mutex<Vec<ShardId>>,
}

impl RoundListener for Notes {
    fn answered(&self, _: ShardId, _: ManifestPosition, answers: Vec<Answer>) {
        self.answers.lock().expect("not poisoned").extend(answers.iter().map(|a| (a.ticket, a.verdict)));
    }
    fn replay_floor(&self, _: ShardId) -> ManifestPosition {
        0
    }
    fn shard_lost(&self, shard: ShardId) {
        self.lost.lock().expect("not poisoned").push(shard);
    }
}

fn vehicle(n: usize) -> VehicleId {
    VehicleId::new(&format!("V{n}")).expect("an id")
}

fn row(vehicle: VehicleId, seq: Seq, row_in_frame: u32) -> Row {
    let body = match seq % 5 {
        0 => RowBody::Marker,
        1 => RowBody::Quarantine { reason: "signal".into(), raw: vec![1, 2, 3] },
        2 => RowBody::Gap { to: seq, reason: "shed".into() },
        _ => RowBody::Samples(vec![(signal::SPEED, seq as i64), (signal::CHARGE, -7)]),
    };
    Row {
        organization: OrganizationId::default(),
        vehicle,
        incarnation: Incarnation(u64::MAX - 1),
        seq,
        row_in_frame,
        boot: 3,
        mono_ns: seq * 1_000,
        sample_time_ns: seq.is_multiple_of(2).then_some(1_700_000_000_000_000_000 + seq as i64),
        receive_time_ms: 1_700_000_000_000 + seq as i64,
        commit: 0,
        body,
    }
}

fn contribution(vehicle: VehicleId, ticket: u64, rows: Vec<Row>, version: Option<u64>) -> Contribution {
    let shard = ShardId::of(&vehicle);
    let decision = version.map(|version| testing::event(vehicle.as_str(), version));
    Contribution { shard, vehicle, ticket, rows, decisions: decision.into_iter().collect(), bytes: 100 }
}

async fn lake(root: &Path, journal: Arc<dyn Journal>) -> Lake {
    let settings = LakeSettings { round_interval_ms: 10, ..LakeSettings::new(root.to_path_buf()) };
    Lake::open(settings, journal).await.expect("opened")
}

fn all_shards() -> Vec<ShardId> {
    (0..1024).map(testing::shard).collect()
}

async fn acquire(journal: &Arc<dyn Journal>) -> Vec<Owner> {
    let owned = journal.acquire(&all_shards()).await.expect("acquired");
    owned.into_iter().map(|(owner, _)| owner).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_decisions_come_back_as_they_were() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let lake = lake(folder.path(), Arc::clone(&journal)).await;
    let owners = acquire(&journal).await;
    let recovery = lake.recover(&owners).await.expect("recovered");
    let notes = Arc::new(Notes::default());
    let rounds = lake.start_rounds(&owners, &recovery, notes.clone());
    let rows: Vec<Row> = (1..=50).map(|seq| row(vehicle(1), seq, 0)).collect();
    let handle = rounds.handle();
    handle.contribute(contribution(vehicle(1), 9, rows.clone(), Some(1))).await.expect("open");
    handle.flush().await.expect("open");
    assert_eq!(*notes.answers.lock().expect("not poisoned"), [(9, Verdict::Committed)]);
    assert_eq!(lake.rows_of(&vehicle(1), 0).await.expect("read"), rows);
    assert_eq!(journal.read_stream(&testing::stream("V1"), 1, 10).await.expect("read").len(), 1);
    rounds.stop().await.expect("stopped");
    let owners = acquire(&journal).await;
    let recovery = lake.recover(&owners).await.expect("recovered");
    assert_eq!(recovery.watermarks[&vehicle(1)], [(Incarnation(u64::MAX - 1), 50)]);
    assert_eq!(recovery.replay[&vehicle(1)], rows, "the listener's floor says that no snapshot covers them");
    assert_eq!(lake.sweep().await.expect("swept"), 0, "committed files stay");
}

/// Vehicles that send until everything is committed, over a journal with faults, nodes that vanish without a word and
/// owners that come after them.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_by_faults_and_new_owners() {
    for seed in 0..3 {
        eprintln!("seed {seed}");
        run_with_faults(seed).await;
    }
}

async fn run_with_faults(seed: u64) {
    const VEHICLES: usize = 12;
    const FRAMES: Seq = 40;
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let inner: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let mut stale = Vec::new();
    loop {
        let faulty = Faulty {
            inner: Arc::clone(&inner),
            percent: AtomicU32::new(15),
            random: Mutex::new(StdRng::seed_from_u64(random.random())),
        };
        let journal: Arc<dyn Journal> = Arc::new(faulty);
        let lake = lake(folder.path(), Arc::clone(&journal)).await;
        let owners = acquire(&journal).await;
        let recovery = lake.recover(&owners).await.expect("recovered");
        lake.sweep().await.expect("swept");
        let notes = Arc::new(Notes::default());
        let rounds = lake.start_rounds(&owners, &recovery, notes.clone());
        let durable = |n: usize| recovery.watermarks.get(&vehicle(n)).map_or(0, |marks| marks[0].1);
        if (0..VEHICLES).all(|n| durable(n) == FRAMES) {
            break;
        }
        let mut next: Vec<Seq> = (0..VEHICLES).map(|n| durable(n) + 1).collect();
        for ticket in 0..random.random_range(5..60) {
            let n = random.random_range(0..VEHICLES);
            if next[n] > FRAMES {
                continue;
            }
            let version = next[n];
            let rows = vec![row(vehicle(n), next[n], 0), row(vehicle(n), next[n], 1)];
            next[n] += 1;
            rounds
                .handle()
                .contribute(contribution(vehicle(n), ticket, rows, Some(version)))
                .await
                .expect("open");
            if random.random_bool(0.2) {
                rounds.handle().flush().await.expect("open");
            }
        }
        // Gone without a word: the old rounds live on and may wake with a file in flight.
        stale.push(rounds);
    }
    for rounds in stale {
        rounds.stop().await.expect("an old owner's rounds end too");
    }
    check(&inner, folder.path(), VEHICLES, FRAMES).await;
}

async fn check(journal: &Arc<dyn Journal>, root: &Path, vehicles: usize, frames: Seq) {
    let lake = lake(root, Arc::clone(journal)).await;
    let mut seen: HashMap<(VehicleId, Seq, u32), u32> = HashMap::new();
    lake.for_each_row(|row| *seen.entry((row.vehicle, row.seq, row.row_in_frame)).or_default() += 1)
        .await
        .expect("read");
    for n in 0..vehicles {
        for seq in 1..=frames {
            for row in 0..2 {
                assert_eq!(seen.get(&(vehicle(n), seq, row)), Some(&1), "{n} {seq} {row}");
            }
        }
        let stream = testing::stream(vehicle(n).as_str());
        let decisions = journal.read_stream(&stream, 1, 1000).await.expect("read");
        assert_eq!(decisions.len() as u64, frames, "decisions of vehicle {n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_owner_is_refused_and_its_file_swept() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let lake = lake(folder.path(), Arc::clone(&journal)).await;
    let old = acquire(&journal).await;
    let notes = Arc::new(Notes::default());
    let rounds = lake.start_rounds(&old, &lake.recover(&old).await.expect("recovered"), notes.clone());
    // One of its two shards gets a newer owner while a contribution of each is on its way.
    let (a, b) = (vehicle(1), vehicle(2));
    assert_ne!(ShardId::of(&a), ShardId::of(&b));
    journal.acquire(&[ShardId::of(&a)]).await.expect("acquired");
    for (ticket, v) in [(1, a), (2, b)] {
        rounds.handle().contribute(contribution(v, ticket, vec![row(v, 3, 0)], None)).await.expect("open");
    }
    rounds.handle().flush().await.expect("open");
    let mut answers = notes.answers.lock().expect("not poisoned").clone();
    answers.sort_unstable_by_key(|(ticket, _)| *ticket);
    assert_eq!(answers, [(1, Verdict::Dropped), (2, Verdict::Committed)]);
    assert_eq!(*notes.lost.lock().expect("not poisoned"), [ShardId::of(&a)]);
    assert!(lake.rows_of(&a, 0).await.expect("read").is_empty());
    assert_eq!(lake.rows_of(&b, 0).await.expect("read").len(), 1);
    let fresh = walk(&folder.path().join("fresh"));
    assert_eq!(fresh.len(), 1, "the refused file is in the trash: {fresh:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let lake = lake(folder.path(), Arc::clone(&journal)).await;
    let owners = acquire(&journal).await;
    let rounds = lake.start_rounds(
        &owners,
        &lake.recover(&owners).await.expect("recovered"),
        Arc::new(Notes::default()),
    );
    rounds
        .handle()
        .contribute(contribution(vehicle(1), 1, vec![row(vehicle(1), 3, 0)], None))
        .await
        .expect("open");
    rounds.stop().await.expect("stopped");
    let file = walk(&folder.path().join("fresh")).remove(0);
    let mut bytes = std::fs::read(&file).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("written");
    let error = lake.rows_of(&vehicle(1), 0).await.expect_err("its checksum differs").to_string();
    assert!(error.contains("checksum") && error.contains("backup"), "{error}");
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|e| Some(e.ok()?.path()));
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
