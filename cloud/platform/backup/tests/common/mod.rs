//! A small node's data folder, and a repository for it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use remuda_backup::parts::{FilesPart, JournalPart, LakePart, LakePlace, Parts};
use remuda_backup::restore::{Order, Restored, restore};
use remuda_backup::seal::new_key;
use remuda_backup::verify::{Verification, verify};
use remuda_backup::{
    Access, BackupError, Identities, LakeBucket, Pace, Recipients, Repository, Request, SnapshotKind, Taken,
    take,
};
use remuda_eventsourcing::{
    Appended, CommitOutcome, Journal, JournalError, JournalMetrics, ManifestEntry, Owner, SledJournal,
    testing,
};
use remuda_identity::{NewVehicle, Register, Who};
use remuda_lake::{Bucket, S3Settings};
use remuda_model::{OrganizationId, VehicleId};

pub struct Node {
    pub folder: tempfile::TempDir,
    pub runtime: tokio::runtime::Runtime,
    pub journal: Option<Arc<SledJournal>>,
    owner: Owner,
    head: u64,
    version: u64,
    files: u64,
    /// Where its lake is; none: in its data folder.
    pub bucket: Option<Bucket>,
    pub key: PathBuf,
    pub recipient: String,
}

pub fn who() -> Who {
    Who { by: "a test".into(), at_ms: 1_700_000_000_000 }
}

pub fn vehicle(id: &str) -> VehicleId {
    VehicleId::new(id).expect("an id")
}

impl Node {
    /// With a few events, files of the lake, and vehicles.
    pub fn new() -> Self {
        Self::with_lake_in(None)
    }

    /// The same with its lake in a bucket.
    pub fn in_bucket(settings: &S3Settings) -> Self {
        Self::with_lake_in(Some(Bucket::open(settings).expect("a client")))
    }

    fn with_lake_in(bucket: Option<Bucket>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let key = folder.path().join("backup.key");
        let made = new_key(None).expect("a key");
        fs::write(&key, &made.file).expect("written");
        let data = folder.path().join("data");
        let journal =
            Arc::new(SledJournal::open(&data.join("journal"), JournalMetrics::default()).expect("opened"));
        let owner = runtime.block_on(journal.acquire(&[testing::shard(4)])).expect("acquired")[0].0;
        fs::create_dir_all(data.join("identity/vehicles")).expect("made");
        fs::write(data.join("identity/ca.pem"), b"the authority's certificate").expect("written");
        fs::write(data.join("identity/command.key"), b"a secret key").expect("written");
        fs::write(data.join("identity/vehicles/VAN1"), b"a secret").expect("written");
        let recipient = made.recipient;
        let journal = Some(journal);
        let mut node =
            Self { folder, runtime, journal, owner, head: 0, version: 0, files: 0, bucket, key, recipient };
        node.register()
            .create(OrganizationId::default(), &new_vehicles(&["VAN1", "VAN2"]), 3_600_000, [7; 32], &who())
            .expect("created");
        node.append(3);
        (0..3).for_each(|_| node.commit_file(40_000));
        node
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn backups(&self) -> PathBuf {
        self.folder.path().join("backups")
    }

    pub fn register(&self) -> Register {
        Register::open(&self.data().join("identity")).expect("a register")
    }

    pub fn journal(&self) -> &Arc<SledJournal> {
        self.journal.as_ref().expect("it runs")
    }

    pub fn append(&mut self, events: u64) {
        let new = (1..=events).map(|n| testing::event("a", self.version + n)).collect();
        let appended =
            self.runtime.block_on(self.journal().append(self.owner, self.head, new)).expect("written");
        assert!(matches!(appended, Appended::Committed { .. }));
        self.version += events;
        self.head += events;
    }

    /// A file of the lake with these many bytes.
    pub fn commit_file(&mut self, bytes: usize) {
        self.files += 1;
        let path =
            format!("fresh/date=2026-11-30/hour=01/00ff-{}-{}.parquet", self.owner.epoch.0, self.files);
        let mut state = self.files;
        let contents: Vec<u8> = (0..bytes)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as u8
            })
            .collect();
        match &self.bucket {
            Some(bucket) => {
                self.runtime.block_on(bucket.create(&path, contents.clone())).expect("written");
            }
            None => {
                let full = self.data().join("lake").join(&path);
                fs::create_dir_all(full.parent().expect("a folder")).expect("made");
                fs::write(&full, &contents).expect("written");
            }
        }
        let entry = ManifestEntry {
            path,
            schema: 1,
            checksum: crc32c::crc32c(&contents),
            bytes: bytes as u64,
            rows: vec![(testing::shard(4), 1)],
            sample_time_ns: (0, 0),
            receive_time_ms: (0, 1_000 * self.files as i64),
        };
        let committed = self.runtime.block_on(self.journal().commit_file(&[self.owner], &[entry], &[]));
        assert!(matches!(committed, CommitOutcome::Committed { .. }));
    }

    pub fn lake_path(&self, number: u64) -> String {
        format!("fresh/date=2026-11-30/hour=01/00ff-{}-{number}.parquet", self.owner.epoch.0)
    }

    /// A bucket, spoken to on this node's runtime.
    pub fn spoken_to(&self, bucket: Bucket) -> LakeBucket {
        LakeBucket::new(bucket, self.runtime.handle().clone())
    }

    pub fn lake_bucket(&self) -> Option<LakeBucket> {
        self.bucket.clone().map(|bucket| self.spoken_to(bucket))
    }

    pub fn parts(&self) -> Parts {
        let data = self.data();
        let place =
            self.lake_bucket().map_or_else(|| LakePlace::Folder(data.join("lake")), LakePlace::Bucket);
        Parts {
            journals: vec![JournalPart { name: "journal", source: Arc::clone(self.journal()) as _ }],
            lake: Some(LakePart { name: "lake", journal: "journal", place }),
            files: vec![FilesPart { name: "identity", folder: data.join("identity") }],
            spool: data.join("backup-spool"),
        }
    }

    pub fn request(&self) -> Request {
        let recipients = Recipients::parse(std::slice::from_ref(&self.recipient)).expect("a recipient");
        Request { kind: SnapshotKind::Full, recipients, seal_lake: false, links: true }
    }

    pub fn take(&self) -> Taken {
        self.take_as(&self.request(), &mut Pace::silent()).expect("taken")
    }

    pub fn take_as(&self, request: &Request, pace: &mut Pace) -> Result<Taken, BackupError> {
        let mut repository = Repository::create(&self.backups())?;
        take(&mut repository, &self.parts(), request, pace)
    }

    pub fn repository(&self) -> Repository {
        Repository::open(&self.backups(), Access::Read).expect("opened")
    }

    pub fn identities(&self) -> Identities {
        Identities::read(&self.key, None).expect("a key")
    }

    pub fn verify(&self) -> Verification {
        let repository = self.repository();
        let all = repository.snapshots().expect("listed");
        let bucket = self.lake_bucket();
        verify(&repository, &all, Some(&self.identities()), bucket.as_ref(), &mut Pace::silent())
            .expect("read")
    }

    pub fn order(&self, name: &str) -> Order {
        let data = self.folder.path().join(name);
        let (identities, bucket) = (self.identities(), self.lake_bucket());
        Order { snapshot: None, data, bucket, identities, register: None, epoch_seen: 0 }
    }

    pub fn restore(&self, order: &Order) -> Result<Restored, BackupError> {
        restore(&self.repository(), order, &mut Pace::silent())
    }
}

pub fn new_vehicles(ids: &[&str]) -> Vec<NewVehicle> {
    ids.iter().map(|id| NewVehicle { vehicle: vehicle(id), display_name: None }).collect()
}

/// Every file below a folder, but for a journal's own.
pub fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(folder).expect("listed") {
            let path = entry.expect("listed").path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).expect("below").to_string_lossy().into_owned();
                found.push((name, fs::read(&path).expect("read")));
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

/// A journal that was used a moment ago: sled gives its lock back late.
pub fn open_journal(folder: &Path) -> SledJournal {
    for _ in 0..500 {
        match SledJournal::open(folder, JournalMetrics::default()) {
            Err(JournalError::InUse(_)) => std::thread::sleep(std::time::Duration::from_millis(10)),
            opened => return opened.expect("opened"),
        }
    }
    panic!("{} stays locked", folder.display());
}

/// All events of a journal's shard.
pub fn events(node: &Node, data: &Path) -> usize {
    let journal = open_journal(&data.join("journal"));
    node.runtime.block_on(journal.read_feed(testing::shard(4), 0, usize::MAX)).expect("read").len()
}
